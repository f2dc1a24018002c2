"""Files across machines: what an execution made somewhere is read through Redis, in pieces."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis

from ..errors import InvalidParameter, Unavailable
from ..settings import Settings
from ..store.artifacts import SHOWN_MAX, Artifacts, copy_in, within
from . import rpc
from .lab_redis import FAULTS, LabRedis
from .trouble import away

PIECE = 1_000_000  # bytes that go through Redis at a time
LARGEST = 2_000_000_000  # bytes of a file that is fetched
HANDED_MAX = 50_000_000  # bytes of a file that is handed to another machine with an order
HANDED_SECONDS = 7 * 86400
WAIT = 5.0  # s for a piece
SWEEP_EVERY = 3600.0  # s


def link_key(store: LabRedis) -> bytes:
    """What the links of this lab are made with."""
    return bytes.fromhex(store.sign("links", ""))


class FleetFiles(Artifacts):
    """As `Artifacts`, over all machines of the lab."""

    def __init__(self, settings: Settings, store: LabRedis, machine_of: Callable[[str], str | None]) -> None:
        super().__init__(settings)
        self._store, self._machine_of = store, machine_of
        self._keep = settings.keep_seconds
        self._swept = -math.inf  # monotonic s

    def _load(self) -> bytes:
        """The same on all machines, so that a link works at every face."""
        self._key = self._key or link_key(self._store)
        return self._key

    # -- what executions made -----------------------------------------------------------------

    def made(self, job: str, file: str) -> Path | None:
        """A file in a job's data/, wherever it runs; None where there is none.

        Raises:
            Unavailable: its machine can't be reached.
        """
        if (path := super().made(job, file)) is not None:
            return path
        machine = self._machine_of(job)
        if machine is None or machine == self._store.machine:
            return None
        return self._fetch(machine, job, file)

    def _fetch(self, machine: str, job: str, file: str) -> Path | None:
        place = copy_in(self._layout.fetched, f"{job}/{file}")
        self._sweep()
        gone = Unavailable(f"The machine {machine}, which has this file, can't be reached; try again later.")
        try:
            about = self._piece(machine, job, file, 0, 0)
            if about is None:
                raise gone
            if about.get("size") is None or about["size"] > LARGEST:
                return None
            size, stamp = int(about["size"]), int(about["stamp"])
            place.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                if place.stat().st_size == size and place.stat().st_mtime_ns == stamp:
                    return place
            beside = place.with_name(f".{os.getpid()}.{os.urandom(4).hex()}")
            try:
                with open(beside, "wb") as out:
                    while (at := out.tell()) < size:
                        said = self._piece(machine, job, file, at, PIECE)
                        if said is None or not said.get("bytes"):
                            raise gone
                        out.write(said["bytes"])
                os.utime(beside, ns=(stamp, stamp))
                os.replace(beside, place)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
            return place
        except redis.RedisError as error:
            raise away(error) from error
        except OSError as error:
            raise gone from error

    def _piece(self, machine: str, job: str, file: str, offset: int, count: int) -> dict[str, Any] | None:
        call = {"do": "read", "name": job, "file": file, "offset": offset, "count": count}
        return rpc.ask(self._store, machine, call, WAIT, raw=True)

    def listing(self, job: str, most: int = SHOWN_MAX) -> tuple[tuple[str, int], ...]:
        """The files right in a job's data/, wherever it runs."""
        machine = self._machine_of(job)
        if machine is None or machine == self._store.machine:
            return super().listing(job, most)
        try:
            said = rpc.ask(self._store, machine, {"do": "files", "name": job, "most": most}, WAIT)
        except FAULTS as error:
            raise away(error) from error
        if said is None:
            raise Unavailable(f"The machine {machine}, which has these files, can't be reached; try again later.")
        return tuple((str(name), int(size)) for name, size in said.get("files", []))

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
        found = {}
        for name in names:
            path = None if self._is_made_on(machine, name) else self.find(name)
            if path is None:
                continue
            size = path.stat().st_size
            if size > HANDED_MAX:
                raise InvalidParameter(
                    f"The file “{name[:100]}” has {size} bytes; at most {HANDED_MAX} go along to {machine}: put it into"
                    " the files folder there."
                )
            content = path.read_bytes()
            key = self._key_for(job, content)
            try:
                self._store.redis.set(key, content, ex=HANDED_SECONDS)
            except FAULTS as error:
                raise away(error) from error
            found[name] = key
        return found

    def _is_made_on(self, machine: str, name: str) -> bool:
        """Whether that machine has the file itself: what its own look at the name finds is the same."""
        for job, file in self.meanings(name):
            if job and (home := self._machine_of(job)) is not None:
                return home == machine
            if not job and within(self._files, file) is not None:
                return False
        return False

    def _key_for(self, job: str, content: bytes) -> str:
        return self._store.key("file", job, hashlib.sha256(content).hexdigest())

    def take_over(self, job: str, files: dict[str, str]) -> None:
        """Have the files of an order here, and no longer in Redis. Raises Unavailable where one can't be had."""
        for name, key in files.items():
            if self.given(job, name) is not None:
                continue
            content = self._store.redis.get(key)
            if content is None or not hmac.compare_digest(key, self._key_for(job, content)):
                raise Unavailable(f"The file “{name[:100]}” that it is given has not arrived.")
            place = copy_in(self._layout.given / job, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f".{os.getpid()}.{os.urandom(4).hex()}")
            beside.write_bytes(content)
            os.replace(beside, place)
        if files:
            self._store.redis.delete(*files.values())

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
