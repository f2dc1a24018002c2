"""Who reads an instrument that nobody uses, and who wants it: the lease of a monitor, which yields at once.

``.labwaiter/readers/NAME.reader``: a process of the monitor's has the line of NAME. Beside the leases, since to all
others the instrument is free: whoever wants it marks that (``NAME.wanted``), wakes that process by a signal, and has it
as soon as the file is gone, which is when its line is closed.

A file whose process is dead says that nobody knows what was with the instrument: the supervisor has it made safe.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..layout import Layout
from ..system.process import Identity, boot_clock, kill, lives
from .files import make_folder, read_record, rights_in, touch, write_whole

WANTED_SECONDS = 5.0  # s after the last time that somebody wanted it that nobody begins to read it
YIELD_SECONDS = 2.0  # s in which a reader has yielded; one that hasn't is ended
WAKE = signal.SIGUSR1  # to a reader: look whether somebody wants the instrument
LOOK_EVERY = 0.01  # s between two looks whether one has yielded
_JOB = ".monitor-"  # before an instrument's name: in the place of a job's, in the lease of one that is made safe
_LARGEST = 100_000  # bytes


def job_of(instrument: str) -> str:
    """What a lease says in the place of a job, while an instrument is made safe after its reader."""
    return _JOB + instrument


def is_reader(job: str) -> bool:
    """Whether that stands in the place of a job."""
    return job.startswith(_JOB)


@dataclass(frozen=True)
class Reader:
    """A process that reads an instrument."""

    instrument: str
    names: tuple[str, ...]  # of its device, its own among them
    process: Identity | None  # None: its file is damaged

    @property
    def is_dead(self) -> bool:
        """Whether its process is gone, or nobody knows which it was. Raises OSError: that can't be seen now."""
        return self.process is None or lives(self.process) is False

    def wake(self) -> bool:
        """Have it look; False where it is gone. Raises OSError."""
        return self.process is not None and kill(self.process, WAKE)

    def end(self) -> None:
        """End it, whatever it is at. Raises OSError."""
        if self.process is not None:
            kill(self.process, signal.SIGKILL)


class Readers:
    """The readers of one deployment. The names of instruments are those of lab.toml, or of files made from it."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.readers

    # -- looking ------------------------------------------------------------------------------

    def all(self) -> list[Reader]:
        """All that there are."""
        found: dict[str, Reader] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.listdir(self._folder):
                if entry.endswith(".reader") and not entry.startswith("."):
                    reader = self.of(entry.removesuffix(".reader"))
                    if reader is not None:
                        found[reader.instrument] = reader
        return list(found.values())

    def of(self, name: str) -> Reader | None:
        """Who reads the device of an instrument."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            text = read_record(self._path(name), _LARGEST)
            if text is None:
                return None
            content = json.loads(text)
            names = tuple(str(each) for each in content["names"])
            return Reader(str(content["instrument"]), names, Identity(**content["process"]))
        return Reader(name, (name,), None)

    def claimed(self, names: Iterable[str]) -> list[str]:
        """Those of these that are read."""
        return [name for name in names if os.path.lexists(self._path(name))]

    def is_wanted(self, names: Iterable[str]) -> bool:
        """Whether somebody has just wanted one of these."""
        now = boot_clock()
        for name in names:
            with contextlib.suppress(OSError):
                if abs(now - os.stat(self._path(name, "wanted")).st_mtime) < WANTED_SECONDS:
                    return True
        return False

    def _path(self, name: str, ending: str = "reader") -> Path:
        return self._folder / f"{name}.{ending}"

    # -- changing -----------------------------------------------------------------------------

    def claim(self, reader: Reader) -> None:
        """Note who reads it, under all of its device's names. Whoever calls it has the leases' turn. Raises OSError."""
        self._make()
        assert reader.process is not None
        content = {"instrument": reader.instrument, "names": reader.names, "process": asdict(reader.process)}
        for name in reader.names:
            write_whole(self._path(name), json.dumps(content).encode())

    def forget(self, names: Iterable[str]) -> None:
        """Nobody reads these any more, and their line is closed."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))

    def want(self, names: Collection[str]) -> list[Reader]:
        """Have these yield, and waits for nothing: those who read them."""
        readers = {reader.instrument: reader for name in self.claimed(names) if (reader := self.of(name)) is not None}
        if readers or os.path.isdir(self._folder):
            with contextlib.suppress(OSError):
                self._make()
                for name in names:
                    touch(self._path(name, "wanted"), boot_clock())
        for reader in readers.values():
            with contextlib.suppress(OSError):
                reader.wake()
        return list(readers.values())

    def have(self, names: Collection[str], seconds: float = YIELD_SECONDS) -> None:
        """As `want`, and wait until they have yielded. Who has not by then is ended."""
        until = time.monotonic() + seconds
        while readers := self.want(names) if time.monotonic() < until else []:
            with contextlib.suppress(OSError):
                if all(reader.is_dead for reader in readers):
                    return  # the supervisor sees to what it left
            look_until = min(until, time.monotonic() + 0.2)
            while self.claimed(names) and time.monotonic() < look_until:
                time.sleep(LOOK_EVERY)  # nothing tells of a file that is removed
        for name in self.claimed(names):
            reader = self.of(name)
            with contextlib.suppress(OSError):
                if reader is not None:
                    reader.end()

    def _make(self) -> None:
        if not self._folder.is_dir():
            with contextlib.suppress(FileExistsError):
                make_folder(self._folder, rights_in(self._folder.parent))
