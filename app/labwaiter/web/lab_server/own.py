"""A lab's own part of the web: its static files, and its Flask blueprint where the administrator lets it in.

A blueprint's code runs in the web workers, which know the secrets of this deployment: no lab's file alone can bring
that about, the setting WEBLAB_BLUEPRINTS has to be on. Each worker imports it when its page is first asked for, and
again once it has changed. Each of its views is guarded: it is called for who has a session in this lab alone.
"""

from __future__ import annotations

import importlib.util
import logging
import mimetypes
import sys
import threading
from pathlib import Path

from flask import Blueprint, Flask, Response, g, request, send_file
from werkzeug.exceptions import HTTPException

from ...catalogue.importing import stamp
from ...errors import Unavailable
from ...model.sentences import N_
from ...store.artifacts import within
from ..lab_session import LabSession
from . import Face
from .student import Students

log = logging.getLogger("labwaiter.web")
OFF = (
    "The page of this lab is a blueprint of its own, and WEBLAB_BLUEPRINTS is off here: whoever keeps this deployment"
    " can switch it on."
)
BROKEN = "The page of this lab can't be shown: its own code has a mistake, which the web side's log has."


class Blueprints:
    """The labs' own applications. Thread-safe."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._turn = threading.Lock()
        self._made: dict[str, tuple[object, Flask | None]] = {}  # with the file as it was; None: it has a mistake

    def of(self, lab: str, page: str) -> Flask:
        """The application of a lab. Raises Unavailable: none is let in, or it can't be made."""
        if not self._face.settings.weblab_blueprints:
            raise Unavailable(OFF)
        with self._turn:
            module = page.partition(":")[0]
            is_now = (page, stamp(self._face.settings.labs / lab / f"{module}.py"))
            was, app = self._made.get(lab, (None, None))
            if was != is_now:
                try:
                    app = self._application(lab, page)
                except Exception:
                    log.exception("the blueprint of the lab %s can't be imported", lab)
                    app = None
                self._made[lab] = is_now, app
        if app is None:
            raise Unavailable(BROKEN)
        return app

    def _application(self, lab: str, page: str) -> Flask:
        module, _, name = page.partition(":")
        folder = self._face.settings.labs / lab
        file = folder / f"{module}.py"
        spec = importlib.util.spec_from_file_location(f"labwaiter_lab_{lab.replace('-', '_')}.{module}", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no module")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        try:
            spec.loader.exec_module(loaded)
            blueprint = getattr(loaded, name)
            if not isinstance(blueprint, Blueprint):
                raise TypeError(f"{name} of {file.name} is no Flask blueprint")
            app = Flask(spec.name, static_folder=None, template_folder=str(folder / "templates"), root_path=str(folder))
            app.config["TEMPLATES_AUTO_RELOAD"] = True
            app.register_blueprint(blueprint, url_prefix="/")
        except BaseException:
            sys.modules.pop(spec.name, None)
            raise
        return app


def add(app: Flask, face: Face, students: Students) -> None:
    """Add the labs' own addresses to the application."""
    blueprints = Blueprints(face)

    @app.route("/<lab>/own", defaults={"path": ""}, methods=["GET", "POST"], endpoint="own first")
    @app.route("/<lab>/own/<path:path>", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    def own(lab: str, path: str) -> Response:
        student = students.of(lab)
        if student is None:
            return students.no_session(lab)
        declared = face.declared(lab)
        page = declared.page if declared is not None else ""
        if ":" not in page:
            return _static(face.settings.labs / lab / "static", path, students, lab)
        own = blueprints.of(lab, page)
        environ = {**request.environ, "SCRIPT_NAME": f"{students.at(lab)}/own", "PATH_INFO": f"/{path}"}
        wrong = ""
        with own.request_context(environ):
            if request.method not in ("GET", "HEAD"):  # of this context: whose body is read once, here
                key = request.headers.get("X-Form-Key") or request.form.get("form_key", "")
                wrong = students.cookies.judge_key(request, lab, student.nonce, key)
            if not wrong:
                g.lab_session = LabSession(face, students, student)
                return _answered(own)
        return students.refused(wrong, 403, lab)


def _answered(own: Flask) -> Response:
    """A blueprint's answer to the request at hand."""
    try:
        return own.full_dispatch_request()
    except HTTPException as error:
        return own.make_response(error.get_response())
    except Exception:
        log.exception("a view of the lab %s has failed", own.name)
        raise Unavailable(BROKEN) from None


def _static(folder: Path, name: str, students: Students, lab: str) -> Response:
    path = within(str(folder.resolve()), name) if name else None
    if path is None or not path.is_file():
        return students.refused(N_("There is no such file."), 404, lab)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    answer = send_file(path, mimetype=kind, conditional=True)
    answer.headers["Cache-Control"] = "no-cache"
    return answer
