"""A page that stands open asks for its content every second or two: most answers are “as it was”, and cost little.

Such a request names what it has (If-None-Match). What the page is made of has a stamp of a few calls of stat(2), shared
by all who ask within a moment. Where that has changed the page is made anew, and often is as it was after all, so its
name is its content's. What is made is kept, so that many who look at one page have it made once; and so are its parts:
of a hundred cards, those are made of which something has changed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from flask import Request, Response
from jinja2.runtime import Context, Macro
from jinja2.utils import pass_context

from ..wording import language

STAMP_SECONDS = 0.4  # that a stamp serves others who ask
SERVES_SECONDS = 1.0  # that content serves others who ask though its stamp has changed: much may change all the time
WHOLE_SECONDS = 1.5  # likewise where no stamp tells
ANEW_SECONDS = 60  # by then each page is made anew, whatever its stamp says
CONTENTS_KEPT = 64
MADE_KEPT = 2000  # some 300 bytes each
PARTS_KEPT = 1000  # some 3 kB each
Value = TypeVar("Value")


class Made(NamedTuple):
    """What a page was when it was made last."""

    at: str  # its stamp then; "" where nothing tells when it changes
    until: float  # monotonic s: until then it serves whatever its stamp is
    tag: str  # of its content


class Live:
    """The contents of open pages. Thread-safe."""

    def __init__(self, release: str) -> None:
        self.hole = os.urandom(12).hex()  # in the place of the key of a session's forms; no text from outside has it
        self.release = hashlib.sha256(release.encode()).hexdigest()[:16]
        self._turn = threading.Lock()
        self._stamps: dict[str, tuple[float, str | None]] = {}
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._contents: OrderedDict[str, tuple[str, str]] = OrderedDict()  # with the tag before it
        self._parts: dict[str, str] = {}
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
        self, request: Request, whose: str, stamp: str | None, make: Callable[[], str], form_key: Callable[[], str]
    ) -> Response:
        """A page's content, or 304.

        Args:
            whose: who may see what: pages that are alike for all of one `whose` are kept together.
        """
        key = hashlib.sha256(repr((whose, request.full_path)).encode()).hexdigest()
        at = "" if stamp is None else f"{stamp} {int(time.time() / ANEW_SECONDS)}"
        has = request.headers.get("If-None-Match")
        made = self._made.get(key)
        if made is not None and ((at and made.at == at) or time.monotonic() < made.until):
            if made.tag == has:
                return self._as_it_was(has)
            tag, content = self._contents.get(key, ("", ""))
        else:
            tag = content = ""
        if not tag:
            tag, content = self._make(key, at, make)
        if tag == has:
            return self._as_it_was(tag)
        answer = Response(self.filled(content, form_key()), content_type="text/html; charset=utf-8")
        answer.headers["ETag"] = tag
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _make(self, key: str, at: str, make: Callable[[], str]) -> tuple[str, str]:
        """A page's content, and before it its tag."""
        acts = self._acts
        content = make()
        until = time.monotonic() + (SERVES_SECONDS if at else WHOLE_SECONDS)
        tag = f'"{hashlib.sha256((self.release + content).encode()).hexdigest()[:24]}"'
        with self._turn:
            if acts == self._acts:  # else it may be of before what was done meanwhile
                _keep(self._made, key, Made(at, until, tag), MADE_KEPT)
                _keep(self._contents, key, (tag, content), CONTENTS_KEPT)
        return tag, content

    @pass_context
    def part(self, context: Context, macro: Macro, *values: object) -> str:
        """What a macro makes of these values: by them, its reader's name and language it is known again.

        Those are all that the macro may depend on.
        """
        key = repr((macro.name, language().code, context["visitor"], values))
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= PARTS_KEPT:
                self._parts.clear()
            known = self._parts[key] = macro(*values)
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

    @staticmethod
    def _as_it_was(tag: str) -> Response:
        answer = Response(status=304)
        answer.headers["ETag"] = tag
        return answer


def _keep(kept: OrderedDict[str, Value], key: str, value: Value, most: int) -> None:
    """Keep a value as the newest, and the newest alone."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
