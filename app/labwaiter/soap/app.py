"""The SOAP services of a deployment as a WSGI application: which address, which method, which answer."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from .. import public
from ..catalogue import Broken, Catalogue
from ..errors import ServiceError, Unavailable
from ..jobs import Jobs
from ..service import Service
from ..settings import Settings
from . import faults, wsdl
from .binding import Binding
from .door import parse, read_body
from .faults import Answer, Refused, fault
from .lane import Lane
from .operations import STATUS, Operations, signatures

log = logging.getLogger("labwaiter.soap")
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
# A worker has many threads, for aborts and messages wait. But polls only read small files, and
# threads that each want Python's own lock again after each read take twice the time for it.
_one_poll_at_a_time = threading.Lock()
_ALLOW = (("Allow", "GET, HEAD, OPTIONS, POST"),)


class Endpoint:
    """One service at its addresses."""

    def __init__(self, service: Service, jobs: Jobs) -> None:
        self.service = service
        self.operations = Operations(service, jobs)
        self.inputs = {name: inputs for name, (inputs, _) in signatures(service).items()}
        self._turn = threading.Lock()
        self._made: tuple[Binding, Lane, bytes] | None = None

    @property
    def made(self) -> tuple[Binding, Lane, bytes]:
        """Binding, lane and the WSDL's template, made when first asked for: some milliseconds a service."""
        if self._made is None:
            with self._turn:
                if self._made is None:
                    binding = Binding(self.service, self.operations.call)
                    self._made = binding, Lane(self.service, self.operations), wsdl.template(self.service)
        return self._made

    def wsdl(self, address: str) -> Answer:
        """The WSDL of this service at `address`."""
        return Answer("200 OK", wsdl.at(self.made[2], address))

    def post(self, environ: dict[str, Any]) -> Answer:
        """One call."""
        tns = self.service.namespace
        try:
            body = read_body(environ)
            binding, lane, _ = self.made
            with _one_poll_at_a_time:
                call = parse(body, tns, self.inputs)
                if call.operation == STATUS:
                    return Answer("200 OK", lane.answer(call.texts))
            return Answer("200 OK", binding.answer(call.operation, call.texts))
        except Refused as refusal:
            return fault(refusal.error, tns, refusal.faultcode, refusal.status)
        except ServiceError as error:
            return fault(error, tns)
        except Exception:
            incident = os.urandom(4).hex()
            log.exception("incident %s in %s", incident, self.service.name)
            return fault(faults.internal(incident), tns)


class Soap:
    """Every service of a catalogue at its two addresses, as a WSGI application for these addresses."""

    def __init__(self, settings: Settings, catalogue: Catalogue, jobs: Jobs) -> None:
        self.settings, self.catalogue = settings, catalogue
        self._endpoints = {name: Endpoint(service, jobs) for name, service in catalogue.services.items()}
        self._paths: dict[str, str] = {}
        for name in (*catalogue.services, *catalogue.broken):
            for path in (f"/{name.lower()}/{name}", f"/{name}"):
                self._paths[path] = name

    def serves(self, path: str) -> bool:
        """Whether a path below the context root, without a slash at its end, is a service's."""
        return path in self._paths or (path.lower().endswith(".wsdl") and path[: -len(".wsdl")] in self._paths)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI (PEP 3333)."""
        try:
            answer = self._answer(environ)
        except Exception:
            incident = os.urandom(4).hex()
            log.exception("incident %s", incident)
            answer = fault(faults.internal(incident), "urn:labwaiter")
        headers = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))), *answer.headers]
        start_response(answer.status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path, here = public.path_of(environ, self.settings), public.root(environ, self.settings)
        method = environ["REQUEST_METHOD"]
        asks_wsdl = environ.get("QUERY_STRING", "").split("=")[0].lower() == "wsdl"
        if path.lower().endswith(".wsdl"):
            path, asks_wsdl = path[: -len(".wsdl")], True
        name = self._paths[path]
        if method == "OPTIONS":
            return Answer("204 No Content", b"", headers=_ALLOW)
        if method not in ("GET", "HEAD", "POST"):
            return _plain("405 Method Not Allowed", "A SOAP service takes POST, and GET for its ?wsdl.", _ALLOW)
        if broken := self.catalogue.broken.get(name):
            return _unavailable(broken)
        if method == "POST":
            public.HERE.set(here)
            return self._endpoints[name].post(environ)
        if asks_wsdl:
            return self._endpoints[name].wsdl(here + path)
        return _plain(
            "405 Method Not Allowed",
            f"{name} is a SOAP service: POST calls to this address, or GET {here}{path}?wsdl for its description.",
            _ALLOW,
        )


def _unavailable(broken: Broken) -> Answer:
    error = Unavailable(f"The service {broken.name} is not available: {broken.reason}")
    return fault(error, "urn:labwaiter", status="503 Service Unavailable")


def _plain(status: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, (text + "\n").encode("utf-8", "replace"), "text/plain; charset=utf-8", headers)
