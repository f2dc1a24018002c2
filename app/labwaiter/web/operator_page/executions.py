"""Executions: the list of them, one of them, and what is done to it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from ...errors import InvalidParameter, MissingParameter, NotPermitted, ServiceError
from ...model.parameter import text_of
from ...model.record import ACTIVE, PLOT, Record, State, View
from ...page import language_of, render
from ...page.words import (
    cut,
    estimate,
    happened,
    headline,
    in_url,
    inputs_of,
    made_by,
    printable,
    quantity,
    ran,
    waits_for,
    whole_percent,
)
from ...store.artifacts import Artifacts
from ...store.folder import ran as ran_of
from ...store.names import folder_name
from ...verbs.permission import Action
from ...verbs.permission import may as may_do
from ..wording import _, language, told
from . import PAGES, BadInput, Face

EACH = 40  # executions of a page
ACTIVE_MAX = 200
LOG_PART = 60_000  # bytes
VALUES_READ = 2_000_000  # bytes of record.csv, its last
POINTS = 2000  # of a plot
NAMES_MAX = 12
SINCE = {"hour": 3600, "day": 86400, "week": 7 * 86400, "month": 31 * 86400}
TONES = {
    State.QUEUED: "waits",
    State.RUNNING: "runs",
    State.COMPLETED: "good",
    State.FAILED: "bad",
    State.ABORTED: "ended",
}
# a status page may be the program's own: it runs in a frame of no origin, and reaches nothing but where buttons send to
STATUS_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:;"
    " font-src data:; media-src data:; frame-ancestors 'self'"
)


def row(face: Face, record: Record) -> dict[str, Any]:
    """An execution as a list shows it."""
    percent, stage, place = None, "", None
    if record.active:
        with contextlib.suppress(ServiceError):
            view = face.jobs.view(record.request.service_id, face.caller)
            record, place = view.record, view.place
            percent = None if view.progress.fraction is None else whole_percent(view.progress.fraction)
            stage = view.progress.stage if record.state is State.RUNNING else waits_for(view, language())
    return {
        "id": printable(record.request.service_id),
        "raw_id": in_url(record.request.service_id),
        "service": record.request.service,
        "tone": "stops" if record.stopping else TONES[record.state],
        "state": headline(record, place, None, language()),
        "percent": percent if record.state is State.RUNNING else None,
        "stage": cut(printable(" ".join(stage.split())), 160),
        "why": cut(printable(record.stopping.why if record.stopping else record.why), 300),
        "user": cut(printable(record.request.user), 60),
        "created": record.request.created,
        "started": record.started if record.state is State.RUNNING else None,
        "took": "" if record.active or record.started is None else language().span(_seconds(record)),
        "machine": record.machine,
        "instruments": record.request.instruments,
    }


def _seconds(record: Record) -> float:
    seconds = ran_of(record)
    return max(0.0, (record.ended or time.time()) - (record.started or 0.0)) if seconds is None else seconds


def active_rows(face: Face, fits: Any = lambda record: True) -> list[dict[str, Any]]:
    """Those that run, then those that wait, the oldest first."""

    def is_active(record: Record) -> bool:
        return record.active and fits(record)

    records, _more = face.jobs.newest(ACTIVE_MAX, face.caller, is_active, brief=True, active=True)
    return [row(face, record) for record in sorted(records, key=lambda record: record.state is State.QUEUED)]


def stamp(face: Face, name: str = "") -> str | None:
    """Of the executions, or of one."""
    told = face.live.stamp(f"executions {name}", lambda: face.jobs.records.revision(name))
    return told and f"{told} {face.settings.lab.stat().st_mtime_ns if face.settings.lab.exists() else 0}"


def add(app: Flask, face: Face) -> None:
    """Add the pages of executions to the application."""

    @app.get(PAGES + "executions")
    def executions() -> Response:
        return face.page("executions.html.j2", lambda: _listed(face), lambda: stamp(face))

    def asked() -> tuple[str, View]:
        service_id = _asked_id()
        record = face.jobs.record(service_id, face.caller)
        return service_id, face.jobs.view(service_id, face.caller, face.jobs.service_of(record))

    @app.get(PAGES + "execution")
    def execution() -> Response:
        service_id = _asked_id()
        face.jobs.record(service_id, face.caller)  # raises for who may not see it, before anything is told by a 304
        return show(service_id)

    def show(service_id: str) -> Response:
        return face.page(
            "execution.html.j2", lambda: _one(face, *asked()), lambda: stamp(face, folder_name(service_id))
        )

    @app.get(PAGES + "status")
    def status() -> Response:
        view = asked()[1]
        service = face.jobs.service_of(view.record)
        files = face.here + face.jobs.artifacts.link(view.record.name)
        buttons = None if service is None else face.jobs.buttons(view, service, face.caller)
        spoken = language_of(view.record.request, face.settings.page_language)  # as the workflow manager shows it
        html = "" if service is None else printable(render(view, service, files, spoken, buttons))
        answer = Response(html, content_type="text/html; charset=utf-8")
        policy = STATUS_POLICY if buttons is None else f"{STATUS_POLICY}; connect-src {buttons.address}"
        answer.headers["Content-Security-Policy"] = policy
        return answer

    @app.get(PAGES + "log")
    def log() -> Response:
        service_id = _asked_id()
        at = request.args.get("from", "", str)
        start = int(at) if at.isascii() and at.isdigit() and len(at) < 16 else None
        part = face.jobs.log(service_id, start or 0, LOG_PART, face.caller)
        if start is None:  # its end
            begin = max(0, part[1] - LOG_PART)
            part = face.jobs.log(service_id, begin, LOG_PART, face.caller) if begin else part
        else:
            begin = start or 0
        text, length = part
        return face.page(
            "log.html.j2",
            lambda: {
                "id": printable(service_id),
                "raw_id": in_url(service_id),
                "text": _shown(text),
                "begin": begin,
                "end": begin + len(text),
                "length": length,
                "step": LOG_PART,
            },
        )

    @app.get(PAGES + "values")
    def values() -> Response:
        service_id = _asked_id()
        record = face.jobs.record(service_id, face.caller)
        answer = Response(json.dumps(_values(face, record)), content_type="application/json")
        answer.add_etag()
        answer.make_conditional(request)
        return answer

    @app.post(PAGES + "abort")
    def abort() -> Response:
        service_id = _asked_id()
        if face.jobs.abort(None, service_id, face.caller):
            return face.done("execution", _("It is over, and its instruments are safe."), id=service_id)
        return face.done("execution", _("It is being stopped; that goes on by itself."), id=service_id)

    @app.post(PAGES + "notify")
    def notify() -> Response:
        service_id, message = _asked_id(), request.form.get("message", "")
        try:
            if not message.strip():
                raise InvalidParameter("The message is empty: write one.")
            reply = face.jobs.notify(None, service_id, message, face.caller)
        except NotPermitted:
            raise
        except (InvalidParameter, MissingParameter) as error:
            wrong = BadInput("message", "message", error.message)
            return face.mend(wrong, "execution", lambda: show(service_id), id=service_id)
        except ServiceError as error:
            return face.not_done("execution", error.message, id=service_id)
        if reply.isdigit():
            return face.done("execution", _("The message was taken as number %(n)s.", n=reply), id=service_id)
        words = _("It replied: %(reply)s", reply=told(printable(reply))[0])
        return face.done("execution", words, id=service_id)

    @app.post(PAGES + "remove")
    def remove() -> Response:
        service_id = _asked_id()
        try:
            face.jobs.remove(service_id, face.caller)
        except NotPermitted:
            raise
        except ServiceError as error:
            return face.not_done("execution", error.message, id=service_id)
        return face.done("executions", _("What %(id)s made has been removed.", id=cut(printable(service_id), 100)))


def _asked_id() -> str:
    service_id: str = request.values.get("id", "")
    if not service_id:
        raise InvalidParameter("No execution is named: go to the list, and choose one.")
    return service_id


def _listed(face: Face) -> dict[str, Any]:
    given = {name: request.args.get(name, "")[:200] for name in ("state", "service", "user", "since")}
    before = request.args.get("before", type=float)
    oldest = time.time() - SINCE[given["since"]] if given["since"] in SINCE else 0.0
    user, service = given["user"].strip().lower(), given["service"].lower()

    def fits(record: Record) -> bool:
        asked = record.request
        return (
            (not service or asked.service.lower() == service)
            and (not user or user in asked.user.lower())
            and asked.created >= oldest
        )

    states = {str(state): {state} for state in State} | {"active": set(ACTIVE), "": set(State)}
    states["ended"] = set(State) - set(ACTIVE)
    wanted = states.get(given["state"], set(State))
    active = active_rows(face, lambda r: r.state in wanted and fits(r)) if before is None and wanted & ACTIVE else []
    ended: list[Record] = []
    older, left_out = 0, list[str]()
    if wanted - ACTIVE:

        def has_ended(record: Record) -> bool:
            return (
                record.state in wanted
                and not record.active
                and fits(record)
                and (before is None or record.request.created < before)
            )

        ended, older = face.jobs.newest(EACH, face.caller, has_ended, left_out, brief=True)
    query = {name: text for name, text in given.items() if text}
    return {
        "given": given,
        "active": active,
        "ended": [row(face, record) for record in reversed(ended)],
        "older": ended[0].request.created if older and len(ended) == EACH else None,
        "before": before,
        "query": query,
        "states": ("", "running", "queued", "ended", "completed", "failed", "aborted"),
        "services": sorted({*face.offered.last().services}),
        "left_out": len(left_out),
        "unserved": face.jobs.unserved(),
        "filtered": bool(query),
    }


def _one(face: Face, service_id: str, view: View) -> dict[str, Any]:
    record, progress, caller = view.record, view.progress, face.caller
    service = face.jobs.service_of(record)
    timeline = face.jobs.timeline(service_id, caller)
    seconds = ran(record, view.moment)
    first = view.message_count - len(view.messages) + 1
    units = {p.name: p.unit for p in service.outputs} if service else {}
    files_at = (
        face.here + face.jobs.artifacts.link(record.name) if may_do(caller, Action.READ_FILES, record.request) else ""
    )
    inputs = (
        inputs_of(view, service, language())
        if service
        else [(n, text_of(v), "") for n, v in record.request.inputs.items()]
    )
    return {
        **row(face, record),
        "doc": service.doc.partition("\n")[0] if service else "",
        "active": record.active,
        "running": record.state is State.RUNNING,
        "queued": record.state is State.QUEUED,
        "headline": headline(record, view.place, None, language()),
        "percent": None
        if progress.fraction is None or record.state is not State.RUNNING
        else whole_percent(progress.fraction),
        "stage": cut(printable(progress.stage), 300) if record.active else "",
        "ahead": cut(printable(waits_for(view, language())), 500) if record.state is State.QUEUED else "",
        "began": record.started,
        "ended": record.ended,
        "took": "" if record.active or record.started is None else language().span(seconds),
        "remaining": estimate(record, progress.fraction, seconds, language()),
        "limit": language().span(view.limit) if view.limit and record.active else "",
        "hardware": [printable(sentence) for sentence in view.hardware],
        "distance": printable(view.note),
        "values": [
            (cut(name, 40), *quantity(value, progress.units.get(name, ""), language()))
            for name, value in list(progress.values.items())[:40]
        ],
        "inputs": inputs,
        "outputs": [
            (name, *(printable(w) for w in quantity(value, units.get(name, ""), language())))
            for name, value in (record.outputs or {}).items()
        ],
        "messages": [
            (number, printable(text), printable(progress.replies.get(number, "")))
            for number, text in enumerate(view.messages, first)
        ],
        "message_count": view.message_count,
        "files": [(files_at + in_url(name), printable(name), count) for name, count in view.files] if files_at else [],
        "files_at": files_at,
        "has_values": any(name == "record.csv" for name, _ in view.files) and not record.machine,
        "picture": files_at + in_url(progress.picture.file)
        if files_at and progress.picture and progress.picture.file != PLOT
        else "",
        "caption": printable(progress.picture.caption) if progress.picture else "",
        "timeline": [(happening.at, printable(happened(happening, language()))) for happening in timeline[-100:]],
        "made_by": [(printable(name), printable(what)) for name, what in made_by(timeline, language())],
        "log": _shown(view.log.encode()),
        "own_page": view.own_page is not None,
        "may_abort": may_do(caller, Action.ABORT, record.request),
        # one that waits hears nothing yet
        "declared": service.messages if service is not None and record.state is State.RUNNING else (),
        "may_notify": may_do(caller, Action.NOTIFY, record.request),
        "may_remove": may_do(caller, Action.REMOVE, record.request),
        "may_start": may_do(caller, Action.START) and record.request.service in face.offered.last().services,
        "project": printable(record.request.project),
        "face": record.request.face,
    }


def _shown(text: bytes) -> str:
    """A log as a page can show it."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\ufffd" for c in printable(text.decode("utf-8", "replace"))
    )


def _values(face: Face, record: Record) -> dict[str, Any]:
    path = face.jobs.file(record.name, "record.csv", face.caller) if not record.machine else None
    return values_of(face.jobs.artifacts, path)


def values_of(artifacts: Artifacts, path: Path | None) -> dict[str, Any]:
    """What a file of recorded values has, as columns of numbers; at most POINTS rows, the last one among them."""
    if path is None:
        return {"names": [], "columns": []}
    try:
        with open(artifacts.open(path), "rb") as read:
            head = read.readline(10_000)
            size = read.seek(0, io.SEEK_END)
            read.seek(max(len(head), size - VALUES_READ))
            body = read.read(VALUES_READ)
    except OSError:
        return {"names": [], "columns": []}
    if size - VALUES_READ > len(head):
        body = body.partition(b"\n")[2]
    body = body[: body.rfind(b"\n") + 1]  # what is being written is not whole
    try:
        return _columns(head, body)
    except csv.Error:  # the job's own file has come into its place
        return {"names": [], "columns": []}


def _columns(head: bytes, body: bytes) -> dict[str, Any]:
    names = next(csv.reader([head.decode("utf-8", "replace")]), [])[:NAMES_MAX]
    lines = body.decode("utf-8", "replace").splitlines()
    step = -(-len(lines) // POINTS) or 1
    rows = list(csv.reader([line for at, line in enumerate(lines) if (len(lines) - 1 - at) % step == 0]))
    columns = [[_number(cells[at]) if at < len(cells) else None for cells in rows] for at in range(len(names))]
    return {"names": names, "columns": columns}


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        value = float(text)
        return value if abs(value) < 1e300 else None
    return None
