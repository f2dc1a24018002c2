"""The WSGI application of a deployment: which address, which method, which answer."""

from __future__ import annotations

import html
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from .. import __version__
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
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
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


class Application:
    """Every service of a catalogue at its two addresses, below the context root."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.settings, self.catalogue = settings, catalogue
        jobs = Jobs(settings)
        self._endpoints = {name: Endpoint(service, jobs) for name, service in catalogue.services.items()}
        self._paths: dict[str, str] = {}
        for name in (*catalogue.services, *catalogue.broken):
            for path in (f"/{name.lower()}/{name}", f"/{name}"):
                self._paths[settings.context_root + path] = name

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
        path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).rstrip("/")
        method = environ["REQUEST_METHOD"]
        asks_wsdl = environ.get("QUERY_STRING", "").split("=")[0].lower() == "wsdl"
        if path.lower().endswith(".wsdl"):
            path, asks_wsdl = path[: -len(".wsdl")], True
        name = self._paths.get(path)
        if name is None:
            return self._other(path, method)
        if method == "OPTIONS":
            return Answer("204 No Content", b"", headers=_ALLOW)
        if method not in ("GET", "HEAD", "POST"):
            return _plain("405 Method Not Allowed", "A SOAP service takes POST, and GET for its ?wsdl.", _ALLOW)
        if broken := self.catalogue.broken.get(name):
            return _unavailable(broken)
        if method == "POST":
            return self._endpoints[name].post(environ)
        if asks_wsdl:
            return self._endpoints[name].wsdl(self._public(environ) + path)
        return _plain(
            "405 Method Not Allowed",
            f"{name} is a SOAP service: POST calls to this address, or GET {path}?wsdl for its description.",
            _ALLOW,
        )

    def _public(self, environ: dict[str, Any]) -> str:
        """Scheme and host as this very caller reaches us."""
        if self.settings.public_url:
            return self.settings.public_url
        host = environ.get("HTTP_HOST", "")
        if not _HOST.fullmatch(host):
            host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        return f"{environ.get('wsgi.url_scheme', 'http')}://{host}"

    def _other(self, path: str, method: str) -> Answer:
        root = self.settings.context_root
        if method not in ("GET", "HEAD"):
            return _plain("404 Not Found", f"There is no service at {path}. {self._known()}")
        if path == root:
            return self._index()
        if path == root + "/health":
            return Answer("200 OK", json.dumps({"status": "ok", "version": __version__}).encode(), "application/json")
        return _plain("404 Not Found", f"There is nothing at {path or '/'}. {self._known()}")

    def _known(self) -> str:
        at = [f"{self.settings.context_root}/{n.lower()}/{n}?wsdl" for n in sorted(self.catalogue.services)]
        return "The services of this deployment: " + (", ".join(at) or "none") + "."

    def _index(self) -> Answer:
        """The services, for somebody who opens the context root in a browser."""
        rows = []
        for name in sorted({*self.catalogue.services, *self.catalogue.broken}):
            link = f"{self.settings.context_root}/{name.lower()}/{name}?wsdl"
            if broken := self.catalogue.broken.get(name):
                rows.append(f"<li><b>{html.escape(name)}</b>: not available. {html.escape(broken.reason)}</li>")
            else:
                doc = self.catalogue.services[name].doc.partition("\n")[0]
                rows.append(f'<li><a href="{html.escape(link)}">{html.escape(name)}</a>: {html.escape(doc)}</li>')
        page = (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>labwaiter</title>'
            '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}'
            "body{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}</style></head>"
            f"<body><h1>labwaiter {__version__}</h1><p>The services of this deployment; each link is the WSDL"
            f" to register.</p><ul>{''.join(rows)}</ul></body></html>"
        )
        return Answer("200 OK", page.encode(), "text/html; charset=utf-8")


def _unavailable(broken: Broken) -> Answer:
    error = Unavailable(f"The service {broken.name} is not available: {broken.reason}")
    return fault(error, "urn:labwaiter", status="503 Service Unavailable")


def _plain(status: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, (text + "\n").encode("utf-8", "replace"), "text/plain; charset=utf-8", headers)
