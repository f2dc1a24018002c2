"""Leases: the right of one job to one instrument, on disk before its port is opened.

``.labwaiter/leases/<instrument>.json``: held by a job, being made safe after it, unsafe, or reserved by a
person. No file: free. A holder that has died means "making safe", never "free".
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from .files import read_bounded, write_whole
from .names import OURS


class Held(StrEnum):
    """Why an instrument isn't free."""

    BY_JOB = "held"
    MAKING_SAFE = "making safe"
    UNSAFE = "unsafe"
    RESERVED = "reserved"


@dataclass(frozen=True)
class Lease:
    """One lease."""

    instrument: str
    how: Held
    job: str = ""  # the job's folder name
    why: str = ""  # for unsafe: the sentence for the operator; for reserved: who
    since: float = 0.0  # Unix time, s
    until: float | None = None  # of a reservation, Unix time, s

    @property
    def in_words(self) -> str:
        """What is with the instrument, for a page."""
        return {
            Held.BY_JOB: f"{self.instrument} is in use",
            Held.MAKING_SAFE: f"{self.instrument} is being made safe",
            Held.UNSAFE: f"{self.instrument} is unsafe and waits for an operator",
            Held.RESERVED: f"{self.instrument} is reserved" + (f" by {self.why}" if self.why else ""),
        }[self.how]


class Leases:
    """The leases of one deployment."""

    def __init__(self, jobs: Path) -> None:
        self._folder = jobs / OURS / "leases"

    def all(self) -> dict[str, Lease]:
        """Every instrument that isn't free; a reservation that has run out is none."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name.endswith(".json") and not name.startswith(".") and (lease := self.of(name[:-5])):
                    found[lease.instrument] = lease
        return found

    def of(self, instrument: str) -> Lease | None:
        """The lease of one instrument; None where it is free. A damaged one counts as unsafe."""
        text = read_bounded(self._folder / f"{instrument}.json", 100_000)
        if text is None:
            return None
        try:
            said = json.loads(text)
            lease = Lease(**{**said, "how": Held(said["how"])})
        except (ValueError, TypeError, KeyError):
            return Lease(instrument, Held.UNSAFE, why="Its lease is damaged, so nobody knows what was with it.")
        return None if lease.until is not None and lease.until < time.time() else lease

    def write(self, lease: Lease, durable: bool = False) -> None:
        """Write a lease. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{lease.instrument}.json", json.dumps(asdict(lease)).encode(), durable=durable)

    def take(self, job: str, instruments: Iterable[str]) -> None:
        """Have a job hold these. Raises OSError, with none held."""
        taken: list[str] = []
        try:
            for name in instruments:
                self.write(Lease(name, Held.BY_JOB, job, since=time.time()))
                taken.append(name)
        except OSError:
            for name in taken:
                self.free(name)
            raise

    def sync(self, instruments: Iterable[str]) -> None:
        """Have these leases on the disk, not only in its cache."""
        for name in instruments:
            fd = os.open(self._folder / f"{name}.json", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def free(self, instrument: str) -> None:
        """Nobody has it any more, and it is safe."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / f"{instrument}.json")

    def of_job(self, job: str) -> list[Lease]:
        """What a job holds, or held when it ended."""
        return [lease for lease in self.all().values() if lease.job == job and lease.how is not Held.RESERVED]
