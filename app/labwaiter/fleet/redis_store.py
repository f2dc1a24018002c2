"""A face's records: all machines of the lab, over Redis."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import replace

import redis

from ..errors import InvalidParameter, Misconfigured, TooManyJobs, Unavailable, UnknownServiceID
from ..lab import lab
from ..model.record import Record, Request, View, derive
from ..model.service import Service
from ..settings import Settings
from ..store import codec
from ..store.local_store import LocalStore
from ..store.names import folder_name
from . import order, rpc, trouble
from .cache import Cache
from .files import FleetFiles
from .lab_redis import FAULTS, LabRedis
from .look import Known, Look
from .route import machine_for
from .trouble import away
from .untaken_orders import WITHDRAWN, UntakenOrders

log = logging.getLogger(__name__)
TOLD = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
if redis.call('HSETNX', KEYS[1], 'told', tostring(now)) == 1 then return '0' end
return tostring(now - redis.call('HGET', KEYS[1], 'told'))
"""
QUEUE_SECONDS = 3.0  # that a message may wait behind those that came to its machine before it
LOST = "Nothing was started under this serviceID."
UNKEPT = (
    "This is not certain yet: no replica of the Redis between the machines of this lab has it; try it again, under the"
    " same serviceID."
)
REMOVED = "What was started under this serviceID has been removed, its results too."


class RedisStore:
    """The records of all machines: `store.records.Records`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = LabRedis(settings)
        self.cache = Cache(settings.jobs_folder, settings.keep_seconds)
        self._look = Look(self.store, self.cache, self._order)
        self.look = self._look.look
        self.artifacts = FleetFiles(settings, self.store, self.machine_of)
        self._here = LocalStore(settings)  # this face may be on the machine that has it
        self._told = self.store.redis.register_script(TOLD)
        self._untaken = UntakenOrders(self.store, settings.keep_seconds)
        self._last = threading.local()  # the last look of this thread: a page needs the same again

    def unserved(self) -> str:
        """Why Redis doesn't answer."""
        try:
            self.store.redis.ping()
        except FAULTS as error:
            return f"Redis {trouble.of(error).why}"
        return ""

    # -- looking ------------------------------------------------------------------------------

    def machine_of(self, name: str) -> str | None:
        """The machine that has an execution; None where nobody knows of it."""
        known = self.look(name)
        return known.machine if known else None

    def request(self, name: str) -> Request | None:
        """What was asked."""
        known = self.look(name)
        return known.request if known else None

    def buried(self, name: str) -> bool:
        """Whether its machine has told of a tombstone."""
        try:
            return bool(self.store.redis.hexists(self.store.key("job", name), "tombstone"))
        except FAULTS as error:
            raise away(error) from error

    def record(self, name: str) -> Record:
        """As its machine last told it."""
        try:
            known = self.look(name)
        except Unavailable:
            if self._here.request(name) is None:
                raise
            return replace(self._here.record(name), machine=self.settings.machine)
        if known is None:
            raise UnknownServiceID(REMOVED if self.buried(name) else LOST)
        self._last.name, self._last.known = name, known
        return _record_of(name, known)

    def view(self, record: Record, service: Service | None) -> View:
        """All that a page shows of it."""
        known = self._last.known if getattr(self._last, "name", None) == record.name else self.look(record.name)
        limit = service.limit if service else None
        if known is None or known.view is None:
            note = known.note if known else ""
            place, ahead = self._place(record) if not note else (None, "")
            return View(record=record, now=time.time(), limit=limit, place=place, ahead=ahead, note=note)
        own_page = known.page if record.active and not known.note else None
        now = known.now if known.as_of is None and known.now else known.view.now
        picture, note = known.picture, known.note
        ran = known.view.ran
        if ran is not None and record.active:
            ran += max(0.0, now - known.view.now)
        return replace(
            known.view, record=record, now=now, ran=ran, limit=limit, own_page=own_page, picture=picture, note=note
        )

    def _place(self, record: Record) -> tuple[int | None, str]:
        with contextlib.suppress(*FAULTS):
            place = order.queue_of(self.store, record.machine).get_job_position(order.id_of(record.name))
            if place is not None:
                return int(place) + 1, f"{record.machine} takes it when it has room"
        return None, ""

    def stamps(self, view: View, read_from: float) -> None:
        """Nothing tells that here."""

    def names(self, active: bool = False) -> Iterable[str]:
        """All that Redis knows, or where it is away, this face."""
        return [name for _, name in self.times()]

    def times(self) -> list[tuple[float, str]]:
        """By when they were started, as Redis knows it; a face alone doesn't."""
        try:
            found = self.store.redis.zrange(self.store.key("jobs"), 0, -1, withscores=True)
            return [(float(created), name.decode()) for name, created in found]
        except FAULTS:
            return [(math.inf, name) for name in self.cache.names()]

    def every(
        self, left_out: list[str] | None = None, brief: bool = False, names: Iterable[str] | None = None
    ) -> Iterable[Record]:
        """These executions of the lab, many in one round trip."""
        for name, known in self._look.many(self.names() if names is None else names):
            yield _record_of(name, known)

    def polled(self, name: str) -> None:
        """Tell its machine."""
        known = getattr(self._last, "known", None)
        if getattr(self._last, "name", None) != name or known is None or known.view is None:
            return
        if known.view.record.active and known.as_of is None:
            with contextlib.suppress(*FAULTS), self.store.redis.pipeline(transaction=False) as tell:
                tell.sadd(self.store.key("polled", known.machine), name)
                tell.execute()

    def signed(self, anew: bool = False) -> None:
        """Tell the machines that this face is there to be asked."""
        if self._look.away:
            return  # a poll has a time to wait for Redis once
        with contextlib.suppress(*FAULTS):
            self.store.master()
            now = self.store.now()
            self.store.redis.zadd(self.store.key("faces"), {self.settings.machine: now})
            self.store.redis.zremrangebyscore(self.store.key("faces"), 0, now - 86400)

    def told(self, name: str) -> float | None:
        """By Redis' clock, whichever face told it first."""
        try:
            return float(self._told(keys=[self.store.key("job", name)]))
        except FAULTS:
            return self.cache.told(name)

    # -- starting -----------------------------------------------------------------------------

    def admit(self, request: Request) -> None:
        """Refuse where its machine has as many as it may."""
        most = self.settings.max_running + self.settings.max_queued
        machine = self._machine(folder_name(request.service_id), request)
        try:
            if self.store.redis.scard(self.store.key("active", machine)) >= most:
                raise TooManyJobs(f"{most} executions are running or waiting on {machine} already; try again later.")
        except FAULTS as error:
            raise away(error) from error

    def claim(self, name: str, request: Request) -> bool:
        """Record and order it, in one transaction."""
        machine = self._machine(name, request)
        files = self.artifacts.handed_over(name, request.files, machine)
        said = codec.dump(request).decode()
        self.cache.write(name, request=said, machine=machine, view=None, state="", at=time.time(), files=files)
        try:
            ordered = self._order(name, request, machine, files)
            self._keep(name)
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
            known = self.look(name) if self.store.fails_over else None
            if known is not None and known.view is None:
                self._keep(name)
        except FAULTS as error:
            raise away(error) from error

    def _keep(self, name: str) -> None:
        if not self.store.kept(self.store.key("job", name)):
            raise Unavailable(UNKEPT)

    def _order(self, name: str, request: Request, machine: str, files: dict[str, str] | None = None) -> bool:
        key, queue = self.store.key("job", name), order.queue_of(self.store, machine)
        if files is None:
            files = (self.cache.read(name) or {}).get("files", {})
        with self.store.redis.pipeline() as claim:
            while True:
                try:
                    # RQ's own unique=True leaves a pipeline aside, and ours must hold the record, too
                    order_key = order.StartOrder.key_for(order.id_of(name))
                    claim.watch(key, order_key)
                    if claim.exists(key, order_key):
                        return False
                    claim.multi()
                    claim.hset(key, mapping={"request": codec.dump(request), "machine": machine})
                    claim.zadd(self.store.key("jobs"), {name: request.created})
                    claim.sadd(self.store.key("active", machine), name)
                    order.enqueue(self.store, queue, machine, name, request, files, claim)
                    claim.execute()
                    return True
                except redis.WatchError:
                    continue

    def _machine(self, name: str, request: Request) -> str:
        try:
            return machine_for(lab.load(self.settings.lab), name, request)
        except Misconfigured as error:
            log.exception("%s", error)
            raise Unavailable("This deployment's lab.toml has a mistake; tell the administrator.") from error

    # -- speaking to it -----------------------------------------------------------------------

    def abort_unread(self, name: str, wait: float) -> bool | None:
        """Where it is on this machine."""
        return self._here.abort_unread(name, wait)

    def abort(self, record: Record, wait: float) -> bool:
        """Have its machine stop it; what no machine has taken yet is withdrawn."""
        name, machine, until = record.name, record.machine, time.monotonic() + wait
        try:
            if not record.active and not self.store.redis.hexists(self.store.key("job", name), "held"):
                return True
            self.store.redis.hset(self.store.key("job", name), "abort", 1)
            known = self.look(name)  # and this face's cache knows of the abort
            withdrawn = known is not None and known.view is None and self.withdraw(name, known)
            if withdrawn and not self.store.fails_over:
                return True
            # what its machine has taken may lie in the queue of another master again: the machine knows
            said = rpc.ask(self.store, machine, {"do": "abort", "name": name}, wait, keep=True)
            unknown = said is not None and bool(said.get("unknown"))
            if withdrawn and unknown:
                return True
            if known is not None and known.refused and (unknown or said is None):
                return self.withdraw(name, known, taken=True)
            if unknown:  # it is just being taken
                gone = self.ended(name, until - time.monotonic()) is not None
            else:
                gone = bool(said and said.get("gone"))
            if not gone:
                self._keep(name)  # the wish, that goes on by itself
            return gone
        except FAULTS as error:
            if self._here.request(name) is not None:
                return self._here.abort(replace(record, machine=""), max(0.0, until - time.monotonic()))
            raise away(error) from error

    def withdraw(self, name: str, known: Known, why: str = WITHDRAWN, taken: bool = False) -> bool:
        """Take the order back; False where its machine was faster.

        Args:
            taken: its machine took it from the queue and refused it.
        """
        view = self._untaken.withdraw(name, known.request, known.machine, why, taken)
        if view is None:
            return False
        self._keep(name)
        said, text, state = codec.dump(known.request).decode(), codec.dump(view).decode(), str(view.record.state)
        self.cache.write(name, request=said, machine=known.machine, view=text, state=state, at=view.now)
        return True

    def notify(self, record: Record, message: str, wait: float) -> str:
        """Have its machine hand it over."""
        waits = Unavailable(
            f"The machine {record.machine} does not take this message now; it was not delivered: send it again."
        )
        try:
            call = {"do": "notify", "name": record.name, "message": message}
            said = rpc.ask(self.store, record.machine, call, wait + QUEUE_SECONDS)
        except FAULTS as error:
            raise away(error) from error
        if said is None:
            raise waits
        if "refused" in said:
            raise InvalidParameter(said["refused"]) if said.get("side") == "Client" else Unavailable(said["refused"])
        return str(said["reply"])

    def ended(self, name: str, wait: float) -> Record | None:
        """Once its machine tells its end."""
        until = time.monotonic() + wait
        try:
            with self.store.redis.pubsub(ignore_subscribe_messages=True) as heard:
                heard.subscribe(self.store.key("ended", name))
                while True:
                    record = self.record(name)
                    if not record.active and self._last.known.settled:
                        return record
                    left = until - time.monotonic()
                    if left <= 0:
                        return None
                    heard.get_message(timeout=min(left, 1.0))
        except FAULTS:
            record = self.record(name)
            if record.active:
                time.sleep(max(0.0, min(1.0, until - time.monotonic())))  # Redis is away: nobody can tell of an end
            return None if record.active else record

    def bury(self, record: Record) -> None:
        """Have its machine remove it; one that no machine ever took is but a record in Redis."""
        try:
            said = rpc.ask(self.store, record.machine, {"do": "remove", "name": record.name}, 5.0)
            if said is not None and said.get("unknown") and self._untaken.bury(record):
                said = {}
        except FAULTS as error:
            raise away(error) from error
        if said is None or "refused" in said:
            raise Unavailable((said or {}).get("refused") or f"The machine {record.machine} can't be reached.")
        self.cache.forget(record.name)


def _record_of(name: str, known: Known) -> Record:
    if known.view is None:
        record = derive(name, known.request, None, None, known.abort)
    else:
        record = known.view.record
    return replace(record, machine=known.machine, as_of=known.as_of)
