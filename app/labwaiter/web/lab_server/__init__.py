"""The lab server: remote-laboratory systems call it, and their students come to its pages. A face: it decides nothing.

A Flask application beside the operator's page. Each lab has its own paths below the context root: `/<lab>/weblab` and
`/<lab>/ldl` for the calling system (`calls.py`), with `callback/` in each for the student, `/<lab>/page` and
`/<lab>/own` for the student alone (`student.py`, `own.py`). What decides is the path, as `public.path_of` cuts it.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from ... import __version__, public
from ...errors import ClientError, Misconfigured, ServiceError, UnknownLab, UnknownSession, internal
from ...model.caller import Caller, Identity, Role
from ...model.remote_lab import RemoteLab
from ...model.sentences import N_
from ...settings import Settings
from ...store import web_side
from ...verbs import Jobs
from ...verbs.sessions import Sessions
from .. import wording
from ..operator_page import POLICY
from ..operator_page.live import Live
from ..operator_page.session import address_of
from .contract import BadRequest
from .login import AGAIN_SECONDS, Login, NotLetIn

log = logging.getLogger("labwaiter.web")
CALLED = ("weblab", "ldl")  # parts of a lab's paths: of the calling system
_CALL = re.compile(rf"(?:/[^/]+)?/(?:{'|'.join(CALLED)})(?!/callback/)(?:/.*)?")
_OPEN = re.compile(rf"(?:/[^/]+)?/(?:{'|'.join(CALLED)})/sessions/api")


class NoSuchLab(Exception):
    """There is no lab of that name; its text is a sentence."""


def callback_of(lab: str, form: str, session_id: str) -> str:
    """Where a student's browser begins a session, below the context root."""
    return f"/{quote(lab)}/{form}/callback/{quote(session_id, safe='')}"


@dataclass
class Face:
    """What the lab server is made of."""

    settings: Settings
    jobs: Jobs
    sessions: Sessions
    live: Live

    @property
    def calling(self) -> Caller:
        """The calling system, which makes this request."""
        return Caller(
            Identity(self.settings.weblab_username, role=Role.OPERATOR),
            address=address_of(request, self.settings),
            public_url=self.root,
            is_elsewhere=public.is_from_elsewhere(request.environ),
            face="lab server",
        )

    @property
    def root(self) -> str:
        """This deployment's address for who makes this request; "" where nobody knows it."""
        return public.root(request.environ, self.settings)

    @property
    def path(self) -> str:
        """The path of that address: what links and cookies begin with."""
        here = self.root
        return ("/" + here.split("/", 3)[3] if here.count("/") > 2 else "") if here else self.settings.context_root

    def declared(self, lab: str) -> RemoteLab | None:
        """What a lab's file declares; None: it is wrong. Raises UnknownLab."""
        return self.sessions.declared(lab, self.calling)

    def lab(self, named: str) -> str:
        """A lab's name, as a call's path has it; the only one where it has none. Raises NoSuchLab."""
        names = self.sessions.names(self.calling)
        if named in names or (not named and len(names) == 1):
            return named or names[0]
        known = ", ".join(f"{self.settings.context_root}/{name}/weblab" for name in names) or "none"
        raise NoSuchLab(
            f"There is no lab “{named[:60]}” here; the labs of this deployment: {known}."
            if named
            else f"Call one of the labs of this deployment by its own address: {known}."
        )


def make(settings: Settings, jobs: Jobs) -> Flask:
    """The Flask application of a deployment's lab server."""
    app = Flask("labwaiter.web.lab_server", static_folder=None, template_folder="")
    app.url_map.strict_slashes = False
    live = Live(f"{__version__} {web_side.deployment(settings.jobs_folder)}")
    face = Face(settings, jobs, Sessions(settings), live)
    login = Login(settings)

    @app.before_request
    def judge() -> None:
        request.max_content_length = settings.max_body
        g.language = wording.wanted(request, settings)
        g.is_call = _CALL.fullmatch(request.path) is not None
        if g.is_call and not _OPEN.fullmatch(request.path):
            login.judge(request)

    def told(words: str, code: int) -> Response:
        """An error: as JSON to a calling system, as a page to a student."""
        if not g.get("is_call"):
            return students.refused(words, code)
        answer = jsonify({"valid": False, "error": True, "success": False, "message": words, "error_messages": [words]})
        answer.status_code = code
        return answer

    @app.errorhandler(NotLetIn)
    def not_let_in(error: NotLetIn) -> Response:
        answer = told(str(error), error.code)
        if error.code == 401:
            answer.headers["WWW-Authenticate"] = 'Basic realm="labwaiter", charset="UTF-8"'
        else:
            answer.headers["Retry-After"] = str(AGAIN_SECONDS)
        return answer

    @app.errorhandler(BadRequest)
    def bad_request(error: BadRequest) -> Response:
        return told(str(error), 400)

    @app.errorhandler(NoSuchLab)
    def no_such_lab(error: NoSuchLab) -> Response:
        return told(str(error), 404)

    @app.errorhandler(UnknownLab)
    @app.errorhandler(UnknownSession)
    def unknown(error: ServiceError) -> Response:
        return told(error.message, 404)

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        return told(error.message, 400 if isinstance(error, ClientError) else 503)

    @app.errorhandler(Misconfigured)
    def misconfigured(error: Misconfigured) -> Response:
        log.error("a lab's file has a mistake: %s", error)
        return told(str(error), 503)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        words = {
            404: N_("There is nothing at this address."),
            405: N_("This address takes no such request."),
            413: N_(f"What was sent is too large: at most {settings.max_body} bytes are taken."),
        }.get(error.code or 0, N_("The request can't be understood."))
        answer = told(words, error.code or 400)
        if error.code == 405 and (taken := getattr(error, "valid_methods", None)):
            answer.headers["Allow"] = ", ".join(sorted(taken))
        return answer

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        incident = os.urandom(4).hex()
        log.error("incident %s", incident, exc_info=error)
        return told(internal(incident), 500)

    @app.after_request
    def guarded(answer: Response) -> Response:
        headers = answer.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"  # without any, a browser names no origin with our own forms either
        headers["X-Labwaiter"] = live.release
        frames = " ".join(settings.weblab_frames) or "'none'"
        policy = POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {frames}")
        headers.setdefault("Content-Security-Policy", policy)
        if not settings.weblab_frames:
            headers["X-Frame-Options"] = "DENY"
        headers.setdefault("Cache-Control", "no-store")
        return answer

    from . import calls, own, student

    students = student.add(app, face)
    calls.add(app, face)
    own.add(app, face, students)
    return app
