"""Every way in which an execution may end, tried with a real one: were its instruments safe afterwards?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model.record import State
from ..store.leases import Held
from .execution import PATIENCE, Execution, NotThatWay, eventually

if TYPE_CHECKING:
    from .lab import Lab

# s after which a service is stopped here by its stall or limit; from the one to the other, where it needs more to begin
SHORTEST, LONGEST = 2.0, 64.0
GRACE = 1.0  # s for what hangs, and hears no polite word
QUIET = 1.0  # s of told progress after which one is struck whose instruments could all be left alone
SAFE, HELD, LIVE = "safe", "held as unsafe", "NOT SAFE"


@dataclass(frozen=True)
class Ending:
    """How one execution ended."""

    how: str  # one of ENDINGS
    state: State
    why: str
    struck: str  # the stage in which it was struck; "" where it wasn't
    live: tuple[str, ...]  # the instruments that could not have been left alone at that moment, by their own records
    # afterwards, by its own record: SAFE; HELD: it isn't, or nobody could ask it, and labwaiter gives it to nobody;
    # LIVE: it isn't, and counts as free
    instruments: dict[str, str]
    problem: str = ""  # why this was not that ending, or what is wrong afterwards

    @property
    def safe(self) -> bool:
        """Whether each instrument is safe, or held until somebody has looked at it."""
        return LIVE not in self.instruments.values()


class Endings(list[Ending]):
    """Several of them, with a table for people."""

    def assert_safe(self) -> None:
        """Raises NotThatWay, with the table, where an instrument was left live, or an ending wasn't reached."""
        __tracebackhide__ = True
        if any(ending.problem or not ending.safe for ending in self):
            raise NotThatWay(f"not every ending left the instruments safe:\n{self}")

    def __str__(self) -> str:
        rows = [("ENDING", "STATE", "LIVE WHEN STRUCK", "INSTRUMENTS AFTERWARDS", "WHY")]
        for one in self:
            after = ", ".join(f"{name}: {how}" for name, how in one.instruments.items()) or "none"
            rows.append((one.how, one.state, ", ".join(one.live) or "-", after, one.problem or one.why or "-"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
        )


def _interrupted(lab: Lab, execution: Execution) -> None:
    execution.interrupt()


def _aborted(lab: Lab, execution: Execution) -> None:
    execution.abort()


def _killed(lab: Lab, execution: Execution) -> None:
    execution.kill()


def _frozen(lab: Lab, execution: Execution) -> None:
    execution.freeze()


def _slow(lab: Lab, execution: Execution) -> None:
    """It hangs until it is told to stop, and hears that then."""
    execution.freeze()
    eventually(lambda: execution.record.stopping is not None or not execution.running)
    execution.thaw()


def _unplugged(lab: Lab, execution: Execution) -> None:
    for name in execution.instruments:
        lab.unplug(name)


@dataclass(frozen=True)
class _Way:
    strike: Callable[[Lab, Execution], None] | None  # None: it goes on to its end
    states: tuple[State, ...]  # in one of which it ends
    rule: str = ""  # of the service: seconds by which it is stopped, to which it hasn't to wait as long as in a lab
    others: dict[str, float | None] = dataclasses.field(default_factory=dict)  # likewise, as they are then


_WAYS = {
    "completed": _Way(None, (State.COMPLETED,)),
    "failed": _Way(_interrupted, (State.FAILED,)),
    "aborted": _Way(_aborted, (State.ABORTED,)),
    "killed": _Way(_killed, (State.FAILED,)),
    "stalled": _Way(_frozen, (State.FAILED,), "stall", {"limit": None, "grace": GRACE}),
    "over time": _Way(_slow, (State.FAILED,), "limit", {"stall": None}),
    "unplugged": _Way(_unplugged, (State.FAILED, State.COMPLETED)),
}
ENDINGS = tuple(_WAYS)


def end(lab: Lab, how: str, service: str, at: str, inputs: dict[str, Any]) -> Ending:
    """See `Lab.ending`."""
    if how not in _WAYS:
        raise ValueError(f"“{how}” is no ending; there are: {', '.join(ENDINGS)}.")
    way = _WAYS[how]
    seconds = SHORTEST
    while True:
        execution = lab.start_as(service, inputs, **({way.rule: seconds, **way.others} if way.rule else {}))
        live = _await_moment(lab, execution, at) if way.strike is not None else ()
        # one that was stopped before it could be struck has more time the next time
        if live is not None or not way.rule or execution.record.state is not State.FAILED or seconds >= LONGEST:
            break
        execution.join()
        seconds *= 2
    struck = execution.stage if live is not None and way.strike is not None else ""
    if live is not None and way.strike is not None:
        way.strike(lab, execution)
    execution.join()
    return _judged(lab, how, execution, struck, live)


def _await_moment(lab: Lab, execution: Execution, at: str) -> tuple[str, ...] | None:
    """Which instruments are live at the moment in which it is to be struck; None: it ended before."""
    told: float | None = None
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        running = execution.running
        live = tuple(name for name in execution.instruments if not _is_safe(lab, name))
        stage = execution.stage
        if told is None and (stage or execution.progress is not None):
            told = time.monotonic()
        if at in stage if at else live or (told is not None and time.monotonic() > told + QUIET):
            return live if running else None
        if not running:
            return None
        time.sleep(0.01)  # what a simulator is told is no event of ours
    wanted = f"“{at}”" if at else "a moment to be struck in: it told no progress, and no instrument was live"
    told_ = f"{execution.service_id} did not come to {wanted} within {PATIENCE:g} s: {execution.in_words()}"
    execution.abort()
    raise NotThatWay(told_)


def _is_safe(lab: Lab, name: str) -> bool:
    simulator = lab.simulators.get(name)
    return simulator is None or simulator.is_safe()


def _judged(lab: Lab, how: str, execution: Execution, struck: str, live: tuple[str, ...] | None) -> Ending:
    record = execution.record
    problems, instruments = [], {}
    if live is None:
        then = record.why or "give it inputs with which it lasts longer"
        problems.append(f"it had {record.state} before it was struck: {then}")
    elif record.state not in _WAYS[how].states:
        then = record.why and f": {record.why}"
        problems.append(f"it has {record.state} instead of {_WAYS[how].states[0]}{then}")
    for name in execution.instruments:
        lease = lab.settled(name)
        instruments[name] = HELD if lease is not None else SAFE if _is_safe(lab, name) else LIVE
        if instruments[name] == LIVE:
            problems.append(f"{name} is free, and may not be left alone by its own record")
        if lease is None:
            continue
        if how != "unplugged":
            problems.append(f"{name} could not be made safe: {lease.why}")
        elif lease.how is not Held.UNSAFE:
            problems.append(f"{name} is {lease.how}")
    if how == "unplugged":
        for name in execution.instruments:
            lab.plug(name)
    for name in [name for name, after in instruments.items() if after == HELD]:
        lab.make_safe(name)  # it is the next one's, too
        if not _is_safe(lab, name) and how == "unplugged":
            problems.append(f"{name} could not be made safe when it was plugged in again")
    why = record.why if record.state is not State.COMPLETED else ""
    return Ending(how, record.state, why, struck, live or (), instruments, "; ".join(problems))
