"""The machines of a lab as an operator sees them, and the orders that wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidParameter
from ..lab.lab import Lab
from ..model.caller import Caller
from ..model.sentences import N_, plain
from ..page.words import clock
from ..verbs.acts import Acts
from ..verbs.permission import Action, may
from .fleet_store import LEFT, SILENT_SECONDS, FleetStore, MachineEntry
from .redis_store import RedisStore

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

    def as_data(self) -> dict[str, Any]:
        """It as JSON has it."""
        return vars(self) | {"offers": list(self.offers)}

    @property
    def in_words(self) -> str:
        """Its state, with since when."""
        return self.state if self.state != "unreachable" else N_(f"unreachable since {clock(self.seen or 0.0)}")


def states(store: FleetStore, lab: Lab, digest: str = "") -> list[MachineState]:
    """All machines that lab.toml names, then those that only Redis knows.

    Args:
        digest: of our lab.toml, as `heartbeat.lab_digest` makes it.

    Raises:
        redis.RedisError.
    """
    names = [*lab.machines, *sorted(store.machines() - set(lab.machines))]
    entries, now = store.machine_entries(names)
    fingerprint = store.seals.fingerprint
    return [
        state_of(name, name in lab.machines, entry, now, digest, fingerprint)
        for name, entry in zip(names, entries, strict=True)
    ]


def state_of(name: str, known: bool, entry: MachineEntry, now: float, digest: str, fingerprint: str) -> MachineState:
    """How a machine is.

    Args:
        known: lab.toml names it.
        now: Redis' clock.
        digest, fingerprint: of our lab.toml ("": nobody asks) and REDIS_SECRET.
    """
    beat = entry.beat
    if beat is None:
        return MachineState(name, known, "not seen yet", orders=entry.orders)
    silent = "unreachable" if now - beat.seen > SILENT_SECONDS else ""
    return MachineState(
        name,
        known,
        LEFT if not beat.seen or beat.state == LEFT else silent or beat.state,
        seen=beat.seen or None,
        version=beat.version,
        offers=beat.offers,
        active=beat.active,
        waiting=beat.waiting,
        orders=entry.orders,
        clock=beat.clock,
        same_lab=beat.lab == digest if digest else None,
        same_secret=beat.secret == fingerprint,
    )


def waiting(store: FleetStore, machines: Iterable[str]) -> list[str]:
    """The names of the executions that these machines have yet to take. Raises what Redis raises."""
    return [name for machine in machines for name in store.untaken(machine)]


def withdraw(store: RedisStore, names: Iterable[str], caller: Caller, acts: Acts) -> list[str]:
    """Withdraw orders that no machine has taken, each as aborted, those that the caller may abort: the serviceIDs.

    A machine may be faster. Raises Unavailable, and what Redis raises.
    """
    service_ids = []
    for name in names:
        look = store.find(name)
        if look is None or look.published is not None or not may(caller, Action.ABORT, look.request):
            continue
        if store.withdraw(look, BY_OPERATOR):
            service_ids.append(look.request.service_id)
            acts.go_on("abort", caller, {"serviceID": look.request.service_id})
    return service_ids


def of_names(known: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those machines, or all that are known where none is named. Raises InvalidParameter: one isn't known."""
    known = list(known)
    for name in names:
        if name not in known:
            raise InvalidParameter(f"There is no machine {plain(name, 60)}; there are: {', '.join(known) or 'none'}.")
    return list(names) or known
