"""Fetching a document from an address that somebody gave: in time, and not without end."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .. import proxy

LARGEST = 5_000_000  # bytes of one document
SECONDS = 10.0


class Unreachable(Exception):
    """Nothing can be fetched from there; the message says why."""


class Unreadable(Exception):
    """What was fetched is no WSDL; the message says why."""


@dataclass(frozen=True)
class Document:
    """A document, as its address gave it."""

    text: bytes
    url: str  # where it was, after redirections
    charset: str = ""  # as HTTP says, which wins over the document's own word (RFC 7303)


def fetch(url: str) -> Document:
    """A document. Raises Unreachable or Unreadable."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise Unreachable(f"{url} is no address: it begins with http:// or https://.")
    try:
        with proxy.open_url(url, SECONDS) as answer:
            text, final_url = _within(answer, time.monotonic() + SECONDS), str(answer.geturl())
            charset = answer.headers.get_content_charset("")
    except urllib.error.HTTPError as error:
        raise Unreachable(f"{url} answers{proxy.mention(url)} with HTTP {error.code}{_explanation(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"{url} can't be reached{proxy.mention(url)}: {why(error)}.") from error
    if len(text) > LARGEST:
        raise Unreadable(f"{url} is larger than {LARGEST} bytes.")
    return Document(text, final_url, charset)


def _explanation(error: urllib.error.HTTPError) -> str:
    """What a refusal says for people, with a colon before it: a sentence, never a page of HTML."""
    try:
        body = error.read(5000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        body = ""
    described = re.search(r"<(?:[\w-]+:)?(?:description|faultstring)>([^<]+)<", body)  # a fault says why
    plain = error.headers.get_content_type() == "text/plain" and "<html" not in body[:1000].lower()
    sentence = " ".join((described[1] if described else body if plain else error.reason or "").split())[:300]
    return f": {sentence}" if sentence else "."


def _within(answer: Any, until: float) -> bytes:
    """What comes until then, a little more than LARGEST at most: a time-out of urllib is one of each read alone."""
    parts: list[bytes] = []
    while sum(map(len, parts)) <= LARGEST and (part := answer.read1(65536)):
        parts.append(part)
        if time.monotonic() > until:
            raise TimeoutError(f"it was not complete after {SECONDS:g} s")
    return b"".join(parts)


def why(error: Exception) -> str:
    """Why an address could not be reached, in the words of the system."""
    if isinstance(error, (http.client.InvalidURL, UnicodeError)):
        return "no address can be written so"
    if isinstance(error, http.client.HTTPException):
        return f"what answers there speaks no HTTP ({type(error).__name__})"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
