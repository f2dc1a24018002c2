"""A page that stands open asks for its content every second or two: most answers are “as it was”, and cost little.

Such a request names what it has (If-None-Match). What the page is made of has a stamp of a few calls of stat(2), shared
by all who ask within a moment. Where that has changed the page is made anew, and often is as it was after all, so its
name is its content's. What is made is kept, so that many who look at one page have it made once; and so are its parts:
of a hundred cards, those are made of which something has changed.

A question that was answered before, to the same session and with the same headers, is answered without Flask: see
`Repeated`.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from flask import Request, Response
from jinja2.runtime import Context, Macro
from jinja2.utils import pass_context
from markupsafe import Markup

from ...errors import ServiceError
from ..wording import language
from .session import Sessions, Visitor

STAMP_SECONDS = 0.4  # that a stamp serves others who ask
SERVES_SECONDS = 1.0  # that content serves others who ask though its stamp has changed: much may change all the time
WHOLE_SECONDS = 1.5  # likewise where no stamp tells
ANEW_SECONDS = 60  # by then each page is made anew, whatever its stamp says
CONTENTS_KEPT = 64
MADE_KEPT = 2000  # some 300 bytes each
PARTS_KEPT = 1000  # some 3 kB each
QUESTIONS_KEPT = 1000  # some 2 kB each
QUESTION = "labwaiter.live"  # in environ: the Question that an answer is for
OK, AS_IT_WAS = "200 OK", "304 NOT MODIFIED"  # as Flask writes them
Headers = list[tuple[str, str]]
Value = TypeVar("Value")


class Made(NamedTuple):
    """What a page was when it was made last."""

    at: str  # its stamp then; "" where nothing tells when it changes
    until: float  # monotonic s: until then it serves whatever its stamp is
    tag: str  # of its content


class Question(NamedTuple):
    """What an open page asks for."""

    key: str  # of the page, and whose it is
    stamp: Callable[[], str | None]  # the page's; asks for nothing of the request
    visitor: Visitor


class Live:
    """The contents of open pages. Thread-safe."""

    def __init__(self, release: str) -> None:
        self.hole = os.urandom(12).hex()  # in the place of the key of a session's forms; no text from outside has it
        self.release = hashlib.sha256(release.encode()).hexdigest()[:16]
        self._turn = threading.Lock()
        self._stamps: dict[str, tuple[float, str | None]] = {}
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._contents: OrderedDict[str, tuple[str, str]] = OrderedDict()  # with the tag before it
        self._parts: dict[str, Markup] = {}
        self._acts = 0  # that were done by these pages

    def stamp(self, name: str, look: Callable[[], str | None]) -> str | None:
        """What `look` gives, or gave a moment ago."""
        now = time.monotonic()
        known = self._stamps.get(name)
        if known is not None and now - known[0] < STAMP_SECONDS:
            return known[1]
        found = look()
        with self._turn:
            if len(self._stamps) > 1000:
                self._stamps.clear()
            self._stamps[name] = now, found
        return found

    def answer(
        self,
        request: Request,
        whose: str,
        make: Callable[[], str],
        form_key: Callable[[], str],
        stamp: Callable[[], str | None] | None = None,
        visitor: Visitor | None = None,
    ) -> Response:
        """A page's content, or 304.

        Args:
            whose: who may see what: pages that are alike for all of one `whose` are kept together.
            stamp: the page's; None: nothing but its content tells when it changes.
            visitor: whose session it is, where the answer depends on nothing else than `Repeated` judges.
        """
        key = hashlib.sha256(repr((whose, request.full_path)).encode()).hexdigest()
        if stamp is not None and visitor is not None:
            request.environ[QUESTION] = Question(key, stamp, visitor)
        at = self.at(stamp)
        has = request.headers.get("If-None-Match")
        tag, content = self.known(key, at)
        if not tag or (tag != has and not content):
            tag, content = self._make(key, at, make)
        if tag == has:
            answer = Response(status=304)
        else:
            answer = Response(self.filled(content, form_key()), content_type="text/html; charset=utf-8")
            answer.headers["Cache-Control"] = "no-store"
        answer.headers["ETag"] = tag
        return answer

    @staticmethod
    def at(stamp: Callable[[], str | None] | None) -> str:
        """What a page is at now; "" where nothing tells that."""
        told = stamp() if stamp is not None else None
        return "" if told is None else f"{told} {int(time.time() / ANEW_SECONDS)}"

    def known(self, key: str, at: str) -> tuple[str, str]:
        """A page's tag, if it is as it was made last, and its content, if that was kept, too; else ""."""
        made = self._made.get(key)
        if made is None or not ((at and made.at == at) or time.monotonic() < made.until):
            return "", ""
        tag, content = self._contents.get(key, ("", ""))
        return made.tag, content if tag == made.tag else ""

    def _make(self, key: str, at: str, make: Callable[[], str]) -> tuple[str, str]:
        """A page's content, and before it its tag."""
        acts = self._acts
        content = make()
        until = time.monotonic() + (SERVES_SECONDS if at else WHOLE_SECONDS)
        named = self.release + self.filled(content, "")  # without what each worker has another of
        tag = f'"{hashlib.sha256(named.encode()).hexdigest()[:24]}"'
        with self._turn:
            if acts == self._acts:  # else it may be of before what was done meanwhile
                _keep(self._made, key, Made(at, until, tag), MADE_KEPT)
                _keep(self._contents, key, (tag, content), CONTENTS_KEPT)
        return tag, content

    @pass_context
    def part(self, context: Context, macro: Macro, *values: object) -> Markup:
        """What a macro makes of these values: by them, its reader's name and language it is known again.

        Those are all that the macro may depend on, but for what was wrong in a form: that page is made whole.
        """
        if context.get("bad_input"):
            return Markup(macro(*values))
        key = repr((macro.name, language().code, context["visitor"], values))
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= PARTS_KEPT:
                self._parts.clear()
            known = self._parts[key] = Markup(macro(*values))
        return known

    def forget(self) -> None:
        """Have every page made anew: something was done."""
        with self._turn:
            self._acts += 1
            self._stamps.clear()
            self._made.clear()
            self._contents.clear()

    def filled(self, html: str, form_key: str) -> str:
        """A page with the key of its reader's forms."""
        return html.replace(self.hole, form_key)


class Repeated:
    """Questions of open pages that were answered before, answered again without Flask; all else is the application's.

    What the application judges a request by is its headers, its address and its session: whoever asks with the same
    ones, in a session that is judged here once more, is answered what he would be by the application, by the same
    `Live`. Half a millisecond of a single request's time is saved. Pages that do something when they are asked for have
    no stamp, and go the long way.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], live: Live, sessions: Sessions) -> None:
        self._app, self._live, self._sessions = app, live, sessions
        self._turn = threading.Lock()
        # by what was asked: its question, and by the answer's status the headers that it had
        self._asked: OrderedDict[Any, tuple[Question, dict[str, Headers]]] = OrderedDict()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] != "GET" or "live=1" not in environ.get("QUERY_STRING", ""):
            return self._app(environ, start_response)
        asked = tuple(item for item in environ.items() if isinstance(item[1], str) and item[0] != "HTTP_IF_NONE_MATCH")
        answer = self._again(environ, asked)
        if answer is not None:
            start_response(*answer[:2])
            return answer[2]

        def note(status: str, headers: Headers, *more: Any) -> Any:
            question = environ.get(QUESTION)
            if (
                question is not None
                and status in (OK, AS_IT_WAS)
                and not any(name == "Set-Cookie" for name, _ in headers)
            ):
                kept = [each for each in headers if each[0] not in ("ETag", "Content-Length")]
                with self._turn:
                    before, by_status = self._asked.get(asked, (question, {}))
                    by_status = by_status if before.visitor == question.visitor else {}
                    _keep(self._asked, asked, (question, by_status | {status: kept}), QUESTIONS_KEPT)
            return start_response(status, headers, *more)

        return self._app(environ, note)

    def _again(self, environ: dict[str, Any], asked: Any) -> tuple[str, Headers, list[bytes]] | None:
        """Status, headers and body of the answer; None where the application has to answer."""
        known = self._asked.get(asked)
        if known is None:
            return None
        question, by_status = known
        try:
            if self._sessions.visitor_by(question.visitor.cookie) != question.visitor:
                return None
            tag, content = self._live.known(question.key, self._live.at(question.stamp))
            status = AS_IT_WAS if tag and tag == environ.get("HTTP_IF_NONE_MATCH") else OK
            if status not in by_status or (status == OK and not content):
                return None
            headers = [*by_status[status], ("ETag", tag)]
            if status == AS_IT_WAS:
                return status, headers, []
            body = self._live.filled(content, self._sessions.form_key(question.visitor)).encode()
        except (ServiceError, OSError):  # it can't be judged now: the application tells it
            return None
        return status, [*headers, ("Content-Length", str(len(body)))], [body]


def _keep(kept: OrderedDict[Any, Value], key: Any, value: Value, most: int) -> None:
    """Keep a value as the newest, and the newest alone."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
