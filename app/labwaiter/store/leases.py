"""Leases: the right of one job to one instrument, on disk before its port is opened.

``.labwaiter/leases/<instrument>.json``: held by a job, being made safe after it, unsafe, or reserved by a
person. No file: free. A holder that has died means "making safe", never "free".

Whoever changes a lease holds ``.labwaiter/leases/.turn`` (flock(2)) from the look to the write, so that one that
was free has one taker. The supervisor waits for nobody: where it isn't its turn, it tries again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from ..layout import Layout
from ..system import flock
from ..system.process import Identity
from .files import make_folder, open_ours, read_record, rights_in, write_whole
from .readers import Reader, Readers
from .upkeep import Upkeep

PATIENCE = 3.0  # s for a turn


class Held(StrEnum):
    """Why an instrument isn't free."""

    BY_JOB = "held"
    MAKING_SAFE = "making safe"
    UNSAFE = "unsafe"
    RESERVED = "reserved"


@dataclass(frozen=True)
class Lease:
    """Who has an instrument, and why it is not free."""

    instrument: str
    how: Held
    job: str = ""  # the job's folder name
    why: str = ""  # for unsafe: the sentence for the operator; for reserved: who
    since: float = 0.0  # Unix time, s
    until: float | None = None  # of a reservation, Unix time, s
    opened: bool = True  # False while its job has not begun to open it: then there is nothing to make safe


class Leases:
    """The leases of one deployment. The names of instruments are those of lab.toml, or of a folder made from it."""

    def __init__(self, jobs: Path) -> None:
        self.folder = Layout(jobs).leases
        self._upkeep = Upkeep(Layout(jobs))
        self.readers = Readers(Layout(jobs))

    # -- looking ------------------------------------------------------------------------------

    def all(self) -> dict[str, Lease]:
        """Every instrument that isn't free; a reservation that has run out is none."""
        leases = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                if name.endswith(".json") and not name.startswith(".") and (lease := self.of(name[:-5])):
                    leases[lease.instrument] = lease
        return leases

    def of(self, instrument: str) -> Lease | None:
        """The lease of one instrument; None where it is free. One that is damaged or can't be read counts as unsafe."""
        try:
            return self._read(instrument)
        except OSError:
            return Lease(instrument, Held.UNSAFE, why="Its lease can't be read, so nobody knows what is with it.")

    def _read(self, instrument: str) -> Lease | None:
        """As `of`. Raises OSError where it can't be read."""
        text = read_record(self.folder / f"{instrument}.json", 100_000)
        if text is None:
            return None
        try:
            content = json.loads(text)
            lease = Lease(**{**content, "instrument": instrument, "how": Held(content["how"])})
            if not all(0 <= when < 1e11 for when in (lease.since, lease.until or 0.0)):
                raise ValueError("a lease's times are none")
            over = lease.until is not None and lease.until < time.time()
        except (ValueError, TypeError, KeyError):
            return Lease(instrument, Held.UNSAFE, why="Its lease is damaged, so nobody knows what was with it.")
        return None if over else lease

    def of_job(self, job: str) -> list[Lease]:
        """What a job holds, or held when it ended."""
        return [lease for lease in self.all().values() if lease.job == job and lease.how is not Held.RESERVED]

    # -- changing -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def turn(self, wait: float = PATIENCE) -> Iterator[None]:
        """The turn to change leases. Raises BlockingIOError where it is another's for longer than `wait` s."""
        self._make()
        path = self.folder / ".turn"
        with contextlib.suppress(FileExistsError):
            os.close(open_ours(path, os.O_WRONLY | os.O_EXCL))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # enough for a lock, and root's file is no obstacle
        try:
            flock.lock(fd, wait)  # it is had for a few milliseconds, unless its holder is stopped
            yield
        finally:
            os.close(fd)

    def _make(self) -> None:
        if not self.folder.is_dir():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                make_folder(self.folder, rights_in(self.folder.parent))

    def write(self, lease: Lease, durable: bool = False) -> None:
        """Write a lease, whatever there was. Raises OSError."""
        self._make()
        write_whole(self.folder / f"{lease.instrument}.json", json.dumps(asdict(lease)).encode(), durable=durable)

    def take(self, job: str, instruments: Iterable[str], reserved: bool = False) -> bool:
        """Have a job hold all of these, or none: False where one isn't free (any more). Doesn't wait.

        Args:
            reserved: take reserved ones and those out of service, too, which are whoever's it is then.

        Raises:
            OSError: the disk refuses; none is held then.
        """
        names = tuple(instruments)
        if not names:
            return True
        try:
            with self.turn(wait=0):
                if self.readers.claimed(names):
                    return False
                out = self._upkeep.out()
                if any(out[name].stopped or not reserved for name in names if name in out):
                    return False
                leases = [lease for name in names if (lease := self.of(name)) is not None]
                if any(lease.how is not Held.RESERVED or not reserved for lease in leases):
                    return False
                try:
                    for name in names:
                        self.write(Lease(name, Held.BY_JOB, job, since=time.time(), opened=False))
                except OSError:
                    for name in names:
                        self.free(name)
                    raise
        except BlockingIOError:
            return False
        return True

    def let_read(self, instrument: str, names: Iterable[str], process: Identity) -> bool:
        """Let a process of the monitor's read an instrument that nobody has, wants, or keeps out of service.

        Args:
            names: of its device, its own among them.

        Raises:
            OSError: the disk refuses.
        """
        reader = Reader(instrument, tuple(names), process)
        try:
            with self.turn(wait=0):
                if not self.is_idle(reader.names) or self.readers.claimed(reader.names):
                    return False
                self.readers.claim(reader)
        except BlockingIOError:
            return False
        return True

    def is_idle(self, names: Iterable[str]) -> bool:
        """Whether nobody has or wants any of these, and none is out of service."""
        names = tuple(names)
        if any(self._upkeep.out_of(name) is not None for name in names) or self.readers.is_wanted(names):
            return False
        return all(self.of(name) is None for name in names)

    def reserve(self, instrument: str, person: str, seconds: float, twins: Iterable[str] = ()) -> Lease | None:
        """Reserve an instrument for a person, or prolong that: the lease in the way, None where there was none.

        Args:
            twins: the other names of its device: nobody may have it under one of them.

        Raises:
            OSError: the disk refuses.
        """
        with self.turn():
            for name in (*twins, instrument):
                lease = self.of(name)
                theirs = lease is not None and lease.how is Held.RESERVED and lease.why == person
                if lease is not None and (name != instrument or not theirs):
                    return lease
            now = time.time()
            self.write(Lease(instrument, Held.RESERVED, why=person, since=now, until=now + seconds), durable=True)
            return None

    def hand_on(self, lease: Lease, durable: bool = False) -> bool:
        """Change the lease of a job; False, and nothing done, where somebody else has it by now.

        Raises:
            OSError: the disk refuses.
        """
        with self.turn():
            if not self._still(lease.instrument, lease.job):
                return False
            self.write(lease, durable=durable)
            return True

    def give_back(self, instrument: str, job: str) -> bool:
        """Free what a job had, now that it is safe; False where somebody else has it by now."""
        with self.turn():
            if not self._still(instrument, job):
                return False
            self.free(instrument)
            return True

    def note_opened(self, instrument: str, job: str, opened: bool = True) -> bool:
        """Note on the disk that a job opens it now, or that it could not; False where somebody else has it by now.

        Raises:
            OSError: the disk refuses.
        """
        return self.hand_on(Lease(instrument, Held.BY_JOB, job, since=time.time(), opened=opened), durable=True)

    def _still(self, instrument: str, job: str) -> bool:
        """Whether it is with this job, or with nobody; what a damaged lease says counts for nothing. Raises OSError."""
        lease = self._read(instrument)
        return lease is None or lease.job == job or (lease.how is Held.UNSAFE and not lease.job)

    def free(self, instrument: str) -> None:
        """Nobody has it any more, and it is safe."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / f"{instrument}.json")
