"""The WSGI application of a deployment: SOAP for the services' addresses, pages for all else."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from . import public
from .catalogue import Catalogue
from .jobs import Jobs
from .settings import Settings
from .soap.app import Soap, StartResponse


class Application:
    """A deployment, as a web server calls it (PEP 3333)."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.settings, self.catalogue = settings, catalogue
        self._jobs = Jobs(settings)
        self._soap = Soap(settings, catalogue, self._jobs)
        self._turn = threading.Lock()
        self._web: Any = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = public.path_of(environ, self.settings)
        if self._soap.serves(path):
            return self._soap(environ, start_response)
        root = {"SCRIPT_NAME": self.settings.context_root, "PATH_INFO": path or "/"}
        answer: Iterable[bytes] = self._pages()(environ | root, start_response)
        return answer

    def _pages(self) -> Any:
        """Made when first asked for: workflow managers never ask, and Flask's import takes its time."""
        with self._turn:
            if self._web is None:
                from .web import make

                self._web = make(self.settings, self.catalogue, self._jobs)
            return self._web
