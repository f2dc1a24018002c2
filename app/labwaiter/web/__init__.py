"""What machines that watch ask for, the files of jobs, and what the buttons of status pages send (`buttons.py`).

The pages for people are in `operator_page/`.

A Flask application, so that methods, ranges, dates and escaping are somebody's who does them well.
It is given what `wsgi` knows of the call: SCRIPT_NAME is the context root, PATH_INFO the rest.
"""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .. import __version__, public
from ..catalogue.catalogue import WatchedCatalogue
from ..errors import internal
from ..lab import labfile
from ..page.words import in_url, printable
from ..settings import Settings
from ..store import web_side
from ..store.figures import WebFigures
from ..verbs import Jobs
from ..verbs.instruments import Instruments
from . import wording
from .buttons import add as add_buttons
from .sending import FileName, guarded, named_in, sent

if TYPE_CHECKING:
    from .metrics import Metrics

log = logging.getLogger("labwaiter.web")
LAB_MISTAKE = "lab.toml has a mistake"
_WORDS = {
    403: "The metrics are told to the addresses that METRICS names, and to nobody through a proxy.",
    400: "The request can't be understood: its address or a header of it is damaged.",
    416: "The part that was asked for lies beyond the end of the file.",
}


def make(settings: Settings, offered: WatchedCatalogue, jobs: Jobs, figures: WebFigures) -> Flask:
    """The Flask application of a deployment.

    Args:
        figures: what this worker counts.
    """
    app = Flask("labwaiter.web", static_folder=None, template_folder="")
    app.jinja_env.autoescape = True  # Flask looks at the ending, and ours is .j2
    wording.install(app.jinja_env)
    app.url_map.converters["file"] = FileName
    lab = labfile.WatchedLab(settings.lab)
    instruments = Instruments(settings)

    @functools.cache
    def all_metrics() -> Metrics:
        """Made when first asked for: what isn't scraped needs no prometheus_client."""
        from .metrics import Metrics

        return Metrics(settings, offered, jobs, figures)

    def public_url() -> str:
        return public.root(request.environ, settings) or settings.context_root

    @app.get("/health")
    def health() -> tuple[Response, int]:
        catalogue = offered.now(wait=0.0)
        try:
            why = jobs.unserved()
        except OSError:  # no descriptors, a broken disk: who can't look has seen nothing
            log.exception("whether a supervisor lives can't be seen")
            why = "it can't be seen whether a supervisor lives"
        report: dict[str, Any] = {
            "status": why or "ok",
            "version": __version__,
            "deployment": web_side.deployment(settings.jobs_folder),
            "services": sorted(catalogue.services),
            "unavailable": sorted(catalogue.broken),
            # which one is for who keeps it to know: `labwaiter health` says it
            "lab": "ok" if lab.now() is not None else LAB_MISTAKE,
        }
        return jsonify(report), 503 if why else 200

    @app.get("/ready")
    def ready() -> tuple[Response, int]:
        catalogue = offered.now(wait=0.0)
        try:
            why = jobs.not_now()
            states = instruments.states()
        except OSError:
            log.exception("whether a start would begin can't be seen")
            why, states = "it can't be seen whether a start would begin", {}
        if not why and not catalogue.services:
            why = "no service is available"
        report = {
            "status": why or "ok",
            "unavailable": sorted(catalogue.broken),
            "lab": "ok" if lab.now() is not None else LAB_MISTAKE,
            # an execution that needs one of these waits for it; all others don't
            "instruments": states,
        }
        return jsonify(report), 503 if why else 200

    @app.get("/metrics")
    def metrics() -> Response:
        if not public.may_read_metrics(request.environ, settings):
            abort(403)
        text, kind = all_metrics().text(request.headers.get("Accept", ""))
        return Response(text, content_type=kind)

    @app.get("/files/<job>/<key>")
    def files(job: str, key: str) -> str:
        linked = jobs.linked_files(job, key)
        if linked is None:
            abort(404)
        at = public_url() + jobs.artifacts.link(job)
        g.language = wording.wanted(request, settings)
        files = [(in_url(name), printable(name), count) for name, count in linked]
        return render_template("files.html.j2", job=job, at=at, files=files, language=g.language)

    @app.get("/files/<job>/<key>/<file:file>")
    def file(job: str, key: str, file: str) -> Response:
        path = jobs.linked_file(job, key, named_in(request, 4))
        if path is None:
            abort(404)
        if (answer := sent(jobs, path)) is None:
            abort(404)
        return answer

    add_buttons(app, settings, jobs)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        if error.code == 404:
            at = [f"{settings.context_root}/{n.lower()}/{n}?wsdl" for n in sorted(offered.last().services)]
            path = request.script_root + request.path
            text = f"There is nothing at {path}. The services of this deployment: {', '.join(at) or 'none'}."
            if request.path.startswith("/files/"):
                text = "There is no such file: the address is not complete, or what it named has been removed."
        elif isinstance(error, MethodNotAllowed):
            taken = ", ".join(sorted(error.valid_methods or ()))
            text = f"{request.method} is not understood here: this address takes {taken}."
        elif error.code == 500:
            incident = os.urandom(4).hex()
            log.error("incident %s", incident, exc_info=getattr(error, "original_exception", None) or error)
            text = internal(incident)
        else:
            text = _WORDS.get(error.code or 0, f"{error.name}.")
        answer = Response(text + "\n", error.code or 500, content_type="text/plain; charset=utf-8")
        if isinstance(error, MethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return answer

    app.after_request(guarded)
    return app
