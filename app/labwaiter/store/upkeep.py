"""The upkeep of this machine's instruments: which are out of service, how much each was used, and its log.

``.labwaiter/out-of-service/NAME.json``: it is, because somebody takes care of it, or because somebody pressed STOP.
``.labwaiter/instruments/NAME.use.json``: seconds in use and executions, written by the supervisor alone.
``.labwaiter/instruments/NAME.jsonl``: its log, a line an event: notes, faults, out of service and back, STOP.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..layout import Layout
from ..model.record import Happening
from ..model.sentences import N_
from ..system.logs import known_of
from . import timeline
from .files import make_folder, open_ours, read_bounded, read_record, rights_in, write_whole

LARGEST = 1_000_000  # bytes of a log; after that it begins anew, and the one before it is NAME.before.jsonl
NOTE_MAX = 2000  # characters of one note
FAULT = "fault"


@dataclass(frozen=True)
class OutOfService:
    """Why an instrument is out of service."""

    instrument: str
    why: str = ""
    by: str = ""  # who took it out
    since: float = 0.0  # Unix time, s
    stopped: bool = False  # by STOP: nobody takes it in hand either, until it is put back

    @property
    def words(self) -> str:
        """As it is told: out of service: new nozzle (Ada)."""
        return N_(
            (f"stopped by {self.by}" if self.by else "stopped by somebody")
            if self.stopped
            else f"out of service: {self.why}{f' ({self.by})' if self.by else ''}"
        )


@dataclass(frozen=True)
class Use:
    """How much an instrument was used."""

    seconds: float = 0.0  # in use, by executions and in hand
    executions: int = 0  # that had it; in hand not counted
    last: float | None = None  # Unix time (s) at which the last one ended


class Upkeep:
    """The files of one deployment. The names of instruments are those of lab.toml, or of files made from it."""

    def __init__(self, layout: Layout) -> None:
        self._out, self._folder = layout.out_of_service, layout.instruments

    # -- out of service -----------------------------------------------------------------------

    def out(self) -> dict[str, OutOfService]:
        """All that are out of service."""
        found = {}
        with contextlib.suppress(OSError):
            for entry in os.listdir(self._out):
                if entry.endswith(".json") and not entry.startswith("."):
                    found[entry[:-5]] = self._read(entry[:-5])
        return found

    def out_of(self, instrument: str) -> OutOfService | None:
        """Whether one is, and why."""
        return self._read(instrument) if (self._out / f"{instrument}.json").exists() else None

    def _read(self, instrument: str) -> OutOfService:
        """What its file says; one that can't be read counts, too."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            text = read_record(self._out / f"{instrument}.json", 100_000)
            return OutOfService(**{**json.loads(text or ""), "instrument": instrument})
        return OutOfService(instrument, N_("nobody knows why, its record is damaged"))

    def take_out(self, out: OutOfService) -> None:
        """Take one out of service; what STOP has stopped stays so. Raises OSError."""
        before = self.out_of(out.instrument)
        if before is not None and before.stopped:
            return
        _make(self._out)
        write_whole(self._out / f"{out.instrument}.json", json.dumps(asdict(out)).encode(), durable=True)

    def put_back(self, instrument: str) -> OutOfService | None:
        """Put one back into service: why it was out; None where it wasn't. Raises OSError."""
        before = self.out_of(instrument)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._out / f"{instrument}.json")
        return before

    # -- use ----------------------------------------------------------------------------------

    def use(self, instrument: str) -> Use:
        """How much it was used, as far as that was counted."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Use(**json.loads(read_record(self._folder / f"{instrument}.use.json", 10_000) or "{}"))
        return Use()

    def add_use(self, instrument: str, seconds: float, counts: bool) -> None:
        """Count a use that has ended. Raises OSError.

        Args:
            counts: it was an execution of a service.
        """
        before = self.use(instrument)
        now = Use(round(before.seconds + max(0.0, seconds), 1), before.executions + counts, round(time.time(), 3))
        _make(self._folder)
        write_whole(self._folder / f"{instrument}.use.json", json.dumps(asdict(now)).encode())

    # -- the log ------------------------------------------------------------------------------

    def note(self, instrument: str, event: str, **about: Any) -> None:
        """Add a line to its log; a disk that refuses holds nothing up."""
        known = known_of(about, NOTE_MAX)
        line = json.dumps({"at": round(time.time(), 3), "event": event, **known}) + "\n"
        path = self._folder / f"{instrument}.jsonl"
        with contextlib.suppress(OSError):
            _make(self._folder)
            fd = open_ours(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
            try:
                full = os.fstat(fd).st_size > LARGEST
                os.write(fd, line.encode())
            finally:
                os.close(fd)
            if full:
                os.rename(path, self._folder / f"{instrument}.before.jsonl")

    def log(self, instrument: str, most: int = 100) -> tuple[Happening, ...]:
        """The last events of its log, oldest first."""
        found: list[Happening] = []
        for happening in self._newest_first(instrument):
            found.append(happening)
            if len(found) == most:
                break
        return tuple(reversed(found))

    def last_fault(self, instrument: str) -> Happening | None:
        """The last fault that its log tells."""
        return next((one for one in self._newest_first(instrument) if one.event == FAULT), None)

    def _newest_first(self, instrument: str) -> Iterator[Happening]:
        for name in (f"{instrument}.jsonl", f"{instrument}.before.jsonl"):
            text = read_bounded(self._folder / name, 2 * LARGEST) or b""
            for line in reversed(text.splitlines()):
                if (happening := timeline.happening_of(line, NOTE_MAX)) is not None:
                    yield happening


def _make(folder: Path) -> None:
    if not folder.is_dir():
        with contextlib.suppress(FileExistsError):
            make_folder(folder, rights_in(folder.parent))
