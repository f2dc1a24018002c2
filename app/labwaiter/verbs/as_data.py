"""What the verbs give, as the JSON that other programs read: the shell's --json and the JSON face say it alike.

Times are Unix times in s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..model.record import Happening, Record, View
from ..model.sentences import N_
from ..model.service import Service
from ..store.folder import ran
from ..store.upkeep import OutOfService
from .control import Done, InHand
from .instruments import Checked, InstrumentState, MadeSafe, Stopped, UpkeepTold

NOT_LISTED = N_("not in lab.toml")


def of_record(record: Record) -> dict[str, Any]:
    """A record."""
    return {
        "serviceID": record.request.service_id,
        "service": record.request.service,
        "state": str(record.state),
        "why": record.why,
        "inputs": record.request.inputs,
        "outputs": record.outputs,
        "user": record.request.user,
        "created": record.request.created,
        "started": record.started,
        "ended": record.ended,
        "ran": ran(record),
        "stopping": record.stopping.why if record.stopping else None,
        "confined": record.confined,
        **({"machine": record.machine, "as_of": record.as_of} if record.machine else {}),
    }


def of_messages(service: Service | None) -> list[dict[str, str]]:
    """The messages that a service declares."""
    return [{"message": name, "words": words} for name, words in (service.messages if service is not None else ())]


def of_work(view: View) -> dict[str, Any]:
    """How far an execution's work is, and what is to be said of it besides."""
    return {
        "progress": {
            "fraction": view.progress.fraction,
            "stage": view.progress.stage,
            "values": view.progress.values,
        },
        "silence": view.silence and view.silence.seconds,
        "hardware": list(view.hardware),
    }


def of_timeline(timeline: Iterable[Happening]) -> list[dict[str, Any]]:
    """What an execution has been through."""
    return [{"at": told.at, "event": told.event, **told.about} for told in timeline]


def of_instrument(state: InstrumentState) -> dict[str, Any]:
    """An instrument, and who has it."""
    entry, lease = state.entry, state.holding and state.holding.lease
    return {
        "name": state.name,
        "driver": entry.driver if entry else "",
        "port": entry.port if entry else "",
        "note": entry.note if entry else NOT_LISTED,
        "state": state.state,
        "serviceID": state.holding.service_id if state.holding else "",
        "why": lease.why if lease else "",
        "since": lease.since if lease else None,
        "until": lease.until if lease else None,
        "heldAs": state.held_as,
        "inHandOf": state.holding.in_hand_of if state.holding else "",
        "machine": state.machine or (entry.machine if entry else ""),
        "outOfService": of_out_of_service(state.out),
    }


def of_out_of_service(out: OutOfService | None) -> dict[str, Any] | None:
    """Why an instrument is out of service; None where it isn't."""
    return None if out is None else {name: value for name, value in vars(out).items() if name != "instrument"}


def of_upkeep(told: UpkeepTold) -> dict[str, Any]:
    """How an instrument was used and kept."""
    fault = told.last_fault
    return {
        "name": told.name,
        **vars(told.use),
        "outOfService": of_out_of_service(told.out),
        "lastFault": fault and {"at": fault.at, **fault.about},
        "log": of_timeline(told.log),
    }


def of_in_hand(held: InHand) -> dict[str, Any]:
    """An instrument in somebody's hands."""
    return {
        "instrument": held.instrument,
        "serviceID": held.service_id,
        "by": held.by,
        "since": held.since,
        "until": held.until,
        "own": held.is_own,
        "identity": held.identity,
        "panel": held.panel.as_data() if held.panel else None,
        "readings": held.readings,
        "asked": [vars(asked) for asked in held.asked],
    }


def of_done(done: Done) -> dict[str, Any]:
    """What came of setting or doing something."""
    return {"done": done.done, "read": done.read}


def of_checked(answer: Checked) -> dict[str, Any]:
    """What came of asking an instrument who it is."""
    return {"name": answer.name, "ok": answer.ok, "said": answer.words}


def of_made_safe(result: MadeSafe) -> dict[str, Any]:
    """What came of making one safe."""
    return {"name": result.name, "safe": result.safe, "why": result.why}


def of_stopped(result: Stopped) -> dict[str, Any]:
    """What came of STOP for one."""
    return vars(result)
