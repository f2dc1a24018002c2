"""The WSGI application of a deployment: SOAP for the services' addresses, JSON below /api, pages for all else."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import threading
import time
from collections.abc import Iterable
from typing import Any

from . import public
from .catalogue.catalogue import WatchedCatalogue
from .fleet import open_jobs
from .settings import Settings, called_here
from .soap.app import Soap, StartResponse
from .store import web_side
from .store.figures import WebFigures
from .system.logs import Out

DRAINED = 200_000_000  # bytes of a refused body that are read to their end; a caller of more is not waited for
CHUNK = 1_000_000
# of remote labs: what systems call and students come to (web/lab_server/); no service's address has such parts
OF_LABS = re.compile(r"(?:/[a-z][a-z0-9_-]*)?/(?:weblab|ldl)(?:/.*)?|/[a-z][a-z0-9_-]*/(?:page|own)(?:/.*)?")
ALIVE = "/alive"  # answered by every worker; whoever answers it is there to be polled
BODY_SECONDS = float(os.environ.get("LABWAITER_BODY_SECONDS", "60"))  # a body that isn't there by then doesn't come
LOST_MAX = 400  # threads of a worker, of 800 (deployment/web_processes.py), that may wait for such ones

log = logging.getLogger("labwaiter.web")


class Application:
    """A deployment, as a web server calls it (PEP 3333)."""

    def __init__(self, settings: Settings, offered: WatchedCatalogue) -> None:
        """
        Args:
            offered: the services.

        Raises:
            Misconfigured: there is no services folder.
        """
        self.settings, self.offered = settings, offered
        offered.now()
        self._jobs = open_jobs(settings)
        self._soap = Soap(settings, offered, self._jobs)
        self._turn = threading.Lock()
        self._faces: dict[str, Any] = {}  # Flask applications
        self._awaited: dict[int, float] = {}
        looks = (self._awaited, self._soap.figures)
        threading.Thread(target=look_round, args=looks, name="looking", daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        environ["wsgi.input"] = Body(environ["wsgi.input"], self._awaited)
        if (polled := self._soap.polled(environ)) is not None:
            start_response(polled.status, polled.http_headers())
            return [polled.body]
        path = public.path_of(environ, self.settings)
        if path == ALIVE:
            with contextlib.suppress(OSError):
                self._jobs.records.signed()
            start_response("204 No Content", [])
            return []
        answer: Iterable[bytes]
        if wrong := public.bad_host(environ):
            answer = [f"{wrong}\n".encode()]
            start_response("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
        elif (
            path == "*" and environ["REQUEST_METHOD"] == "OPTIONS"
        ):  # of the server as a whole (RFC 9110, section 9.3.7)
            answer = []
            start_response("204 No Content", [("Allow", "GET, HEAD, OPTIONS, POST")])
        elif (name := self._soap.service_at(path)) is not None:
            answer = self._soap.answer(environ, start_response, path, name)
        else:
            root = {
                "SCRIPT_NAME": self.settings.context_root,
                "PATH_INFO": path or "/",
                public.ROOT: public.root(environ, self.settings),  # which depends on the whole path
            }
            answer = self._face(path)(environ | root, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            drain(environ["wsgi.input"])
        return answer

    def keep_signing(self, out: Out) -> None:
        """Knock at this deployment's own door from now on: see `store.web_side`. For the web side's workers.

        Args:
            out: where the worker's log goes, which is looked after meanwhile.
        """
        threading.Thread(target=self._knock, args=(out,), name="knock", daemon=True).start()

    def _knock(self, out: Out) -> None:
        with contextlib.suppress(OSError):
            self._jobs.records.signed(anew=True)
        while True:
            time.sleep(web_side.SIGN_EVERY)
            with contextlib.suppress(OSError):
                out.follow()  # a worker that has long had nothing to log may still have last words
            line = http.client.HTTPConnection(
                called_here(self.settings.host), self.settings.port, timeout=web_side.SIGN_EVERY
            )
            with contextlib.suppress(OSError, http.client.HTTPException):
                line.request("GET", self.settings.context_root + ALIVE)
                line.getresponse().read()
            line.close()

    def _face(self, path: str) -> Any:
        """Who answers at a path below the context root that is no service's.

        Made when first asked for: workflow managers never ask, and Flask's import takes its time.
        """
        name = "pages"
        if f"{path}/".startswith("/api/"):
            name = "json"
        elif path == "" or path.startswith("/operator/"):
            name = "operator page"
        elif OF_LABS.fullmatch(path):
            name = "lab server"
        with self._turn:
            if name not in self._faces:
                self._faces[name] = self._made(name)
            return self._faces[name]

    def _made(self, name: str) -> Any:
        settings, offered, jobs, soap = self.settings, self.offered, self._jobs, self._soap
        if name == "json":
            from . import api

            return api.make(settings, offered, jobs, soap.authenticator, soap.figures)
        if name == "operator page":
            from .web import operator_page

            return operator_page.make(settings, offered, jobs, soap.authenticator)
        if name == "lab server":
            from .web import lab_server

            return lab_server.make(settings, jobs)
        from . import web

        return web.make(settings, offered, jobs, soap.figures)


def drain(body: Any) -> None:
    """Read what was refused unread: a caller that still sends would see a closed connection, and no answer."""
    left = DRAINED
    while left > 0 and (piece := body.read(CHUNK)):
        left -= len(piece)


class Body:
    """A request's body, and since when somebody waits for it."""

    __slots__ = ("_awaited", "_body")

    def __init__(self, body: Any, awaited: dict[int, float]) -> None:
        self._body, self._awaited = body, awaited

    def read(self, size: int = -1) -> bytes:
        """As wsgi.input's."""
        self._awaited[id(self)] = time.monotonic()
        try:
            read: bytes = self._body.read(size)
            return read
        finally:
            del self._awaited[id(self)]


def look_round(awaited: dict[int, float], figures: WebFigures) -> None:
    """What a worker does by itself, once a second: tell what it has counted, and leave when it is lost."""
    while True:
        time.sleep(min(1.0, BODY_SECONDS / 4))
        figures.tell_if_possible()
        leave_when_lost(awaited)


def leave_when_lost(awaited: dict[int, float]) -> None:
    """End this worker once too many of its threads wait for bodies that never come; granian starts the next.

    granian waits for them for ever (its issue 728): callers that were switched off in the middle of a call would take
    thread after thread, until nobody is served any more. A thread can't be called back from there, but a
    worker holds nothing that would be lost.
    """
    late = time.monotonic() - BODY_SECONDS
    lost = sum(since < late for since in list(awaited.values()))
    if lost >= LOST_MAX:
        log.error("%d callers never sent the calls that they had begun: this worker is replaced", lost)
        os._exit(1)
