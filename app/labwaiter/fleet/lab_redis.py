"""The store of a lab in Redis: here alone Redis is spoken to (besides RQ, which speaks to it itself: `rq_orders`).

    <prefix>:job:<name>       hash: request, machine; what its machine publishes: view (JSON), at, picture, page, held,
                              settled, or tombstone alone; the faces' marks abort, told
    <prefix>:jobs             sorted set: names by the time of their start
    <prefix>:active:<machine> set: names of its executions that haven't ended
    <prefix>:machine:<name>   hash: what its worker tells of itself, and when it was last seen
    <prefix>:machines         set: all that ever did
    <prefix>:errands:<name>   list: what a face asks of a machine, signed
    <prefix>:stops:<name>     list: STOPs for a machine, signed
    <prefix>:reply:<id>       list: the answer to one of these calls
    <prefix>:instruments:<name>  text: how its instruments stand, as it told last
    <prefix>:polled:<name>    set: executions of it that were polled since it last looked
    <prefix>:faces            sorted set: the faces by when they were last seen
    <prefix>:file:<name>:<id> text: a file that an execution is given
    <prefix>:schedule         hash: what is known of a schedule besides its runs
    <prefix>:ended:<name>     channel: that an execution has ended
    <prefix>:kept             number: written to see that a replica follows
    <prefix>:rq:…             RQ's own: `RQ_KEY_PREFIX=<prefix>:rq RQ_REDIS_URL=… rq info`

Machines of several releases share these: keys, fields and their forms stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..model.record import Tombstone
from ..settings import Settings
from . import rq_orders
from .address import MasterPool, pool_of
from .batcher import Batcher
from .fleet_store import Beat, FaceNews, MachineEntry, Publication, Removal, Revision, ScheduleNote, Snapshot
from .order import Order, order_id
from .redis_faults import refusal
from .signing import Seals

PATIENCE = 3.0  # s for an answer of Redis: a caller waits 10
CONNECTIONS = 64  # of one process
REPLICA_MS = 500  # for a replica to have an order
BATCH = 500  # commands in one round trip
FILE_SECONDS = 7 * 86400  # that a file waits for its order to be taken
ANSWER_SECONDS = 60  # that an answer is there for who asked
CALLS_MAX = 10_000  # that may wait for one machine
FACES_SECONDS = 86400  # that a face is known which isn't seen any more
POLLED_MAX = 1000  # executions that are heard of at a time
KINDS = {  # what comes behind the prefix
    "job", "jobs", "active", "machine", "machines", "errands", "polled", "reply", "faces", "file", "rq", "schedule",
    "check", "kept", "stops", "instruments",
}  # fmt: skip
BRIEF = ("request", "machine", "view", "tombstone", "abort", "held", "settled", "at")
FIELDS = (*BRIEF, "picture", "page")
TOLD = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
if redis.call('HSETNX', KEYS[1], 'told', tostring(now)) == 1 then return '0' end
return tostring(now - redis.call('HGET', KEYS[1], 'told'))
"""
# an order and its record end together: a face that dies in between would leave a record that nobody settles
WITHDRAW = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 and ARGV[4] == '' then return 0 end
redis.call('HSET', KEYS[2], 'view', ARGV[2], 'settled', 1)
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('SREM', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('PUBLISH', KEYS[5], '1')
return 1
"""


class LabRedis:
    """The Redis of one lab: a `FleetStore`. Connects when first used; thread-safe."""

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        """
        Args:
            patience: seconds for an answer of Redis.

        Raises:
            Misconfigured: REDIS_URL is no URL of a Redis.
        """
        self.prefix, self.machine = settings.redis_prefix, settings.machine
        self.seals = Seals(settings.redis_prefix, settings.redis_secret)
        self._pool = pool_of(
            settings.redis_url,
            max_connections=CONNECTIONS,
            timeout=patience,
            socket_timeout=patience,
            socket_connect_timeout=min(patience, 2.0),
            health_check_interval=30,
            # a connection that was closed while idle; who waited for an answer in vain waits no second time
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            client_name=f"labwaiter-{self.machine}",
        )
        self.connection: Any = redis.Redis(connection_pool=self._pool)  # for RQ
        self._told = self.connection.register_script(TOLD)
        self._withdraw = self.connection.register_script(WITHDRAW)
        self._full: Batcher[str, Snapshot] = Batcher(lambda names: self._snapshots(names, FIELDS))
        self._revision: Batcher[str, Revision] = Batcher(self._revisions)
        self._last_beat: Batcher[str, tuple[Beat | None, float]] = Batcher(self._last_beats)

    def _key(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    def ping(self) -> object:
        return self.connection.ping()

    def now(self) -> float:
        return _seconds(self.connection.time())

    # -- several servers, of which one is the master ------------------------------------------

    @property
    def fails_over(self) -> bool:
        return isinstance(self._pool, MasterPool)

    def master(self) -> tuple[str, int] | None:
        """What is connected elsewhere leaves there. Raises also where no sentinel knows of one."""
        if not isinstance(self._pool, MasterPool):
            return None
        host, port = self._pool.get_master_address()  # type: ignore[no-untyped-call]
        return str(host), int(port)

    def sentinels(self) -> tuple[int, int]:
        """How many sentinels tell of a master now, and how many there are."""
        if not isinstance(self._pool, MasterPool):
            return 0, 0
        return self._pool.telling(), len(self._pool.sentinel_manager.sentinels)

    def has_replica(self, name: str) -> bool:
        if not self.fails_over:
            return True
        with self.connection.pipeline(transaction=False) as batch:
            batch.exists(self._key("job", name))
            # WAIT tells of what its own connection has written: this comes after the record in the same stream
            batch.incr(self._key("kept"))
            batch.wait(1, REPLICA_MS)
            exists, _, replicas = batch.execute()
        if exists and replicas:
            return True
        self.master()  # it may have become another one
        return False

    # -- looking at executions ----------------------------------------------------------------

    def snapshot(self, name: str, brief: bool = False) -> Snapshot:
        return self.snapshots([name])[0] if brief else self._full.of(name)

    def revision(self, name: str) -> Revision:
        return self._revision.of(name)

    def _revisions(self, names: Sequence[str]) -> list[Revision | Exception]:
        if len(names) == 1:  # a pipeline takes half as much again
            answers = [self.connection.hmget(self._key("job", names[0]), Revision._fields)]
        else:
            with self.connection.pipeline(transaction=False) as batch:
                for name in names:
                    batch.hmget(self._key("job", name), Revision._fields)
                answers = batch.execute(raise_on_error=False)
        return [answer if isinstance(answer, Exception) else _revision(*answer) for answer in answers]

    def snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        snapshots = self._snapshots(names, BRIEF)
        for snapshot in snapshots:
            if isinstance(snapshot, Exception):
                raise snapshot
        return cast(list[Snapshot], snapshots)

    def _snapshots(self, names: Sequence[str], fields: Sequence[str]) -> list[Snapshot | Exception]:
        with self.connection.pipeline(transaction=False) as batch:
            for name in names:
                batch.hmget(self._key("job", name), fields)
                batch.hget(rq_orders.order_key(name), "status")
            batch.time()
            *answers, now = batch.execute(raise_on_error=False)
        if isinstance(now, Exception):
            raise now
        # where other hands have put something else at the order's key, nothing is known of it
        return [
            values
            if isinstance(values, Exception)
            else _snapshot(name, dict(zip(fields, values, strict=True)), status == b"failed", _seconds(now))
            for name, values, status in zip(names, answers[::2], answers[1::2], strict=True)
        ]

    def started(self) -> list[tuple[float, str]]:
        times = self.connection.zrange(self._key("jobs"), 0, -1, withscores=True)
        return [(float(created), name.decode()) for name, created in times]

    def active(self, machine: str) -> frozenset[str]:
        return frozenset(name.decode() for name in self.connection.smembers(self._key("active", machine)))

    def count_active(self, machine: str) -> int:
        return int(self.connection.scard(self._key("active", machine)))

    def untaken(self, machine: str) -> list[str]:
        names, untaken = sorted(self.active(machine)), []
        for start in range(0, len(names), BATCH):
            chunk = names[start : start + BATCH]
            with self.connection.pipeline(transaction=False) as batch:
                for name in chunk:
                    batch.hexists(self._key("job", name), "view")
                untaken += [name for name, taken in zip(chunk, batch.execute(), strict=True) if not taken]
        return untaken

    def seconds_told(self, name: str) -> float:
        return float(self._told(keys=[self._key("job", name)]))

    @contextlib.contextmanager
    def endings(self, name: str) -> Iterator[Callable[[float], object]]:
        with self.connection.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(self._key("ended", name))
            yield lambda seconds: channel.get_message(timeout=seconds)

    # -- orders -------------------------------------------------------------------------------

    def order(self, order: Order) -> bool:
        key, order_key = self._key("job", order.name), rq_orders.order_key(order.name)
        queue = rq_orders.queue_of(self.connection, order.machine)
        with self.connection.pipeline() as transaction:
            while True:
                try:
                    # RQ's own unique=True leaves a pipeline aside, and ours must hold the record, too
                    transaction.watch(key, order_key)
                    if transaction.exists(key, order_key):
                        return False
                    transaction.multi()
                    transaction.hset(key, mapping={"request": order.request, "machine": order.machine})
                    transaction.zadd(self._key("jobs"), {order.name: order.created})
                    transaction.sadd(self._key("active", order.machine), order.name)
                    rq_orders.enqueue(queue, order, transaction)
                    transaction.execute()
                    return True
                except redis.WatchError:
                    continue

    def place(self, machine: str, name: str) -> int | None:
        before = self.connection.lpos(rq_orders.queue_of(self.connection, machine).key, order_id(name))
        return None if before is None else int(before) + 1

    def wish_abort(self, name: str) -> None:
        self.connection.hset(self._key("job", name), "abort", 1)

    def abort_wished(self, name: str) -> bool:
        return bool(self.connection.hexists(self._key("job", name), "abort"))

    def withdraw(self, name: str, machine: str, view: bytes, keep_seconds: int, taken: bool = False) -> bool:
        keys = [
            rq_orders.queue_of(self.connection, machine).key,
            self._key("job", name),
            self._key("active", machine),
            rq_orders.order_key(name),
            self._key("ended", name),
        ]
        return bool(
            self._withdraw(keys=keys, args=[order_id(name), view, name, "taken" if taken else "", keep_seconds])
        )

    def remove_withdrawn(self, removal: Removal) -> bool:
        if not self.connection.hexists(self._key("job", removal.name), "settled"):
            return False
        with self.connection.pipeline() as transaction:
            self._remove(transaction, removal)
            transaction.execute()
        return True

    def _remove(self, transaction: Any, removal: Removal) -> None:
        key = self._key("job", removal.name)
        transaction.delete(key)
        transaction.hset(key, "tombstone", json.dumps(asdict(removal.tombstone)))
        transaction.zrem(self._key("jobs"), removal.name)

    def put_back_orders(self, machine: str) -> None:
        queue = rq_orders.queue_of(self.connection, machine)
        while self.connection.lmove(queue.intermediate_queue_key, queue.key, "RIGHT", "LEFT"):
            pass

    def pass_over_order(self, machine: str, id_: str) -> None:
        self.connection.lrem(rq_orders.queue_of(self.connection, machine).intermediate_queue_key, 1, id_)
        with contextlib.suppress(redis.ResponseError):
            # its face tells that it is refused
            self.connection.hset(rq_orders.StartOrder.key_for(id_), "status", "failed")

    # -- what machines tell -------------------------------------------------------------------

    def publish(self, machine: str, changes: Iterable[Publication | Removal]) -> None:
        with self.connection.pipeline() as transaction:
            for change in changes:
                if isinstance(change, Removal):
                    self._remove(transaction, change)
                    transaction.srem(self._key("active", machine), change.name)
                else:
                    self._publish(transaction, machine, change)
            transaction.execute()  # of nothing new it sends nothing

    def _publish(self, transaction: Any, machine: str, change: Publication) -> None:
        key = self._key("job", change.name)
        fields: dict[str, object] = {
            "request": change.request,
            "machine": machine,
            "view": change.view,
            "at": change.at,
            "settled": 1 if change.settled else None,
            "page": change.page.encode() if change.page else None,
            "held": json.dumps(change.held) if change.held else None,
        }
        if not change.same_picture:  # most of the bytes, and it changes seldom
            fields["picture"] = change.picture
        transaction.hset(key, mapping={name: value for name, value in fields.items() if value is not None})
        if absent := [name for name, value in fields.items() if value is None]:
            transaction.hdel(key, *absent)
        transaction.zadd(self._key("jobs"), {change.name: change.created})
        active = self._key("active", machine)
        (transaction.sadd if change.active else transaction.srem)(active, change.name)
        if change.settled:
            transaction.publish(self._key("ended", change.name), "1")

    def unended(self, names: Sequence[str]) -> dict[str, bool]:
        with self.connection.pipeline(transaction=False) as batch:
            for name in names:
                batch.hmget(self._key("job", name), "settled", "tombstone")
            answers = batch.execute()
        return {
            name: settled is not None
            for name, (settled, tombstone) in zip(names, answers, strict=True)
            if tombstone is None
        }

    def beat(self, beat: Beat) -> Beat | None:
        key = self._key("machine", beat.machine)
        fields = {
            "seen": beat.seen,
            "run": beat.run,
            "id": beat.id,
            "host": beat.host,
            "version": beat.version,
            "offers": json.dumps(beat.offers),
            "active": beat.active,
            "waiting": beat.waiting,
            "lab": beat.lab,
            "state": beat.state,
            "clock": beat.clock,
            "secret": beat.secret,
        }
        with self.connection.pipeline() as transaction:
            transaction.hgetall(key)
            transaction.hset(key, mapping={name: value for name, value in fields.items() if value is not None})
            transaction.sadd(self._key("machines"), beat.machine)
            return _beat(beat.machine, transaction.execute()[0])

    def last_beat(self, machine: str) -> tuple[Beat | None, float]:
        return self._last_beat.of(machine)

    def _last_beats(self, machines: Sequence[str]) -> list[tuple[Beat | None, float] | Exception]:
        names = sorted(set(machines))
        with self.connection.pipeline(transaction=False) as batch:
            for name in names:
                batch.hgetall(self._key("machine", name))
            batch.time()
            *answers, now = batch.execute(raise_on_error=False)
        if isinstance(now, Exception):
            raise now
        beats: dict[str, tuple[Beat | None, float] | Exception] = {
            name: fields if isinstance(fields, Exception) else (_beat(name, fields), _seconds(now))
            for name, fields in zip(names, answers, strict=True)
        }
        return [beats[machine] for machine in machines]

    def machines(self) -> frozenset[str]:
        return frozenset(name.decode() for name in self.connection.smembers(self._key("machines")))

    def machine_entries(self, machines: Sequence[str]) -> tuple[list[MachineEntry], float]:
        with self.connection.pipeline(transaction=False) as batch:
            batch.time()
            for name in machines:
                batch.hgetall(self._key("machine", name))
                batch.llen(rq_orders.queue_of(self.connection, name).key)
            now, *answers = batch.execute()
        return [
            MachineEntry(_beat(name, fields), int(orders))
            for name, fields, orders in zip(machines, answers[::2], answers[1::2], strict=True)
        ], _seconds(now)

    def tell_instruments(self, machine: str, text: bytes) -> None:
        self.connection.set(self._key("instruments", machine), text)

    def instruments(self, machines: Sequence[str]) -> list[bytes | None]:
        return list(self.connection.mget([self._key("instruments", name) for name in machines])) if machines else []

    # -- what faces tell ----------------------------------------------------------------------

    def polled(self, machine: str, names: Sequence[str]) -> None:
        self.connection.sadd(self._key("polled", machine), *names)

    def face_seen(self) -> None:
        now = self.now()
        self.connection.zadd(self._key("faces"), {self.machine: now})
        self.connection.zremrangebyscore(self._key("faces"), 0, now - FACES_SECONDS)

    def news(self, machine: str) -> FaceNews:
        with self.connection.pipeline() as transaction:
            transaction.spop(self._key("polled", machine), POLLED_MAX)
            transaction.zrevrange(self._key("faces"), 0, 0, withscores=True)
            transaction.time()
            names, newest, now = transaction.execute()
        age = _seconds(now) - newest[0][1] if newest else None
        return FaceNews(frozenset(name.decode() for name in names or ()), age)

    # -- calls --------------------------------------------------------------------------------

    def reply_box(self) -> str:
        return self._key("reply", secrets.token_hex(16))

    def post_call(self, machine: str, sealed: str, at_once: bool = False) -> None:
        key = self._key("stops" if at_once else "errands", machine)
        self.connection.rpush(key, sealed)
        self.connection.ltrim(key, -CALLS_MAX, -1)

    def take_back_call(self, machine: str, sealed: str) -> bool:
        return bool(self.connection.lrem(self._key("errands", machine), 1, sealed))

    def next_call(self, machine: str, wait: float, at_once: bool = False) -> bytes | None:
        item = self.connection.blpop([self._key("stops" if at_once else "errands", machine)], timeout=wait)
        return None if item is None else bytes(item[1])

    def post_answer(self, reply_box: str, parts: Sequence[bytes]) -> None:
        with self.connection.pipeline() as transaction:
            transaction.rpush(reply_box, *parts)
            transaction.expire(reply_box, ANSWER_SECONDS)
            transaction.execute()

    def next_part(self, reply_box: str, wait: float) -> bytes | None:
        # a blocking wait is no longer than the time-out of a connection allows
        while True:
            turn = min(wait, 1.0)
            try:
                item = self.connection.blpop([reply_box], timeout=max(turn, 0.01))
            except redis.TimeoutError:
                return None  # it hangs: each turn would wait as long
            if item is not None:
                return bytes(item[1])
            wait -= turn
            if wait <= 0:
                return None

    # -- files that orders bring along --------------------------------------------------------

    def file_key(self, name: str, content: bytes) -> str:
        return self._key("file", name, hashlib.sha256(content).hexdigest())

    def put_file(self, name: str, content: bytes) -> str:
        key = self.file_key(name, content)
        self.connection.set(key, content, ex=FILE_SECONDS)
        return key

    def get_file(self, key: str) -> bytes | None:
        content: bytes | None = self.connection.get(key)
        return content

    def drop_files(self, keys: Iterable[str]) -> None:
        self.connection.delete(*keys)

    # -- schedules ----------------------------------------------------------------------------

    def schedule_note(self, schedule: str) -> ScheduleNote:
        text = self.connection.hget(self._key("schedule"), schedule) or b"{}"
        try:
            return ScheduleNote.of(json.loads(text))
        except ValueError:
            return ScheduleNote()

    def note_schedule(self, schedule: str, note: ScheduleNote) -> None:
        self.connection.hset(self._key("schedule"), schedule, json.dumps(note.fields))

    # -- an operator's side -------------------------------------------------------------------

    def clear(self) -> int:
        count = 0
        batch: list[bytes] = []
        for key in self.connection.scan_iter(match=self._key("*"), count=BATCH):
            batch.append(key)
            if len(batch) >= BATCH:
                count += self.connection.unlink(*batch)
                batch.clear()
        return count + (self.connection.unlink(*batch) if batch else 0)

    def server(self) -> dict[str, Any]:
        """What the server tells of itself (INFO)."""
        return dict(self.connection.info())

    def saves(self) -> str:
        """When it makes snapshots (CONFIG GET save)."""
        return str(self.connection.config_get("save").get("save") or "")

    def look_at_another_labs_key(self) -> None:
        """Raises what Redis raises where this user may see this lab's keys alone."""
        self.connection.exists("another-labs-key")

    def strange_keys(self) -> tuple[int, list[str]]:
        """How many keys lie under the prefix, and those that are not labwaiter's."""
        count, strange = 0, []
        for key in self.connection.scan_iter(match=self._key("*"), count=BATCH):
            count += 1
            text = key.decode("utf-8", "replace")
            if text.split(":")[1] not in KINDS:
                strange.append(text)
        return count, strange

    def refused_commands(self) -> dict[str, Exception]:
        """Do once what this file does, on keys that are gone afterwards: what Redis refuses this user, and why."""
        r, channel, channel_key = self.connection, self.connection.pubsub(), self._key("ended", "check")
        keys = [
            self._key("check", os.urandom(8).hex(), kind)
            for kind in ("hash", "set", "sorted", "list", "text", "number")
        ]
        a_hash, a_set, a_sorted, a_list, a_text, a_number = keys

        def transaction() -> None:
            with r.pipeline() as step:
                step.watch(a_hash)
                step.multi()
                step.hset(a_hash, mapping={"a": 1})
                step.expire(a_hash, 60)
                step.execute()

        def hashes() -> None:
            r.hmget(a_hash, "a"), r.hgetall(a_hash), r.hexists(a_hash, "a")
            r.hsetnx(a_hash, "b", 1), r.hdel(a_hash, "b")

        def sets() -> None:
            r.sadd(a_set, "a"), r.scard(a_set), r.smembers(a_set), r.srem(a_set, "a"), r.spop(a_set, 1)

        def sorted_sets() -> None:
            r.zadd(a_sorted, {"a": 1}), r.zrange(a_sorted, 0, -1), r.zrem(a_sorted, "a")

        def lists() -> None:
            r.rpush(a_list, "a"), r.lmove(a_list, a_list), r.llen(a_list), r.lrem(a_list, 1, "b"), r.blpop([a_list], 1)

        attempts: dict[str, Callable[[], object]] = {
            "transactions (WATCH, MULTI, HSET, EXPIRE)": transaction,
            "hashes": hashes,
            "sets": sets,
            "sorted sets": sorted_sets,
            "lists": lists,
            "texts": lambda: (r.set(a_text, "a", ex=60), r.get(a_text)),
            "replicas (INCR, WAIT)": lambda: (r.incr(a_number), r.wait(0, 1)),
            "scripts (EVALSHA, SCRIPT LOAD)": lambda: r.register_script("return redis.call('EXISTS', KEYS[1])")(
                keys=keys[:1]
            ),
            "channels (SUBSCRIBE, PUBLISH)": lambda: (channel.subscribe(channel_key), r.publish(channel_key, "")),
            "keys (EXISTS, DEL, EXPIRE)": lambda: (r.exists(*keys), r.expire(a_list, 60), r.delete(*keys)),
            "its clock (TIME)": r.time,
        }
        refused = {what: error for what, attempt in attempts.items() if (error := refusal(attempt)) is not None}
        channel.close()
        refusal(lambda: r.delete(*keys))
        return refused


def _seconds(time: tuple[int, int]) -> float:
    """Redis' TIME, in s."""
    return float(time[0]) + time[1] / 1e6


def _number(text: bytes | None) -> float | None:
    """A number in Redis; None where there is none, or what other hands put there."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _tombstone(text: bytes | None) -> Tombstone | None:
    """One in Redis; None where there is none. What other hands put there is one, too, of nobody."""
    try:
        return None if text is None else Tombstone(**json.loads(text))
    except (ValueError, TypeError):
        return Tombstone("", 0.0)


def _revision(at: bytes | None, abort: bytes | None, tombstone: bytes | None) -> Revision:
    return Revision(_number(at), abort is not None, tombstone is not None)


def _snapshot(name: str, fields: dict[str, Any], refused: bool, now: float) -> Snapshot:
    return Snapshot(
        name,
        now,
        fields["request"],
        (fields["machine"] or b"").decode("utf-8", "replace"),
        fields["view"],
        _number(fields["at"]),
        fields.get("picture"),
        fields.get("page"),
        tombstone=_tombstone(fields["tombstone"]),
        abort=fields["abort"] is not None,
        held=fields["held"] is not None,
        settled=fields["settled"] is not None,
        refused=refused and fields["view"] is None,
    )


def _beat(machine: str, fields: dict[bytes, bytes]) -> Beat | None:
    if not fields:
        return None
    texts = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()}
    offers: object = ()
    with contextlib.suppress(ValueError):
        offers = json.loads(texts.get("offers", "[]"))
    return Beat(
        machine,
        _number(fields.get(b"seen")) or 0.0,
        texts.get("state", ""),
        run=texts.get("run", ""),
        id=texts.get("id", ""),
        host=texts.get("host", ""),
        version=texts.get("version", ""),
        offers=tuple(str(service) for service in offers) if isinstance(offers, list) else (),
        active=int(_number(fields.get(b"active")) or 0),
        waiting=int(_number(fields.get(b"waiting")) or 0),
        clock=_number(fields.get(b"clock")),
        lab=texts.get("lab", ""),
        secret=texts.get("secret", ""),
    )
