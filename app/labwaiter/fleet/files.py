"""Files across machines: what an execution made somewhere is read through Redis, in pieces."""

from __future__ import annotations

import contextlib
import hmac
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import ClientError, InvalidParameter, Unavailable
from ..settings import Settings
from ..store.artifacts import SHOWN_MAX, Artifacts, copy_in, within
from . import calls, rpc
from .fleet_store import FleetStore
from .redis_faults import FAULTS, away
from .signing import Seals

PIECE = 1_000_000  # bytes that go through Redis at a time
LARGEST = 2_000_000_000  # bytes of a file that is fetched
HANDED_MAX = 50_000_000  # bytes of a file that is handed to another machine with an order
WAIT = 5.0  # s for a piece
SWEEP_EVERY = 3600.0  # s


def link_key(seals: Seals) -> bytes:
    """What the links of this lab are made with."""
    return bytes.fromhex(seals.sign("links", ""))


class FleetFiles(Artifacts):
    """As `Artifacts`, over all machines of the lab."""

    def __init__(self, settings: Settings, store: FleetStore, machine_of: Callable[[str], str | None]) -> None:
        super().__init__(settings)
        self._store, self._machine_of = store, machine_of
        self._keep = settings.keep_seconds
        self._swept = -math.inf  # monotonic s

    def _load(self) -> bytes:
        """The same on all machines, so that a link works at every face."""
        self._key = self._key or link_key(self._store.seals)
        return self._key

    # -- what executions made -----------------------------------------------------------------

    def made(self, job: str, file: str) -> Path | None:
        """A file in a job's data/, wherever it runs; None where there is none.

        Raises:
            Unavailable: its machine can't be reached.
        """
        if (path := super().made(job, file)) is not None:
            return path
        machine = self._elsewhere(job)
        return self._fetch(machine, job, file) if machine is not None else None

    def _elsewhere(self, job: str) -> str | None:
        """The other machine that has an execution; None where it is this one, or nobody knows."""
        machine = self._machine_of(job)
        return None if machine == self._store.machine else machine

    def _fetch(self, machine: str, job: str, file: str) -> Path | None:
        place = copy_in(self._layout.fetched, f"{job}/{file}")
        self._sweep()
        try:
            about = self._piece(machine, job, file, 0, 0)
            if about.size is None or about.size > LARGEST:
                return None
            place.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                if place.stat().st_size == about.size and place.stat().st_mtime_ns == about.stamp:
                    return place
            beside = place.with_name(f".{os.getpid()}.{os.urandom(4).hex()}")
            try:
                with open(beside, "wb") as out:
                    while (at := out.tell()) < about.size:
                        piece = self._piece(machine, job, file, at, PIECE)
                        if not piece.content:
                            raise _unreachable(machine, "this file")
                        out.write(piece.content)
                os.utime(beside, ns=(about.stamp, about.stamp))
                os.replace(beside, place)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
            return place
        except ClientError:
            return None
        except OSError as error:
            raise _unreachable(machine, "this file") from error
        except FAULTS as error:
            raise away(error) from error

    def _piece(self, machine: str, job: str, file: str, offset: int, count: int) -> calls.FilePiece:
        piece = rpc.ask(self._store, machine, calls.ReadFile(job, file, offset, count), WAIT)
        if piece is None:
            raise _unreachable(machine, "this file")
        return piece

    def log(self, job: str, at: int, most: int) -> tuple[bytes, int]:
        """As `Artifacts.log`, wherever it runs. Raises Unavailable: its machine can't be reached."""
        machine = self._elsewhere(job)
        if machine is None:
            return super().log(job, at, most)
        text, size = b"", 0
        try:
            while len(text) < most:
                count = min(PIECE, most - len(text))
                piece = rpc.ask(self._store, machine, calls.ReadLog(job, at + len(text), count), WAIT)
                if piece is None:
                    raise _unreachable(machine, "its log")
                text, size = text + (piece.content or b""), piece.size or 0
                if len(piece.content or b"") < count:
                    break
        except FAULTS as error:
            raise away(error) from error
        return text, size

    def listing(self, job: str, most: int = SHOWN_MAX) -> tuple[tuple[str, int], ...]:
        """The files right in a job's data/, wherever it runs."""
        machine = self._elsewhere(job)
        if machine is None:
            return super().listing(job, most)
        try:
            answer = rpc.ask(self._store, machine, calls.ListFiles(job, most), WAIT)
        except ClientError:
            return ()
        except FAULTS as error:
            raise away(error) from error
        if answer is None:
            raise _unreachable(machine, "these files")
        return answer.files

    # -- what executions are given ------------------------------------------------------------

    def handed_over(self, job: str, names: Iterable[str], machine: str) -> dict[str, str]:
        """What the order of an execution says of the files that it is given: name → where in Redis it lies.

        They are its own: another execution may be given another content under the same name.

        Raises:
            InvalidParameter: one is too large for that.
            Unavailable: Redis doesn't take it.
        """
        if machine == self._store.machine:
            return {}
        handed = {}
        for name in names:
            path = None if self._is_made_on(machine, name) else self.find(name)
            if path is None:
                continue
            with os.fdopen(self.open(path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > HANDED_MAX:
                    raise InvalidParameter(
                        f"The file “{name[:100]}” has {size} bytes; at most {HANDED_MAX} go along to {machine}: put it"
                        " into the files folder there."
                    )
                content = file.read()
            try:
                handed[name] = self._store.put_file(job, content)
            except FAULTS as error:
                raise away(error) from error
        return handed

    def _is_made_on(self, machine: str, name: str) -> bool:
        """Whether that machine has the file itself: what its own look at the name finds is the same."""
        for job, file in self.meanings(name):
            if job and (home := self._machine_of(job)) is not None:
                return home == machine
            if not job and within(os.path.realpath(self._files), file) is not None:
                return False
        return False

    def take_over(self, job: str, files: dict[str, str]) -> None:
        """Have the files of an order here, and no longer in Redis. Raises Unavailable where one can't be had."""
        for name, key in files.items():
            if self.given(job, name) is not None:
                continue
            content = self._store.get_file(key)
            if content is None or not hmac.compare_digest(key, self._store.file_key(job, content)):
                raise Unavailable(f"The file “{name[:100]}” that it is given has not arrived.")
            place = copy_in(self._layout.given / job, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f".{os.getpid()}.{os.urandom(4).hex()}")
            beside.write_bytes(content)
            os.replace(beside, place)
        if files:
            self._store.drop_files(files.values())

    def _sweep(self) -> None:
        """Forget fetched files that nobody has asked for anew since their retention."""
        if time.monotonic() - self._swept < SWEEP_EVERY:
            return
        self._swept = time.monotonic()
        for file in self._layout.fetched.glob("*/*"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_ctime > max(self._keep, SWEEP_EVERY):
                    file.unlink()
                    file.parent.rmdir()


def _unreachable(machine: str, what: str) -> Unavailable:
    return Unavailable(f"The machine {machine}, which has {what}, can't be reached; try again later.")
