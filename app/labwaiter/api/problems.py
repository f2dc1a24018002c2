"""Errors in one form: application/problem+json (RFC 9457), with the contract's codes and sentences."""

from __future__ import annotations

import logging
import os
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .. import errors
from ..errors import (
    Incident,
    InstrumentInUse,
    InvalidParameter,
    Misconfigured,
    ServiceError,
    TokenValidationFailed,
    Unavailable,
    UnknownServiceID,
)
from ..model.caller import Caller
from ..model.sentences import plain
from ..settings import Settings
from ..store.figures import WebFigures
from ..verbs.refusals import Refusals, wait_out_the_slot
from .addresses import NoJson
from .answers import dumped

log = logging.getLogger("labwaiter.api")
TYPE = "application/problem+json"
KIND = "urn:labwaiter:problem:"
# code → HTTP's status, and what it is in a few words
TABLE = {
    "MissingParameter": (422, "Something is missing"),
    "InvalidParameter": (422, "Something is wrong in what was sent"),
    "UnknownServiceID": (404, "No such execution"),
    "ServiceIDInUse": (409, "The serviceID belongs to another execution, or that has not ended"),
    "TokenValidationFailed": (401, "The sessionToken is missing or not good"),
    "NotPermitted": (403, "Not permitted"),
    "UnknownInstrument": (404, "No such instrument"),
    "TooManyJobs": (429, "Too many executions"),
    "Unavailable": (503, "Not now"),
}
_WORDS = {
    400: "The request can't be understood: its address, a header or its body is damaged.",
    413: "The request is larger than {most} bytes: hand large data on as files.",
    415: "Send JSON, and say so: Content-Type: application/json.",
    416: "The part that was asked for lies beyond the end of the file.",
}


class Problems:
    """Makes answers of errors, and has metrics and log told of them."""

    def __init__(self, settings: Settings, figures: WebFigures) -> None:
        self._settings, self._figures, self._refusals = settings, figures, Refusals()

    def register(self, app: Flask) -> None:
        """Have an application's errors answered so; HTTP's own are `of_http`'s."""
        app.register_error_handler(ServiceError, self.of)
        app.register_error_handler(Misconfigured, self._of_settings)
        app.register_error_handler(OSError, self._of_the_machine)

    def of(self, error: ServiceError, status: int = 0, title: str = "") -> Response:
        """The answer to a call that ended so.

        Args:
            status, title: instead of what its code says.
        """
        usual, words = TABLE[error.code]
        if isinstance(error, NoJson):
            usual, words = 400, "No JSON"
        if isinstance(error, InstrumentInUse):
            usual, words = 409, "The instrument is in use"
        elif isinstance(error, Incident):
            usual, words = 500, "An error of our own"
        status = status or usual
        self._figures.fault(error.code, error.reason)
        self._refusals.note(
            error,
            g.get("caller") or Caller(address=request.remote_addr or "", face="json"),
            operation=f"{request.method} {plain(request.path, 100)}",
            is_poll=request.method in ("GET", "HEAD"),
        )
        if isinstance(error, UnknownServiceID) and self._settings.judges_tokens:
            wait_out_the_slot(g.began)
        content = {
            "type": KIND + error.code,
            "title": title or words,
            "status": status,
            "detail": error.message,
            "code": error.code,
        }
        answer = Response(dumped(content), status, content_type=TYPE)
        if isinstance(error, TokenValidationFailed):
            answer.headers["WWW-Authenticate"] = 'Bearer realm="labwaiter"'
        return answer

    def of_http(self, error: HTTPException) -> Response:
        """The answer to what HTTP, the addresses or the schemas refuse, or to a mistake of our own."""
        if error.code == 500:
            original = getattr(error, "original_exception", None)
            incident = os.urandom(4).hex()
            log.error("incident %s", incident, exc_info=original or error)
            return self.of(Incident(errors.internal(incident)))
        status = error.code or 400
        if isinstance(error, MethodNotAllowed):
            taken = ", ".join(sorted(error.valid_methods or ()))
            answer = self.of(
                InvalidParameter(f"{request.method} is not understood here: this address takes {taken}."),
                status,
                "Not understood here",
            )
            answer.headers["Allow"] = taken
            return answer
        if status == 404:
            where = f"There is nothing at {plain(request.path, 100)}; {g.root}/api/v1/openapi.json says what there is."
            return self.of(InvalidParameter(where), 404, "No such address")
        said = getattr(error, "data", None) or {}
        if "messages" in said:
            return self.of(InvalidParameter(_sentence(said["messages"])), status)
        words = _WORDS.get(status, f"{error.name}.").format(most=self._settings.max_body)
        return self.of(InvalidParameter(words), status)

    def _of_settings(self, error: Misconfigured) -> Response:
        log.error("%s", error)
        return self.of(Unavailable("A file of this laboratory has a mistake; its administrator finds it in the log."))

    def _of_the_machine(self, error: OSError) -> Response:
        log.exception("%s is not possible now", request.path)
        why = error.strerror or "it did not answer in time"
        return self.of(Unavailable(f"This can't be done now: {why}. Try again in a moment."))


def _sentence(messages: Any) -> str:
    """What a schema found wrong, in a sentence; the first of it."""
    (location, found), *_ = messages.items()
    where = {"query": "the address", "json": "the body"}.get(location, location)
    names: list[str] = []
    while isinstance(found, dict):
        (name, found), *_ = found.items()
        names.append(str(name))
    said = str(found[0] if isinstance(found, list) else found).rstrip(".")
    if not names or names == ["_schema"]:
        return f"What {where} holds is not understood: {said}."
    return f"“{plain('.'.join(names), 60)}” in {where} is not understood: {said[:1].lower()}{said[1:]}."
