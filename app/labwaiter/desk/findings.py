"""What is wrong with a service as callers see it, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong, and how to mend it."""

    # "error": an editor or a toolkit refuses it; "warning": some do, or its users will wonder; "fine": it is only told
    level: str
    what: str
    mend: str


def error(what: str, mend: str) -> Finding:
    return Finding("error", what, mend)


def warning(what: str, mend: str) -> Finding:
    return Finding("warning", what, mend)


def fine(what: str) -> Finding:
    return Finding("fine", what, "")


LEVELS = ("error", "warning", "fine")
