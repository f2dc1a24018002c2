"""Events: what an operator should hear of though nobody looks. A line each, added by whoever sees it happen.

``.labwaiter/events/events.jsonl``, and `.1` to `.9` before it. Each has an id by which it is one and the same, however
often it is written: who reads them, or sends them on, takes it once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ..layout import Layout
from ..model.record import NOBODY, Owner
from ..system.logs import bounded, cut, rotate
from .files import make_folder, open_ours, read_bounded, rights_in

log = logging.getLogger("labwaiter.events")
FILE = "events.jsonl"
OLDER = 9  # files before it
LARGEST = 1_000_000  # bytes of a file; after that it is the first of the older ones
TEXT_MAX = 500  # characters of a sentence


class Kind(StrEnum):
    """What has happened."""

    LIMIT = "limit"  # a reading has passed its limit
    BACK = "back"  # it is back within its limit
    UNSAFE = "unsafe"  # an instrument became unsafe
    FAILED = "failed"  # an execution failed
    WAITS = "waits"  # an execution waits too long


@dataclass(frozen=True)
class Event:
    """What has happened, when and to what."""

    kind: Kind
    text: str  # the sentence for people
    instrument: str = ""
    service_id: str = ""  # of the execution
    service: str = ""
    owner: Owner = NOBODY  # whose execution it is
    about: dict[str, Any] = field(default_factory=dict)  # of a limit, and back: reading, value, unit, limit
    at: float = field(default_factory=lambda: round(time.time(), 3))  # Unix time, s
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold of it, for `event_of`."""
        return {**asdict(self), "kind": str(self.kind), "owner": list(self.owner)}

    def told(self) -> dict[str, Any]:
        """As it is sent on, and told by faces: JSON. Times are Unix times in s."""
        return {
            "id": self.id,
            "at": self.at,
            "kind": str(self.kind),
            "text": self.text,
            "instrument": self.instrument,
            "serviceID": self.service_id,
            "service": self.service,
            "about": self.about,
        }


def event_of(line: bytes) -> Event | None:
    """What a line says; None for one that is none of ours: cut off, damaged."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        said = json.loads(line)
        texts = {name: str(said[name]) for name in ("instrument", "service_id", "service", "id")}
        about = {str(name): bounded(value, 200) for name, value in said["about"].items()}
        owner = Owner(*map(str, said["owner"]))
        at = float(said["at"])
        if 0 <= at < 1e11 and texts["id"]:
            return Event(Kind(said["kind"]), cut(str(said["text"]), TEXT_MAX), owner=owner, about=about, at=at, **texts)
    return None


class Events:
    """The events of one deployment."""

    def __init__(self, layout: Layout) -> None:
        self.folder = layout.events
        self._path = self.folder / FILE

    # -- adding -------------------------------------------------------------------------------

    def add(self, event: Event) -> None:
        """Add one by one write. Raises OSError."""
        make(self.folder)
        fd = open_ours(self._path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        try:
            line = json.dumps(event.as_data()).encode() + b"\n"
            if os.write(fd, line) != len(line):  # a full disk took a part: the next line is one of its own
                os.write(fd, b"\n")
                raise OSError("the disk took a part of it")
            full = os.fstat(fd).st_size > LARGEST
        finally:
            os.close(fd)
        if full:
            rotate(self._path, LARGEST)

    def try_to_add(self, event: Event) -> None:
        """As `add`; a disk that refuses holds nothing up, and the log has it."""
        try:
            self.add(event)
        except OSError as error:
            log.error("the event %s (%s) can't be written (%s): %s", event.id, event.kind, error, event.text)

    # -- looking ------------------------------------------------------------------------------

    def newest_first(self) -> Iterator[Event]:
        """All that are kept, each once."""
        known = set()
        for number in range(OLDER + 1):
            text = read_bounded(self._older(number), 3 * LARGEST, tail=True)
            for line in reversed((text or b"").splitlines()):
                event = event_of(line)
                if event is not None and event.id not in known:
                    known.add(event.id)
                    yield event

    def newest(self, most: int, of: Callable[[Event], bool] = lambda event: True) -> list[Event]:
        """The last ones of which this is so, the newest first."""
        found: list[Event] = []
        for event in self.newest_first():
            if len(found) == most:
                break
            if of(event):
                found.append(event)
        return found

    def _older(self, number: int) -> str:
        return f"{self._path}.{number}" if number else str(self._path)

    def stamp(self) -> int:
        """Differs once there is another one."""
        try:
            status = os.stat(self._path)
        except OSError:
            return 0
        return hash((status.st_ino, status.st_size))

    def since(self, place: tuple[int, int] | None) -> tuple[list[Event], tuple[int, int]]:
        """Those that were added behind a place, oldest first, and the place behind them.

        Args:
            place: as the call before gave it; None: behind all that there are. One that is no longer there is before
                all of them.
        """
        files = []  # newest first: number of the file on its disk, size, name
        for number in range(OLDER + 1):
            with contextlib.suppress(OSError):
                status = os.stat(self._older(number))
                files.append((status.st_ino, status.st_size, self._older(number)))
        if not files:
            return [], place or (0, 0)
        if place is None:
            return [], files[0][:2]
        behind = next((at for at, (inode, size, _) in enumerate(files) if inode == place[0]), len(files))
        found: list[Event] = []
        reached = place
        for at in range(min(behind, len(files) - 1), -1, -1):
            inode, size, name = files[at]
            begin = place[1] if at == behind and place[1] <= size else 0
            text = read_bounded(name, 100 * LARGEST, at=begin) or b""
            whole = text[: text.rfind(b"\n") + 1]  # a line may just be added
            found += [event for line in whole.splitlines() if (event := event_of(line)) is not None]
            reached = inode, begin + len(whole)
        return found, reached


def make(folder: os.PathLike[str]) -> None:
    """Have a folder there. Raises OSError."""
    if not os.path.isdir(folder):
        with contextlib.suppress(FileExistsError):
            make_folder(os.fspath(folder), rights_in(os.path.dirname(folder)))
