"""The poll's lane: a poll in a form that the door has read before, answered by bytes that are still right.

A workflow manager writes every poll alike, but for the serviceID and the token. The door (lxml) reads the first one of
a form; the lane cuts it where the two stand and has the door read it once more with two words that nobody could have
written. What comes back right is a form: from then on a poll of it is recognised by its bytes. Only values without a
letter that XML treats otherwise are taken, so that the rest of the document can't change its meaning; whatever is not
of such a form goes to the door.

An answer is kept for as long as the stamps of what it was made of are the same (`LocalStore.stamps`), and what no stamp
tells, which is looked at each second: that its supervisor lives. The moment that its page shows (two clocks, and the
fraction of the work in status.txt) is filled in for each poll. The first answer that a form would get, and one of many
after that, is made anew and compared; bytes that differ switch the lane off, with a line in the log.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .. import public
from ..model.caller import Caller, Identity
from ..model.contract import SERVICE_ID, SESSION_TOKEN, STATUS
from ..model.record import Moment, Record, State
from ..page import Page, PageTemplate
from ..page.buttons import steers
from ..store.records import Revision
from ..system.process import boot_clock
from ..verbs import Status
from ..verbs.permission import Action
from .door import Call, Refused, envelope_in, media_type, parse
from .faults import Answer, of_poll

log = logging.getLogger("labwaiter.soap")
FORMS_MAX = 16  # of one service: as many toolkits as may poll it
FORM_MAX = 4096  # bytes of a poll
BODIES_MAX = 2000  # polls that were read
SEEN_MAX = 1000  # bodies that may be of a form
KEPT_BYTES = 20_000_000  # of answers of one service
KEPT_SECONDS = 1.0  # that an answer is given again without a look at what no stamp tells
RENEWED_SECONDS = 60.0  # and, though somebody asks all the time, without a look at everything
ASKED_MAX = 20_000  # executions
ANSWER_MAX = 100_000  # bytes of an answer that is kept
COMPARED_EVERY = 1000  # answers of one form …
COMPARED_SECONDS = 1.0  # … and not more often: one that is made anew takes as long as fifty that were kept
COMPARED_TIMES = 3  # what changes between two looks, and back again, differs once
PLACES_MAX = 1000  # paths and public addresses of polls
SAID_MAX = 1000  # characters of what a request says of its address
# all that the public address of a request depends on, its path, and whether its body is a document as it is
_SAYS = (
    *public.ASKED,
    "SCRIPT_NAME",
    "PATH_INFO",
    "REQUEST_METHOD",
    "CONTENT_TYPE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONTENT_ENCODING",
)
_ASCII_CHARSETS = ("", "utf-8", "us-ascii", "ascii", "iso-8859-1", "windows-1252")  # in which ASCII means itself
_ENCODING = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
_PLAIN = bytes(letter for letter in range(0x20, 0x7F) if letter not in b"<>&")  # printable ASCII
VALUE_MAX = 400  # bytes of a value
_INPUT = rb"<((?:[\w.-]{1,40}:)?%s)((?:\s[^<>]*)?)>([^<>&]*)</\1\s*>"
_INPUTS = tuple(re.compile(_INPUT % name.encode()) for name in (SERVICE_ID.name, SESSION_TOKEN.name))


def is_plain(environ: dict[str, Any]) -> bool:
    """Whether a request's body is a document as it is, with ASCII's letters where ASCII has them."""
    if "HTTP_TRANSFER_ENCODING" in environ or "HTTP_CONTENT_ENCODING" in environ:
        return False
    content_type = environ.get("CONTENT_TYPE", "")
    if not environ.get("CONTENT_LENGTH", "").isdecimal() or len(content_type) >= 200:
        return False
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


@dataclass(unsafe_hash=True)
class Form:
    """A poll but for its two values: what stands before, between and behind them."""

    first: bytes
    middle: bytes
    last: bytes
    id_first: bool  # the serviceID stands before the sessionToken
    answered: int = field(default=0, compare=False)  # polls of it, by an answer that was kept
    next_look: int = field(default=1, compare=False)  # which of them may be compared next
    compared: float = field(default=-math.inf, compare=False)  # when the last one was, monotonic s

    def values(self, body: bytes) -> tuple[str, str] | None:
        """The serviceID and the sessionToken of a poll of this form; None for any other body."""
        if not (body.startswith(self.first) and body.endswith(self.last)):
            return None
        start, stop = len(self.first), len(body) - len(self.last)
        end = body.find(self.middle, start, stop)
        if end < 0:
            return None
        one, other = body[start:end], body[end + len(self.middle) : stop]
        if not (_is_plain_value(one) and _is_plain_value(other)):
            return None
        values = one.decode("ascii"), other.decode("ascii")
        return values if self.id_first else values[::-1]

    def is_to_compare(self) -> bool:
        """Whether it is the turn of a kept answer to be made anew at the door, and compared: the first one's, too."""
        self.answered += 1
        if self.answered < self.next_look:
            return False
        self.next_look = self.answered + COMPARED_EVERY
        now = time.monotonic()
        if now - self.compared < COMPARED_SECONDS:
            return False
        self.compared = now
        return True


def _is_plain_value(value: bytes) -> bool:
    """Whether no letter of it can change what the rest means, and it isn't blank at its beginning: that is missing."""
    return 0 < len(value) <= VALUE_MAX and value[0] != 0x20 and not value.translate(None, _PLAIN)


class Forms:
    """The forms in which polls of one service come. Thread-safe."""

    def __init__(self, namespace: str, operations: dict[str, tuple[str, ...]]) -> None:
        self._namespace, self._operations = namespace, operations
        self._forms: tuple[Form, ...] = ()  # the newest first; replaced whole
        self._bodies: dict[bytes, Poll] = {}  # that were read: a poll is sent again and again
        self._seen: dict[int, None] = {}  # hashes of what may be a form, once it comes again
        self._turn = threading.Lock()

    @property
    def are_known(self) -> bool:
        """Whether there is any."""
        return bool(self._forms)

    def read(self, body: bytes) -> Poll | None:
        """A poll of a known form; None for any other body."""
        poll = self._bodies.get(body)
        if poll is None:
            for form in self._forms:
                if (values := form.values(body)) is not None:
                    poll = Poll(form, *values, body)
                    if len(self._bodies) >= BODIES_MAX:
                        self._bodies.clear()
                    self._bodies[body] = poll
                    break
        return poll

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


class KeptAnswer:
    """An answer, for as long as nothing but the moment that its page shows may be another."""

    def __init__(
        self, body: bytes, record: Record, read_from: float, revision: Revision, action: Action = Action.SEE
    ) -> None:
        """
        Args:
            record: that it tells of.
            read_from: boot clock (s) before which nothing of it was read.
            revision: of what it was made of.
            action: what somebody must be allowed to do with the execution to be given it.
        """
        self.record, self._revision, self.action = record, revision, action
        self._until, self._renewed_until = read_from + KEPT_SECONDS, read_from + RENEWED_SECONDS
        # as it was written last, and what that shows (`Moment.shown`); replaced whole: many threads are here
        self._made: tuple[Answer, tuple[int, int, float | None] | None] = of_poll(body), None
        self._template: PageTemplate | None = None
        self._around = b"", b""
        self.size = len(body)  # bytes that it takes, but for what others have in common with it

    def show(self, moment: Moment, page: bytes, template: PageTemplate | None) -> None:
        """Its page shows a moment.

        Args:
            page: as it stands in the answer.
            template: of it; None: for another moment it is to be made anew.
        """
        answer = self._made[0]
        before, _, after = answer.body.partition(page)
        self._made, self._around, self._template = (answer, moment.shown()), (before, after), template
        self.size += template.size if template else 0

    def renew(self, goes_on: Callable[[Record, Revision], bool]) -> bool:
        """Have it looked at what no stamp tells, where that is due: False where it wasn't, or may be another now.

        Args:
            goes_on: see `verbs.Jobs.goes_on`.
        """
        now = boot_clock()
        if not self._until <= now < self._renewed_until or not goes_on(self.record, self._revision):
            return False
        self._until = now + KEPT_SECONDS
        return True

    def now(self) -> Answer | None:
        """It, as it would be written now; None where all of it may be another, or it is to be renewed."""
        if boot_clock() >= self._until or not self._revision.are_same():
            return None
        answer, shown = self._made
        if shown is None:
            return answer
        if self._revision.shown() == shown:
            return answer
        moment = self._revision.moment()
        page = None if self._template is None else self._template.at(moment)
        if page is None:
            return None
        answer = of_poll(page.join(self._around))
        self._made = answer, moment.shown()
        return answer


class KeptAnswers:
    """The last answers of one service's executions, each as one caller's public address has it.

    Whether a caller may have one is asked each time (of `KeptAnswer.record`): all who may get the same.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], KeptAnswer] = OrderedDict()
        self._bytes = 0
        self._asked: OrderedDict[str, float] = OrderedDict()  # serviceID → when it was polled last, boot clock, s
        self._turn = threading.Lock()

    def of(self, service_id: str, public_url: str) -> KeptAnswer | None:
        """The last one."""
        return self._answers.get((service_id, public_url))

    def asked(self, service_id: str) -> bool:
        """Note a poll: True where the one before came so short before that what is kept may serve the next one."""
        now = boot_clock()
        with self._turn:
            before = self._asked.pop(service_id, 0.0)
            self._asked[service_id] = now
            if len(self._asked) > ASKED_MAX:
                self._asked.popitem(last=False)
        return now - before < RENEWED_SECONDS

    def keep(self, service_id: str, public_url: str, answer: KeptAnswer) -> None:
        """Keep one instead of the one before it."""
        with self._turn:
            if (before := self._answers.pop((service_id, public_url), None)) is not None:
                self._bytes -= before.size
            self._answers[service_id, public_url] = answer
            self._bytes += answer.size
            while self._bytes > KEPT_BYTES:
                self._bytes -= self._answers.popitem(last=False)[1].size


def may_be_kept(status: Status) -> bool:
    """Whether an answer may be given again: a bad end is told otherwise after 20 s, a place depends on others."""
    record, view = status.view.record, status.view
    if record.state is State.COMPLETED:
        return True
    return record.state is State.RUNNING and view.ran is not None and not status.service.unchanged


def page_is_for(status: Status, page: Page | None) -> Action | None:
    """What somebody must be allowed to do to be given this answer; None: others who may do that get another.

    A page with buttons is for who may press them; who may only look gets the same without, which is not kept.
    """
    if page is None or not status.view.record.active or not steers(status.view, status.service):
        return Action.SEE
    return Action.NOTIFY if page.has_buttons else None


class Poll(NamedTuple):
    """A poll that was recognised."""

    form: Form
    service_id: str
    token: str
    body: bytes


class Place(NamedTuple, Generic[E]):
    """Where polls come in that say the same of their own address."""

    endpoint: E
    public_url: str
    address: str  # of who polls

    def caller(self, poll: Poll, identity: Identity | None) -> Caller:
        """Who polls. Most polls are answered without it: to make it takes as long as to look at two files."""
        return Caller(identity, poll.token, self.address, self.public_url, polls=True)


class Lane(Generic[E]):
    """Where polls come in, of a web worker: which endpoint they reach at which path, and whether it has their form."""

    def __init__(self, is_open: bool, only_here: bool) -> None:
        """
        Args:
            only_here: what came from elsewhere, or through a proxy, is the door's to refuse.
        """
        self.is_open, self._only_here = is_open, only_here
        self._places: dict[tuple[str | None, ...], Place[E]] = {}  # by all that a request says of itself
        self._catalogue: object = None  # of which these endpoints are

    def read(self, environ: dict[str, Any], catalogue: object) -> tuple[Place[E], Poll] | None:
        """The poll that a request is, and where; None for whatever else it may be: then its body can still be read.

        Args:
            catalogue: what is offered now; once it is another one, all is learnt anew.
        """
        place = self._places.get(_says(environ))
        if place is None or not self.is_open:
            return None
        if self._catalogue is not catalogue:
            self._places.clear()
            return None
        said = environ.get("CONTENT_LENGTH", "")
        if not said.isdecimal() or (length := int(said)) > FORM_MAX:
            return None
        if self._only_here and public.is_from_elsewhere(environ):
            return None
        body = environ["wsgi.input"].read(length)
        poll = place.endpoint.forms.read(body) if len(body) == length else None
        if poll is None:
            environ["wsgi.input"] = Unread(body, environ["wsgi.input"])
            return None
        return place, poll

    def know(self, environ: dict[str, Any], endpoint: E, public_url: str, catalogue: object) -> None:
        """Recognise polls as this one from now on: at this path, and with these words on its own address."""
        says = _says(environ)
        if not self.is_open or environ["REQUEST_METHOD"] != "POST" or not is_plain(environ):
            return
        if public.bad_host(environ) or sum(len(text or "") for text in says) > SAID_MAX:
            return
        if self._catalogue is not catalogue:
            self._places.clear()
            self._catalogue = catalogue
        if len(self._places) >= PLACES_MAX:
            self._places.clear()
        self._places[says] = Place(endpoint, public_url, environ.get("REMOTE_ADDR", ""))

    def close(self) -> None:
        """A kept answer was not what the door's way gives: answer all polls that way from now on."""
        self.is_open = False
        log.error("polls are answered the long way from now on: the lane gave an answer that differs")


def _says(environ: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(map(environ.get, _SAYS))
