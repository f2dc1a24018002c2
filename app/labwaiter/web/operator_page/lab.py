"""Lab: a card per instrument, and STOP; and the overview, which has a little of everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Flask, Response, request

from ...errors import (
    ClientError,
    InstrumentInUse,
    InvalidParameter,
    JobFailed,
    Misconfigured,
    MissingParameter,
    NotInHand,
    NotPermitted,
    ServiceError,
    Unavailable,
)
from ...model.panel import Item, What
from ...model.parameter import text_of
from ...model.record import Happening, Record, State
from ...model.sentences import N_, plain
from ...page.words import cut, in_url, number, printable, quantity
from ...store.events import Events
from ...store.leases import Held
from ...verbs.as_data import NOT_LISTED
from ...verbs.control import InHand
from ...verbs.instruments import WHO_MAX, InstrumentState, UpkeepTold
from ..wording import _, language, told
from . import PAGES, BadInput, Face, monitoring
from .executions import active_rows, stamp
from .services import Field, field_of, offers

LOG_SHOWN = 30
RESERVE_MINUTES = (1, 60 * 24 * 30)
TONES = {Held.BY_JOB: "runs", Held.MAKING_SAFE: "waits", Held.UNSAFE: "bad", Held.RESERVED: "waits"}  # colours


def cards(face: Face, with_readings: bool = True) -> list[dict[str, Any]]:
    """An instrument each. Raises Misconfigured: lab.toml has a mistake."""
    queued = _queued(face)
    states = face.instruments.list(face.caller)
    made = [_card(face, state, queued) for state in states]
    known = {state.name for state in states}
    for name, machine in face.instruments.lab().elsewhere.items():
        if name in known:
            continue
        made.append(
            {
                "name": name,
                "state": _("on the machine %(name)s", name=machine),
                "tone": "ended",
                "note": "",
                "driver": "",
                "waiting": queued.get(name, []),
                "elsewhere": True,
            }
        )
    said = monitoring.of_all(face) if with_readings else {}
    for card in made:
        since = card.get("out_since") or 0.0  # one that was stopped is not read: what it said is no longer so
        card["said"] = [reading for reading in said.get(card["name"], []) if reading["at"] >= since]
        card["shown"] = card["said"][: monitoring.ON_CARD]
    return made


def _words(state: InstrumentState) -> str:
    """How it stood when its machine told that last."""
    return printable(plain(replace(state, far="").words, 300))


def _was(why: str, words: str) -> str:
    """Why nothing newer is known, and what was."""
    return N_(f"{why} It was {words}.")


def _state(how: Held) -> str:
    """The word on the card."""
    return {
        Held.BY_JOB: _("in use"),
        Held.MAKING_SAFE: _("is being made safe"),
        Held.UNSAFE: _("UNSAFE"),
        Held.RESERVED: _("reserved"),
    }.get(how, str(how))


def _queued(face: Face) -> dict[str, list[dict[str, str]]]:
    """Instrument → the executions that wait for it."""
    queued: dict[str, list[dict[str, str]]] = {}

    def waits(record: Record) -> bool:
        return record.state is State.QUEUED and bool(record.request.instruments)

    records, _more = face.jobs.newest(None, face.caller, waits, brief=True, active=True)
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
        "state": _("free"),
        "tone": "good",
        "note": printable(entry.note) if entry else told(NOT_LISTED)[0],
        "driver": entry.driver.rpartition(":")[2] if entry else "",
        "simulated": entry is not None and entry.port.startswith("sim://"),
        "waiting": queued.get(state.name, []),
        "listed": entry is not None,
        "twins": ", ".join(sorted(state.twins)),
        "machine": state.machine,
    }
    if state.far:  # what was told last stands greyed below it
        return card | {
            "state": _("not known now"),
            "tone": "bad",
            "why": _was(state.far, _words(state)),
            "far": True,
        }
    if state.out is not None:
        card |= {"out": printable(state.out.words), "out_since": state.out.since or None, "stopped": state.out.stopped}
        card |= {"state": _("stopped") if state.out.stopped else _("out of service"), "tone": "waits"}
    if holding is None:
        if state.absent:
            card["why"] = N_("Nothing is plugged in where lab.toml has its port.")
        if state.absent and state.out is None:
            card |= {"state": _("unreachable"), "tone": "bad"}
        card["free"] = not state.absent and state.out is None
        return card
    lease = holding.lease
    card["state"], card["tone"] = _state(lease.how), TONES.get(lease.how, "waits")
    card |= {"since": lease.since or None, "until": lease.until, "as": state.held_as * (state.held_as != state.name)}
    if holding.in_hand_of:
        card["person"] = cut(printable(holding.in_hand_of), 100)
        card["state"] = _("in hand") if lease.how is Held.BY_JOB else card["state"]
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

    def listed(with_readings: bool = True) -> dict[str, Any]:
        try:
            return {"cards": cards(face, with_readings), "mistake": ""}
        except Misconfigured as error:
            return {"cards": [], "mistake": str(error)}

    @app.get("/")
    def overview() -> Response:
        return face.page(
            "overview.html.j2",
            lambda: {
                **listed(with_readings=False),
                "events": monitoring.last_events(face),
                "active": active_rows(face),
                "offered": offers(face),
                "unserved": face.jobs.unserved(),
            },
            lambda: _of_all(face),
        )

    @app.get(PAGES + "lab")
    def lab() -> Response:
        return show_lab()

    def show_lab() -> Response:
        for holding in face.instruments.not_safe():
            if holding.in_hand_of == face.caller.who[:WHO_MAX]:  # this page keeps it in hand, too
                _look(face, holding.lease.instrument)

        def make() -> dict[str, Any]:
            found = listed()
            return found | {"why_none": "" if found["cards"] or found["mistake"] else face.instruments.why_none()}

        return face.page("lab.html.j2", make, lambda: monitoring.monitored_stamp(face))

    @app.get(PAGES + "instrument")
    def instrument() -> Response:
        name = request.args.get("name", "")
        return show_instrument(name, _look(face, name))  # which keeps it the caller's, also where the page is as it was

    def show_instrument(name: str, in_hand: InHand | None) -> Response:
        return face.page("instrument.html.j2", lambda: _one(face, name, in_hand))

    def done(act: Callable[[str], str], where: str = "lab", form: str = "", field: str = "") -> Response:
        """Do something to one instrument: the page of the lab, or its own, which tells what came of it.

        Args:
            form: whose fields say what is to be done, by its id: it is shown once more where they say it wrongly.
            field: which of them, where the error names none.
        """
        name = request.form.get("name", "")
        query = {"name": name} if where == "instrument" else {}
        try:
            words = act(name)
        except NotPermitted:
            raise
        except ServiceError as error:
            wrong = BadInput(form, f"in-{_input(error)}" if _input(error) else field, error.message)
            if not form or not _is_of_a_field(error):
                return face.not_done(where, error.message, **query)
            if where == "lab":
                return face.mend(wrong, where, show_lab)
            return face.mend(wrong, where, lambda: show_instrument(name, _look(face, name)), **query)
        except BlockingIOError:
            busy = N_(f"{plain(name, 60)}: another program changes who has it, and does not end; try again.")
            return face.not_done(where, busy, **query)
        return face.done(where, printable(words), True, "", name, **query)

    @app.post(PAGES + "stop")
    def stop() -> Response:
        names = [name for name in request.form.getlist("name") if name]
        stopped = face.instruments.stop(names, face.caller)
        if not stopped:
            return face.done("lab", _("There is no instrument to stop."))
        words = []
        for each in sorted(stopped, key=lambda each: (each.safe, not each.machine)):  # where to go to comes first
            why = told(each.why)[0]
            name = _("%(name)s on %(machine)s", name=each.name, machine=each.machine) if each.machine else each.name
            if each.safe:
                words.append(_("%(name)s: safe. %(why)s", name=name, why=why))
            else:
                words.append(_("%(name)s: NOT SAFE YET. %(why)s", name=name, why=why))
        of = stopped[0].name if len(stopped) == 1 else ""
        return face.done("lab", printable(" ".join(words)), all(each.safe for each in stopped), "", of)

    @app.post(PAGES + "take")
    def take() -> Response:
        def act(name: str) -> str:
            face.control.take(name, face.caller, 60 * _minutes(name))
            return _("%(name)s is in your hands, while this page is open.", name=name)

        return done(act, "instrument")

    @app.post(PAGES + "letgo")
    def let_go() -> Response:
        def act(name: str) -> str:
            if face.control.release(name, face.caller):
                return _("%(name)s was read back safe, and is let go.", name=name)
            return _("%(name)s is being made safe and let go; that goes on.", name=name)

        return done(act, "instrument")

    @app.post(PAGES + "ask")
    def ask_for() -> Response:
        def act(name: str) -> str:
            holder = face.control.ask_for(name, request.form.get("text", ""), face.caller).by
            return _("%(who)s was told that you would like to have %(name)s.", who=holder, name=name)

        return done(act, "instrument", "ask", "text")

    @app.post(PAGES + "set")
    def set_control() -> Response:
        def act(name: str) -> str:
            control = request.form.get("item", "")
            value = language().read_number(request.form.get(f"in-{control}", ""))
            done = face.control.set(name, control, value, face.caller)
            read = done.read or {}
            if not done.done:
                return _("%(name)s: %(control)s is being set; that goes on.", name=name, control=control)
            about = {"name": name, "control": control, "value": language().number(value)}
            if "value" not in read:
                return _("%(name)s: %(control)s is set to %(value)s.", **about)
            return _("%(name)s: %(control)s is set to %(value)s, and says %(read)s.", read=_reading(read), **about)

        control = request.form.get("item", "")
        return done(act, "instrument", f"set-{control}", f"in-{control}")

    @app.post(PAGES + "do")
    def do_action() -> Response:
        def act(name: str) -> str:
            item = request.form.get("item", "")
            inputs = {
                key.removeprefix("in-"): language().read_number(text) or None
                for key, text in request.form.items()
                if key.startswith("in-")
            }
            done = face.control.do(name, item, inputs, face.caller)
            if done.done:
                return _("%(name)s: %(action)s is done.", name=name, action=item)
            return _("%(name)s: %(action)s has begun; that goes on.", name=name, action=item)

        return done(act, "instrument", f"do-{request.form.get('item', '')}")

    @app.post(PAGES + "safe")
    def make_safe() -> Response:
        def act(name: str) -> str:
            (result,) = face.instruments.make_safe([name], face.caller)
            why = result.why.removeprefix(f"{name}: ")
            if not result.safe:
                raise InvalidParameter(f"{name} is not safe: {why}")
            return _("%(name)s: %(why)s.", name=name, why=told(why)[0])

        return done(act)

    @app.post(PAGES + "out")
    def take_out() -> Response:
        def act(name: str) -> str:
            out = face.instruments.take_out(name, request.form.get("reason", ""), face.caller)
            return _("%(name)s is %(how)s.", name=name, how=told(out.words)[0])

        return done(act, "lab", f"out-{request.form.get('name', '')}", "reason")

    @app.post(PAGES + "back")
    def put_back() -> Response:
        def act(name: str) -> str:
            face.instruments.put_back(name, face.caller)
            return _("%(name)s is back in service.", name=name)

        return done(act)

    @app.post(PAGES + "note")
    def note() -> Response:
        def act(name: str) -> str:
            face.instruments.note(name, request.form.get("text", ""), face.caller)
            return _("The note is kept.")

        return done(act, "instrument", "note", "text")

    @app.post(PAGES + "reserve")
    def reserve() -> Response:
        name = request.form.get("name", "")
        return done(lambda name: _reserve(face, name), "lab", f"reserve-{name}", "minutes")

    @app.post(PAGES + "release")
    def release() -> Response:
        def act(name: str) -> str:
            before = face.instruments.release(name, face.caller)
            if before:
                return _("%(name)s is free.", name=name)
            return _("%(name)s is free; it was not reserved.", name=name)

        return done(act)

    @app.post(PAGES + "check")
    def check() -> Response:
        def act(name: str) -> str:
            answers = list(face.instruments.check([name], face.caller))
            if not all(answer.ok for answer in answers):
                raise InvalidParameter(" ".join(f"{answer.name}: {plain(answer.words, 500)}" for answer in answers))
            return " ".join(f"{answer.name}: {told(plain(answer.words, 500))[0]}" for answer in answers)

        return done(act)


def _of_all(face: Face) -> str | None:
    """The stamp of the overview: of executions, instruments and services."""
    seen = stamp(face)
    instruments = seen and face.live.stamp("instruments", face.instruments.revision)
    seen = seen and f"{seen} {instruments} {Events(face.settings.layout).stamp()}"
    catalogue = face.offered.last()
    return seen and f"{seen} {sorted(catalogue.services)} {sorted(catalogue.broken)}"


def _look(face: Face, name: str) -> InHand | None:
    """How an instrument stands that somebody has in hand; None where nobody has, or its machine can't be asked."""
    try:
        return face.control.look(name, face.caller)
    except (NotInHand, Unavailable):
        return None


def _one(face: Face, name: str, in_hand: InHand | None) -> dict[str, Any]:
    """All of one instrument. Raises UnknownInstrument."""
    kept: UpkeepTold | None = None
    with contextlib.suppress(Unavailable):  # its machine can't be asked now: its card says so
        kept = face.instruments.upkeep(name, face.caller, LOG_SHOWN)
    card = next(card for card in cards(face) if card["name"] == name)
    card["shown"] = card["said"]
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
        "monitored": monitoring.is_monitored(face, name),
        "span": monitoring.span_asked(),
        "events": monitoring.last_events(face, instrument=name),
        "use": kept and kept.use,
        "hours": language().span(kept.use.seconds) if kept else "",
        "fault": kept and kept.last_fault and (kept.last_fault.at, _event(kept.last_fault)),
        "log": [(happening.at, _event(happening)) for happening in kept.log] if kept else [],
    }


def _fields(face: Face, item: Item, readings: dict[str, dict[str, Any]]) -> list[Field]:
    said = readings.get(item.name, {}).get("value")
    known = {item.name: number(said)} if item.what is What.CONTROL and said is not None else {}
    return [field_of(face, parameter, known.get(parameter.name), False) for parameter in item.inputs]


def _reading(read: dict[str, Any]) -> str:
    """What was read, with its unit."""
    if "value" not in read:
        return ""
    words, unit = quantity(read["value"], str(read.get("unit") or ""), language())
    return cut(printable(f"{words} {unit}".strip()), 200)


def _why(readings: dict[str, dict[str, Any]], item: Item) -> str:
    return cut(printable(str(readings.get(item.name, {}).get("why") or "")), 300)


def _event(happening: Happening) -> str:
    """An event of an instrument's log in words."""
    about = {name: printable(text_of(value)) for name, value in happening.about.items()}
    events = {
        "STOP": "STOP",
        "out of service": _("out of service"),
        "back in service": _("back in service"),
        "note": _("note"),
        "fault": _("fault"),
    }
    event = events.get(happening.event, happening.event)
    by, text = about.get("by", ""), told(about.get("text") or about.get("why", ""))[0]
    words = _("%(event)s by %(who)s", event=event, who=by) if by else event
    return f"{words}: {text}" if text else words


def _minutes(name: str) -> float:
    written = request.form.get("minutes", "").strip()
    low, high = RESERVE_MINUTES
    try:
        minutes = float(language().read_number(written))
    except ValueError:
        minutes = 0.0
    if not low <= minutes <= high:
        raise InvalidParameter(f"{name} can be had for {low} to {high} minutes, not “{written[:20]}”.")
    return minutes


def _reserve(face: Face, name: str) -> str:
    holding = face.instruments.reserve(name, 60 * _minutes(name), face.caller)
    return _("%(name)s is %(how)s.", name=name, how=told(holding.words)[0])


def _is_of_a_field(error: ServiceError) -> bool:
    """Whether something else in the form would do: what was given is wrong, or the instrument would not do that."""
    if isinstance(error, (NotInHand, InstrumentInUse)):
        return False
    return isinstance(error, (InvalidParameter, MissingParameter, JobFailed))


def _input(error: ServiceError) -> str:
    return error.input if isinstance(error, ClientError) else ""
