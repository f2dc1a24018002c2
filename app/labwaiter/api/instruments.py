"""The addresses of instruments: those of this machine, or of all machines of the lab."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from flask import Response, g

from ..errors import NotInHand, UnknownInstrument
from ..fleet import open_direct_control, open_instruments, open_monitoring
from ..model.caller import Caller
from ..model.sentences import plain
from ..settings import Settings
from ..store.history import POINTS
from ..verbs import Jobs
from ..verbs.as_data import of_checked, of_done, of_in_hand, of_instrument, of_made_safe, of_stopped, of_upkeep
from ..verbs.control import Done, InHand
from ..verbs.instruments import Instruments, InstrumentState, MadeSafe
from ..verbs.monitoring import CSV_POINTS, SPANS, HistoryTold, csv_of, of_history, of_last
from . import schemas
from .addresses import Addresses
from .answers import KeptAnswers, answered, tag

SAFE_WAIT = 7.5  # s: callers give up after 10


def blueprint(settings: Settings, jobs: Jobs, kept: KeptAnswers) -> Addresses:
    """They over the verbs."""
    at = Addresses("instruments", __name__, description="The instruments of this machine, or of all of the lab.")
    verbs, control = open_instruments(settings, jobs), open_direct_control(settings, jobs)

    @at.get("/instruments")
    @at.response(200, schemas.Instruments)
    def listed() -> Response:
        """List them, and who has them."""
        caller = g.caller

        def made() -> tuple[Any, str]:
            data = {"instruments": [_data(state) for state in verbs.list(caller)]}
            return data, tag(data)

        return kept.of(caller.identity, made)

    @at.get("/instruments/<string:name>")
    @at.response(200, schemas.Instrument)
    def show(name: str) -> Response:
        """Tell of one."""
        data = _of(verbs, name)
        return answered(data, etag=tag(data))

    @at.post("/instruments/<string:name>/check")
    @at.response(200, schemas.Checked)
    def check(name: str) -> Response:
        """Open it, ask it who it is, and close it; what an execution has is not touched."""
        (answer,) = verbs.check([name], g.caller)
        return answered(of_checked(answer))

    @at.put("/instruments/<string:name>/reservation")
    @at.arguments(schemas.Reservation)
    @at.response(200, schemas.Instrument)
    def reserve(asked: dict[str, Any], name: str) -> Response:
        """Reserve it for the caller, or prolong that: executions pass it by for so long."""
        verbs.reserve(name, 60 * asked["minutes"], g.caller)
        return answered(_of(verbs, name))

    @at.delete("/instruments/<string:name>/reservation")
    @at.response(204)
    def release(name: str) -> Response:
        """Give it back, whoever has reserved it."""
        verbs.release(name, g.caller)
        return Response(status=204)

    @at.post("/instruments/<string:name>/make-safe")
    @at.response(200, schemas.MadeSafe)
    @at.alt_response(202, schema=schemas.MadeSafe, description="It goes on.", success=True)
    def make_safe(name: str) -> Response:
        """Make one safe that nobody uses, read that back, and free it where it was unsafe."""
        return _made_safe(verbs, [name], g.caller)

    @at.post("/instruments/make-safe")
    @at.arguments(schemas.Names)
    @at.response(200, schemas.MadeSafe)
    @at.alt_response(202, schema=schemas.MadeSafe, description="It goes on.", success=True)
    def all_safe(asked: dict[str, Any]) -> Response:
        """As that of one, of several or of all; nothing is done where an execution has one of them."""
        names = asked["names"]
        if names is None:
            names = [state.name for state in verbs.list(g.caller) if state.entry is not None]
        return _made_safe(verbs, names, g.caller)

    @at.post("/instruments/<string:name>/stop")
    @at.response(200, schemas.Stopped)
    def stop(name: str) -> Response:
        """STOP: end whatever uses it, make it safe and read that back, in 8 s; nothing begins with it afterwards."""
        return answered({"results": [of_stopped(result) for result in verbs.stop([name], g.caller)]})

    @at.post("/instruments/stop")
    @at.arguments(schemas.Names)
    @at.response(200, schemas.Stopped)
    def stop_all(asked: dict[str, Any]) -> Response:
        """STOP for several or, where none is named, for all, on every machine of the lab."""
        return answered({"results": [of_stopped(result) for result in verbs.stop(asked["names"] or (), g.caller)]})

    @at.put("/instruments/<string:name>/out-of-service")
    @at.arguments(schemas.Reason)
    @at.response(200, schemas.Instrument)
    def take_out(asked: dict[str, Any], name: str) -> Response:
        """Take it out of service: executions that need it wait, and are told why."""
        verbs.take_out(name, asked["reason"], g.caller)
        return answered(_of(verbs, name))

    @at.delete("/instruments/<string:name>/out-of-service")
    @at.response(204)
    def put_back(name: str) -> Response:
        """Put it back into service, after upkeep or STOP."""
        verbs.put_back(name, g.caller)
        return Response(status=204)

    @at.get("/instruments/<string:name>/upkeep")
    @at.arguments(schemas.Last, location="query")
    @at.response(200, schemas.Upkeep)
    def upkeep(asked: dict[str, Any], name: str) -> Response:
        """Tell how much it was used, its last fault and its log."""
        data = of_upkeep(verbs.upkeep(name, g.caller, asked["last"]))
        return answered(data, etag=tag(data))

    @at.post("/instruments/<string:name>/notes")
    @at.arguments(schemas.Note)
    @at.response(204)
    def note(asked: dict[str, Any], name: str) -> Response:
        """Add a note to its log."""
        verbs.note(name, asked["text"], g.caller)
        return Response(status=204)

    @at.put("/instruments/<string:name>/direct-control")
    @at.arguments(schemas.Taking)
    @at.response(200, schemas.InHand)
    @at.alt_response(202, schema=schemas.InHand, description="It is being opened.", success=True)
    def take(asked: dict[str, Any], name: str) -> Response:
        """Take it in hand: it is the caller's as long as that asks for it (GET) every few seconds.

        15 s after the last time it is made safe and let go.
        """
        return _in_hand(control.take(name, g.caller, 60 * asked["minutes"]))

    @at.get("/instruments/<string:name>/direct-control")
    @at.response(200, schemas.InHand)
    @at.alt_response(202, schema=schemas.InHand, description="It is being opened.", success=True)
    def look(name: str) -> Response:
        """Tell how it stands in somebody's hands, and what was read last; in the caller's, this is what keeps it so."""
        try:
            return _in_hand(control.look(name, g.caller))
        except NotInHand as error:
            return g.problems.of(error, 404, "In nobody's hands")  # type: ignore[no-any-return]

    @at.delete("/instruments/<string:name>/direct-control")
    @at.response(200, schemas.LetGo)
    @at.alt_response(202, schema=schemas.LetGo, description="It is being made safe.", success=True)
    def let_go(name: str) -> Response:
        """Let it go: it is made safe and read back."""
        gone = control.release(name, g.caller)
        return answered({"safe": gone}, 200 if gone else 202)

    @at.put("/instruments/<string:name>/direct-control/controls/<string:control_name>")
    @at.arguments(schemas.SetTo)
    @at.response(200, schemas.Done)
    @at.alt_response(202, schema=schemas.Done, description="It goes on.", success=True)
    def set_control(asked: dict[str, Any], name: str, control_name: str) -> Response:
        """Set a control of it, in the caller's hands; what is over a limit never reaches its line."""
        return _done(control.set(name, control_name, asked["value"], g.caller))

    @at.post("/instruments/<string:name>/direct-control/actions/<string:action>")
    @at.arguments(schemas.Inputs)
    @at.response(200, schemas.Done)
    @at.alt_response(202, schema=schemas.Done, description="It goes on.", success=True)
    def do_action(asked: dict[str, Any], name: str, action: str) -> Response:
        """Have it do something, in the caller's hands."""
        return _done(control.do(name, action, asked["inputs"], g.caller))

    @at.post("/instruments/<string:name>/direct-control/requests")
    @at.arguments(schemas.Asking)
    @at.response(200, schemas.InHand)
    def ask_for(asked: dict[str, Any], name: str) -> Response:
        """Tell whoever has it in hand that the caller would like to have it: whose it is."""
        return answered(of_in_hand(control.ask_for(name, asked["text"], g.caller)))

    monitoring = open_monitoring(settings, jobs)

    @at.get("/readings")
    @at.response(200, schemas.Readings)
    def readings() -> Response:
        """What monitored instruments said last."""
        last = monitoring.last(g.caller)
        data = {"instruments": [{"name": name, "readings": of_last(said)} for name, said in last.items()]}
        return answered(data, etag=tag(data))

    @at.get("/instruments/<string:name>/history")
    @at.arguments(schemas.Span, location="query")
    @at.response(200, schemas.History)
    def history(asked: dict[str, Any], name: str) -> Response:
        """What a monitored one said over a time."""
        data = of_history(_history(asked, name, POINTS))
        return answered(data, etag=tag(data, "since", "until"))

    @at.get("/instruments/<string:name>/history.csv")
    @at.arguments(schemas.Span, location="query")
    @at.response(200, content_type="text/csv", description="A row for each point of time, a column for each reading.")
    def history_csv(asked: dict[str, Any], name: str) -> Response:
        """The same for a spreadsheet."""
        return Response(csv_of(_history(asked, name, CSV_POINTS)), content_type="text/csv; charset=utf-8")

    def _history(asked: dict[str, Any], name: str, points: int) -> HistoryTold:
        now = time.time()
        until = asked.get("until", now)
        since = asked.get("since", until - SPANS["day"])
        return monitoring.history(name, g.caller, since, until, asked.get("points", points))

    @at.get("/events")
    @at.arguments(schemas.EventsAsked, location="query")
    @at.response(200, schemas.Events)
    def events(asked: dict[str, Any]) -> Response:
        """What an operator should hear of, the newest first."""
        found = monitoring.events(g.caller, asked["limit"], asked.get("since", 0.0), asked.get("instrument", ""))
        data = {"events": [event.told() for event in found]}
        return answered(data, etag=tag(data))

    return at


def _in_hand(held: InHand) -> Response:
    return answered(of_in_hand(held), 202 if held.panel is None else 200)


def _done(done: Done) -> Response:
    return answered(of_done(done), 200 if done.done else 202)


def _of(verbs: Instruments, name: str) -> dict[str, Any]:
    for state in verbs.list(g.caller):
        if state.name == name:
            return _data(state)
    raise UnknownInstrument(f"This machine has no instrument {plain(name, 60)}.")


def _data(state: InstrumentState) -> dict[str, Any]:
    return of_instrument(state) | {"words": state.words}


def _made_safe(verbs: Instruments, names: Sequence[str], caller: Caller) -> Response:
    """What came of it within SAFE_WAIT; it goes on by itself."""
    results: list[MadeSafe] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            results.extend(verbs.make_safe(list(dict.fromkeys(names)), caller))
        except Exception as error:
            failures.append(error)

    worker = threading.Thread(target=work, name="make safe", daemon=True)
    worker.start()
    worker.join(SAFE_WAIT)
    if worker.is_alive():
        return answered({"goesOn": True, "results": []}, 202)
    if failures:
        raise failures[0]
    return answered({"goesOn": False, "results": [of_made_safe(result) for result in results]})
