"""The pages for people and for machines that watch: the services, health, and the files of jobs.

A Flask application, so that methods, ranges, dates and escaping are somebody's who does them well.
It is given what `wsgi` knows of the call: SCRIPT_NAME is the context root, PATH_INFO the rest.
"""

from __future__ import annotations

import mimetypes
from typing import Any

from flask import Flask, Response, abort, jsonify, render_template, request, send_file
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .. import __version__, public
from ..catalogue import Catalogue
from ..jobs import Jobs
from ..jobs.exchange import LOOKED_AT_MAX
from ..page.words import size
from ..settings import Settings

# what a browser may show in its window; all else is downloaded. None of it may run (see `guarded`).
_SHOWN = ("image/", "text/plain", "text/csv", "application/pdf", "application/json", "video/", "audio/")
_TEXTS = {".gcode": "text/plain", ".log": "text/plain", ".toml": "text/plain", ".md": "text/plain"}
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]


def make(settings: Settings, catalogue: Catalogue, jobs: Jobs) -> Flask:
    """The Flask application of a deployment."""
    app = Flask("labwaiter.web", static_folder=None, template_folder="")
    app.jinja_env.filters["size"] = size

    @app.get("/")
    def index() -> str:
        names = sorted({*catalogue.services, *catalogue.broken})
        offered = [
            (name, catalogue.services[name].doc.partition("\n")[0] if name in catalogue.services else "")
            for name in names
        ]
        broken = {name: one.reason for name, one in catalogue.broken.items()}
        here = public.root(request.environ, settings)
        return render_template("index.html.j2", version=__version__, offered=offered, broken=broken, here=here)

    @app.get("/health")
    def health() -> tuple[Response, int]:
        supervised = jobs.records.serves()
        told: dict[str, Any] = {
            "status": "ok" if supervised else "no Redis" if settings.redis_url else "no supervisor",
            "version": __version__,
            "services": sorted(catalogue.services),
            "unavailable": sorted(catalogue.broken),
        }
        return jsonify(told), 200 if supervised else 503

    @app.get("/files/<job>/<key>")
    def files(job: str, key: str) -> str:
        if not jobs.exchange.opens(job, key):
            abort(404)
        at = public.root(request.environ, settings) + jobs.exchange.link(job)
        return render_template("files.html.j2", job=job, at=at, files=jobs.exchange.listing(job, LOOKED_AT_MAX))

    @app.get("/files/<job>/<key>/<path:file>")
    def file(job: str, key: str, file: str) -> Response:
        path = jobs.exchange.made(job, file) if jobs.exchange.opens(job, key) else None
        if path is None:
            abort(404)
        kind = _TEXTS.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return send_file(path, mimetype=kind, as_attachment=not kind.startswith(_SHOWN), download_name=path.name)

    @app.route("/<path:path>", methods=_METHODS)
    def nothing(path: str) -> Response:
        abort(404)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        if error.code == 404:
            at = [f"{settings.context_root}/{n.lower()}/{n}?wsdl" for n in sorted(catalogue.services)]
            text = f"There is nothing at {request.path}. The services of this deployment: {', '.join(at) or 'none'}."
            if request.path.startswith("/files/"):
                text = "There is no such file: the address is not complete, or what it named has been removed."
        else:
            text = f"{error.name}: this address takes GET."
        answer = Response(text + "\n", error.code or 500, content_type="text/plain; charset=utf-8")
        if isinstance(error, MethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return answer

    @app.after_request
    def guarded(answer: Response) -> Response:
        # what a job made is a stranger's: in a browser it may not run, nor tell the link's key to others
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Content-Security-Policy"] = (
            "sandbox allow-popups; default-src 'none'; img-src 'self' data:; media-src 'self';"
            " style-src 'unsafe-inline'"
        )
        return answer

    return app
