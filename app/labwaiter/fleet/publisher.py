"""The jobs folder of this machine, shown in Redis: what a page needs of each execution, and that the machine lives.

Fields of <prefix>:job:<name> that are written here: request, machine, view (JSON), at (Redis' clock when it was told),
picture, page, held (an instrument that is not safe), settled (it has ended and left nothing behind), tombstone.
Redis away changes nothing here: once it is back, all of the folder is told anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ..errors import ServiceError
from ..model.record import Record, Request, State, View
from ..settings import Settings
from ..store import codec
from ..store.leases import Leases
from ..store.local_store import LocalStore
from ..system.watch import Watch
from . import trouble
from .heartbeat import Heartbeat
from .lab_redis import FAULTS, LabRedis

log = logging.getLogger(__name__)
TELL_EVERY = 0.3  # s between two tellings of one execution's progress
AT_ONCE = 1.0  # s that an execution has run while its changes are told at once: somebody waits for its first status
LOOK_EVERY = 1.0  # s: for what no event tells of, such as a log that grows
AGAIN_EVERY = 10.0  # s between two looks at what could not be read: each is noted in the log
SWEEP_EVERY = 600.0  # s between two looks for what retention has removed
BATCH = 500
TOGETHER = 20  # executions told in one transaction: another machine's commands wait for it
Told = tuple[float, bytes, object, bytes]  # when (monotonic s), digest, trace of files, digest of its picture


class Publisher:
    """Tells Redis of this machine, in a thread, until stopped."""

    def __init__(
        self, settings: Settings, store: LabRedis, local: LocalStore, offers: Callable[[], Iterable[str]]
    ) -> None:
        self.store, self.local = store, local
        self.heartbeat = Heartbeat(settings, store, local, offers)
        self._leases = Leases(settings.jobs_folder)
        self._told: dict[str, Told] = {}
        self._asked: set[str] = set()  # to be told now
        self._later: set[str] = set()  # that changed, and were told a moment ago
        self._held: set[str] = set()  # ended, with an instrument that is not safe: an operator will free it
        self._unread: set[str] = set()  # whose record could not be read
        self._queue: dict[str, object] = {}  # as it was looked at last
        self._synced = False
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._quiet = False  # that Redis is away was said already
        self._looked, self._retried, self._swept = 0.0, 0.0, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Tell what is new once more, and end."""
        self._stop.set()
        self._thread.join(10.0)
        with contextlib.suppress(*FAULTS):
            self._tell({*self.local.folder.active_names(), *self._told})
            self.heartbeat.beat(left=True)

    def ask(self, name: str) -> None:
        """Have this one told in a moment."""
        self._asked.add(name)

    def tell(self, name: str) -> None:
        """Tell this one now, where Redis is there."""
        try:
            self._tell([name])
        except FAULTS:
            self.ask(name)

    def refuse(self, name: str, request: Request, why: str) -> None:
        """Tell of an order that could not even be recorded here. Raises what Redis raises."""
        now = time.time()
        record = Record(name, request, State.FAILED, f"{self.store.machine}: {why}", ended=now)
        key = self.store.key("job", name)
        with self.store.redis.pipeline() as tell:
            view = codec.dump(View(record=record, now=now))
            tell.hset(key, mapping={"view": view, "at": now + self.heartbeat.offset, "settled": 1})
            tell.srem(self.store.key("active", self.store.machine), name)
            tell.publish(self.store.key("ended", name), "1")
            tell.execute()

    # -- the loop -----------------------------------------------------------------------------

    def _run(self) -> None:
        with Watch(self.local.folder.active) as watch:
            watched: set[str] = set()
            while not self._stop.is_set():
                try:
                    self.look(watch, watched)
                    if self._quiet:
                        log.warning("Redis is back; it is told everything anew")
                        self._quiet = False
                except FAULTS as error:
                    if not self._quiet:
                        log.warning("Redis is away; what runs goes on. %s", trouble.of(error).mend)
                    self._quiet, self._synced = True, False
                    self._stop.wait(1.0)
                except Exception:
                    log.exception("the publisher stumbled; it goes on")
                    self._stop.wait(1.0)

    def look(self, watch: Watch, watched: set[str]) -> None:
        """Tell what is new since the last look, waiting a moment for it. Raises what Redis raises.

        Args:
            watched: what the last look found active; this one's, afterwards.
        """
        now = time.monotonic()
        if self.heartbeat.due() and not self.heartbeat.beat() and self._synced:
            log.warning("Redis has lost what it was told, or another one is the master: it is told everything anew")
            self._synced = False
        if not self._synced:
            self._told.clear()
            self._all()
            self._synced = True
        active = set(self.local.folder.active_names())
        for name in active - watched:
            watch.add(self.local.folder.path(name))
        for name in watched - active:
            watch.remove(self.local.folder.path(name))
        fresh = active - watched
        watched.clear()
        watched.update(active)
        changed = {path.name for path in watch.wait(0.0 if fresh or set(self._told) - active else 0.25)} & active
        gone = set(self._told) - active  # also those that began and ended between two looks
        asked = self._asked.copy()
        self._asked -= asked  # others add to it meanwhile
        due: set[str] = set()
        if self._anyway():
            due = {n for n in active & set(self._told) if self.local.folder.trace(n) != self._told[n][2]}
            due |= self._held
            if now - self._retried >= AGAIN_EVERY:
                self._retried = now
                due |= self._unread
            due |= self._moved_up() & active
            if active:  # where its nursery died with it nobody else here looks, and the faces see what we tell
                self.local.have_supervisor()
        self._later = (self._later | changed) & active
        turn = {n for n in self._later if time.monotonic() - self._told.get(n, (0.0,))[0] >= TELL_EVERY}
        self._later -= turn
        self._tell(fresh | gone | asked | turn | due)
        for name in gone:
            self._told.pop(name, None)
            self.local.artifacts.drop_given(name)
        if now - self._swept > SWEEP_EVERY:
            self._swept = now
            self._all()

    def _moved_up(self) -> set[str]:
        """Those who wait here, if their places have changed."""
        queue = self.local.folder.queue()
        if queue == self._queue:
            return set()
        self._queue = queue
        queued = queue.get("queued")
        return {name for name in queued if isinstance(name, str)} if isinstance(queued, list) else set()

    def _anyway(self) -> bool:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        self.heartbeat.hear(set(self._told))
        return True

    # -- telling ------------------------------------------------------------------------------

    def _tell(self, names: Iterable[str]) -> None:
        """What is new of these, many in one round trip. Raises what Redis raises."""
        waiting = list(names)
        while waiting:
            batch, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            with self._turn, self.store.redis.pipeline() as tell:  # a call tells, too
                found = {name: self._say(tell, name) for name in batch}
                tell.execute()  # of nothing new it sends nothing
                self._told |= {name: told for name, told in found.items() if told}

    def _say(self, tell: Any, name: str) -> Told | None:
        """One execution, if there is something new of it: into the pipeline `tell`."""
        trace = self.local.folder.trace(name)
        self._unread.discard(name)
        try:
            record = self.local.record(name)
            view = self.local.view(record, None)
        except ServiceError as error:
            if isinstance(error.__cause__, OSError):
                self._unread.add(name)
            with contextlib.suppress(ServiceError):  # what can't be read now hides none of the others
                if self.local.buried(name):
                    self._bury(tell, name)
            return None
        picture, page = view.picture, view.own_page
        text = codec.dump(replace(view, picture=None, own_page=None))
        held = [lease.instrument for lease in self._leases.of_job(name)] if record.request.instruments else []
        (self._held.add if held and not record.active else self._held.discard)(name)
        settled = self.local.settled(name)
        shown = hashlib.sha256(picture or b"").digest()
        parts = (
            codec.dump(replace(view, picture=None, own_page=None, now=0.0, ran=None)),
            shown,
            (page or "").encode(),
            repr((held, settled)).encode(),
        )
        said = hashlib.sha256(b"\0".join(parts))
        before = self._told.get(name, (0.0, b"", None, b""))
        if before[1] == said.digest():
            return before[0], before[1], trace, before[3]
        key = self.store.key("job", name)
        fields: dict[str, object] = {
            "request": codec.dump(record.request),
            "machine": self.store.machine,
            "view": text,
            "at": view.now + self.heartbeat.offset,
        }
        more: dict[str, object] = {
            "settled": 1 if settled else None,
            "page": page.encode() if page else None,
            "held": json.dumps(held) if held else None,
        }
        if before[3] != shown:  # most of the bytes, and it changes seldom
            more["picture"] = picture
        tell.hset(key, mapping=fields | {name: value for name, value in more.items() if value is not None})
        if gone := [name for name, value in more.items() if value is None]:
            tell.hdel(key, *gone)
        tell.zadd(self.store.key("jobs"), {name: record.request.created})
        active = self.store.key("active", self.store.machine)
        if record.active:
            tell.sadd(active, name)
        else:
            tell.srem(active, name)
        if settled:
            tell.publish(self.store.key("ended", name), "1")
        steady = record.started is not None and view.now - record.started > AT_ONCE
        return time.monotonic() if steady else 0.0, said.digest(), trace, shown

    def _bury(self, tell: Any, name: str) -> None:
        stone = self.local.folder.tombstone(name)
        said = json.dumps({"service": stone.service if stone else "", "removed": stone.removed if stone else 0.0})
        key = self.store.key("job", name)
        tell.delete(key)
        tell.hset(key, "tombstone", said)
        tell.zrem(self.store.key("jobs"), name)
        tell.srem(self.store.key("active", self.store.machine), name)

    def _all(self) -> None:
        """Everything that Redis doesn't know: all that runs or waits, and the ends and tombstones that it lacks."""
        active = set(self.local.folder.active_names())
        self._tell(active | {lease.job for lease in self._leases.all().values() if lease.job})
        self.local.artifacts.sweep_given(active)
        ended = [name for name in self.local.folder.names() if name not in active]
        for start in range(0, len(ended), BATCH):
            batch = ended[start : start + BATCH]
            with self.store.redis.pipeline(transaction=False) as asked:
                for name in batch:
                    asked.hmget(self.store.key("job", name), "settled", "tombstone")
                self._tell(
                    name
                    for name, (settled, stone) in zip(batch, asked.execute(), strict=True)
                    if stone is None and (settled is None or self.local.buried(name))
                )
