"""The machines of a lab as an operator sees them, and the orders that wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ..lab.lab import Lab
from ..page.words import clock
from . import order
from .lab_redis import SILENT, LabRedis
from .redis_store import RedisStore

BATCH = 500
BY_OPERATOR = "The execution was withdrawn by an operator before it began."


@dataclass(frozen=True)
class MachineState:
    """One machine, as its worker told last."""

    name: str
    known: bool  # lab.toml names it
    state: str  # "takes orders", "drains", "left", "unreachable", "not seen yet"
    seen: float | None = None  # Redis' clock, Unix time in s; None: it has left, or was never there
    version: str = ""
    offers: tuple[str, ...] = ()
    active: int = 0  # executions that run or wait there
    waiting: int = 0  # of these
    orders: int = 0  # that it has yet to take
    clock: float | None = None  # s: its clock minus Redis'
    same_lab: bool | None = None  # whether its lab.toml is ours
    same_secret: bool | None = None

    @property
    def alive(self) -> bool:
        """Whether its worker is there."""
        return self.state in ("takes orders", "drains")

    @property
    def in_words(self) -> str:
        """Its state, with since when."""
        return self.state if self.state != "unreachable" else f"unreachable since {clock(self.seen or 0.0)}"


def states(store: LabRedis, lab: Lab, digest: str = "") -> list[MachineState]:
    """All machines that lab.toml names, then those that only Redis knows.

    Args:
        digest: of our lab.toml, as `heartbeat.lab_digest` makes it.

    Raises:
        redis.RedisError.
    """
    found = {name.decode() for name in store.redis.smembers(store.key("machines"))}
    names = [*lab.machines, *sorted(found - set(lab.machines))]
    with store.redis.pipeline(transaction=False) as asked:
        asked.time()
        for name in names:
            asked.hgetall(store.key("machine", name))
            asked.llen(order.queue_of(store, name).key)
        (seconds, micros), *told = asked.execute()
    now = seconds + micros / 1e6
    return [
        _state(store, name, name in lab.machines, said, orders, now, digest)
        for name, said, orders in zip(names, told[::2], told[1::2], strict=True)
    ]


def _state(
    store: LabRedis, name: str, known: bool, said: dict[bytes, bytes], orders: int, now: float, digest: str
) -> MachineState:
    told = {key.decode(): value.decode("utf-8", "replace") for key, value in said.items()}
    if not told:
        return MachineState(name, known, "not seen yet", orders=orders)
    seen = float(told.get("seen", 0.0))
    return MachineState(
        name,
        known,
        "left" if not seen or told.get("state") == "left" else "unreachable" if now - seen > SILENT else told["state"],
        seen=seen or None,
        version=told.get("version", ""),
        offers=tuple(json.loads(told.get("offers", "[]"))),
        active=int(told.get("active", 0)),
        waiting=int(told.get("waiting", 0)),
        orders=orders,
        clock=float(told["clock"]) if "clock" in told else None,
        same_lab=told.get("lab") == digest if digest else None,
        same_secret=told.get("secret") == store.fingerprint,
    )


def waiting(store: LabRedis, machines: Iterable[str]) -> list[str]:
    """The names of the executions that these machines have yet to take. Raises what Redis raises."""
    found = []
    for machine in machines:
        names = sorted(name.decode() for name in store.redis.smembers(store.key("active", machine)))
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            with store.redis.pipeline(transaction=False) as asked:
                for name in batch:
                    asked.hexists(store.key("job", name), "view")
                found += [name for name, taken in zip(batch, asked.execute(), strict=True) if not taken]
    return found


def withdraw(there: RedisStore, names: Iterable[str]) -> list[str]:
    """Withdraw orders that no machine has taken, each as aborted: the serviceIDs; a machine may be faster."""
    gone = []
    for name in names:
        known = there.look(name)
        if known is not None and known.view is None and there.withdraw(name, known, BY_OPERATOR):
            gone.append(known.request.service_id)
    return gone


def clear(store: LabRedis) -> int:
    """Delete every key of this lab, and no other: how many there were. Raises what Redis raises."""
    count = 0
    batch: list[bytes] = []
    for key in store.redis.scan_iter(match=store.key("*"), count=BATCH):
        batch.append(key)
        if len(batch) >= BATCH:
            count += store.redis.unlink(*batch)
            batch.clear()
    return count + (store.redis.unlink(*batch) if batch else 0)
