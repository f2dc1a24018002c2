"""What our sentences quote: other people's texts, and times."""

from __future__ import annotations

import time


def plain(text: str, limit: int = 200) -> str:
    """Somebody else's text on one line: no control characters, which could steer a terminal."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return shown if len(text) <= limit else shown[:limit] + "…"


def moment(seconds: float | None) -> str:
    """A Unix time (s) as local time; "-" for none."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def N_(sentence: str) -> str:  # gettext's own name for it
    """The sentence. It is told to people, so catalogues have it (`labwaiter.languages`); those of errors they have
    without this mark."""
    return sentence
