"""The poll's lane: a poll in a form that the door has read before, answered by bytes that are still right.

A workflow manager writes every poll alike, but for the serviceID and the token. The door (lxml) reads the first one of
a form; the lane cuts it where the two stand and has the door read it once more with two words that nobody could have
written. What comes back right is a form: from then on a poll of it is recognised by its bytes. Only values without a
letter that XML treats otherwise are taken, so that the rest of the document can't change its meaning; whatever is not
of such a form goes to the door.

An answer is kept for as long as it would be written the same again: until a second of its page passes, or the stamps of
what it was made of differ (`LocalStore.stamps`). The first one that a form would get, and one of many after that, is
made anew and compared; bytes that differ switch the lane off, with a line in the log.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .. import public
from ..model.caller import Caller
from ..model.contract import SERVICE_ID, SESSION_TOKEN, STATUS
from ..model.record import State
from ..store.records import Revision
from ..system.process import boot_clock
from ..verbs import Status
from .door import Call, Refused, envelope_in, media_type, parse

log = logging.getLogger("labwaiter.soap")
FORMS_MAX = 16  # of one service: as many toolkits as may poll it
FORM_MAX = 4096  # bytes of a poll
SEEN_MAX = 1000  # bodies that may be of a form
KEPT_BYTES = 10_000_000  # of answers of one service
ASKED_MAX = 20_000  # executions
ANSWER_MAX = 100_000  # bytes of an answer that is kept
COMPARED_EVERY = 1000  # answers of one form
PLACES_MAX = 1000  # paths and public addresses of polls
SAID_MAX = 1000  # characters of what a request says of its address
_SAYS = (*public.ASKED, "SCRIPT_NAME", "PATH_INFO")  # all that the public address of a request depends on
_ASCII_CHARSETS = ("", "utf-8", "us-ascii", "ascii", "iso-8859-1", "windows-1252")  # in which ASCII means itself
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
# printable ASCII without <, > and &; not a blank at its beginning, since a blank value is a missing one
_VALUE = re.compile(rb"[!-%'-;=?-~][ -%'-;=?-~]{0,400}")
_INPUT = rb"<((?:[\w.-]{1,40}:)?%s)((?:\s[^<>]*)?)>([^<>&]*)</\1\s*>"
_INPUTS = tuple(re.compile(_INPUT % name.encode()) for name in (SERVICE_ID.name, SESSION_TOKEN.name))


def is_plain(environ: dict[str, Any]) -> bool:
    """Whether a request's body is a document as it is, with ASCII's letters where ASCII has them."""
    if "HTTP_TRANSFER_ENCODING" in environ or "HTTP_CONTENT_ENCODING" in environ:
        return False
    content_type = environ.get("CONTENT_TYPE", "")
    return environ.get("CONTENT_LENGTH", "").isdecimal() and len(content_type) < 200 and _has_ascii(content_type)


@lru_cache(256)
def _has_ascii(content_type: str) -> bool:
    kind, parameters = media_type(content_type)
    return not kind.startswith("multipart/") and parameters.get("charset", "").strip("' ").lower() in _ASCII_CHARSETS


def caller_of(environ: dict[str, Any], public_url: str, token: str = "") -> Caller:
    """Who has sent a request; its body says the token."""
    return Caller(token=token, address=environ.get("REMOTE_ADDR", ""), public_url=public_url, polls=True)


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


@dataclass(unsafe_hash=True)
class Form:
    """A poll but for its two values: what stands before, between and behind them."""

    first: bytes
    middle: bytes
    last: bytes
    id_first: bool  # the serviceID stands before the sessionToken
    answered: int = field(default=0, compare=False)  # polls of it, by an answer that was kept

    def values(self, body: bytes) -> tuple[str, str] | None:
        """The serviceID and the sessionToken of a poll of this form; None for any other body."""
        if not (body.startswith(self.first) and body.endswith(self.last)):
            return None
        start, stop = len(self.first), len(body) - len(self.last)
        end = body.find(self.middle, start, stop)
        if end < 0:
            return None
        values = body[start:end], body[end + len(self.middle) : stop]
        if not (_VALUE.fullmatch(values[0]) and _VALUE.fullmatch(values[1])):
            return None
        one, other = values[0].decode("ascii"), values[1].decode("ascii")
        return (one, other) if self.id_first else (other, one)

    def is_to_compare(self) -> bool:
        """Whether it is the turn of a kept answer to be made anew at the door, and compared: the first one's, too."""
        self.answered += 1
        return (self.answered - 1) % COMPARED_EVERY == 0


class Forms:
    """The forms in which polls of one service come. Thread-safe."""

    def __init__(self, namespace: str, operations: dict[str, tuple[str, ...]]) -> None:
        self._namespace, self._operations = namespace, operations
        self._forms: tuple[Form, ...] = ()  # the newest first; replaced whole
        self._seen: dict[int, None] = {}  # hashes of what may be a form, once it comes again
        self._turn = threading.Lock()

    @property
    def are_known(self) -> bool:
        """Whether there is any."""
        return bool(self._forms)

    def read(self, body: bytes) -> tuple[Form, str, str] | None:
        """The form, the serviceID and the sessionToken of a poll of a known form; None for any other body."""
        for form in self._forms:
            if (values := form.values(body)) is not None:
                return form, *values
        return None

    def learn(self, body: bytes) -> None:
        """Know the form of a poll that the door has read, if it is a plain one and came before.

        What has something new in each poll (a message id, a time) never comes again.
        """
        form = _form_of(body)
        if form is None or form in self._forms:
            return
        with self._turn:
            came_before = hash(form) in self._seen
            if not came_before:
                if len(self._seen) >= SEEN_MAX:
                    self._seen.clear()
                self._seen[hash(form)] = None
                return
            if self._is_right(form):
                self._forms = (form, *self._forms)[:FORMS_MAX]

    def _is_right(self, form: Form) -> bool:
        """Whether the door reads two words that nobody could have written where the form has its values.

        It comes with or without a charset in its Content-Type, and then the document's own declaration is read or not.
        """
        words = os.urandom(12).hex(), os.urandom(12).hex()
        values = words if form.id_first else words[::-1]
        body = form.first + values[0].encode() + form.middle + values[1].encode() + form.last
        texts: dict[str, str | None] = {SERVICE_ID.name: words[0], SESSION_TOKEN.name: words[1]}
        try:
            envelopes = {envelope_in(body, content_type) for content_type in ("text/xml", "text/xml; charset=utf-8")}
            calls = [parse(envelope, self._namespace, self._operations) for envelope in envelopes]
        except Refused:
            return False
        return all(call == Call(STATUS, texts) for call in calls)


def _form_of(body: bytes) -> Form | None:
    """What the form of a poll would be; None for what can have none."""
    if len(body) > FORM_MAX or STATUS.encode() not in body:
        return None
    if not body.isascii() or b"<!" in body or b"<?" in body[1:]:
        return None
    declared = _ENCODING.match(body)
    if declared is not None and declared[1].decode("ascii").lower() not in _ASCII_CHARSETS:
        return None
    spans = []
    for pattern in _INPUTS:
        matches = list(pattern.finditer(body))
        if len(matches) != 1:
            return None
        spans.append(matches[0].span(3))
    (start, stop), (start_2, stop_2) = sorted(spans)
    return Form(body[:start], body[stop:start_2], body[stop_2:], id_first=spans[0] < spans[1])


class Recognising(Protocol):
    """What the lane needs of an endpoint."""

    forms: Forms


E = TypeVar("E", bound=Recognising)


@dataclass(frozen=True)
class KeptAnswer:
    """An answer, and for how long it is right."""

    body: bytes
    until: float  # boot clock, s
    second: int  # Unix time when it was made, whole s: a clock that is set shows
    stamps: Revision  # of what it was made of

    def is_right(self) -> bool:
        """Whether it would be written the same now."""
        return boot_clock() < self.until and int(time.time()) == self.second and self.stamps.are_same()


class KeptAnswers:
    """The last answers of one service's executions, each as one caller's public address has it.

    Whose they are isn't asked: every token is accepted, and who may ask for one execution may ask for all.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()
        self._bytes = 0
        self._asked: OrderedDict[str, float] = OrderedDict()  # serviceID → when it was polled last, boot clock, s
        self._turn = threading.Lock()

    def of(self, service_id: str, public_url: str) -> KeptAnswer | None:
        """The one that is still right."""
        answer = self._answers.get((service_id, public_url))
        return answer if answer is not None and answer.is_right() else None

    def asked(self, service_id: str) -> bool:
        """Note a poll: True where the one before came within a second. Of who asks every 6 s nothing need be kept."""
        now = boot_clock()
        with self._turn:
            before = self._asked.pop(service_id, 0.0)
            self._asked[service_id] = now
            if len(self._asked) > ASKED_MAX:
                self._asked.popitem(last=False)
        return now - before < 1.0

    def keep(self, service_id: str, public_url: str, answer: KeptAnswer) -> None:
        """Keep one instead of the one before it."""
        with self._turn:
            if (before := self._answers.pop((service_id, public_url), None)) is not None:
                self._bytes -= len(before.body)
            self._answers[service_id, public_url] = answer
            self._bytes += len(answer.body)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._answers.popitem(last=False)[1].body)


def right_until(status: Status, read_from: float) -> float:
    """Boot clock (s) until which the words of an answer are the same, if nothing of it changes; 0.0: they may not be.

    A page counts whole seconds: of the time of day, by its machine's clock, and of how long it has been running.

    Args:
        read_from: boot clock, s, before which nothing of it was read.
    """
    record, view = status.view.record, status.view
    if record.state is State.COMPLETED:
        return read_from + 1.0
    if record.state is not State.RUNNING or view.ran is None or status.service.unchanged:
        return 0.0
    return read_from + 1.0 - max(view.ran % 1.0, view.now % 1.0)


class Poll(NamedTuple, Generic[E]):
    """A poll that was recognised."""

    endpoint: E
    form: Form
    service_id: str
    body: bytes
    caller: Caller


class Lane(Generic[E]):
    """Where polls come in, of a web worker: which endpoint they reach at which path, and whether it has their form."""

    def __init__(self, is_open: bool) -> None:
        self.is_open = is_open
        self._endpoints: dict[tuple[str, str], E] = {}  # by the path of a request, as the web server tells it
        self._catalogue: object = None  # of which these endpoints are
        self._public_urls: dict[tuple[str | None, ...], str] = {}  # by all that a request says of it

    def read(self, environ: dict[str, Any], catalogue: object) -> Poll[E] | None:
        """The poll that a request is; None for whatever else it may be: then its body can still be read.

        Args:
            catalogue: what is offered now; once it is another one, all is learnt anew.
        """
        endpoint = self._endpoints.get((environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")))
        if not self.is_open or endpoint is None or environ["REQUEST_METHOD"] != "POST" or not is_plain(environ):
            return None
        if self._catalogue is not catalogue:
            self._endpoints.clear()
            return None
        public_url, length = self._public_urls.get(_says(environ)), int(environ["CONTENT_LENGTH"])
        if public_url is None or length > FORM_MAX:
            return None
        body = environ["wsgi.input"].read(length)
        read = endpoint.forms.read(body) if len(body) == length else None
        if read is None:
            environ["wsgi.input"] = Unread(body, environ["wsgi.input"])
            return None
        form, service_id, token = read
        return Poll(endpoint, form, service_id, body, caller_of(environ, public_url, token))

    def know(self, environ: dict[str, Any], endpoint: E, public_url: str, catalogue: object) -> None:
        """Recognise polls as this one from now on: at this path, and with these words on its own address."""
        place, says = (environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")), _says(environ)
        if not self.is_open or public.bad_host(environ) or sum(len(text or "") for text in says) > SAID_MAX:
            return
        if self._catalogue is not catalogue:
            self._endpoints.clear()
            self._catalogue = catalogue
        if len(self._endpoints) + len(self._public_urls) >= PLACES_MAX:
            self._endpoints.clear()
            self._public_urls.clear()
        self._endpoints[place], self._public_urls[says] = endpoint, public_url

    def close(self) -> None:
        """A kept answer was not what the door's way gives: answer all polls that way from now on."""
        self.is_open = False
        log.error("polls are answered the long way from now on: the lane gave an answer that differs")


def _says(environ: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(map(environ.get, _SAYS))
