"""Fetching a document from an address that somebody gave: in time, and not without end."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

LARGEST = 5_000_000  # bytes of one document
SECONDS = 10.0


class Unreachable(Exception):
    """Nothing can be fetched from there; the message says why."""


class Unreadable(Exception):
    """What was fetched is no WSDL; the message says why."""


def fetch(url: str) -> tuple[bytes, str]:
    """A document, and where it was found after redirections. Raises Unreachable or Unreadable."""
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise Unreachable(f"{url} is no address: it begins with http:// or https://.")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            text, found = _within(answer, time.monotonic() + SECONDS), str(answer.geturl())
    except urllib.error.HTTPError as error:
        said = error.read(5000).decode("utf-8", "replace")
        described = re.search(r"<(?:[\w-]+:)?description>([^<]+)<", said)  # a service that is Unavailable says why
        words = " ".join((described[1] if described else said).split())[:300]
        raise Unreachable(f"{url} answers with HTTP {error.code}: {words}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(f"{url} can't be reached: {why(error)}.") from error
    if len(text) > LARGEST:
        raise Unreadable(f"{url} is larger than {LARGEST} bytes.")
    return text, found


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
    if isinstance(error, http.client.InvalidURL):
        return "no address can be written so"
    if isinstance(error, http.client.HTTPException):
        return f"what answers there speaks no HTTP ({type(error).__name__})"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
