"""What the pages say, in the language of who looks: by a choice that the browser keeps, else by what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from flask import Request, g
from jinja2 import Environment
from markupsafe import Markup
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from ..languages import ENGLISH, NAMES, SOURCE, Language, asked_for
from ..settings import Settings

COOKIE = "labwaiter_language"
COOKIE_MAX = 3900  # bytes: with its name and attributes a cookie has 4096
CHOICE_SECONDS = 365 * 86400
ASKED_LARGEST = 2000  # characters of Accept-Language: browsers send a hundred; 200,000 took a worker 0.3 s to read


def wanted(request: Request, settings: Settings) -> Language:
    """The language of an answer: its reader's choice, else what the browser asks for, else the deployment's."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in NAMES:
        return asked_for(chosen, settings.page_language)
    return asked_for(_asked(request.headers.get("Accept-Language", "")), settings.page_language)


@lru_cache(256)  # an open page asks each second or two
def _asked(header: str) -> str | None:
    """The language that an Accept-Language asks for first, of those that we have."""
    # Werkzeug's best_match prefers what is asked for last as “en” to what is asked for first as “de-AT”
    tags = parse_accept_header(header, LanguageAccept).values() if len(header) <= ASKED_LARGEST else ()
    asked = (tag.lower().partition("-")[0] for tag in tags)
    return next((code for code in asked if code in NAMES), None)


def language() -> Language:
    """Of who makes this request."""
    chosen: Language = g.get("language", ENGLISH)
    return chosen


def _(message: str, **values: object) -> str:
    """A message of a page's own; `%(name)s` in it is that value."""
    return language().text(message, **values)


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """A message about so many."""
    return language().count(one, many, count, **values)


def told(sentence: str) -> tuple[str, str]:
    """A sentence from below, and which language it is in after all where that isn't the reader's; else ""."""
    words = language().told(sentence)
    return (sentence, SOURCE) if words is None else (words, "")


def _told(sentence: str, ours: bool = True) -> str:
    """As a template shows it.

    Args:
        ours: it is English where it isn't known; else it may be anybody's words, in whatever language.
    """
    words, lang = told(sentence)
    return Markup('<span lang="{}">{}</span>').format(lang if ours else "", words) if lang else words


def in_cookie(words: str, most: int, signed: Callable[[str], str]) -> str:
    """A cookie of what the next page is to say: of as much of it as a cookie takes.

    Args:
        most: characters.
        signed: what makes the cookie of such words.
    """
    while True:
        content = signed(words if len(words) <= most else words[: most - 1] + "…")
        if len(content) <= COOKIE_MAX:  # a letter that is none of ASCII's takes up to eight bytes
            return content
        most = most * 2 // 3


def install(environment: Environment) -> None:
    """What templates have: `_()` and `ngettext()`, whose values are escaped, and filters."""
    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        lambda message: language().text_of(message),
        lambda one, many, count: language().text_of_count(one, many, count),
        newstyle=True,
    )
    environment.filters |= {
        "told": _told,
        "size": lambda count: language().size(count),
        "span": lambda seconds: language().span(seconds),
        "clock": lambda at: language().clock(at),
        "iso": lambda at: datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
