"""The calls of remote-laboratory systems: both forms of one contract, for each lab and for a deployment's only one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, jsonify, request

from ...errors import ServiceError, SessionFailed, Unavailable, UnknownSession
from ...model.lab_session import About
from ...model.sentences import N_
from . import Face, callback_of
from .contract import (
    API_VERSION,
    NOT_STARTED,
    about_ldl,
    about_weblab,
    asked_of_many,
    object_in,
)

FINISHED = -1  # a status: there is no such session any more
DISPOSING = 2  # likewise: ask again in so many s
DELETE_SECONDS = 180.0  # that a delete waits for dispose: more than dispose and making safe may take
LDL_SECONDS = 1.0  # likewise in LabDiscoveryEngine's form, whose caller asks again
NO_ADDRESS = (
    "Nobody knows under which address students reach this lab server: set PUBLIC_URL, or call it by a name in Host."
)


@dataclass(frozen=True)
class Form:
    """One of the two forms."""

    name: str  # the part of the path that is its own
    about: Callable[[dict[str, Any]], About]


WEBLAB, LDL = Form("weblab", about_weblab), Form("ldl", about_ldl)


def not_done(words: str, code: int = 200) -> tuple[Response, int]:
    """An error, as callers of either form know it."""
    return jsonify({"error": True, "success": False, "message": words}), code


def add(app: Flask, face: Face) -> None:
    """Add the calls to the application."""
    for form in (WEBLAB, LDL):
        for at, where in ((f"/{form.name}", {"lab": ""}), (f"/<lab>/{form.name}", {})):
            _add_form(app, face, form, at, where)


def _add_form(app: Flask, face: Face, form: Form, at: str, where: dict[str, str]) -> None:
    of = f"{at}:"

    def rule(path: str, method: str, name: str, view: Callable[..., Any]) -> None:
        app.add_url_rule(
            f"{at}/sessions{path}", of + name, view, methods=[method], defaults=where, provide_automatic_options=False
        )

    rule("/api", "GET", "api", lambda lab: jsonify({"api_version": API_VERSION}))

    def test(lab: str) -> Any:
        name = face.lab(lab)
        wrong = face.sessions.test(name, face.calling)
        if wrong:
            return jsonify({"valid": False, "error_messages": list(wrong)}), 401
        return jsonify({"valid": True})

    rule("/test", "GET", "test", test)

    def start(lab: str) -> Any:
        name = face.lab(lab)
        about = form.about(object_in(request.get_data()))
        if not face.root:
            return not_done(NO_ADDRESS, 503)
        try:
            view = face.sessions.start(name, about, face.calling)
        except SessionFailed:
            return not_done(NOT_STARTED)
        except (
            ServiceError
        ) as error:  # it is closed, in use, or the deployment is being stopped: the contract has a 200
            return not_done(error.message)
        url = face.root + callback_of(name, form.name, view.session_id)
        return jsonify({"url": url, "session_id": view.session_id})

    rule("", "POST", "start", start)

    def status(lab: str, session_id: str) -> Any:
        return jsonify({"should_finish": _should_finish(face, lab, session_id)})

    rule("/<session_id>/status", "GET", "status", status)

    def of_many(lab: str) -> Any:
        ids, seconds = asked_of_many(object_in(request.get_data()))
        told = face.sessions.statuses(ids, face.calling, seconds)
        status = {
            session_id: number if name in ("", lab or name) else FINISHED for session_id, (name, number) in told.items()
        }
        return jsonify({"status": status})

    rule("/status/multiple", "POST", "status of many", of_many)

    def delete(lab: str, session_id: str) -> Any:
        if object_in(request.get_data()).get("action") != "delete":
            return jsonify({"message": "Unknown op"})
        if not _end(face, lab, session_id):
            return jsonify({"message": "Not found"})
        if not face.sessions.gone(session_id, DELETE_SECONDS):
            return not_done("The session is still being disposed of: ask again.", 503)
        return jsonify({"message": "Deleted"})

    rule("/<session_id>", "POST", "act", delete)

    def delete_ldl(lab: str, session_id: str) -> Any:
        if not _end(face, lab, session_id):
            return jsonify({"should_finish": FINISHED, "message": "Not found"})
        gone = face.sessions.gone(session_id, LDL_SECONDS)
        return jsonify({"should_finish": FINISHED if gone else DISPOSING})

    if form is LDL:
        rule("/<session_id>", "DELETE", "delete", delete_ldl)


def _should_finish(face: Face, lab: str, session_id: str) -> int | float:
    """The contract's number; of what nobody knows any more, that it is over.

    Args:
        lab: whose it must be; "": any, since a deployment that had one lab may have got more meanwhile.
    """
    try:
        view = face.sessions.status(session_id, face.calling)
    except UnknownSession:
        return FINISHED
    except Unavailable:  # it may go on: what is not known is not over
        return face.sessions.ask_again
    return view.should_finish if lab in ("", view.lab) else FINISHED


def _end(face: Face, lab: str, session_id: str) -> bool:
    """End a session; False where there is none of that id."""
    try:
        with contextlib.suppress(Unavailable):  # its machine isn't heard of: that it is to end waits there for it
            if lab not in ("", face.sessions.status(session_id, face.calling).lab):
                return False
        face.sessions.end(session_id, face.calling, N_("The calling system has ended it."))
    except UnknownSession:
        return False
    return True
