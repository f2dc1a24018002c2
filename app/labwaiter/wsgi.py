"""The WSGI application of a deployment: SOAP for the services' addresses, pages for all else."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from . import public
from .catalogue import Catalogue
from .fleet import open_jobs
from .settings import Settings
from .soap.app import Soap, StartResponse

DRAINED = 200_000_000  # bytes of a refused body that are read to their end; a caller of more is not waited for
CHUNK = 1_000_000


class Application:
    """A deployment, as a web server calls it (PEP 3333)."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.settings, self.catalogue = settings, catalogue
        self._jobs = open_jobs(settings)
        self._soap = Soap(settings, catalogue, self._jobs)
        self._turn = threading.Lock()
        self._web: Any = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = public.path_of(environ, self.settings)
        answer: Iterable[bytes]
        if self._soap.serves(path):
            answer = self._soap(environ, start_response)
        else:
            root = {"SCRIPT_NAME": self.settings.context_root, "PATH_INFO": path or "/"}
            answer = self._pages()(environ | root, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            drain(environ["wsgi.input"])
        return answer

    def _pages(self) -> Any:
        """Made when first asked for: workflow managers never ask, and Flask's import takes its time."""
        with self._turn:
            if self._web is None:
                from .web import make

                self._web = make(self.settings, self.catalogue, self._jobs)
            return self._web


def drain(body: Any) -> None:
    """Read what was refused unread: a caller that still sends would see a closed connection, and no answer."""
    left = DRAINED
    while left > 0 and (piece := body.read(CHUNK)):
        left -= len(piece)
