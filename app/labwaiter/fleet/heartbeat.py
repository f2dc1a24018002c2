"""That this machine lives, told to Redis every two seconds; and what faces tell it: whom they were asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from .. import __version__
from ..settings import Settings
from ..store import web_side
from ..store.files import read_record, write_whole
from ..store.local_store import LocalStore
from ..system.process import boot_id
from .lab_redis import FAULTS, SILENT, LabRedis

log = logging.getLogger(__name__)
BEAT_EVERY = 2.0  # s
WARN_EVERY = 60.0  # s


class Heartbeat:
    """The hash <prefix>:machine:<name>."""

    def __init__(
        self, settings: Settings, store: LabRedis, local: LocalStore, offers: Callable[[], Iterable[str]]
    ) -> None:
        self.settings, self.store, self.local = settings, store, local
        self._offers = offers
        self.drains = False
        self.offset = 0.0  # s: Redis' clock minus ours
        self._run_id = os.urandom(8).hex()
        self._id = machine_id(local.folder.layout.machine_id)
        self._beat = 0.0  # monotonic s
        self._master: tuple[str, int] | None = None
        self._again = False  # whether this process has told already
        self._warned = -math.inf  # monotonic s

    def due(self) -> bool:
        """Whether it is time for a beat."""
        return time.monotonic() - self._beat >= BEAT_EVERY

    def beat(self, left: bool = False) -> bool:
        """Say that this machine lives, and what it offers: whether Redis still has what this process told before.

        Raises what Redis raises.
        """
        active = self.local.folder.active_names()
        queued = self.local.folder.queue().get("queued")
        master = self.store.master()
        now = self.store.now()
        self.offset = now - time.time()
        with self.store.redis.pipeline() as tell:
            key = self.store.key("machine", self.store.machine)
            tell.hmget(key, "run", "id")
            said = {
                "seen": now,
                "run": self._run_id,
                "id": self._id,
                "host": socket.gethostname(),
                "version": __version__,
                "offers": json.dumps(sorted(self._offers())),
                "active": len(active),
                "waiting": len(queued) if isinstance(queued, list) else 0,
                "lab": lab_digest(self.settings.lab),
                "state": "left" if left else "drains" if self.drains else "takes orders",
                "clock": -self.offset,
                "secret": self.store.fingerprint,
            }
            tell.hset(key, mapping=said)
            tell.sadd(self.store.key("machines"), self.store.machine)
            run, other = tell.execute()[0]
        self._beat = time.monotonic()
        if other is not None and other.decode() != self._id and run.decode() != self._run_id and self._again:
            if time.monotonic() - self._warned > WARN_EVERY:
                self._warned = time.monotonic()
                log.error("another worker calls itself %s, too: give one of them another MACHINE", self.store.machine)
            return True
        self._again = True
        same, self._master = master == self._master, master  # another master may lack what the last one was told
        return same and run is not None and run.decode() == self._run_id

    def refusal(self) -> str:
        """Why this worker may not begin: another one lives under its name; "" if none does, or Redis is away."""
        try:
            with self.store.redis.pipeline(transaction=False) as asked:
                asked.hmget(self.store.key("machine", self.store.machine), "seen", "id", "state", "host")
                asked.time()
                (seen, other, state, host), now = asked.execute()
        except FAULTS:
            return ""
        ago = float(now[0]) - float(seen or 0.0)
        if other is None or other.decode() == self._id or state == b"left" or ago > SILENT:
            return ""
        where = host.decode("utf-8", "replace") if host else "another host"
        return (
            f"Another worker calls itself {self.store.machine}: it was seen {max(0.0, ago):.0f} s ago, on {where}. Give"
            " this one another MACHINE and a table of that name in lab.toml; or, if it is the same machine with a new"
            " jobs folder, begin it again in a moment."
        )

    def hear(self, known: Collection[str]) -> None:
        """Hand on that executions were asked for, and that there are faces to ask: what `silence_watch` needs.

        Args:
            known: those that this machine tells of.
        """
        with self.store.redis.pipeline() as asked:
            asked.spop(self.store.key("polled", self.store.machine), 1000)
            asked.zrevrange(self.store.key("faces"), 0, 0, withscores=True)
            asked.time()
            names, faces, now = asked.execute()
        for name in {n.decode() for n in names or ()} & set(known):
            self.local.polled(name)
        if faces and float(now[0]) - faces[0][1] < web_side.FRESH:  # silence counts only while there is a face to ask
            with contextlib.suppress(OSError):
                self.local.signed()


def machine_id(file: Path) -> str:
    """What tells two machines of one name apart: kept in the jobs folder; where that was copied, by their kernels."""
    kept = read_record(file, 1000)
    if not kept:
        kept = os.urandom(16).hex().encode()
        write_whole(file, kept, durable=True)
    return hashlib.sha256(kept + boot_id().encode()).hexdigest()[:32]


def lab_digest(lab: Path) -> str:
    """Of lab.toml, to see whether all machines have the same."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(lab.read_bytes()).hexdigest()[:12]
    return ""
