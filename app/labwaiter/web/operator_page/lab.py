"""Lab: a card per instrument, and STOP; and the overview, which has a little of everything."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from flask import Flask, Response, request

from ...errors import InvalidParameter, Misconfigured, NotInHand, NotPermitted, ServiceError, Unavailable
from ...lab import labfile
from ...model.panel import Item, What
from ...model.parameter import text_of
from ...model.record import Happening, Record, State
from ...model.sentences import plain
from ...model.span import span
from ...page.words import cut, in_url, number, printable, quantity
from ...store.leases import Held
from ...verbs.as_data import NOT_LISTED
from ...verbs.control import InHand
from ...verbs.instruments import WHO_MAX, InstrumentState, UpkeepTold
from . import PAGES, Face
from .executions import active_rows, stamp
from .services import Field, field_of, offers

LOG_SHOWN = 30
RESERVE_MINUTES = (1, 60 * 24 * 30)
# state → the word on the card, and its colour
STATES = {
    Held.BY_JOB: ("in use", "runs"),
    Held.MAKING_SAFE: ("is being made safe", "waits"),
    Held.UNSAFE: ("UNSAFE", "bad"),
    Held.RESERVED: ("reserved", "waits"),
}


def cards(face: Face) -> list[dict[str, Any]]:
    """An instrument each. Raises Misconfigured: lab.toml has a mistake."""
    queued = _queued(face)
    states = face.instruments.list(face.caller)
    made = [_card(face, state, queued) for state in states]
    lab, known = labfile.load(face.settings.lab).on(face.settings.machine), {state.name for state in states}
    for name, machine in lab.elsewhere.items():
        if name in known:
            continue
        made.append(
            {
                "name": name,
                "state": f"on the machine {machine}",
                "tone": "ended",
                "note": "",
                "driver": "",
                "waiting": queued.get(name, []),
                "elsewhere": True,
            }
        )
    return made


def _words(state: InstrumentState) -> str:
    """How it stood when its machine told that last."""
    return printable(plain(replace(state, far="").words, 300))


def _queued(face: Face) -> dict[str, list[dict[str, str]]]:
    """Instrument → the executions that wait for it."""
    queued: dict[str, list[dict[str, str]]] = {}

    def waits(record: Record) -> bool:
        return record.state is State.QUEUED and bool(record.request.instruments)

    records, _ = face.jobs.newest(None, face.caller, waits, brief=True, active=True)
    for record in records:
        for name in record.request.instruments:
            queued.setdefault(name, []).append(_execution(record))
    return queued


def _execution(record: Record) -> dict[str, str]:
    service_id = record.request.service_id
    return {"id": cut(printable(service_id), 60), "raw_id": in_url(service_id), "service": record.request.service}


def _card(face: Face, state: InstrumentState, queued: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    holding, entry = state.holding, state.entry
    card: dict[str, Any] = {
        "name": state.name,
        "state": "free",
        "tone": "good",
        "note": printable(entry.note) if entry else NOT_LISTED,
        "driver": entry.driver.rpartition(":")[2] if entry else "",
        "simulated": entry is not None and entry.port.startswith("sim://"),
        "waiting": queued.get(state.name, []),
        "listed": entry is not None,
        "twins": ", ".join(sorted(state.twins)),
        "machine": state.machine,
    }
    if state.far:  # what was told last stands greyed below it
        return card | {
            "state": "not known now",
            "tone": "bad",
            "why": f"{state.far} It was {_words(state)}.",
            "far": True,
        }
    if state.out is not None:
        card |= {"out": printable(state.out.words), "out_since": state.out.since or None, "stopped": state.out.stopped}
        card |= {"state": "stopped" if state.out.stopped else "out of service", "tone": "waits"}
    if holding is None:
        if state.absent:
            card |= {"state": "unreachable", "tone": "bad", "why": "Nothing is plugged in where lab.toml has its port."}
        card["free"] = not state.absent and state.out is None
        return card
    lease = holding.lease
    card["state"], card["tone"] = STATES.get(lease.how, (str(lease.how), "waits"))
    card |= {"since": lease.since or None, "until": lease.until, "as": state.held_as * (state.held_as != state.name)}
    if holding.in_hand_of:
        card["person"] = cut(printable(holding.in_hand_of), 100)
        card["state"] = "in hand" if lease.how is Held.BY_JOB else card["state"]
        card["in_hand"] = lease.how is Held.BY_JOB
    elif holding.service_id and (holding.by_job or lease.how is Held.UNSAFE):
        try:
            record = face.jobs.record(holding.service_id, face.caller)
            card["by"] = _execution(record) | {"user": cut(printable(record.request.user), 60)}
        except ServiceError:  # of others, or removed
            card["by_others"] = True
    if lease.how is Held.UNSAFE:
        card["why"] = printable(plain(lease.why, 500))
    if lease.how is Held.RESERVED:
        card["person"] = cut(printable(lease.why), 100)
    card["reserved"], card["unsafe"] = lease.how is Held.RESERVED, lease.how is Held.UNSAFE
    card["busy"] = holding.by_job
    return card


def add(app: Flask, face: Face) -> None:
    """Add the pages of instruments, and the overview, to the application."""

    def listed() -> dict[str, Any]:
        try:
            return {"cards": cards(face), "mistake": ""}
        except Misconfigured as error:
            return {"cards": [], "mistake": str(error)}

    @app.get("/")
    def overview() -> Response:
        return face.page(
            "overview.html.j2",
            lambda: {
                **listed(),
                "active": active_rows(face),
                "offered": offers(face),
                "unserved": face.jobs.unserved(),
            },
            _of_all(face),
        )

    @app.get(PAGES + "lab")
    def lab() -> Response:
        for holding in face.instruments.not_safe():
            if holding.in_hand_of == (face.caller.user or "somebody")[:WHO_MAX]:  # this page keeps it in hand, too
                _look(face, holding.lease.instrument)

        def make() -> dict[str, Any]:
            found = listed()
            return found | {"why_none": "" if found["cards"] or found["mistake"] else face.instruments.why_none()}

        return face.page("lab.html.j2", make, stamp(face))

    @app.get(PAGES + "instrument")
    def instrument() -> Response:
        name = request.args.get("name", "")
        in_hand = _look(face, name)  # which keeps it the caller's, also where the page is as it was
        return face.page("instrument.html.j2", lambda: _one(face, name, in_hand))

    @app.post(PAGES + "stop")
    def stop() -> Response:
        names = [name for name in request.form.getlist("name") if name]
        told = face.instruments.stop(names, face.caller)
        if not told:
            return face.done("lab", "There is no instrument to stop.")
        words = " ".join(
            f"{each.name}{f' on {each.machine}' if each.machine else ''}: {'safe' if each.safe else 'NOT SAFE YET'}."
            f" {each.why}"
            for each in sorted(told, key=lambda each: each.safe)  # what somebody has to go to comes first
        )
        return face.done("lab", printable(words), all(each.safe for each in told))

    @app.post(PAGES + "take")
    def take() -> Response:
        def act(name: str) -> str:
            face.control.take(name, face.caller, 60 * _minutes(f"{name} is taken"))
            return f"{name} is in your hands, while this page is open."

        return _done(face, act, "instrument")

    @app.post(PAGES + "letgo")
    def let_go() -> Response:
        def act(name: str) -> str:
            if face.control.release(name, face.caller):
                return f"{name} was read back safe, and is let go."
            return f"{name} is being made safe and let go; that goes on."

        return _done(face, act, "instrument")

    @app.post(PAGES + "ask")
    def ask_for() -> Response:
        def act(name: str) -> str:
            told = face.control.ask_for(name, request.form.get("text", ""), face.caller)
            return f"{told.by} was told that you would like to have {name}."

        return _done(face, act, "instrument")

    @app.post(PAGES + "set")
    def set_control() -> Response:
        def act(name: str) -> str:
            control = request.form.get("item", "")
            value = request.form.get(f"in-{control}", "")
            done = face.control.set(name, control, value, face.caller)
            read = done.read or {}
            if not done.done:
                return f"{name}: {control} is being set; that goes on."
            return f"{name}: {control} is set to {value}" + (
                f", and says {_reading(read)}." if "value" in read else "."
            )

        return _done(face, act, "instrument")

    @app.post(PAGES + "do")
    def do_action() -> Response:
        def act(name: str) -> str:
            item = request.form.get("item", "")
            inputs = {
                key.removeprefix("in-"): text or None for key, text in request.form.items() if key.startswith("in-")
            }
            done = face.control.do(name, item, inputs, face.caller)
            return f"{name}: {item} " + ("is done." if done.done else "has begun; that goes on.")

        return _done(face, act, "instrument")

    @app.post(PAGES + "safe")
    def make_safe() -> Response:
        def act(name: str) -> str:
            (result,) = face.instruments.make_safe([name], face.caller)
            why = result.why.removeprefix(f"{name}: ")
            if not result.safe:
                raise InvalidParameter(f"{name} is not safe: {why}")
            return f"{name}: {why}."

        return _done(face, act)

    @app.post(PAGES + "out")
    def take_out() -> Response:
        def act(name: str) -> str:
            out = face.instruments.take_out(name, request.form.get("reason", ""), face.caller)
            return f"{name} is {out.words}."

        return _done(face, act)

    @app.post(PAGES + "back")
    def put_back() -> Response:
        def act(name: str) -> str:
            face.instruments.put_back(name, face.caller)
            return f"{name} is back in service."

        return _done(face, act)

    @app.post(PAGES + "note")
    def note() -> Response:
        def act(name: str) -> str:
            face.instruments.note(name, request.form.get("text", ""), face.caller)
            return "The note is kept."

        return _done(face, act, "instrument")

    @app.post(PAGES + "reserve")
    def reserve() -> Response:
        return _done(face, lambda name: _reserve(face, name))

    @app.post(PAGES + "release")
    def release() -> Response:
        def act(name: str) -> str:
            before = face.instruments.release(name, face.caller)
            return f"{name} is free." if before else f"{name} is free; it was not reserved."

        return _done(face, act)

    @app.post(PAGES + "check")
    def check() -> Response:
        def act(name: str) -> str:
            answers = list(face.instruments.check([name], face.caller))
            if not all(answer.ok for answer in answers):
                raise InvalidParameter(" ".join(f"{answer.name}: {plain(answer.words, 500)}" for answer in answers))
            return " ".join(f"{answer.name}: {plain(answer.words, 500)}" for answer in answers)

        return _done(face, act)


def _of_all(face: Face) -> str | None:
    """The stamp of the overview: of executions, instruments and services."""
    told = stamp(face)
    catalogue = face.offered.last()
    return told and f"{told} {sorted(catalogue.services)} {sorted(catalogue.broken)}"


def _look(face: Face, name: str) -> InHand | None:
    """How an instrument stands that somebody has in hand; None where nobody has, or its machine can't be asked."""
    try:
        return face.control.look(name, face.caller)
    except (NotInHand, Unavailable):
        return None


def _one(face: Face, name: str, in_hand: InHand | None) -> dict[str, Any]:
    """All of one instrument. Raises UnknownInstrument."""
    told: UpkeepTold | None = None
    with contextlib.suppress(Unavailable):  # its machine can't be asked now: its card says so
        told = face.instruments.upkeep(name, face.caller, LOG_SHOWN)
    card = next(card for card in cards(face) if card["name"] == name)
    own = in_hand is not None and in_hand.is_own
    items = in_hand.panel.items if in_hand is not None and in_hand.panel is not None else ()
    readings = in_hand.readings if in_hand is not None else {}
    return {
        "c": card,
        "name": name,
        "in_hand": in_hand,
        "own": own,
        "by": printable(in_hand.by) if in_hand else "",
        "until": in_hand.until if in_hand else None,
        "identity": printable(in_hand.identity) if in_hand else "",
        "opening": in_hand is not None and in_hand.panel is None,
        "asked": [(printable(a.by), printable(a.text), a.at) for a in in_hand.asked] if in_hand and own else [],
        "readings": [
            (item.name, cut(printable(item.doc), 200), _reading(readings.get(item.name, {})), _why(readings, item))
            for item in items
            if item.what is not What.ACTION
        ],
        "controls": [(item, _fields(face, item, readings)[0]) for item in items if item.what is What.CONTROL and own],
        "actions": [(item, _fields(face, item, readings)) for item in items if item.what is What.ACTION and own],
        "use": told and told.use,
        "hours": span(told.use.seconds) if told else "",
        "fault": told and told.last_fault and (told.last_fault.at, _event(told.last_fault)),
        "log": [(happening.at, _event(happening)) for happening in told.log] if told else [],
    }


def _fields(face: Face, item: Item, readings: dict[str, dict[str, Any]]) -> list[Field]:
    said = readings.get(item.name, {}).get("value")
    known = {item.name: number(said)} if item.what is What.CONTROL and said is not None else {}
    return [field_of(face, parameter, known.get(parameter.name), False) for parameter in item.inputs]


def _reading(read: dict[str, Any]) -> str:
    """What was read, with its unit."""
    if "value" not in read:
        return ""
    words, unit = quantity(read["value"], str(read.get("unit") or ""))
    return cut(printable(f"{words} {unit}".strip()), 200)


def _why(readings: dict[str, dict[str, Any]], item: Item) -> str:
    return cut(printable(str(readings.get(item.name, {}).get("why") or "")), 300)


def _event(happening: Happening) -> str:
    """An event of an instrument's log in words."""
    about = {name: printable(text_of(value)) for name, value in happening.about.items()}
    by, text = about.get("by", ""), about.get("text") or about.get("why", "")
    return happening.event + (f" by {by}" if by else "") + (f": {text}" if text else "")


def _minutes(what: str) -> float:
    written = request.form.get("minutes", "").strip()
    low, high = RESERVE_MINUTES
    try:
        minutes = float(written)
    except ValueError:
        minutes = 0.0
    if not low <= minutes <= high:
        raise InvalidParameter(f"{what} for {low} to {high} minutes, not “{written[:20]}”.")
    return minutes


def _reserve(face: Face, name: str) -> str:
    holding = face.instruments.reserve(name, 60 * _minutes(f"{name} is reserved"), face.caller)
    return f"{name} is {holding.words}."


def _done(face: Face, act: Any, where: str = "lab") -> Response:
    """Do something to one instrument: the page of the lab, or its own, which tells what came of it."""
    name = request.form.get("name", "")
    try:
        words, good = act(name), True
    except NotPermitted:
        raise
    except ServiceError as error:
        words, good = error.message, False
    except BlockingIOError:
        words, good = f"{plain(name, 60)}: another program changes who has it, and does not end; try again.", False
    return face.done(where, printable(words), good, **({"name": name} if where == "instrument" else {}))
