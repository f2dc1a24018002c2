"""The jobs folder of this machine, shown in Redis: what a page needs of each execution, and that the machine lives.

Redis away changes nothing here: once it is back, all of the folder is published anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..errors import ServiceError
from ..model.record import Record, Request, State, View
from ..settings import Settings
from ..store import codec
from ..store.leases import Leases
from ..store.local_store import LocalStore
from ..system.watch import Watch
from ..verbs.instruments import Instruments
from ..verbs.monitoring import Monitoring
from . import instruments_told, redis_faults
from .fleet_store import FleetStore, Publication, Removal
from .heartbeat import Heartbeat
from .redis_faults import FAULTS

log = logging.getLogger(__name__)
PUBLISH_EVERY = 0.3  # s between two publications of one execution's progress
AT_ONCE = 1.0  # s that an execution has run while its changes are told at once, until its first status: who started it
# waits for that
LOOK_EVERY = 1.0  # s: for what no event tells of, such as a log that grows
REST, REST_MAX = 4.0, 0.05  # between two looks: as many times what the last one took; s
AGAIN_EVERY = 10.0  # s between two looks at what could not be read: each is noted in the log
SWEEP_EVERY = 600.0  # s between two looks for what retention has removed
BATCH = 500
TOGETHER = 20  # executions published in one transaction: another machine's commands wait for it


@dataclass(frozen=True)
class Published:
    """What this machine remembers of what it has published of one execution."""

    at: float = 0.0  # monotonic s; 0.0: what changes is published at once
    digest: bytes = b""
    trace: object = None  # of its files
    picture: bytes = b""  # digest
    active: bool = False  # it waited or ran


class Publisher:
    """Tells Redis of this machine, in a thread, until stopped."""

    def __init__(
        self, settings: Settings, store: FleetStore, local: LocalStore, offers: Callable[[], Iterable[str]]
    ) -> None:
        """
        Args:
            offers: the services that this machine offers now.
        """
        self.store, self.local = store, local
        self.heartbeat = Heartbeat(settings, store, local, offers)
        self._leases = Leases(settings.jobs_folder)
        self._instruments, self._monitoring = Instruments(settings), Monitoring(settings)
        self._told = b""  # what was told of the instruments last
        self._published: dict[str, Published] = {}
        self._asked: set[str] = set()  # to be published now
        self._later: set[str] = set()  # that changed, and were published a moment ago
        self._held: set[str] = set()  # ended, with an instrument that is not safe: an operator will free it
        self._unread: set[str] = set()  # whose record could not be read
        self._unmarked: set[str] = set()  # that go on, though their active mark was lost
        self._queue: dict[str, object] = {}  # as it was looked at last
        self._synced = False
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._quiet = False  # that Redis is away was logged already
        self._looked, self._retried, self._swept = 0.0, 0.0, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Publish from now on."""
        self._thread.start()

    def close(self) -> None:
        """Publish what is new once more, and end."""
        self._stop.set()
        self._thread.join(10.0)
        with contextlib.suppress(*FAULTS):
            self._publish({*self.local.folder.active_names(), *self._published})
            self.heartbeat.beat(left=True)

    def ask(self, name: str) -> None:
        """Have this one published in a moment."""
        self._asked.add(name)

    def tell(self, name: str) -> None:
        """Publish this one now, where Redis is there."""
        try:
            self._publish([name])
        except FAULTS:
            self.ask(name)

    def tell_instruments(self) -> None:
        """Tell how the instruments stand, where that differs from what was told and Redis is there."""
        try:
            self._tell_instruments()
        except FAULTS:
            self._told = b""

    def _tell_instruments(self) -> None:
        """Likewise. Raises what Redis raises."""
        told = instruments_told.tell(self._instruments, self._monitoring)
        if told != self._told:
            self.store.tell_instruments(self.store.machine, told)
            self._told = told

    def refuse(self, name: str, request: Request, why: str) -> None:
        """Publish the end of an order that could not even be recorded here. Raises what Redis raises."""
        now = time.time()
        record = Record(name, request, State.FAILED, f"{self.store.machine}: {why}", ended=now)
        self.store.publish(
            self.store.machine,
            [
                Publication(
                    name,
                    codec.dump(request),
                    request.created,
                    codec.dump(View(record=record, now=now)),
                    at=now + self.heartbeat.offset,
                    active=False,
                    settled=True,
                    same_picture=True,  # there is none
                )
            ],
        )

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
                        log.warning("Redis is away; what runs goes on. %s", redis_faults.of(error).mend)
                    self._quiet, self._synced = True, False
                    self._stop.wait(1.0)
                except Exception:
                    log.exception("the publisher stumbled; it goes on")
                    self._stop.wait(1.0)

    def look(self, watch: Watch, watched: set[str]) -> None:
        """Publish what is new since the last look, waiting a moment for it. Raises what Redis raises.

        Args:
            watched: what the last look found active; this one's, afterwards.
        """
        now = time.monotonic()
        if self.heartbeat.due() and not self.heartbeat.beat() and self._synced:
            log.warning("Redis has lost what it was told, or another one is the master: it is told everything anew")
            self._synced = False
        if not self._synced:
            self._published.clear()
            self._told = b""
            self._publish_all()
            self._synced = True
        active = set(self.local.folder.active_names())
        for name in active - watched:
            watch.add(self.local.folder.path(name))
        for name in watched - active:
            watch.remove(self.local.folder.path(name))
        fresh = active - watched
        watched.clear()
        watched.update(active)
        wait = 0.0 if fresh or set(self._published) - active - self._unmarked else 0.25
        changed = {path.name for path in watch.wait(wait)} & active
        began = time.monotonic()
        gone = set(self._published) - active  # also those that began and ended between two looks
        asked = self._asked.copy()
        self._asked -= asked  # others add to it meanwhile
        due: set[str] = set()
        if self._look_is_due():
            self.heartbeat.hear(set(self._published))
            self._tell_instruments()
            due = {n for n in active & set(self._published) if self.local.folder.trace(n) != self._published[n].trace}
            due |= self._held
            if now - self._retried >= AGAIN_EVERY:
                self._retried = now
                due |= self._unread
            due |= self._moved_up() & active
            if active:  # where its fork server died with it nobody else here looks, and the faces see what we tell
                self.local.have_supervisor()
        self._later = (self._later | changed) & active
        before = Published()
        turn = {n for n in self._later if time.monotonic() - self._published.get(n, before).at >= PUBLISH_EVERY}
        self._later -= turn
        self._publish(fresh | gone | asked | turn | due)
        # of one that goes on the mark alone was lost: our look has set it anew, and its end is still to be told
        self._unmarked = {name for name in gone if self._published.get(name, before).active}
        for name in gone - self._unmarked:
            self._published.pop(name, None)
            self.local.artifacts.drop_given(name)
        if now - self._swept > SWEEP_EVERY:
            self._swept = now
            self._publish_all()
        if fresh or gone or turn:  # what else changes in a moment is told with the next
            self._stop.wait(min(REST * (time.monotonic() - began), REST_MAX))

    def _moved_up(self) -> set[str]:
        """Those who wait here, if their places have changed."""
        queue = self.local.folder.queue()
        if queue == self._queue:
            return set()
        self._queue = queue
        queued = queue.get("queued")
        return {name for name in queued if isinstance(name, str)} if isinstance(queued, list) else set()

    def _look_is_due(self) -> bool:
        """Whether it is time to look for what no event tells of."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        return True

    # -- publishing ---------------------------------------------------------------------------

    def _publish(self, names: Iterable[str]) -> None:
        """What is new of these, many in one round trip. Raises what Redis raises."""
        waiting = list(names)
        while waiting:
            batch, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            with self._turn:  # a call publishes, too
                changes: list[Publication | Removal] = []
                published = {name: self._change(changes, name) for name in batch}
                self.store.publish(self.store.machine, changes)
                for name, now in published.items():
                    if now is not None:
                        self._published[name] = now
                    elif name in self._published:  # it can't be read, or has been removed
                        self._published[name] = replace(self._published[name], active=False)

    def _change(self, changes: list[Publication | Removal], name: str) -> Published | None:
        """Add what is new of one execution to `changes`, if anything is."""
        trace = self.local.folder.trace(name)
        self._unread.discard(name)
        try:
            record = self.local.record(name)
            view = replace(self.local.view(record, None), timeline=self.local.timeline(name))
        except ServiceError as error:
            if isinstance(error.__cause__, OSError):
                self._unread.add(name)
            with contextlib.suppress(ServiceError):  # what can't be read now hides none of the others
                if (tombstone := self.local.buried(name)) is not None:
                    changes.append(Removal(name, tombstone))
            return None
        picture, page = view.picture, view.own_page
        view = replace(view, picture=None, own_page=None)
        held = tuple(lease.instrument for lease in self._leases.of_job(name)) if record.request.instruments else ()
        (self._held.add if held and not record.active else self._held.discard)(name)
        settled = self.local.settled(name)
        picture_digest = hashlib.sha256(picture or b"").digest()
        parts = (
            codec.dump(replace(view, now=0.0, ran=None)),
            picture_digest,
            (page or "").encode(),
            repr((held, settled)).encode(),
        )
        digest = hashlib.sha256(b"\0".join(parts)).digest()
        before = self._published.get(name, Published())
        if before.digest == digest:
            return replace(before, trace=trace)
        changes.append(
            Publication(
                name,
                codec.dump(record.request),
                record.request.created,
                codec.dump(view),
                at=view.now + self.heartbeat.offset,
                active=record.active,
                settled=settled,
                held=held,
                page=page,
                picture=picture,
                same_picture=before.picture == picture_digest,
            )
        )
        has_status = view.progress.fraction is not None or bool(view.progress.stage)
        steady = record.started is not None and (has_status or view.now - record.started > AT_ONCE)
        return Published(time.monotonic() if steady else 0.0, digest, trace, picture_digest, record.active)

    def _publish_all(self) -> None:
        """Everything that Redis doesn't know: all that runs or waits, and the ends and tombstones that it lacks."""
        active = set(self.local.folder.active_names())
        self._publish(active | {lease.job for lease in self._leases.all().values() if lease.job})
        self.local.artifacts.sweep_given(active)
        names = [name for name in self.local.folder.names() if name not in active]
        for start in range(0, len(names), BATCH):
            ends = self.store.unended(names[start : start + BATCH])
            self._publish(name for name, settled in ends.items() if not settled or self.local.buried(name))
