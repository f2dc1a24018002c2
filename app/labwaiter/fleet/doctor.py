"""Whether the Redis of a lab is as it must be: a sentence for each thing, with how to mend what is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from ..errors import Misconfigured
from ..lab.labfile import load as load_lab
from ..settings import Settings
from . import trouble
from .heartbeat import lab_digest
from .lab_redis import LabRedis
from .machines import BATCH, states

LEAST = (6, 2)  # LMOVE, and sets of several members at once
SKEW = 5.0  # s between this machine's clock and Redis' that are worth a word
OURS = {
    "job",
    "jobs",
    "active",
    "machine",
    "machines",
    "errands",
    "polled",
    "reply",
    "faces",
    "file",
    "rq",
    "schedule",
    "check",
    "kept",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    grade: str  # "ok"; "mind": it works, but know it; "wrong": mend it
    said: str


def examine(settings: Settings, store: LabRedis) -> Iterator[Finding]:
    """Look at everything. Raises redis.RedisError, OSError: it can't be reached, or goes away meanwhile."""
    unsaved = _may(store.redis.ping)  # a Redis that can't save refuses even that
    if unsaved is not None and trouble.of(unsaved) is not trouble.UNSAVED:
        raise unsaved
    about: dict[str, Any] = {}
    if _may(lambda: about.update(store.redis.info())) is None:
        yield from _version(about)
        yield _memory(about)
        yield _persistence(store, about)
    else:
        said = "This user may not ask how Redis is (INFO): see that it is 6.2 or later, noeviction and appendonly."
        yield Finding("version", "mind", said)
    if store.fails_over:
        yield _replicas(store, about)
    yield from _rights(store)
    yield _clock(store)
    yield from _machines(settings, store)
    yield _keys(store)


def _version(about: dict[str, Any]) -> Iterator[Finding]:
    version = str(about.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < LEAST:
        yield Finding("version", "wrong", f"This is Redis {version}; 6.2 or later is needed: upgrade it.")
    else:
        yield Finding("version", "ok", f"Redis {version} answers.")
    if about.get("cluster_enabled"):
        said = "This Redis is a cluster, whose transactions can't span keys: use a single one."
        yield Finding("cluster", "wrong", said)


def _may(try_it: Callable[[], object]) -> redis.ResponseError | None:
    """None where Redis does it, else why it doesn't."""
    try:
        try_it()
        return None
    except redis.ResponseError as error:
        return error


def _rights(store: LabRedis) -> Iterator[Finding]:
    """Do once what is done every day, on keys that are gone afterwards."""
    r, heard, channel = store.redis, store.redis.pubsub(), store.key("ended", "check")
    some = [
        store.key("check", os.urandom(8).hex(), kind) for kind in ("hash", "set", "sorted", "list", "text", "number")
    ]
    a_hash, a_set, a_sorted, a_list, a_text, a_number = some

    def transaction() -> None:
        with r.pipeline() as step:
            step.watch(a_hash)
            step.multi()
            step.hset(a_hash, mapping={"a": 1})
            step.expire(a_hash, 60)
            step.execute()

    def hashes() -> None:
        r.hmget(a_hash, "a"), r.hgetall(a_hash), r.hexists(a_hash, "a"), r.hsetnx(a_hash, "b", 1), r.hdel(a_hash, "b")

    def sets() -> None:
        r.sadd(a_set, "a"), r.scard(a_set), r.smembers(a_set), r.srem(a_set, "a"), r.spop(a_set, 1)

    def sorted_sets() -> None:
        r.zadd(a_sorted, {"a": 1}), r.zrange(a_sorted, 0, -1), r.zrem(a_sorted, "a")

    def lists() -> None:
        r.rpush(a_list, "a"), r.lmove(a_list, a_list), r.llen(a_list), r.lrem(a_list, 1, "b"), r.blpop([a_list], 1)

    def channels() -> None:
        heard.subscribe(channel), r.publish(channel, "")

    tries: dict[str, Callable[[], object]] = {
        "transactions (WATCH, MULTI, HSET, EXPIRE)": transaction,
        "hashes": hashes,
        "sets": sets,
        "sorted sets": sorted_sets,
        "lists": lists,
        "texts": lambda: (r.set(a_text, "a", ex=60), r.get(a_text)),
        "replicas (INCR, WAIT)": lambda: (r.incr(a_number), r.wait(0, 1)),
        "scripts (EVALSHA, SCRIPT LOAD)": lambda: r.register_script("return redis.call('EXISTS', KEYS[1])")(
            keys=some[:1]
        ),
        "channels (SUBSCRIBE, PUBLISH)": channels,
        "keys (EXISTS, DEL, EXPIRE)": lambda: (r.exists(*some), r.expire(a_list, 60), r.delete(*some)),
        "its clock (TIME)": r.time,
    }
    refused = {what: why for what, try_it in tries.items() if (why := _may(try_it)) is not None}
    heard.close()
    _may(lambda: r.delete(*some))
    for reason in dict.fromkeys(trouble.of(why) for why in refused.values()):
        if reason is not trouble.NO_RIGHT:
            yield Finding(reason.what, "wrong", reason.mend)
    if unmet := [what for what, why in refused.items() if trouble.of(why) is trouble.NO_RIGHT]:
        said = f"Redis refuses this user {', '.join(unmet)}: give it the rights that docs/machines.md lists."
        yield Finding("rights", "wrong", said)
    elif not refused:
        yield Finding("rights", "ok", "This user may do all that is needed.")
    if _may(lambda: r.exists("another-labs-key")) is None:
        said = (
            "This user may touch keys of other programs, too: docs/machines.md has an ACL that keeps it to this lab's."
        )
        yield Finding("other keys", "mind", said)


def _memory(about: dict[str, Any]) -> Finding:
    """What happens where it is full."""
    policy = about.get("maxmemory_policy", "?")
    if policy == "noeviction":
        return Finding("maxmemory-policy", "ok", "Nothing is thrown away where memory is short (noeviction).")
    said = f"maxmemory-policy is {policy}: orders could vanish where memory is short. Make it noeviction."
    return Finding("maxmemory-policy", "wrong", said)


def _persistence(store: LabRedis, about: dict[str, Any]) -> Finding:
    """What a restart of Redis leaves."""
    if about.get("aof_enabled"):
        said = "Redis keeps its data on disk (appendonly): a restart loses a second at most."
        return Finding("persistence", "ok", said)
    again = "orders that no machine had taken are only made again when their callers ask. appendonly yes is better."
    if _may(lambda: store.redis.config_get("save")) is not None:
        said = f"Redis keeps no appendonly file: after its restart what runs re-appears, but {again}"
    elif store.redis.config_get("save").get("save"):
        said = f"Redis keeps snapshots alone: after a crash in between, {again}"
    else:
        said = f"Redis keeps nothing on disk: after its restart what runs re-appears, but {again}"
    return Finding("persistence", "mind", said)


def _replicas(store: LabRedis, about: dict[str, Any]) -> Finding:
    """Whether another Redis can take over."""
    telling, named = store.sentinels()
    if "connected_slaves" in about and not about["connected_slaves"]:
        said = "No replica follows the master: no start is certain, so all are refused. Start one."
        return Finding("replicas", "wrong", said)
    how = f"{about.get('connected_slaves', '?')} replicas follow the master, and {telling} of {named} sentinels answer"
    if telling < named or named < 3:
        return Finding("replicas", "mind", f"{how}: three are needed, of which two agree where the master is.")
    return Finding("replicas", "ok", f"{how}.")


def _clock(store: LabRedis) -> Finding:
    before = time.time()
    skew = (before + time.time()) / 2 - store.now()
    if abs(skew) < SKEW:
        return Finding("clock", "ok", f"This machine's clock and Redis' differ by {abs(skew):.1f} s.")
    ahead = "ahead of" if skew > 0 else "behind"
    said = f"This machine's clock is {abs(skew):.0f} s {ahead} Redis': times on pages will look odd. Use NTP."
    return Finding("clock", "mind", said)


def _machines(settings: Settings, store: LabRedis) -> Iterator[Finding]:
    try:
        lab = load_lab(settings.lab)
    except Misconfigured as error:
        yield Finding("lab.toml", "wrong", str(error))
        return
    if not lab.machines:
        yield Finding("lab.toml", "wrong", "lab.toml names no machine: write a table [machines.NAME] for each.")
        return
    yield Finding("lab.toml", "ok", f"lab.toml names the machines {', '.join(lab.machines)}.")
    for machine in states(store, lab, lab_digest(settings.lab)):
        if machine.same_secret is False and machine.alive:
            said = f"The machine {machine.name} has another REDIS_SECRET: it refuses the orders from here."
            yield Finding("REDIS_SECRET", "wrong", said)
        if machine.same_lab is False and machine.alive:
            said = f"The machine {machine.name} has another lab.toml than this one: make them the same."
            yield Finding("lab.toml", "wrong", said)
        if not machine.known and machine.alive:
            said = f"The machine {machine.name} works for this lab, but lab.toml does not name it: it gets no orders."
            yield Finding("lab.toml", "mind", said)


def _keys(store: LabRedis) -> Finding:
    """Whether what lies under our prefix is ours."""
    if _may(lambda: store.redis.scan(match=store.key("*"))) is not None:
        said = "This user may not list keys (SCAN), so it was not seen whether all under its prefix are labwaiter's."
        return Finding("keys", "ok", said)
    strange, count = [], 0
    for key in store.redis.scan_iter(match=store.key("*"), count=BATCH):
        count += 1
        if key.decode("utf-8", "replace").split(":")[1] not in OURS:
            strange.append(key)
    if strange:
        shown = ", ".join(key.decode("utf-8", "replace")[:80] for key in strange[:3])
        said = f"{len(strange)} keys under {store.prefix}: are not labwaiter's ({shown}): choose another REDIS_PREFIX."
        return Finding("keys", "wrong", said)
    return Finding("keys", "ok", f"This lab has {count} keys, all under {store.prefix}:.")
