"""The JSON face: what verbs and shell do, for programs and for the page, below ``<CONTEXT_ROOT>/api/v1/``.

    gate.py        who calls, and what no request passes without
    addresses.py   what is sent is read by rules of our own
    problems.py    errors in one form (RFC 9457), with the contract's codes
    answers.py     JSON that every parser reads; the same again is 304
    schemas.py     what is asked and answered, for checking the one and describing both
    executions.py, instruments.py, lab.py    the addresses, over the verbs

flask-smorest makes the OpenAPI document of these, and checks what is asked. Imported once somebody asks.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

from flask import Flask, Request, Response, g, request
from flask.json.provider import DefaultJSONProvider
from flask_smorest import Api
from werkzeug.exceptions import UnsupportedMediaType

from .. import __version__, public
from ..authentication.authenticator import Authenticator
from ..catalogue.catalogue import WatchedCatalogue
from ..settings import Settings
from ..store.figures import WebFigures
from ..verbs import Jobs
from ..web.sending import FileName, guarded
from . import answers, executions, instruments, lab, problems
from .gate import Gate
from .problems import Problems
from .schemas import Problem

ROOT = "/api/v1"
DOCUMENT = "openapi.json"
WORDS = (
    "Services, executions, instruments, schedules and machines of a laboratory (docs/api.md). Each request carries the"
    " sessionToken: Authorization: Bearer <sessionToken>. Times are Unix times in s."
)


class _Json(DefaultJSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """As JSON has it: no NaN, no lone surrogate."""
        return answers.dumped(obj, **kwargs)


class _Flask(Flask):
    json_provider_class = _Json

    def log_exception(self, exc_info: Any) -> None:
        """The log has it by its incident."""


class _Request(Request):
    @property
    def want_form_data_parsed(self) -> bool:
        """Nothing here is a form."""
        return False


class _Api(Api):  # type: ignore[misc]
    ERROR_SCHEMA = Problem
    DEFAULT_ERROR_RESPONSE_NAME = "Problem"

    def _register_responses(self) -> None:
        for name in ("Problem", *(status.name for status in HTTPStatus)):  # those that operations refer to are written
            content = {problems.TYPE: {"schema": Problem}}
            problem = {"description": "What was wrong, and what to do.", "content": content}
            self.spec.components.response(name, problem, lazy=True)

    def handle_http_exception(self, error: Any) -> Response:
        """As `Problems.of_http`."""
        problem: Response = g.problems.of_http(error)
        return problem


def make(
    settings: Settings, offered: WatchedCatalogue, jobs: Jobs, authenticator: Authenticator, figures: WebFigures
) -> Flask:
    """The Flask application of this face.

    Args:
        figures: what this worker counts.
    """
    app = _Flask("labwaiter.api", static_folder=None, template_folder="")
    app.request_class = _Request
    app.config |= {
        "API_TITLE": "labwaiter",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": ROOT,
        "OPENAPI_JSON_PATH": DOCUMENT,
        "MAX_CONTENT_LENGTH": settings.max_body,
    }
    app.url_map.converters["file"] = FileName
    found, gate, kept = Problems(settings, figures), Gate(settings, authenticator), answers.KeptAnswers()

    @app.before_request
    def admitted() -> None:
        g.began, g.began_ns, g.problems, g.caller, g.waited = time.monotonic(), time.perf_counter_ns(), found, None, 0.0
        g.root = public.root(request.environ, settings) or settings.context_root
        gate.admit(request.environ)
        if is_chunked := "chunked" in request.headers.get("Transfer-Encoding", "").lower():
            request.environ["wsgi.input_terminated"] = True  # the web server has undone it
        if (request.content_length or is_chunked) and not request.is_json:
            raise UnsupportedMediaType
        if authenticator.only_here or request.path != f"{ROOT}/{DOCUMENT}":
            g.caller = gate.caller(request.environ, g.root)

    api = _Api(
        app,
        spec_kwargs={
            "info": {"description": WORDS, "x-labwaiter": __version__},
            "security": [{"sessionToken": []}],
        },
    )
    api.register_converter(FileName, lambda converter: {"type": "string"})
    api.spec.components.security_scheme(
        "sessionToken", {"type": "http", "scheme": "bearer", "description": "As SOAP's input sessionToken."}
    )
    for blueprint in (
        lab.blueprint(settings, offered, jobs),
        executions.blueprint(offered, jobs, kept),
        instruments.blueprint(settings, jobs, kept),
    ):
        api.register_blueprint(blueprint, url_prefix=ROOT)
    found.register(app)

    @app.after_request
    def told(answer: Response) -> Response:
        if request.method not in ("GET", "HEAD"):
            kept.forget()
        if answer.status_code < 400 and not g.get("waited", 0.0) and g.get("caller") is not None:
            figures.calls["json"].note(time.perf_counter_ns() - g.began_ns)
        answer.headers.setdefault("Cache-Control", "private, no-cache" if request.method == "GET" else "no-store")
        answer.headers.add("Vary", "Authorization")
        return guarded(answer)

    return app


__all__ = ["ROOT", "make"]
