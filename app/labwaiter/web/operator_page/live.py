"""A page that stands open asks for its content every second or two: most answers are “as it was”, and cost little.

Such a request names what it has (If-None-Match); what the page is made of has a stamp of a few calls of stat(2), shared
by all who ask within a moment. What is made anew is kept, so that many who look at one page have it made once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import Request, Response

STAMP_SECONDS = 0.4  # that a stamp serves others who ask
WHOLE_SECONDS = 1.5  # likewise a page of which no stamp tells
AGAIN = 25.0  # times as long as its making took, content serves others though its stamp has changed …
AGAIN_MAX = 1.0  # … at most for so many s: pages that change all the time take a bounded part of a processor
ANEW_SECONDS = 60  # by then each page is made anew, whatever its stamp says
KEPT = 64  # contents


class Live:
    """The contents of open pages. Thread-safe."""

    def __init__(self, release: str) -> None:
        self.hole = os.urandom(12).hex()  # in the place of the key of a session's forms; no text from outside has it
        self.release = hashlib.sha256(release.encode()).hexdigest()[:16]
        self._turn = threading.Lock()
        self._stamps: dict[str, tuple[float, str | None]] = {}
        # key → until when it serves whatever its stamp says (monotonic s), tag, content
        self._made: OrderedDict[str, tuple[float, str, str]] = OrderedDict()
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
        self, request: Request, whose: str, stamp: str | None, make: Callable[[], str], form_key: str
    ) -> Response:
        """A page's content, or 304.

        Args:
            whose: who may see what: pages that are alike for all of one `whose` are kept together.
        """
        key = hashlib.sha256(repr((whose, request.full_path)).encode()).hexdigest()
        now = time.monotonic()
        tag = ""
        if stamp is not None:
            of = repr((self.release, key, stamp, int(time.time() / ANEW_SECONDS)))
            tag = f'"{hashlib.sha256(of.encode()).hexdigest()[:24]}"'
            if request.headers.get("If-None-Match") == tag:
                return self._as_it_was(tag)
        kept = self._made.get(key)
        if kept is not None and (kept[1] == tag or now < kept[0]):
            tag, content = kept[1:]
        else:
            began, acts = time.thread_time(), self._acts
            content = make()
            taken = time.thread_time() - began
            serves = min(AGAIN_MAX, AGAIN * taken) if tag else WHOLE_SECONDS
            tag = tag or f'"{hashlib.sha256((self.release + content).encode()).hexdigest()[:24]}"'
            with self._turn:
                if acts == self._acts:  # else it may be of before what was done meanwhile
                    self._made[key] = now + serves, tag, content
                    self._made.move_to_end(key)
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
        if request.headers.get("If-None-Match") == tag:
            return self._as_it_was(tag)
        answer = Response(self.filled(content, form_key), content_type="text/html; charset=utf-8")
        answer.headers["ETag"] = tag
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def forget(self) -> None:
        """Have every page made anew: something was done."""
        with self._turn:
            self._acts += 1
            self._stamps.clear()
            self._made.clear()

    def filled(self, html: str, form_key: str) -> str:
        """A page with the key of its reader's forms."""
        return html.replace(self.hole, form_key)

    @staticmethod
    def _as_it_was(tag: str) -> Response:
        answer = Response(status=304)
        answer.headers["ETag"] = tag
        return answer
