"""Whether the Redis of a lab is as it must be: a sentence for each thing, with how to mend what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import Misconfigured
from ..lab.labfile import load as load_lab
from ..settings import Settings
from . import redis_faults
from .heartbeat import lab_digest
from .lab_redis import LabRedis
from .machines import states
from .redis_faults import refusal

LEAST = (6, 2)  # LMOVE, and sets of several members at once
SKEW = 5.0  # s between this machine's clock and Redis' that are worth a word


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    what: str
    grade: str  # "ok"; "mind": it works, but know it; "wrong": mend it
    said: str  # the sentence


def examine(settings: Settings, store: LabRedis) -> Iterator[Diagnosis]:
    """Look at everything. Raises redis.RedisError, OSError: it can't be reached, or goes away meanwhile."""
    unsaved = refusal(store.ping)  # a Redis that can't save refuses even that
    if unsaved is not None and redis_faults.of(unsaved) is not redis_faults.UNSAVED:
        raise unsaved
    server: dict[str, Any] = {}
    if refusal(lambda: server.update(store.server())) is None:
        yield from _version(server)
        yield _memory(server)
        yield _persistence(store, server)
    else:
        sentence = "This user may not ask how Redis is (INFO): see that it is 6.2 or later, noeviction and appendonly."
        yield Diagnosis("version", "mind", sentence)
    if store.fails_over:
        yield _replicas(store, server)
    yield from _rights(store)
    yield _clock(store)
    yield from _machines(settings, store)
    yield _keys(store)


def _version(server: dict[str, Any]) -> Iterator[Diagnosis]:
    version = str(server.get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < LEAST:
        yield Diagnosis("version", "wrong", f"This is Redis {version}; 6.2 or later is needed: upgrade it.")
    else:
        yield Diagnosis("version", "ok", f"Redis {version} answers.")
    if server.get("cluster_enabled"):
        sentence = "This Redis is a cluster, whose transactions can't span keys: use a single one."
        yield Diagnosis("cluster", "wrong", sentence)


def _rights(store: LabRedis) -> Iterator[Diagnosis]:
    """What this user may do, and may do but needn't."""
    refused = store.refused_commands()
    for reason in dict.fromkeys(redis_faults.of(error) for error in refused.values()):
        if reason is not redis_faults.NO_RIGHT:
            yield Diagnosis(reason.what, "wrong", reason.mend)
    if commands := [what for what, error in refused.items() if redis_faults.of(error) is redis_faults.NO_RIGHT]:
        sentence = f"Redis refuses this user {', '.join(commands)}: give it the rights that docs/machines.md lists."
        yield Diagnosis("rights", "wrong", sentence)
    elif not refused:
        yield Diagnosis("rights", "ok", "This user may do all that is needed.")
    if refusal(store.look_at_another_labs_key) is None:
        sentence = (
            "This user may touch keys of other programs, too: docs/machines.md has an ACL that keeps it to this lab's."
        )
        yield Diagnosis("other keys", "mind", sentence)


def _memory(server: dict[str, Any]) -> Diagnosis:
    """What happens where it is full."""
    policy = server.get("maxmemory_policy", "?")
    if policy == "noeviction":
        return Diagnosis("maxmemory-policy", "ok", "Nothing is thrown away where memory is short (noeviction).")
    sentence = f"maxmemory-policy is {policy}: orders could vanish where memory is short. Make it noeviction."
    return Diagnosis("maxmemory-policy", "wrong", sentence)


def _persistence(store: LabRedis, server: dict[str, Any]) -> Diagnosis:
    """What a restart of Redis leaves."""
    if server.get("aof_enabled"):
        sentence = "Redis keeps its data on disk (appendonly): a restart loses a second at most."
        return Diagnosis("persistence", "ok", sentence)
    again = "orders that no machine had taken are only made again when their callers ask. appendonly yes is better."
    rules: list[str] = []
    if refusal(lambda: rules.append(store.saves())) is not None:
        sentence = f"Redis keeps no appendonly file: after its restart what runs re-appears, but {again}"
    elif any(rules):
        sentence = f"Redis keeps snapshots alone: after a crash in between, {again}"
    else:
        sentence = f"Redis keeps nothing on disk: after its restart what runs re-appears, but {again}"
    return Diagnosis("persistence", "mind", sentence)


def _replicas(store: LabRedis, server: dict[str, Any]) -> Diagnosis:
    """Whether another Redis can take over."""
    telling, named = store.sentinels()
    if "connected_slaves" in server and not server["connected_slaves"]:
        sentence = "No replica follows the master: no start is certain, so all are refused. Start one."
        return Diagnosis("replicas", "wrong", sentence)
    how = f"{server.get('connected_slaves', '?')} replicas follow the master, and {telling} of {named} sentinels answer"
    if telling < named or named < 3:
        return Diagnosis("replicas", "mind", f"{how}: three are needed, of which two agree where the master is.")
    return Diagnosis("replicas", "ok", f"{how}.")


def _clock(store: LabRedis) -> Diagnosis:
    before = time.time()
    skew = (before + time.time()) / 2 - store.now()
    if abs(skew) < SKEW:
        return Diagnosis("clock", "ok", f"This machine's clock and Redis' differ by {abs(skew):.1f} s.")
    ahead = "ahead of" if skew > 0 else "behind"
    sentence = f"This machine's clock is {abs(skew):.0f} s {ahead} Redis': times on pages will look odd. Use NTP."
    return Diagnosis("clock", "mind", sentence)


def _machines(settings: Settings, store: LabRedis) -> Iterator[Diagnosis]:
    try:
        lab = load_lab(settings.lab)
    except Misconfigured as error:
        yield Diagnosis("lab.toml", "wrong", str(error))
        return
    if not lab.machines:
        yield Diagnosis("lab.toml", "wrong", "lab.toml names no machine: write a table [machines.NAME] for each.")
        return
    yield Diagnosis("lab.toml", "ok", f"lab.toml names the machines {', '.join(lab.machines)}.")
    for machine in states(store, lab, lab_digest(settings.lab)):
        if machine.same_secret is False and machine.alive:
            sentence = f"The machine {machine.name} has another REDIS_SECRET: it refuses the orders from here."
            yield Diagnosis("REDIS_SECRET", "wrong", sentence)
        if machine.same_lab is False and machine.alive:
            sentence = f"The machine {machine.name} has another lab.toml than this one: make them the same."
            yield Diagnosis("lab.toml", "wrong", sentence)
        if not machine.known and machine.alive:
            sentence = (
                f"The machine {machine.name} works for this lab, but lab.toml does not name it: it gets no orders."
            )
            yield Diagnosis("lab.toml", "mind", sentence)


def _keys(store: LabRedis) -> Diagnosis:
    """Whether what lies under our prefix is ours."""
    counts: list[tuple[int, list[str]]] = []
    if refusal(lambda: counts.append(store.strange_keys())) is not None:
        sentence = (
            "This user may not list keys (SCAN), so it was not seen whether all under its prefix are labwaiter's."
        )
        return Diagnosis("keys", "ok", sentence)
    ((count, strange),) = counts
    if strange:
        shown = ", ".join(key[:80] for key in strange[:3])
        sentence = (
            f"{len(strange)} keys under {store.prefix}: are not labwaiter's ({shown}): choose another REDIS_PREFIX."
        )
        return Diagnosis("keys", "wrong", sentence)
    return Diagnosis("keys", "ok", f"This lab has {count} keys, all under {store.prefix}:.")
