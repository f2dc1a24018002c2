"""The addresses of executions."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from typing import Any
from urllib.parse import quote

from flask import Response, g, request

from ..catalogue.catalogue import WatchedCatalogue
from ..errors import (
    InvalidParameter,
    JobAborted,
    JobFailed,
    Unavailable,
    UnknownInstrument,
    UnknownServiceID,
)
from ..model.caller import Caller
from ..model.record import ACTIVE, Record, View
from ..model.service import Service
from ..page.words import in_url, named, printable, waits_for
from ..store.timeline import made_by
from ..verbs import Jobs
from ..verbs.as_data import of_messages, of_record, of_timeline, of_work
from ..web.sending import named_in, sent
from . import schemas
from .addresses import Addresses
from .answers import KeptAnswers, answered, knows, tag

WAITING_MAX = 200  # requests of a worker that wait for a change, of the 800 threads of decision 15
MOVING = ("ran", "silence")  # what of an execution moves by itself


def blueprint(offered: WatchedCatalogue, jobs: Jobs, kept: KeptAnswers) -> Addresses:
    """They over the verbs."""
    at = Addresses("executions", __name__, description="What was started, and what becomes of it.")
    places = threading.BoundedSemaphore(WAITING_MAX)

    def known(name: str) -> tuple[str, Caller]:
        """The serviceID that an address names, and who calls."""
        return jobs.service_id_of(name, g.caller), g.caller

    @at.get("/executions")
    @at.arguments(schemas.Listing, location="query")
    @at.response(200, schemas.Executions)
    def listed(asked: dict[str, Any]) -> Response:
        """List executions, those first that were asked for last. A list has no outputs."""
        caller = g.caller

        def made() -> tuple[Any, str]:
            data = _list(jobs, asked, caller)
            seen = [{name: part for name, part in one.items() if name not in MOVING} for one in data["executions"]]
            return data, tag(data | {"executions": seen})

        return kept.of(caller.identity, made)

    @at.post("/executions")
    @at.arguments(schemas.Start)
    @at.response(202, schemas.Whole)
    def start(asked: dict[str, Any]) -> Response:
        """Start an execution, or find the same one again.

        The same serviceID, service and inputs are the same execution, for ever, whichever way it was started.
        """
        name, caller = asked["service"], g.caller
        catalogue = offered.now(name)
        service = catalogue.known(name) or catalogue.get(name)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        service_id = asked.get("serviceID") or f"{service.name}-{stamp}-{secrets.token_hex(4)}"
        try:
            with contextlib.suppress(JobFailed, JobAborted):  # found again: it says itself how it ended
                jobs.start(service, service_id, asked["inputs"], caller, unavailable=catalogue.refusal(name))
        except UnknownInstrument as error:
            return g.problems.of(error, 422)  # type: ignore[no-any-return]
        view = jobs.view(service_id, caller, service)
        answer = answered(_whole(jobs, view), 202)
        answer.headers["Location"] = _href(view.record)
        return answer

    @at.get("/executions/<string:name>")
    @at.arguments(schemas.Waiting, location="query")
    @at.response(200, schemas.Whole, headers={"ETag": {"schema": {"type": "string"}}})
    @at.alt_response(304, description="It is what If-None-Match says.", success=True)
    def show(asked: dict[str, Any], name: str) -> Response:
        """Tell all of one execution but its log and its timeline; `wait` holds that until something has changed."""
        service_id, caller = known(name)
        seconds = asked["wait"]

        def made() -> tuple[Any, str]:
            data = _whole(jobs, jobs.view(service_id, caller))
            return data, tag(data, *MOVING)

        if not seconds:
            return kept.of(caller.identity, made)
        if not places.acquire(blocking=False):
            raise Unavailable(
                f"{WAITING_MAX} requests wait here already: ask without wait, or for this again a little later."
            )
        try:
            g.waited = seconds
            has = bool(request.if_none_match)
            first = ""
            for view in jobs.views(service_id, seconds, caller):
                data = _whole(jobs, view)
                etag = tag(data, *MOVING)
                first = first or etag
                if not (knows(etag) if has else etag == first):
                    break
            return answered(data, etag=etag)
        finally:
            places.release()

    @at.get("/executions/<string:name>/outputs")
    @at.response(200, schemas.Outputs)
    def outputs(name: str) -> Response:
        """Give the outputs."""
        service_id, caller = known(name)
        record = jobs.record(service_id, caller)
        data = {"state": str(record.state), "why": record.why, "outputs": _outputs(jobs, record)}
        return answered(data, etag=tag(data))

    @at.get("/executions/<string:name>/log")
    @at.response(200, schemas.Log)
    def log(name: str) -> Response:
        """Give the last lines of what it has printed."""
        service_id, caller = known(name)
        data = {"text": jobs.view(service_id, caller).log}
        return answered(data, etag=tag(data))

    @at.get("/executions/<string:name>/log/part")
    @at.arguments(schemas.LogPart, location="query")
    @at.response(200, schemas.PartOfLog)
    def log_part(asked: dict[str, Any], name: str) -> Response:
        """Give a part of what it has printed, so that all of it can be read, part by part."""
        service_id, caller = known(name)
        start, most = asked["at"], asked["most"]
        text, length = jobs.log(service_id, start or 0, most, caller)
        if start is None and length > most:  # its end
            start = length - most
            text, length = jobs.log(service_id, start, most, caller)
        begin = start or 0
        shown = printable(text.decode("utf-8", "replace"))
        data = {"text": shown, "from": begin, "to": begin + len(text), "length": length}
        return answered(data, etag=tag(data))

    @at.get("/executions/<string:name>/timeline")
    @at.response(200, schemas.Timeline)
    def timeline(name: str) -> Response:
        """Tell what it has been through, and what it was made by."""
        service_id, caller = known(name)
        happenings = jobs.timeline(service_id, caller)
        data = {"timeline": of_timeline(happenings), "madeBy": made_by(happenings)}
        return answered(data, etag=tag(data))

    @at.post("/executions/<string:name>/abort")
    @at.response(200, schemas.Aborted)
    def abort(name: str) -> Response:
        """Have it stopped: within 8 s, whether it is gone and its instruments were read back safe."""
        service_id, caller = known(name)
        return answered({"success": jobs.abort(None, service_id, caller)})

    @at.post("/executions/<string:name>/messages")
    @at.arguments(schemas.Message)
    @at.response(200, schemas.Reply)
    def notify(asked: dict[str, Any], name: str) -> Response:
        """Send it a message."""
        service_id, caller = known(name)
        return answered({"response": jobs.notify(None, service_id, asked["message"], caller)})

    @at.delete("/executions/<string:name>")
    @at.response(204)
    def remove(name: str) -> Response:
        """Remove what an ended execution has made; its serviceID stays used."""
        service_id, caller = known(name)
        jobs.remove(service_id, caller)
        return Response(status=204)

    @at.get("/executions/<string:name>/files")
    @at.response(200, schemas.Files)
    def files(name: str) -> Response:
        """List the files that it has made, at most 500."""
        service_id, caller = known(name)
        record = jobs.record(service_id, caller)
        data = {"files": _files(record, jobs.files(record.name, caller))}
        return answered(data, etag=tag(data))

    @at.get("/executions/<string:name>/files/<file:file>")
    @at.doc(responses={"200": {"description": "The file.", "content": {"*/*": {"schema": {}}}}})
    @at.alt_response(304, description="It is what If-None-Match says.", success=True)
    def file(name: str, file: str) -> Response:
        """Give a file that it has made."""
        service_id, caller = known(name)
        record = jobs.record(service_id, caller)
        path = jobs.file(record.name, named_in(request, 6), caller)
        answer = sent(jobs, path) if path is not None else None
        if answer is None:
            return g.problems.of(  # type: ignore[no-any-return]
                InvalidParameter("This execution has made no such file, or it has been removed."), 404, "No such file"
            )
        return answer

    return at


def _list(jobs: Jobs, asked: dict[str, Any], caller: Caller) -> dict[str, Any]:
    states, service_id = set(asked.get("state", ())), asked.get("serviceID")
    service, user = asked.get("service", "").lower(), asked.get("user")
    since, until = asked.get("since", -math.inf), asked.get("until", math.inf)
    behind = _place(asked["before"]) if "before" in asked else (math.inf, "")

    def fits(record: Record) -> bool:
        of, created = record.request, record.request.created
        return (
            (not states or str(record.state) in states)
            and (not service or of.service.lower() == service)
            and (user is None or of.user == user)
            and since <= created < until
            and (created, record.name) < behind
        )

    left_out: list[str] = []
    if service_id is not None:
        found: list[Record] = []
        with contextlib.suppress(UnknownServiceID):
            found = [one for one in (jobs.record(service_id, caller),) if fits(one)]
        older = 0
    else:
        active = bool(states) and states <= {str(state) for state in ACTIVE}
        found, older = jobs.newest(asked["limit"], caller, fits, left_out, brief=True, active=active)
    listed = [_brief(record) for record in reversed(found)]
    last = found[0] if found else None
    return {
        "executions": listed,
        "next": f"{last.request.created!r}~{last.name}" if last is not None and older else None,
        "unreadable": len(left_out),
        "note": jobs.aside(),
    }


def _place(text: str) -> tuple[float, str]:
    """Behind which execution a list goes on. Raises InvalidParameter."""
    created, _, name = text.partition("~")
    try:
        return float(created), name
    except ValueError:
        raise InvalidParameter("“before” is what the last answer called `next`, as it stood there.") from None


def _brief(record: Record) -> dict[str, Any]:
    return of_record(record) | {
        "name": record.name,
        "href": _href(record),
        "outputs": None,
        "project": record.request.project,
        "face": record.request.face,
    }


def _whole(jobs: Jobs, view: View) -> dict[str, Any]:
    record, work = view.record, of_work(view)
    return (
        _brief(record)
        | work
        | {
            "outputs": _outputs(jobs, record),
            "ran": view.ran,
            "progress": work["progress"] | {"units": view.progress.units},
            "place": view.place,
            "waitsFor": waits_for(view) if view.place else "",
            "limit": view.limit,
            "messages": list(view.messages),
            "messageCount": view.message_count,
            "understands": of_messages(jobs.service_of(record)) if record.active else [],
            "files": _files(record, view.files),
            "note": view.note,
        }
    )


def _outputs(jobs: Jobs, record: Record) -> dict[str, Any] | None:
    if record.outputs is None:
        return None
    service: Service | None = jobs.service_of(record)
    files = {p.name for p in service.outputs if p.kind == "file"} if service else set()
    return {name: named(value) if name in files else value for name, value in record.outputs.items()}


def _href(record: Record) -> str:
    return f"{g.root}/api/v1/executions/{quote(record.name)}"


def _files(record: Record, files: Any) -> list[dict[str, Any]]:
    at = _href(record) + "/files/"
    return [{"name": printable(name), "size": size, "href": at + in_url(name)} for name, size in files]
