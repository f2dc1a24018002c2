"""That this machine lives, told to Redis every two seconds; and what faces tell it: whom they were asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from .. import __version__
from ..jobs import presence
from ..jobs.here import Here
from ..settings import Settings
from .store import Store

BEAT_EVERY = 2.0  # s


class Pulse:
    """The hash <prefix>:machine:<name>."""

    def __init__(self, settings: Settings, store: Store, here: Here, offers: Iterable[str]) -> None:
        self.settings, self.store, self.here = settings, store, here
        self.offers = sorted(offers)
        self.drains = False
        self.offset = 0.0  # s: Redis' clock minus ours
        self._run_id = os.urandom(8).hex()
        self._beat = 0.0  # monotonic s

    def due(self) -> bool:
        """Whether it is time for a beat."""
        return time.monotonic() - self._beat >= BEAT_EVERY

    def beat(self, left: bool = False) -> bool:
        """Say that this machine lives, and what it offers: whether Redis still has what this process told before.

        Raises what Redis raises.
        """
        active = self.here.folder.active_names()
        queued = self.here.folder.queue().get("queued")
        now = self.store.now()
        self.offset = now - time.time()
        with self.store.redis.pipeline() as tell:
            key = self.store.key("machine", self.store.machine)
            tell.hget(key, "run")
            said = {
                "seen": now,
                "run": self._run_id,
                "version": __version__,
                "offers": json.dumps(self.offers),
                "active": len(active),
                "waiting": len(queued) if isinstance(queued, list) else 0,
                "lab": lab_digest(self.settings.lab),
                "state": "left" if left else "drains" if self.drains else "takes orders",
                "clock": -self.offset,
                "secret": self.store.fingerprint,
            }
            tell.hset(key, mapping=said)
            tell.sadd(self.store.key("machines"), self.store.machine)
            run = tell.execute()[0]
        self._beat = time.monotonic()
        return run is not None and run.decode() == self._run_id

    def hear(self, known: Collection[str]) -> None:
        """Hand on that executions were asked for, and that there are faces to ask: what `presence` needs.

        Args:
            known: those that this machine tells of.
        """
        with self.store.redis.pipeline() as asked:
            asked.spop(self.store.key("polled", self.store.machine), 1000)
            asked.zrevrange(self.store.key("faces"), 0, 0, withscores=True)
            asked.time()
            names, faces, now = asked.execute()
        for name in {n.decode() for n in names or ()} & set(known):
            self.here.polled(name)
        if faces and float(now[0]) - faces[0][1] < presence.FRESH:  # silence counts only while there is a face to ask
            with contextlib.suppress(OSError):
                self.here.signed()


def lab_digest(lab: Path) -> str:
    """Of lab.toml, to see whether all machines have the same."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(lab.read_bytes()).hexdigest()[:12]
    return ""
