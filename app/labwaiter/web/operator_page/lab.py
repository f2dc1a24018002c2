"""Lab: a card per instrument, and STOP; and the overview, which has a little of everything."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from ...errors import InvalidParameter, Misconfigured, NotPermitted, ServiceError
from ...lab import labfile
from ...model.record import Record, State
from ...model.sentences import plain
from ...page.words import cut, in_url, printable
from ...store.leases import Held
from ...verbs.instruments import MISSING, InstrumentState
from ...verbs.stop import stop
from . import PAGES, Face
from .executions import active_rows, stamp
from .services import offers

NOT_LISTED = "not in lab.toml"
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
    word = face.instruments.states()
    made = [_card(face, state, word.get(state.name, ""), queued) for state in face.instruments.list(face.caller)]
    lab = labfile.load(face.settings.lab).on(face.settings.machine)
    for name, machine in lab.elsewhere.items():
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


def _card(face: Face, state: InstrumentState, word: str, queued: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
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
    }
    if holding is None:
        if word == MISSING:
            card |= {"state": "unreachable", "tone": "bad", "why": "Nothing is plugged in where lab.toml has its port."}
        return card
    lease = holding.lease
    card["state"], card["tone"] = STATES.get(lease.how, (str(lease.how), "waits"))
    card |= {"since": lease.since or None, "until": lease.until, "as": state.held_as * (state.held_as != state.name)}
    if holding.by_job or (lease.how is Held.UNSAFE and holding.service_id):
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
        def make() -> dict[str, Any]:
            found = listed()
            return found | {"why_none": "" if found["cards"] or found["mistake"] else face.instruments.why_none()}

        return face.page("lab.html.j2", make, stamp(face))

    @app.post(PAGES + "stop")
    def stop_it() -> Response:
        names = [name for name in request.form.getlist("name") if name]
        told = stop(face.settings, face.jobs, names, face.caller)
        if not told:
            return face.done("lab", "There is no instrument to stop.")
        good = all(each.safe for each in told)
        words = " ".join(f"{each.name}: {_in_words(each.safe)}{each.why.rstrip('.')}." for each in told)
        return face.done("lab", printable(words), good)

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


def _in_words(safe: bool | None) -> str:
    return {True: "safe, ", False: "NOT SAFE: ", None: "not known yet: "}[safe]


def _reserve(face: Face, name: str) -> str:
    written = request.form.get("minutes", "").strip()
    low, high = RESERVE_MINUTES
    try:
        minutes = float(written)
    except ValueError:
        minutes = 0.0
    if not low <= minutes <= high:
        raise InvalidParameter(f"{name} is reserved for {low} to {high} minutes, not “{written[:20]}”.")
    holding = face.instruments.reserve(name, 60 * minutes, face.caller)
    return f"{name} is {holding.words}."


def _done(face: Face, act: Any) -> Response:
    """Do something to one instrument: the page of the lab, which tells what came of it."""
    name = request.form.get("name", "")
    try:
        words, good = act(name), True
    except NotPermitted:
        raise
    except ServiceError as error:
        words, good = error.message, False
    except BlockingIOError:
        words, good = f"{plain(name, 60)}: another program changes who has it, and does not end; try again.", False
    return face.done("lab", printable(words), good)
