"""The poll's lane: a poll in a form that the door has read before, answered by bytes that are still right.

A workflow manager writes every poll alike, but for the serviceID and the token. The door (lxml) reads the first one of
a form; the lane cuts it where the two stand and has the door read it once more with two words that nobody could have
written. What comes back right is a form: from then on a poll of it is recognised by its bytes. Only values without a
letter that XML treats otherwise are taken, so that the rest of the document can't change its meaning; whatever is not
of such a form goes to the door.

An answer is kept for as long as it would be written the same again: until a second of its page passes, or the stamps of
what it was made of differ (`LocalStore.stamps`). Every so many answers one is made anew and compared; bytes that
differ switch the lane off, with a line in the log.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..model.contract import SERVICE_ID, SESSION_TOKEN, STATUS
from ..model.record import State
from ..store.records import Revision
from ..system.process import boot_clock
from ..verbs import Status
from .door import Call, Refused, envelope_in, media_type, parse

log = logging.getLogger("labwaiter.soap")
FORMS_MAX = 16  # of one service: as many toolkits as may poll it
FORM_MAX = 4096  # bytes of a poll
KEPT_MAX = 1000  # answers of one service
ANSWER_MAX = 100_000  # bytes of an answer that is kept
COMPARED_EVERY = 1000  # answers
_ASCII_CHARSETS = ("", "utf-8", "us-ascii", "ascii", "iso-8859-1", "windows-1252")  # in which ASCII means itself
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
# printable ASCII without <, > and &; not a blank at its beginning, since a blank value is a missing one
_VALUE = rb"([!-%'-;=?-~][ -%'-;=?-~]{0,400})"
_INPUT = rb"<((?:[\w.-]{1,40}:)?%s)((?:\s[^<>]*)?)>([^<>&]*)</\1\s*>"
_INPUTS = tuple(re.compile(_INPUT % name.encode()) for name in (SERVICE_ID.name, SESSION_TOKEN.name))


def is_plain(environ: dict[str, Any]) -> bool:
    """Whether a request's body is a document as it is, with ASCII's letters where ASCII has them."""
    if "HTTP_TRANSFER_ENCODING" in environ or "HTTP_CONTENT_ENCODING" in environ:
        return False
    return environ.get("CONTENT_LENGTH", "").isdigit() and _has_ascii(environ.get("CONTENT_TYPE", ""))


@lru_cache(256)
def _has_ascii(content_type: str) -> bool:
    kind, parameters = media_type(content_type)
    return not kind.startswith("multipart/") and parameters.get("charset", "").strip("' ").lower() in _ASCII_CHARSETS


class Unread:
    """A request's body, the beginning of which was read already."""

    def __init__(self, beginning: bytes, rest: Any) -> None:
        self._beginning, self._rest = beginning, rest

    def read(self, size: int = -1) -> bytes:
        """As wsgi.input's."""
        beginning = self._beginning if size < 0 else self._beginning[:size]
        self._beginning = self._beginning[len(beginning) :]
        if size < 0 or len(beginning) < size:
            rest: bytes = self._rest.read(size if size < 0 else size - len(beginning))
            return beginning + rest
        return beginning


class Forms:
    """The forms in which polls of one service have come."""

    def __init__(self, namespace: str, operations: dict[str, tuple[str, ...]]) -> None:
        self._namespace, self._operations = namespace, operations
        self._forms: OrderedDict[bytes, tuple[re.Pattern[bytes], bool]] = OrderedDict()  # the last used first

    @property
    def are_known(self) -> bool:
        """Whether there is any."""
        return bool(self._forms)

    def read(self, body: bytes) -> tuple[str, str] | None:
        """The serviceID and the sessionToken of a poll of a known form; None for any other body."""
        forms = tuple(self._forms.items())  # other threads add to them, and move them
        for skeleton, (form, id_first) in forms:
            if (match := form.fullmatch(body)) is not None:
                first, second = match[1].decode("ascii"), match[2].decode("ascii")
                if skeleton != forms[0][0]:
                    with contextlib.suppress(KeyError):
                        self._forms.move_to_end(skeleton, last=False)
                return (first, second) if id_first else (second, first)
        return None

    def learn(self, body: bytes, content_type: str) -> None:
        """Know the form of a poll that the door has read, if it is a plain one."""
        if len(body) > FORM_MAX or not body.isascii() or b"<!" in body or b"<?" in body[1:]:
            return
        declared = _ENCODING.match(body)
        if declared is not None and declared[1].decode("ascii").lower() not in _ASCII_CHARSETS:
            return
        inputs = [list(pattern.finditer(body)) for pattern in _INPUTS]
        if any(len(matches) != 1 for matches in inputs):
            return
        spans = [matches[0].span(3) for matches in inputs]
        id_first = spans[0] < spans[1]
        (start, stop), (start_2, stop_2) = sorted(spans)
        pieces = body[:start], body[stop:start_2], body[stop_2:]
        skeleton = b"\0".join(pieces)
        if skeleton in self._forms:
            return
        words = os.urandom(12).hex(), os.urandom(12).hex()
        tried = pieces[0] + words[0].encode() + pieces[1] + words[1].encode() + pieces[2]
        texts: dict[str, str | None] = dict(
            zip((SERVICE_ID.name, SESSION_TOKEN.name), words if id_first else words[::-1], strict=True)
        )
        try:
            if parse(envelope_in(tried, content_type), self._namespace, self._operations) != Call(STATUS, texts):
                return
        except Refused:
            return
        form = re.compile(_VALUE.join(re.escape(piece) for piece in pieces))
        self._forms[skeleton] = form, id_first
        if len(self._forms) > FORMS_MAX:
            self._forms.popitem()


@dataclass(frozen=True)
class KeptAnswer:
    """An answer, and for how long it is right."""

    body: bytes
    until: float  # boot clock, s
    stamps: Revision  # of what it was made of

    def is_right(self) -> bool:
        """Whether it would be written the same now."""
        return boot_clock() < self.until and self.stamps.are_same()


class KeptAnswers:
    """The last answers of one service's executions, each as one caller's public address has it."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()  # serviceID → when it was polled last, boot clock, s
        self._turn = threading.Lock()

    def of(self, service_id: str, public_url: str) -> KeptAnswer | None:
        """The one that is still right."""
        answer = self._answers.get((service_id, public_url))
        return answer if answer is not None and answer.is_right() else None

    def are_worth_it(self, service_id: str) -> bool:
        """Whether it was polled less than a second ago: of who asks every 6 s nothing need be kept."""
        now = boot_clock()
        with self._turn:
            before = self._asked.pop(service_id, 0.0)
            self._asked[service_id] = now
            if len(self._asked) > KEPT_MAX:
                self._asked.popitem(last=False)
        return now - before < 1.0

    def keep(self, service_id: str, public_url: str, answer: KeptAnswer) -> None:
        """Keep one instead of the one before it."""
        with self._turn:
            self._answers[service_id, public_url] = answer
            self._answers.move_to_end((service_id, public_url))
            if len(self._answers) > KEPT_MAX:
                self._answers.popitem(last=False)


def right_until(status: Status, read_from: float) -> float:
    """Boot clock (s) until which the words of a page are the same, if nothing of it changes; 0.0: they may not be.

    A page counts whole seconds: of the time of day, and of how long the execution has been running.

    Args:
        read_from: boot clock, s, before which nothing of it was read.
    """
    record, view = status.view.record, status.view
    if record.state is State.COMPLETED:
        return math.inf
    if record.state is not State.RUNNING or view.ran is None or status.service.unchanged:
        return 0.0
    return read_from + 1.0 - max(view.ran % 1.0, view.now % 1.0)
