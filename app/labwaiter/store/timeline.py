"""timeline.jsonl: what an execution has been through, a line an event, written by whoever does it.

A face writes that it was asked for, that an abort was, that a message came; the runner that it began, its stages, and
what it is made by (versions, programs, instruments); the supervisor its stop and its end; the guard what was made safe.
Each line is added by one write(2). It lies in the job's folder, where the job itself may write, too: it is read as what
programs write is.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from ..model.record import Happening
from ..system.logs import bounded, cut, known_of
from .files import open_ours, read_bounded

FILE = "timeline.jsonl"
LARGEST = 300_000  # bytes that are read of it
OFTEN_MAX = 100_000  # bytes beyond which what may come without end (stages, messages) is no longer noted
OFTEN = frozenset({"stage", "message", "reply"})
TEXT_MAX = 300  # characters of one text
KEPT = 200  # happenings that are told of one execution
# an event of each kind, and what is told of it besides when
MADE_BY = ("began", "imported", "program", "opened")


def note(folder: str | os.PathLike[str], event: str, /, at: float | None = None, **about: Any) -> None:
    """Add a line. Where that can't be done, the execution goes on without it.

    Args:
        folder: the job's.
        at: Unix time, s; now unless given.
        about: what there is to say; None and "" are left out. Never a token.
    """
    known = known_of(about, TEXT_MAX)
    line = json.dumps({"at": round(time.time() if at is None else at, 3), "event": event, **known}) + "\n"
    with contextlib.suppress(OSError):
        fd = open_ours(os.path.join(folder, FILE), os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        try:
            if event not in OFTEN or os.fstat(fd).st_size < OFTEN_MAX:
                os.write(fd, line.encode())
        finally:
            os.close(fd)


def read(folder: str | os.PathLike[str]) -> tuple[Happening, ...]:
    """What it has been through, by the times, at most KEPT: all that it was made by, and of the rest the last ones."""
    text = read_bounded(os.path.join(folder, FILE), LARGEST) or b""
    found = [happening for line in text.splitlines() if (happening := happening_of(line)) is not None]
    found.sort(key=lambda happening: happening.at)
    if len(found) > KEPT:
        made = [happening for happening in found if happening.event in MADE_BY][:KEPT]
        rest = [happening for happening in found if happening.event not in MADE_BY]
        found = sorted([*made, *rest[len(rest) - (KEPT - len(made)) :]], key=lambda happening: happening.at)
    return tuple(found)


def happening_of(line: bytes, text_max: int = TEXT_MAX) -> Happening | None:
    """One line; None for what is none of ours: cut off, or the job's own."""
    try:
        content = json.loads(line)
        at, event = content.pop("at"), content.pop("event")
        if type(event) is str and type(at) in (int, float) and 0 <= at < 1e11:
            kinds = (str, int, float, bool)
            about = {name: bounded(value, text_max) for name, value in content.items() if type(value) in kinds}
            return Happening(float(at), cut(event, 40), about)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def made_by(timeline: tuple[Happening, ...]) -> dict[str, Any]:
    """What an execution was made by, as far as its timeline tells: for its record, as JSON has it."""
    made: dict[str, Any] = {"versions": {}, "serviceFile": {}, "programs": [], "instruments": []}
    for happening in timeline:
        about = happening.about
        if happening.event == "began":
            made["versions"] = {name: about[name] for name in ("labwaiter", "python") if name in about}
        if happening.event in ("began", "imported") and "sha256" in about:
            made["serviceFile"] = {name: about[name] for name in ("file", "sha256") if name in about}
        elif happening.event == "program":
            made["programs"].append(about)
        elif happening.event == "opened":
            made["instruments"].append(about)
    return {name: value for name, value in made.items() if value}
