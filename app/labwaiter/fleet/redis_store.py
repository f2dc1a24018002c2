"""A face's records: all machines of the lab, over Redis.

Where Redis is away, what this face last knew is told with its age; where a machine is, what it published last.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ..errors import Misconfigured, Removed, Unavailable, UnknownServiceID
from ..lab import labfile
from ..model.record import Happening, Moment, Owner, Record, Request, State, Tombstone, View
from ..model.sentences import N_
from ..page.words import clock
from ..settings import Settings
from ..store import codec, records
from ..store.limits import Limits, not_recorded, owner_of
from ..store.local_store import LocalStore
from ..store.names import folder_name
from ..system.process import boot_clock
from . import breaker, calls, redis_faults, rpc
from .cache import Cache, CacheEntry
from .files import FleetFiles
from .fleet_store import LEFT, SILENT_SECONDS, TAKES_ORDERS, FleetStore, Removal, Revision, Snapshot
from .lab_redis import LabRedis
from .look import WITHDRAWN, FleetLook, entry_of, of_cache, of_snapshot, reached, withdrawn
from .order import Order
from .poll_marks import PollMarks
from .redis_faults import FAULTS, away
from .route import machine_for

log = logging.getLogger(__name__)
T = TypeVar("T")
NOTE_EVERY = 5.0  # s between two notes of one execution's progress in the cache
MACHINE_EVERY = 1.0  # s between two looks at whether a machine lives
ENDS = (str(State.COMPLETED), str(State.FAILED))  # that a machine has published: nothing comes after them
BATCH = 500
QUEUE_SECONDS = 3.0  # that a message may wait behind those that came to its machine before it
REMOVE_WAIT = 5.0  # s
UNKEPT = (
    "This is not certain yet: no replica of the Redis between the machines of this lab has it; try it again, under the"
    " same serviceID."
)


@dataclass(frozen=True)
class Mirror:
    """How old what a face tells of other machines may be."""

    answers: bool  # Redis does
    is_broken: bool  # this process has seen it hang, and doesn't ask it: `breaker`
    ages: dict[str, float]  # s since each machine was last heard of that has not left, as far as is known


class RedisStore:
    """The records of all machines: `store.records.Records`."""

    def __init__(self, settings: Settings, store: FleetStore | None = None) -> None:
        """
        Args:
            store: between the machines; the Redis that the settings name unless given.

        Raises:
            Misconfigured: REDIS_URL is no URL of a Redis.
        """
        self.settings = settings
        self.store = breaker.guarded(store or LabRedis(settings))
        self._lab_file = labfile.WatchedLab(settings.lab)
        self.cache = Cache(settings.jobs_folder, settings.keep_seconds)
        self.artifacts = FleetFiles(settings, self.store, self.machine_of)
        self._local = LocalStore(settings)  # this face may be on the machine that has it
        self._last = threading.local()  # .found: the record that this thread found last, and its revision; or None
        self._heard: dict[str, Heard] = {}  # by machine
        self._limits: dict[str, Limits] = {}  # by machine
        self._mirrored: tuple[dict[str, float], float] = {}, 0.0  # the ages of `mirror`, and when (monotonic s)
        self._away = False  # that Redis is, was logged already
        self._poll_marks = PollMarks(lambda machine, names: self.store.polled(machine, names))

    def unserved(self) -> str:
        """Why Redis doesn't answer."""
        try:
            self.store.ping()
        except FAULTS as error:
            return N_(f"Redis {redis_faults.of(error).why}")
        return ""

    def crowded(self) -> str:
        """Whether no machine takes orders now."""
        try:
            entries, now = self.store.machine_entries(sorted(self.store.machines()))
        except FAULTS as error:
            return N_(f"Redis {redis_faults.of(error).why}")
        beats = [entry.beat for entry in entries if entry.beat is not None]
        takes = any(beat.state == TAKES_ORDERS and now - beat.seen <= SILENT_SECONDS for beat in beats)
        return "" if takes else "no machine takes orders"

    def mirror(self) -> Mirror:
        """How much of what is told of the machines is of now. While Redis is away, what was known last grows old."""
        try:
            names = sorted(self.store.machines())
            entries, now = self.store.machine_entries(names)
        except FAULTS:
            ages, known_at = self._mirrored
            grown = time.monotonic() - known_at
            return Mirror(False, breaker.is_open(self.store), {name: age + grown for name, age in ages.items()})
        beats = {name: entry.beat for name, entry in zip(names, entries, strict=True)}
        ages = {name: max(0.0, now - beat.seen) for name, beat in beats.items() if beat and beat.state != LEFT}
        self._mirrored = ages, time.monotonic()
        return Mirror(True, breaker.is_open(self.store), ages)

    # -- looking ------------------------------------------------------------------------------

    def find(self, name: str) -> FleetLook | None:
        """What is known of an execution; None where nothing was started, or a tombstone is left.

        Raises:
            Unavailable: nothing can be known now.
        """
        try:
            snapshot = self.store.snapshot(name)
            if snapshot.tombstone:
                self.cache.forget(name)
                return None
            if snapshot.request is None:
                return self._forgotten(name)
            look = _read(snapshot)
            before = self.cache.read(name) or CacheEntry()
            if before.state in ENDS and not look.ended and (ended := of_cache(name, before)) is not None:
                return ended  # a Redis that was put back to an earlier time is told soon
            self._remember(snapshot, look, before)
            look = self._reached(look, snapshot.now)
            if look.published is None and not look.note:
                look = replace(look, place=self.store.place(look.machine, name))
        except FAULTS as error:
            if not self._away:
                self._away = True
                log.warning("What was last known is told. %s", redis_faults.of(error).mend)
            if (cached := self._cached(name)) is None:
                raise away(error) from error
            return cached
        if self._away:
            self._away = False
            log.warning("Redis answers again")
        told = look.at is not None and look.as_of is None and not look.note
        self._last.found = (look.record, snapshot.revision) if told else None
        return look

    def timeline(self, name: str) -> tuple[Happening, ...]:
        """As its machine has published it."""
        look = self.find(name)
        if look is None:
            raise UnknownServiceID(records.UNKNOWN)
        return look.published.timeline if look.published is not None else ()

    def _cached(self, name: str) -> FleetLook | None:
        return of_cache(name, self.cache.read(name))

    def _remember(self, snapshot: Snapshot, look: FleetLook, before: CacheEntry) -> None:
        """In the cache: each state as soon as it is seen, progress every 5 s."""
        assert snapshot.request is not None
        entry = entry_of(look, snapshot.request, snapshot.view, before)
        news = (entry.state, entry.abort) != (before.state, before.abort) or not before.request
        if news or (entry.view != before.view and entry.at - before.at >= NOTE_EVERY):
            self.cache.write(snapshot.name, entry)

    def _reached(self, look: FleetLook, now: float) -> FleetLook:
        """With what is to be said of the way to its machine (`now`: Redis' clock, s)."""
        if look.ended:
            return look
        heard = self._heard.get(look.machine, Heard())
        if time.monotonic() - heard.asked > MACHINE_EVERY or now - heard.seen > SILENT_SECONDS:
            beat, now = self.store.last_beat(look.machine)
            seen, left = (beat.seen, beat.state == LEFT) if beat else (0.0, False)
            heard = self._heard[look.machine] = Heard(seen, left, now - seen, time.monotonic())
        return reached(look, now, heard.seen, heard.left)

    def _forgotten(self, name: str) -> FleetLook | None:
        """Redis knows nothing of it. What was ordered here is ordered again; what was taken, its machine tells anew."""
        entry = self.cache.certain(name)  # nothing is said of it where that can't be read
        look = of_cache(name, entry)
        if entry is None or look is None:
            return None
        if look.published is not None:
            if look.ended:
                return look
            return replace(
                look, note=N_(f"Nothing is in Redis of this execution; this is as of {clock(look.as_of or 0.0)}.")
            )
        if look.abort:  # it was aborted before Redis forgot it
            view = withdrawn(name, look.request, look.as_of or 0.0)
            return replace(look, published=view, settled=True, as_of=None, note="")
        log.warning("%s is not in Redis any more; it is ordered again", name)
        text = entry.request.encode()
        self.store.order(Order.make(self.store.seals, name, look.machine, look.request, text, entry.files))
        return replace(look, as_of=None, note="")

    def machine_of(self, name: str) -> str | None:
        """The machine that has an execution; None where nobody knows of it."""
        look = self.find(name)
        return look.machine if look else None

    def request(self, name: str) -> Request | None:
        """What was asked."""
        look = self.find(name)
        return look.request if look else None

    def buried(self, name: str) -> Tombstone | None:
        """What its machine has told of its tombstone."""
        try:
            return self.store.snapshot(name, brief=True).tombstone
        except FAULTS as error:
            raise away(error) from error

    def look(self, name: str, judge: Callable[[Request], None] | None = None) -> records.Look:
        """As its machine last told it."""
        try:
            look = self.find(name)
        except Unavailable:
            if self._local.request(name) is None:
                raise
            local = self._local.look(name, judge)
            return replace(local, record=replace(local.record, machine=self.settings.machine))
        if look is None:
            raise self._none(name)
        if judge is not None:
            judge(look.request)
        return records.Look(look.record, look.view)

    def _none(self, name: str) -> UnknownServiceID:
        """That there is no such execution."""
        tombstone = self.buried(name)
        return UnknownServiceID(records.UNKNOWN) if tombstone is None else Removed(records.REMOVED, tombstone)

    def record(self, name: str) -> Record:
        """As its machine last told it."""
        return self.look(name).record

    def stamps(self, view: View, read_from: float) -> FleetRevision | None:
        """Of one that Redis tells of, whose machine is there: this thread found it just now."""
        found: tuple[Record, Revision] | None = getattr(self._last, "found", None)
        if found is None or found[0] is not view.record:
            return None
        return FleetRevision(self, *found, view.moment, boot_clock())

    def is_same(self, found: FleetRevision) -> bool:
        """Whether a look at an execution whose machine is there would find the same; False where that isn't known."""
        if found.record.active:
            heard = self._heard.get(found.record.machine, Heard())
            if heard.left or time.monotonic() - heard.asked > MACHINE_EVERY or heard.age > SILENT_SECONDS / 2:
                return False
        try:
            return self.store.revision(found.record.name) == found.revision
        except FAULTS:
            return False

    def revision(self, name: str = "") -> str | None:
        """Nothing tells that but a look."""
        return None

    def names(self, active: bool = False) -> Iterable[str]:
        """All that Redis knows, or where it is away, this face."""
        return [name for _, name in self.times()]

    def times(self) -> list[tuple[float, str]]:
        """By when they were started, as Redis knows it; a face alone doesn't."""
        try:
            return self.store.started()
        except FAULTS:
            return [(math.inf, name) for name in self.cache.names()]

    def every(
        self, left_out: list[str] | None = None, brief: bool = False, names: Iterable[str] | None = None
    ) -> Iterable[Record]:
        """These executions of the lab, many in one round trip."""
        waiting = list(self.names() if names is None else names)
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            try:
                looks = list(self._listed(batch))
            except FAULTS:
                batch, waiting = batch + waiting, []
                looks = [look for name in batch if (look := self._cached(name)) is not None]
            yield from (look.record for look in looks)

    def _listed(self, names: list[str]) -> Iterator[FleetLook]:
        for snapshot in self.store.snapshots(names):
            if snapshot.tombstone:
                continue
            if snapshot.request is None:
                look = self._cached(snapshot.name)
                if look is not None:
                    yield look
                continue
            with contextlib.suppress(Unavailable):
                yield self._reached(_read(snapshot), snapshot.now)

    def polled(self, record: Record) -> None:
        """Have its machine told, once a second at most."""
        if record.machine and record.active and record.as_of is None:
            self._poll_marks.mark(record.machine, record.name)

    def signed(self, anew: bool = False) -> None:
        """Tell the machines that this face is there to be asked."""
        with contextlib.suppress(*FAULTS):
            self.store.master()
            self.store.face_seen()

    def told(self, name: str) -> float | None:
        """By Redis' clock, whichever face told it first."""
        try:
            return self.store.seconds_told(name)
        except FAULTS:
            return self.cache.seconds_told(name)

    # -- starting -----------------------------------------------------------------------------

    def admit(self, request: Request) -> Callable[[bool], None]:
        """Refuse where its machine has as many as it may, of all or of its owner, or its user starts too many here.

        Also what would need a token on its way.
        """
        if request.signature.get("session_token"):
            raise Unavailable(
                f"{request.service} needs its caller's sessionToken, which is not handed on over Redis: it can be"
                " started on a deployment of one machine."
            )
        name = folder_name(request.service_id)
        machine = self._machine(name, request)
        active = functools.partial(self._asked, lambda: self.store.active(machine))
        try:
            return self._limits_of(machine).admit(name, request, active, f" on {machine}")
        except OSError as error:
            raise not_recorded(name, error) from error

    def _asked(self, ask: Callable[[], T]) -> T:
        """What the store answers. Raises Unavailable where it doesn't."""
        try:
            return ask()
        except FAULTS as error:
            raise away(error) from error

    def _limits_of(self, machine: str) -> Limits:
        """A machine's: what is remembered of whose its executions are is of this machine's alone."""
        return self._limits.setdefault(machine, Limits(self.settings, self._owners))

    def _owners(self, names: Collection[str]) -> dict[str, Owner]:
        """Whose executions these are. Raises Unavailable."""
        owners, waiting = {}, list(names)
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            for snapshot in self._asked(functools.partial(self.store.snapshots, batch)):
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    owners[snapshot.name] = owner_of(codec.request(snapshot.request) if snapshot.request else None)
        return owners

    def claim(self, name: str, request: Request, token: str = "") -> bool:
        """Record and order it, in one transaction."""
        machine = self._machine(name, request)
        files = self.artifacts.handed_over(name, request.files, machine)
        text = codec.dump(request)
        self.cache.write(name, CacheEntry(text.decode(), machine, at=time.time(), files=files))
        try:
            ordered = self.store.order(Order.make(self.store.seals, name, machine, request, text, files))
            self._see_replica(name)
            return ordered
        except (Unavailable, *FAULTS) as error:
            self.cache.forget(name)  # its caller is told that it was not started
            log.exception("%s can't be ordered", name)
            if isinstance(error, Unavailable):
                raise
            raise away(error) from error

    def keep(self, name: str) -> None:
        """An order that was given before may be on one server alone."""
        try:
            look = self.find(name) if self.store.fails_over else None
            if look is not None and look.published is None:
                self._see_replica(name)
        except FAULTS as error:
            raise away(error) from error

    def _see_replica(self, name: str) -> None:
        if not self.store.has_replica(name):
            raise Unavailable(UNKEPT)

    def _machine(self, name: str, request: Request) -> str:
        try:
            return machine_for(self._lab_file.load(), name, request)
        except Misconfigured as error:
            log.exception("%s", error)
            raise Unavailable("This deployment's lab.toml has a mistake; tell the administrator.") from error

    # -- speaking to it -----------------------------------------------------------------------

    def abort_unread(self, name: str, wait: float) -> bool | None:
        """Where it is on this machine."""
        return self._local.abort_unread(name, wait)

    def abort(self, record: Record, wait: float, by: str = "") -> bool:
        """Have its machine stop it; what no machine has taken yet is withdrawn."""
        name, machine, until = record.name, record.machine, time.monotonic() + wait
        try:
            if not record.active and not self.store.snapshot(name, brief=True).held:
                return True
            self.store.wish_abort(name)
            look = self.find(name)  # and this face's cache knows of the abort
            is_withdrawn = look is not None and look.published is None and self.withdraw(look)
            if is_withdrawn and not self.store.fails_over:
                return True
            # what its machine has taken may lie in the queue of another master again: the machine knows
            answer = rpc.ask(self.store, machine, calls.Abort(name, by), wait, stays=math.inf)
            if is_withdrawn and answer is not None and answer.unknown:
                return True
            if look is not None and look.refused and (answer is None or answer.unknown):
                return self.withdraw(look, taken=True)
            if answer is not None and answer.unknown:  # it is just being taken
                gone = self.ended(name, until - time.monotonic()) is not None
            else:
                gone = answer is not None and answer.gone
            if not gone:
                self._see_replica(name)  # the wish, that goes on by itself
            return gone
        except FAULTS as error:
            if self._local.request(name) is not None:
                return self._local.abort(replace(record, machine=""), max(0.0, until - time.monotonic()), by)
            raise away(error) from error

    def withdraw(self, look: FleetLook, why: str = WITHDRAWN, taken: bool = False) -> bool:
        """Take an order back; False where its machine was faster. Raises redis.RedisError, Unavailable.

        Args:
            taken: its machine took it from the queue and refused it.
        """
        view = withdrawn(look.name, look.request, time.time(), why)
        text, keep_seconds = codec.dump(view), max(60, int(self.settings.keep_seconds))
        if not self.store.withdraw(look.name, look.machine, text, keep_seconds, taken):
            return False
        self._see_replica(look.name)
        request, state = codec.dump(look.request).decode(), str(view.record.state)
        self.cache.write(look.name, CacheEntry(request, look.machine, text.decode(), state, at=view.now))
        return True

    def notify(self, record: Record, message: str, wait: float, by: str = "") -> str:
        """Have its machine hand it over."""
        try:
            answer = rpc.ask(self.store, record.machine, calls.Notify(record.name, message, by), wait + QUEUE_SECONDS)
        except FAULTS as error:
            raise away(error) from error
        if answer is None:
            raise Unavailable(
                f"The machine {record.machine} does not take this message now; it was not delivered: send it again."
            )
        return answer.reply

    def ended(self, name: str, wait: float) -> Record | None:
        """Once its machine tells its end."""
        until = time.monotonic() + wait
        try:
            with self.store.endings(name) as wait_for_end:
                while True:
                    look = self.find(name)
                    if look is None:
                        raise self._none(name)
                    if not look.record.active and look.settled:
                        return look.record
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    wait_for_end(min(left, 1.0))
        except FAULTS:
            record = self.record(name)
            if record.active:
                time.sleep(max(0.0, min(1.0, until - time.monotonic())))  # Redis is away: nobody can tell of an end
            return None if record.active else record

    def bury(self, record: Record, by: str = "") -> None:
        """Have its machine remove it; one that no machine ever took is but a record in Redis."""
        try:
            try:
                answer = rpc.ask(self.store, record.machine, calls.Remove(record.name, by), REMOVE_WAIT)
            except UnknownServiceID:
                if not self.store.remove_withdrawn(Removal(record.name, Tombstone.of(record.request, time.time()))):
                    raise
            else:
                if answer is None:
                    raise Unavailable(f"The machine {record.machine} can't be reached.")
        except FAULTS as error:
            raise away(error) from error
        self.cache.forget(record.name)


@dataclass(frozen=True)
class Heard:
    """What was last heard of a machine."""

    seen: float = 0.0  # when its worker told something, Redis' clock, s; 0.0: never
    left: bool = False  # its worker has ended
    age: float = math.inf  # s since then, when it was asked for
    asked: float = -math.inf  # when that was, monotonic s


@dataclass(frozen=True)
class FleetRevision:
    """What was found of an execution, right for as long as Redis tells the same revision."""

    store: RedisStore
    record: Record
    revision: Revision
    made: Moment
    made_at: float  # boot clock, s

    def are_same(self) -> bool:
        """Whether it does."""
        return self.store.is_same(self)

    def look_again(self) -> bool:
        """Nothing can be seen from here but by a look at it all."""
        return False

    def moment(self) -> Moment:
        """As much later as time has passed here; whatever else its machine tells comes with another revision."""
        passed = boot_clock() - self.made_at
        ran = None if self.made.ran is None else self.made.ran + passed
        return self.made._replace(now=self.made.now + passed, ran=ran)

    def shown(self) -> tuple[int, int, float | None]:
        """What a page shows of it."""
        return self.moment().shown()


def _read(snapshot: Snapshot) -> FleetLook:
    try:
        return of_snapshot(snapshot)
    except (ValueError, TypeError, KeyError) as error:
        log.exception("a record in Redis is damaged: %s", snapshot.name)
        raise Unavailable("The record of this execution is damaged; tell the administrator.") from error
