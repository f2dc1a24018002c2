"""What a face has the machine of an instrument do, by name: the verbs over instruments and over who has one in hand.

Those over sessions of remote labs are in `session_operations`.

One table for both sides: the machine calls the function, the face knows by its types what comes back. The machine's
verbs judge all of it once more (who may, the limits, who has it), and remember there who did it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import InvalidParameter, Misconfigured, Unavailable
from ..model.caller import Caller
from ..settings import Settings
from ..store.history import Series
from ..store.upkeep import OutOfService
from ..verbs.control import DirectControl, Done, InHand, Standing
from ..verbs.instruments import Checked, Holding, Instruments, MadeSafe, Stopped, UpkeepTold
from ..verbs.monitoring import HistoryTold, Monitoring
from . import as_json, session_operations

T = TypeVar("T")
RESULT_MAX = 16_000_000  # characters of what comes of one: it goes through Redis as a whole
NOT_KNOWN = "This machine's release does not know how to do that."


def take(here: Settings, caller: Caller, name: str, seconds: float, wait: float) -> InHand:
    """`DirectControl.take`."""
    return DirectControl(here).take(name, caller, seconds, wait)


def look(here: Settings, caller: Caller, name: str) -> InHand:
    """`DirectControl.look`: what keeps it in its holder's hands."""
    return DirectControl(here).look(name, caller)


def let_go(here: Settings, caller: Caller, name: str, wait: float) -> bool:
    """`DirectControl.release`."""
    return DirectControl(here).release(name, caller, wait)


def set_control(here: Settings, caller: Caller, name: str, control: str, value: Any, wait: float) -> Done:
    """`DirectControl.set`."""
    return DirectControl(here).set(name, control, value, caller, wait)


def do_action(here: Settings, caller: Caller, name: str, action: str, inputs: dict[str, Any], wait: float) -> Done:
    """`DirectControl.do`."""
    return DirectControl(here).do(name, action, inputs, caller, wait)


def ask_for(here: Settings, caller: Caller, name: str, text: str) -> InHand:
    """`DirectControl.ask_for`."""
    return DirectControl(here).ask_for(name, text, caller)


def why_ended(here: Settings, caller: Caller, name: str, service_id: str) -> str:
    """`DirectControl.why_ended`."""
    return DirectControl(here).why_ended(name, service_id)


def standing(here: Settings, caller: Caller, name: str) -> Standing:
    """`DirectControl.standing`."""
    return DirectControl(here).standing(name, caller)


def stop(here: Settings, caller: Caller, names: tuple[str, ...], wait: float) -> tuple[Stopped, ...]:
    """`Instruments.stop`."""
    return Instruments(here).stop(names, caller, wait)


def check(here: Settings, caller: Caller, name: str) -> Checked:
    """`Instruments.check`, of one."""
    (answer,) = Instruments(here).check([name], caller)
    return answer


def make_safe(here: Settings, caller: Caller, names: tuple[str, ...]) -> tuple[MadeSafe, ...]:
    """`Instruments.make_safe`."""
    return Instruments(here).make_safe(names, caller)


def take_out(here: Settings, caller: Caller, name: str, reason: str) -> OutOfService:
    """`Instruments.take_out`."""
    return Instruments(here).take_out(name, reason, caller)


def put_back(here: Settings, caller: Caller, name: str) -> OutOfService | None:
    """`Instruments.put_back`."""
    return Instruments(here).put_back(name, caller)


def note(here: Settings, caller: Caller, name: str, text: str) -> None:
    """`Instruments.note`."""
    Instruments(here).note(name, text, caller)


def upkeep(here: Settings, caller: Caller, name: str, most: int) -> UpkeepTold:
    """`Instruments.upkeep`."""
    return Instruments(here).upkeep(name, caller, most)


def reserve(here: Settings, caller: Caller, name: str, seconds: float) -> Holding:
    """`Instruments.reserve`."""
    return Instruments(here).reserve(name, seconds, caller)


def release(here: Settings, caller: Caller, name: str) -> Holding | None:
    """`Instruments.release`."""
    return Instruments(here).release(name, caller)


def history(here: Settings, caller: Caller, name: str, since: float, until: float, points: int) -> HistoryTold:
    """`Monitoring.history`."""
    return Monitoring(here).history(name, caller, since, until, points)


def trends(here: Settings, caller: Caller) -> dict[str, tuple[Series, ...]]:
    """`Monitoring.trends`."""
    return {name: tuple(series) for name, series in Monitoring(here).trends(caller).items()}


# these change nothing that would have to survive a power cut
LOOKS = (look, why_ended, standing, upkeep, history, trends, *session_operations.LOOKS)
TABLE: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        *(take, let_go, set_control, do_action, ask_for, stop, check, make_safe),
        *(take_out, put_back, note, reserve, release, *LOOKS, *session_operations.ACTS),
    )
}
ONLY_LOOK = frozenset(each.__name__ for each in LOOKS)


def who(caller: Caller, machine: str) -> str:
    """A caller as the instrument's machine is told of it: never its token.

    Args:
        machine: whose face it called.
    """
    return as_json.dumped(replace(caller, token="", public_url="", polls=False, machine=machine))


def carry_out(here: Settings, name: str, inputs: str, caller: str) -> str:
    """Do what a face asks: what came of it, as JSON. Raises ServiceError."""
    function = TABLE.get(name)
    if function is None:
        raise Unavailable(NOT_KNOWN)
    types = as_json.hints(function)
    try:
        by = as_json.read(Caller, json.loads(caller))
        given = {key: as_json.read(types[key], value) for key, value in json.loads(inputs).items()}
        missing = types.keys() - given.keys() - {"here", "caller", "return"}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidParameter("This machine's release understands that otherwise: nothing was done.") from error
    if missing or not {"here", "caller", "return"}.isdisjoint(given):
        raise InvalidParameter("This machine's release understands that otherwise: nothing was done.")
    try:
        result = as_json.dumped(function(here, by, **given))
    except (Misconfigured, BlockingIOError) as error:
        raise Unavailable(str(error)) from error
    if len(result) > RESULT_MAX:
        raise Unavailable(
            f"This has {len(result):,} characters; at most {RESULT_MAX:,} go to another machine: ask here."
        )
    return result


def result(function: Callable[..., T], text: str) -> T:
    """What came of it, as the face has it. Raises ValueError, TypeError, KeyError: it is none."""
    value: T = as_json.read(as_json.hints(function)["return"], json.loads(text))
    return value
