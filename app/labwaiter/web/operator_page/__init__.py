"""The operator's page: see and steer the lab from a browser. A face: it translates, and decides nothing.

A Flask application beside the one of `web`, with headers of its own: these pages run one script of ours and no other.
Each page is a function that gathers what the verbs tell; forms are sent as browsers send them, and answered by the page
that tells what came of it. A page that stands open asks for its own content by `?live=1`: see `live.py`.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, g, redirect, render_template, request
from jinja2 import Environment
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from ... import __version__, public
from ...authentication import authenticator
from ...catalogue.catalogue import WatchedCatalogue
from ...errors import (
    ClientError,
    Misconfigured,
    NotPermitted,
    ServiceError,
    TokenValidationFailed,
    UnknownServiceID,
    internal,
)
from ...fleet import open_direct_control, open_instruments, open_monitoring
from ...languages import NAMES
from ...languages import language as language_of
from ...model.caller import Caller
from ...model.sentences import N_
from ...page.words import printable
from ...settings import Settings
from ...store import web_side
from ...store.artifacts import HANDED_IN_MAX
from ...verbs import Jobs
from ...verbs.control import DirectControl
from ...verbs.instruments import Instruments
from ...verbs.monitoring import Monitoring
from ...verbs.permission import Action, may
from .. import wording
from ..wording import _, language, told
from .live import Live, Repeated
from .session import SESSION_SECONDS, Sessions, TooManyAttempts, Visitor

log = logging.getLogger("labwaiter.web")
PAGES = "/operator/"  # below the context root
STATIC = ("page.css", "page.js", "idiomorph-0.8.0.min.js", "uplot-1.6.32.min.js", "uplot-1.6.32.min.css")
_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
FORM_LARGEST = 4_000_000  # bytes of a form without its files
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
OF_A_STRANGER = N_(
    "This deployment is open to its own machine alone, and the address that was called is no name of it. Call it as"
    " localhost or 127.0.0.1; or have TOKENS say who may call."
)


@dataclass(frozen=True)
class BadInput:
    """What was wrong in a form that was sent: its page shows the sentence beside the field, and what was given."""

    form: str  # the form's id
    field: str  # by its name in the form; "": none of its fields
    words: str  # a sentence from below

    @property
    def id(self) -> str:
        """Of the sentence on the page."""
        return f"wrong-{self.form}-{self.field}"


@dataclass
class Face:
    """What the pages are made of."""

    settings: Settings
    offered: WatchedCatalogue
    jobs: Jobs
    sessions: Sessions
    live: Live

    @cached_property
    def instruments(self) -> Instruments:
        """The verbs over the instruments; one for all requests, as it remembers lab.toml."""
        return open_instruments(self.settings, self.jobs)

    @cached_property
    def control(self) -> DirectControl:
        """The verbs over those that somebody has in hand."""
        return open_direct_control(self.settings, self.jobs)

    @cached_property
    def monitoring(self) -> Monitoring:
        """The verbs over what monitored instruments said."""
        return open_monitoring(self.settings, self.jobs)

    @property
    def caller(self) -> Caller:
        """Who makes this request."""
        caller: Caller = g.caller
        return caller

    @property
    def here(self) -> str:
        """The address of this deployment for who makes this request; its path alone where nobody knows more."""
        return public.root(request.environ, self.settings) or self.settings.context_root

    @property
    def at(self) -> str:
        """The path of the pages."""
        return "/" + (self.here + PAGES).split("/", 3)[3] if "://" in self.here else self.here + PAGES

    def may(self, action: Action) -> bool:
        """Whether who makes this request may do that at all; of one execution its owner decides."""
        return may(self.caller, action)

    def page(
        self, template: str, make: Callable[[], dict[str, Any]], stamp: Callable[[], str | None] | None = None
    ) -> Response:
        """A page, or its content alone where that is asked for, or that it hasn't changed.

        Args:
            make: what its template needs.
            stamp: differs when the page would, whoever asks; None: only its content tells that.
        """
        visitor: Visitor = g.visitor
        if request.args.get("live"):
            whose = repr((visitor.identity, self.here, language().code))
            return self.live.answer(
                request,
                whose,
                lambda: render_template(template, live=True, **self._common(), **make()),
                lambda: self.sessions.form_key(visitor),
                stamp,
                visitor,
            )
        said = self.sessions.said(request)
        html = render_template(template, live=False, said=said, **self._common(), **make())
        answer = Response(
            self.live.filled(html, self.sessions.form_key(visitor)), content_type="text/html; charset=utf-8"
        )
        if said:
            self.sessions.forget_said(request, answer)
        return answer

    @property
    def mark(self) -> str:
        """Differs once an open page is to be loaded anew: after an upgrade, and where it would be another's."""
        return f"{self.live.release}-{language().code}-{_whose(g.get('visitor'))}"

    def _common(self) -> dict[str, Any]:
        """What every template needs."""
        visitor: Visitor = g.visitor
        return {
            "at": self.at,
            "here": self.here,
            "version": __version__,
            "visitor": visitor.identity.user if visitor.identity else "",
            "role": visitor.identity.role if visitor.identity else "",
            "logged_in": visitor.logged_in,
            "judges": self.settings.judges_tokens,
            "open_words": "" if self.settings.judges_tokens else authenticator.words(self.settings),
            "is_many": bool(self.settings.redis_url),
            "is_scheduled": self.settings.schedule.exists(),
            "can": {action.name.lower(): may(self.caller, action) for action in Action},
            "path": g.get("path") or request.path.rpartition("/")[2],
            "bad_input": g.get("bad_input"),
            "sent": request.form if request.method == "POST" else {},
            "address": g.get("address", ""),
            "mark": self.mark,
            "next_here": self._again(),
            "language": language(),
            "languages": [language_of(code) for code in NAMES],
            "span_units": " ".join(language().units("d", "h", "min", "s")),
            "roles": {
                "guest": _("guest"),
                "user": _("user"),
                "operator": _("operator"),
                "administrator": _("administrator"),
            },
        }

    def _again(self) -> str:
        """The address, below the pages', at which this page is to be seen again."""
        name = request.path.rpartition("/")[2]
        if "address" in g:
            return str(g.address)
        if request.method == "POST":
            named = request.form.get("name", "") if name == "service" else ""
            return name + (f"?{urlencode({'name': named})}" if named else "") if name in ("service", "login") else ""
        kept = [(key, text) for key, text in request.args.items(multi=True) if key != "live"]
        return name + (f"?{urlencode(kept)}" if kept else "")

    def done(self, where: str, words: str, good: bool = True, lang: str = "", of: str = "", **query: str) -> Response:
        """An act was done: the page that tells it.

        Args:
            lang: the words' language, where it is another one than the reader's.
            of: the instrument that they are about, if it is one.
        """
        answer = self.to(where, **query)
        self.sessions.say(request, answer, words, good, lang, of and f"i-{of}")
        return answer

    def not_done(self, where: str, sentence: str, **query: str) -> Response:
        """An act was refused, with a sentence from below: the page that tells it."""
        words, lang = told(printable(sentence))
        return self.done(where, words, False, lang, **query)

    def mend(self, wrong: BadInput, where: str, show: Callable[[], Response], **query: str) -> Response:
        """A form's page once more, with what was wrong beside its field and all that was given; nothing was done.

        Args:
            where: the page's name.
            show: makes it.
            query: of its address, at which an open page goes on.
        """
        g.bad_input, g.path = wrong, where
        g.address = where + (f"?{urlencode(query)}" if query else "")
        answer = show()
        if f'id="{wrong.id}"' not in answer.get_data(as_text=True):  # that form is gone from it meanwhile
            return self.not_done(where, wrong.words, **query)
        answer.status_code = 422
        return answer

    def to(self, where: str, **query: str) -> Response:
        """Another page of ours."""
        answer = redirect(self.at + where + (f"?{urlencode(query)}" if query else ""), 303)
        assert isinstance(answer, Response)
        return answer


def set_up(environment: Environment, live: Live) -> None:
    """What the templates have: texts are escaped, all words of ours are marked for catalogues, forms have a key.

    `part(macro, …)` is the macro's output, made anew when something in its values has changed.
    """
    environment.autoescape = True
    wording.install(environment)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["printable"] = printable
    environment.globals["part"] = live.part
    environment.globals["form_key"] = Markup(f'<input type="hidden" name="form_key" value="{live.hole}">')


def make(settings: Settings, offered: WatchedCatalogue, jobs: Jobs, tokens: authenticator.Authenticator) -> Flask:
    """The Flask application of the pages at `/` and below `/operator/`."""
    app = Flask("labwaiter.web.operator_page", static_folder=None, template_folder="")
    live = Live(f"{__version__} {web_side.deployment(settings.jobs_folder)}")
    face = Face(settings, offered, jobs, Sessions(settings, jobs.artifacts, tokens), live)
    set_up(app.jinja_env, live)
    app.wsgi_app = Repeated(app.wsgi_app, live, face.sessions)  # type: ignore[method-assign]
    static = {name: resources.files(__package__).joinpath("static", name).read_bytes() for name in STATIC}

    @app.before_request
    def judge() -> Response | None:
        g.language = wording.wanted(request, settings)
        request.max_form_memory_size = FORM_LARGEST
        request.max_form_parts = 1000
        # files come with the form of a service alone
        request.max_content_length = FORM_LARGEST + (HANDED_IN_MAX if request.path == PAGES + "service" else 0)
        g.visitor, g.begins = Visitor(), None
        g.caller = face.sessions.caller(request)
        if request.path.startswith(PAGES + "static/"):
            return None
        if not settings.tokens and g.caller.is_elsewhere:
            face.sessions.judge_place(g.caller)
        if not settings.tokens and not public.names_this_machine(request.environ, settings):
            return refused(OF_A_STRANGER, 403)
        visitor = face.sessions.visitor(request)
        if not visitor.nonce and not settings.judges_tokens:
            g.begins = face.sessions.new()
            visitor = Visitor(visitor.identity, g.begins["n"], kept=g.begins)
        g.visitor, g.caller = visitor, replace(g.caller, identity=visitor.identity)
        logs_in = request.path == PAGES + "login"
        if request.method == "POST" and (wrong := face.sessions.judge_form(request, visitor, logs_in)):
            return refused(wrong, 403)
        if visitor.identity is None and not logs_in and request.path != PAGES + "language":
            return log_in_first(visitor)
        return None

    def log_in_first(visitor: Visitor) -> Response:
        if request.path == "/":
            return login_page("", 200, visitor.why)
        if request.args.get("live"):
            return Response("", 401)
        if request.method == "POST":
            return refused(N_("You are not logged in any more, so nothing was done: log in, then send it again."), 401)
        there = request.path.removeprefix(PAGES)
        query = request.query_string.decode("latin-1")
        return face.to("login", next=f"{there}?{query}" if query else there)

    def refused(words: str, code: int) -> Response:
        if request.args.get("live"):
            return Response(words, code, content_type="text/plain; charset=utf-8")
        answer = face.page("refused.html.j2", lambda: {"words": words, "code": code})
        answer.status_code = code
        return answer

    def login_page(wrong: str, code: int, why: str = "") -> Response:
        from .services import offers

        answer = face.page(
            "login.html.j2",
            lambda: {
                "wrong": wrong,
                "why": why,
                "next": request.values.get("next", ""),
                "offered": offers(face),
                "how": authenticator.words(settings),
                "guests": settings.guests,
            },
        )
        answer.status_code = code
        return answer

    @app.get(PAGES + "login")
    def login() -> Response:
        return login_page("", 200, g.visitor.why)

    @app.post(PAGES + "login")
    def log_in() -> Response:
        to = request.form.get("next", "")
        where, _, query = to.partition("?")
        answer = redirect(face.at + (f"{where}?{query}" if query else where), 303) if where.isalpha() else None
        answer = answer or redirect(face.here + "/", 303)
        assert isinstance(answer, Response)
        if not settings.judges_tokens:
            name = " ".join(printable(request.form.get("name", "")).split())[:60]
            face.sessions.begin(request, answer, face.sessions.new(SESSION_SECONDS, name=name))
            return answer
        try:
            _, content = face.sessions.log_in(request, request.form.get("token", ""))
        except TooManyAttempts as error:
            return login_page(error.message, 429)
        except TokenValidationFailed as error:
            return login_page(error.message, 403)
        except ServiceError as error:
            return login_page(error.message, 503)
        face.sessions.begin(request, answer, content)
        return answer

    @app.post(PAGES + "logout")
    def log_out() -> Response:
        answer = redirect(face.here + "/", 303)
        assert isinstance(answer, Response)
        face.sessions.end(request, answer)
        return answer

    @app.get(PAGES + "language")
    def choose_language() -> Response:
        where, _query, query = request.args.get("next", "").partition("?")
        answer = redirect(face.at + (f"{where}?{query}" if query else where), 303) if where.isalpha() else None
        answer = answer or redirect(face.here + "/", 303)
        assert isinstance(answer, Response)
        if (code := request.args.get("code", "")) in NAMES:
            face.sessions.set_cookie(request, answer, wording.COOKIE, code, wording.CHOICE_SECONDS)
        return answer

    @app.get(PAGES + "static/<name>")
    def static_file(name: str) -> Response:
        if name not in static:
            return Response("There is no such file.\n", 404, content_type="text/plain; charset=utf-8")
        answer = Response(static[name], content_type=_KINDS[name.rpartition(".")[2]])
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if request.args.get("v") else "no-cache"
        return answer

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        code = 403 if isinstance(error, (NotPermitted, TokenValidationFailed)) else 503
        code = (
            404
            if isinstance(error, UnknownServiceID)
            else 400
            if isinstance(error, ClientError) and code == 503
            else code
        )
        return refused(error.message, code)

    @app.errorhandler(Misconfigured)
    def misconfigured(error: Misconfigured) -> Response:
        return refused(str(error), 503)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        if error.code == 404:
            return refused(N_("There is no such page."), 404)
        if error.code == 405:
            return refused(N_("This address takes no such request."), 405)
        if error.code == 413:
            return refused(N_("What was sent is too large: put large files into the files folder by other means."), 413)
        return refused(N_("The request can't be understood."), error.code or 400)

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        incident = os.urandom(4).hex()
        log.error("incident %s", incident, exc_info=error)
        return Response(internal(incident) + "\n", 500, content_type="text/plain; charset=utf-8")

    @app.after_request
    def guarded(answer: Response) -> Response:
        if request.method == "POST":  # whoever did something sees it at once
            live.forget()
        if g.get("begins"):
            face.sessions.begin(request, answer, g.begins)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "same-origin"
        answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        # an open page loads itself anew after an upgrade, and when it is another's: its frame has his name and STOP
        answer.headers["X-Labwaiter"] = face.mark
        answer.headers["Content-Language"] = language().code
        answer.headers.setdefault("Content-Security-Policy", POLICY)
        if "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]:
            answer.headers["X-Frame-Options"] = "DENY"
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    from . import executions, lab, monitoring, plans, services

    executions.add(app, face)
    services.add(app, face)
    lab.add(app, face)
    monitoring.add(app, face)
    plans.add(app, face)
    return app


def _whose(visitor: Visitor | None) -> str:
    """Differs between the people whom a page may be made for."""
    who = visitor.identity if visitor is not None else None
    return f"{zlib.crc32(repr((who.user, who.project, who.role.value)).encode()):08x}" if who is not None else "0"
