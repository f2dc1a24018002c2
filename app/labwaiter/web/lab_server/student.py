"""What a student comes to: the address that begins a session, the lab's page, its forms and files.

Whose session it is stands in a signed cookie, which the address of the callback sets: the id alone gives that only
while the session lasts. A page that stands open asks for its own content by `?live=1`, as the operator's does; that is
its student's sign of life.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, redirect, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader

from ... import __version__
from ...errors import InvalidParameter, ServiceError, Unavailable, UnknownSession
from ...languages import NAMES, asked_for
from ...model.lab_session import RECORDED
from ...model.panel import Item, What
from ...model.sentences import N_
from ...page.words import cut, in_url, number, printable, quantity
from ...verbs.sessions import InstrumentLook, SessionLook, SessionView, TaskView
from ..operator_page import STATIC, set_up
from ..operator_page.executions import values_of
from ..operator_page.services import Field, field_of
from ..sending import FileName, named_in, sent
from ..wording import _, language, told
from . import CALLED, Face
from .contract import link_of
from .cookies import Cookies
from .forbidden import Forbidden, common
from .template import OwnTemplates

log = logging.getLogger("labwaiter.web")
LATE = 60.0  # s before the end at which the page says so
TASKS_SHOWN = 10  # the last ones
BOTH = ["GET", "POST"]
OPEN = ("starting", "running")  # states of a session that is to be polled
FORM_LARGEST = 200_000  # bytes
OWN_STATIC = ("lab.css", "lab.js")
KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
NO_SESSION = N_(
    "You have no session in this lab, or it has ended long ago: begin one where you reserve or choose labs, in the"
    " system that led you here."
)


@dataclass(frozen=True)
class Student:
    """Who makes a request: somebody with a session in this lab."""

    lab: str
    session_id: str
    nonce: str  # of the cookie
    view: SessionView

    @property
    def is_in(self) -> bool:
        """Whether the session is running, or about to."""
        return self.view.state in OPEN


class Students:
    """The students' side of the lab server."""

    def __init__(self, face: Face, forbidden: Forbidden) -> None:
        self._face = face
        self.cookies = Cookies(face.settings, face.jobs.artifacts)
        self._forbidden = forbidden
        self.templates = OwnTemplates(face.settings.labs)

    def at(self, lab: str) -> str:
        """A lab's path, as the browser sees it."""
        return f"{self._face.path}/{lab}"

    def of(self, lab: str) -> Student | None:
        """Whose request this is; None: nobody's who has, or had lately, a session in this lab."""
        session_id, nonce = self.cookies.session(request, lab)
        if not session_id:
            return None
        try:
            view = self._face.sessions.alive(session_id)
        except UnknownSession:
            return None
        if view.lab != lab:
            return None
        if view.about.locale[:2].lower() in NAMES:  # the calling system knows it better than the browser
            g.language = asked_for(view.about.locale[:2].lower(), self._face.settings.page_language)
        return Student(lab, session_id, nonce, view)

    def refused(self, words: str, code: int, lab: str = "", is_out: bool = False) -> Response:
        """A page that says why something is not possible."""
        if request.args.get("live"):
            return Response(words, code, content_type="text/plain; charset=utf-8")
        return self._forbidden.page(words, code, self.at(lab or request.path.split("/")[1]), is_out)

    def no_session(self, lab: str) -> Response:
        """For who comes without a session: a page that says so, or the way to where one begins."""
        if not request.args.get("live") and (to := self._face.settings.weblab_unauthorized_link):
            answer = redirect(to, 303)
            assert isinstance(answer, Response)
            return answer
        return self.refused(NO_SESSION, 403, lab, is_out=True)

    def to_page(self, lab: str) -> Response:
        """The way to a lab's page."""
        answer = redirect(f"{self.at(lab)}/{self._first(lab)}", 303)
        assert isinstance(answer, Response)
        return answer

    def _first(self, lab: str) -> str:
        """Where a lab's page is: ours, or a template, at page; a blueprint at own/."""
        declared = self._face.declared(lab)
        return "own/" if declared is not None and ":" in declared.page else "page"

    # -- the page -----------------------------------------------------------------------------

    def page(self, student: Student) -> Response:
        """A student's page, or its content alone, or that it hasn't changed."""
        at = self.at(student.lab)
        key = self.cookies.form_key(student.lab, student.nonce)
        live = self._face.live
        if request.args.get("live"):
            whose = repr((student.session_id, at, language().code))
            return live.answer(request, whose, lambda: self._rendered(student, at, True, None), lambda: key)
        said = self.cookies.said(request, student.lab)
        html = self._rendered(student, at, False, said)
        answer = Response(live.filled(html, key), content_type="text/html; charset=utf-8")
        if said:
            self.cookies.forget_said(request, answer, student.lab, at)
        return answer

    def _rendered(self, student: Student, at: str, live: bool, said: tuple[str, bool, str] | None) -> str:
        found = self._face.sessions.look(student.session_id)
        declared = self._face.declared(student.lab)
        values = {
            "live": live,
            "said": said,
            "at": at,
            "version": __version__,
            "mark": self._face.live.release,
            **self._content(student, found),
        }
        values |= {
            "title": declared.title if declared is not None else student.lab,
            "doc": declared.doc if declared is not None else "",
        }
        own = declared.page if declared is not None else ""
        if own and ":" not in own:
            return self.templates.rendered(own, student.lab, values)
        return render_template("session.html.j2", **values)

    def _content(self, student: Student, look: SessionLook) -> dict[str, Any]:
        view = look.session
        is_late = view.state == "running" and view.time_left_s <= LATE
        return {
            **common(),
            "who": cut(printable(view.about.full_name or view.about.username), 100),
            "state": view.state,
            "is_open": view.state in OPEN,
            "is_running": view.state == "running",
            "is_disposing": view.state == "disposing",
            "is_late": is_late,
            "until": view.ends or 0.0,
            "now": time.time(),
            "why": printable(view.why_ended),
            "back": link_of(view.about.back),
            "kept_until": view.results_until or 0.0,
            "groups": [self._group(each) for each in look.instruments],
            "own": [(item, self._fields(item, {})) for item in look.actions],
            "offered": [(item, self._fields(item, {})) for item in look.offered],
            "tasks": [_task(task) for task in reversed(look.tasks[-TASKS_SHOWN:])],
            "results": [
                (result.action, result.at, _inputs_in_words(result.inputs), Shown(result.gave))
                for result in look.results
            ],
            "files": [(cut(printable(name), 200), in_url(name), count) for name, count in look.files],
        }

    def _group(self, look: InstrumentLook) -> dict[str, Any]:
        return {
            "name": look.name,
            "readings": [
                (item.name, cut(printable(item.doc), 200), _reading(look, item), _why(look, item))
                for item in look.panel.items
                if item.what is not What.ACTION
            ],
            "controls": [
                (item, self._fields(item, look.readings)[0]) for item in look.panel.items if item.what is What.CONTROL
            ],
            "actions": [
                (item, self._fields(item, look.readings)) for item in look.panel.items if item.what is What.ACTION
            ],
        }

    def _fields(self, item: Item, readings: dict[str, dict[str, Any]]) -> list[Field]:
        said = readings.get(item.name, {}).get("value")
        known = {item.name: number(said)} if item.what is What.CONTROL and said is not None else {}
        return [field_of(None, parameter, known.get(parameter.name), False) for parameter in item.inputs]

    # -- acts ---------------------------------------------------------------------------------

    def act(self, lab: str, do: Callable[[Student], str]) -> Response:
        """Do what a form asks for: the page, which tells what came of it."""
        student = self.of(lab)
        if student is None:
            return self.no_session(lab)
        if wrong := self.cookies.judge_form(request, lab, student.nonce):
            return self.refused(wrong, 403, lab)
        try:
            (words, lang), good = (do(student), ""), True
        except ServiceError as error:
            (words, lang), good = told(error.message), False
        answer = self.to_page(lab)
        if words:
            self.cookies.say(request, answer, lab, self.at(lab), printable(words), good, lang)
        return answer


def _task(view: TaskView) -> dict[str, Any]:
    """A task as the page shows it."""
    words = view.stage
    if view.error is not None:
        words = view.error["message"] or view.error["class"]
    return {
        "id": view.task_id,
        "name": view.name,
        "at": view.created,
        "status": "stopping" if view.stopping else view.status,
        "is_open": not view.finished,
        "can_be_stopped": view.offered and not view.finished and not view.stopping,
        "fraction": view.fraction,
        "words": cut(printable(words), 300),
        "shown": Shown(view.result) if view.status == "done" else None,
    }


class Shown:
    """What an action of a lab gave, as the page shows it: in words, or as a table."""

    def __init__(self, gave: Any) -> None:
        self.rows: list[list[str]] = []
        self.heads: list[str] = []
        self.is_named = False  # each row begins with its name
        self.words = ""
        if isinstance(gave, dict) and gave and all(isinstance(each, list) for each in gave.values()):
            self.heads = [_cell(name) for name in gave]
            length = max(len(each) for each in gave.values())
            self.rows = [[_cell(each[at]) if at < len(each) else "" for each in gave.values()] for at in range(length)]
        elif isinstance(gave, dict):
            self.is_named = True
            self.rows = [[_cell(name), _cell(value)] for name, value in gave.items()]
        elif isinstance(gave, list):
            self.rows = [[_cell(value) for value in (row if isinstance(row, list) else [row])] for row in gave]
        elif gave is not None:
            self.words = _cell(gave)


def _cell(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return cut(printable(json.dumps(value, ensure_ascii=False)), 300)
    return "" if value is None else cut(printable(number(value, language())), 1000)


def _inputs_in_words(inputs: dict[str, Any]) -> str:
    return cut(printable(", ".join(f"{name} {number(value, language())}" for name, value in inputs.items())), 200)


def _reading(look: InstrumentLook, item: Item) -> str:
    read = look.readings.get(item.name, {})
    if "value" not in read:
        return ""
    words, unit = quantity(read["value"], str(read.get("unit") or ""), language())
    return cut(printable(f"{words} {unit}".strip()), 200)


def _why(look: InstrumentLook, item: Item) -> str:
    return cut(printable(str(look.readings.get(item.name, {}).get("why") or "")), 300)


def _inputs() -> dict[str, Any]:
    read = language().read_number  # 0,5 where the reader writes it so
    return {key.removeprefix("in-"): read(text) or None for key, text in request.form.items() if key.startswith("in-")}


def add(app: Flask, face: Face) -> Students:
    """Add the students' addresses to the application."""
    here = Path(__file__).parent  # the operator's page has parts that are ours, too
    app.jinja_loader = ChoiceLoader([FileSystemLoader(here), FileSystemLoader(here.parent / "operator_page")])
    app.url_map.converters["file"] = FileName
    set_up(app.jinja_env, face.live)
    students = Students(face, Forbidden(face.settings))
    cookies = students.cookies
    static = {
        name: resources.files(package).joinpath("static", name).read_bytes()
        for package, names in (("labwaiter.web.operator_page", STATIC), (__package__, OWN_STATIC))
        for name in names
    }

    def of_path(lab: str, session_id: str) -> SessionView | None:
        """The session of a callback's address, while it lasts."""
        try:
            view = face.sessions.alive(session_id)
        except UnknownSession:
            return None
        return view if view.lab == (lab or view.lab) and view.state in OPEN else None

    def callback(lab: str, session_id: str) -> Response:
        view = of_path(lab, session_id)
        if view is None:
            return students.no_session(lab)
        answer = students.to_page(view.lab)
        cookies.begin(request, answer, view.lab, students.at(view.lab), session_id)
        return answer

    def own(lab: str, session_id: str) -> Student | None:
        """Whose request this is, if it is about the own session."""
        view = of_path(lab, session_id)
        student = students.of(view.lab) if view is not None else None
        return student if student is not None and student.session_id == session_id else None

    def refused_call(why: str = "This browser has no such session, or it is over.", code: int = 403) -> Any:
        return jsonify({"success": False, "reason": why}), code

    def poll(lab: str, session_id: str) -> Any:
        try:
            student = own(lab, session_id)
        except Unavailable as error:  # it may go on
            return refused_call(error.message, 503)
        if student is None:
            return refused_call()
        return jsonify({"success": True, "time_left": round(student.view.time_left_s, 1)})

    def logout(lab: str, session_id: str) -> Any:
        student = own(lab, session_id)
        if student is None or cookies.is_of_another_site(request):
            return refused_call()
        face.sessions.leave(session_id)
        return jsonify({"success": True})

    for form in CALLED:
        for at, where in ((f"/{form}", {"lab": ""}), (f"/<lab>/{form}", {})):
            for path, view, methods in (("", callback, ["GET"]), ("/poll", poll, BOTH), ("/logout", logout, BOTH)):
                rule = f"{at}/callback/<session_id>{path}"
                app.add_url_rule(rule, rule, view, methods=methods, defaults=where)

    @app.get("/<lab>/page")
    def page(lab: str) -> Response:
        student = students.of(lab)
        return students.no_session(lab) if student is None else students.page(student)

    @app.post("/<lab>/page/set")
    def set_control(lab: str) -> Response:
        def do(student: Student) -> str:
            name, control = request.form.get("name", ""), request.form.get("item", "")
            value = _inputs().get(control) or ""
            done = face.sessions.set(student.session_id, name, control, value)
            if not done.done:
                return _("%(name)s: %(item)s is being set; that goes on.", name=name, item=control)
            return _("%(name)s: %(item)s is set to %(value)s.", name=name, item=control, value=language().number(value))

        return students.act(lab, do)

    @app.post("/<lab>/page/do")
    def do_action(lab: str) -> Response:
        def do(student: Student) -> str:
            name, item = request.form.get("name", ""), request.form.get("item", "")
            done = face.sessions.do(student.session_id, name, item, _inputs())
            if not done.done:
                return _("%(name)s: %(item)s has begun; that goes on.", name=name, item=item)
            return _("%(name)s: %(item)s is done.", name=name, item=item)

        return students.act(lab, do)

    @app.post("/<lab>/page/act")
    def act(lab: str) -> Response:
        def do(student: Student) -> str:
            item = request.form.get("item", "")
            acted = face.sessions.act(student.session_id, item, _inputs())
            return (
                _("%(item)s is done.", item=item) if acted.done else _("%(item)s has begun; that goes on.", item=item)
            )

        return students.act(lab, do)

    @app.post("/<lab>/page/start")
    def start_task(lab: str) -> Response:
        def do(student: Student) -> str:
            item = request.form.get("item", "")
            face.sessions.start_task(student.session_id, item, _inputs())
            return _("%(item)s has begun.", item=item)

        return students.act(lab, do)

    @app.post("/<lab>/page/stop")
    def stop_task(lab: str) -> Response:
        def do(student: Student) -> str:
            view = face.sessions.stop_task(student.session_id, request.form.get("item", ""))
            if view.finished:
                return _("%(name)s has ended.", name=view.name)
            return _("%(name)s is told to stop.", name=view.name)

        return students.act(lab, do)

    @app.post("/<lab>/page/leave")
    def leave(lab: str) -> Response:
        def do(student: Student) -> str:
            face.sessions.leave(student.session_id)
            return ""

        return students.act(lab, do)

    @app.get("/<lab>/page/values")
    def values(lab: str) -> Response:
        student = students.of(lab)
        if student is None:
            return students.refused(NO_SESSION, 403, lab)
        try:
            path = face.sessions.file(student.session_id, RECORDED)
        except InvalidParameter:  # nothing was read yet
            return jsonify({"names": [], "columns": []})
        answer = Response(json.dumps(values_of(face.jobs.artifacts, path)), content_type="application/json")
        answer.add_etag()
        answer.make_conditional(request)
        return answer

    @app.get("/<lab>/page/file/<file:name>")
    def file(lab: str, name: str) -> Response:
        student = students.of(lab)
        if student is None:
            return students.no_session(lab)
        try:
            path = face.sessions.file(student.session_id, named_in(request, 4))
        except InvalidParameter as error:
            return students.refused(error.message, 404, lab)
        answer = sent(face.jobs, path)
        if answer is None:
            return students.refused(N_("There is no such file any more."), 404, lab)
        # what a lab's code has made is a stranger's: it runs nowhere
        answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
        return answer

    @app.get("/<lab>/page/static/<name>")
    def static_file(lab: str, name: str) -> Response:
        if name not in static:
            return Response("There is no such file.\n", 404, content_type="text/plain; charset=utf-8")
        answer = Response(static[name], content_type=KINDS[name.rpartition(".")[2]])
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if request.args.get("v") else "no-cache"
        return answer

    return students
