"""The verbs themselves, wherever the records live. They know nothing of HTTP, XML or terminals."""

from __future__ import annotations

import builtins
import contextlib
import functools
import heapq
import hmac
import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar
from urllib.parse import quote

from ..catalogue import catalogue, importing
from ..errors import (
    InvalidParameter,
    JobAborted,
    JobFailed,
    Misconfigured,
    Removed,
    ServiceError,
    ServiceIDInUse,
    Unavailable,
    UnknownServiceID,
)
from ..lab import labfile
from ..lab.lab import Lab
from ..model.caller import PAGES_KEY, Caller, Identity
from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..model.lab_task import NAME as LAB_TASK
from ..model.parameter import same
from ..model.record import Happening, Record, Request, State, View, derive
from ..model.sentences import N_
from ..model.service import Service, service_of
from ..page.buttons import Buttons, steers
from ..settings import Settings
from ..store import limits, messages, supervisor_client
from ..store.artifacts import LOOKED_AT_MAX
from ..store.folder import Folder
from ..store.local_store import LocalStore
from ..store.names import LONGEST, folder_name
from ..store.records import UNKNOWN, Look, Records, Revision
from . import permission
from .acts import Acts
from .permission import Action, is_owner, permit

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
OF_ANOTHER = "No execution of {} was started under this serviceID."
ANOTHER_S = "This serviceID belongs to another execution: use a new one."
LOOK_SECONDS = 2.0  # between two looks at whether what is waited for can still end by itself
GLANCE_SECONDS = 0.25  # between two glances at whether what is shown has changed; most are some µs
WHOLE_LOOK_SECONDS = 0.5  # likewise, where only a whole look tells
BATCH = 100  # records that are looked at in one go
# a folder's name as `names.folder_name` makes it, and one that is its serviceID, too
_NAME = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%~-]{0,254}")
_READABLE = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")
TOLD_SECONDS = 20.0  # portals show no fault texts: so long everybody gets the page that says why


@dataclass(frozen=True)
class Status:
    """The answer to start and getServiceStatus, before a face gives it its form."""

    view: View  # what the page is made of
    completed: bool  # then the word COMPLETED stands instead of the page
    outputs: dict[str, Any]  # the real ones when completed, else placeholders, in the signature's order
    service: Service  # whose signature that is: the one that the execution began with


def began_with(request: Request, service: Service | None = None) -> Service | None:
    """The service as it was when an execution was started; `service` where that isn't known, as for those of 0.4.0."""
    if not request.signature or (service is not None and request.signature == service.written):
        return service
    try:
        return service_of(request.signature)
    except (KeyError, TypeError, AttributeError):
        log.warning("the signature of an execution of %s is damaged", request.service)
        return service


def signatures(settings: Settings, service: Service) -> Iterator[Service]:
    """The service as it was when this machine's recorded executions of it were started, in no order."""
    folder = Folder(settings.jobs_folder)
    for name in folder.names():
        with contextlib.suppress(ValueError, TypeError, KeyError, OSError):  # a damaged one tells nothing
            request = folder.request(name)
            if request is not None and request.service == service.name and (began := began_with(request, service)):
                yield began


def _may_change(view: View, revision: Revision | None, until: float) -> bool:
    """Wait: True once a view may have changed, False once it is `until` (monotonic s)."""
    looked = time.monotonic()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(WHOLE_LOOK_SECONDS if revision is None else GLANCE_SECONDS, left))
        if revision is None:
            return True
        if not revision.are_same() or revision.moment().fraction != view.progress.fraction:
            return True
        if view.record.active and time.monotonic() - looked >= LOOK_SECONDS:  # what no stamp tells
            try:
                if not revision.look_again():
                    return True
            except OSError:
                return True
            looked = time.monotonic()
    return False


def _refuse_others(identity: Identity | None, request: Request) -> None:
    """Raises UnknownServiceID where an execution belongs to somebody else; None: nobody can say."""
    if identity is not None and not is_owner(identity, request):
        raise UnknownServiceID(UNKNOWN)


def answered(verb: Callable[P, T]) -> Callable[P, T]:
    """A verb that the machine refuses (no descriptors, a full disk) says so in a sentence: Unavailable."""

    @functools.wraps(verb)
    def judged(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return verb(*args, **kwargs)
        except OSError as error:
            log.exception("%s is not possible now", verb.__name__)
            why = error.strerror or type(error).__name__
            raise Unavailable(f"This can't be done now: {why}. Try again in a moment.") from error

    return judged


class Jobs:
    """The verbs over the executions of this deployment. Thread-safe, cheap to make.

    Each raises NotPermitted where its caller may not do that (`permission.py`); a list leaves out what its caller may
    not see.
    """

    def __init__(self, settings: Settings, records: Records | None = None) -> None:
        """
        Args:
            records: where they are recorded; this machine's jobs folder unless given.
        """
        self.settings = settings
        self.records: Records = records or LocalStore(settings)
        self.artifacts = self.records.artifacts
        self._lab_file = labfile.WatchedLab(settings.lab)
        self._acts = Acts(settings)

    @answered
    def start(
        self,
        service: Service,
        service_id: str,
        values: dict[str, Any],
        caller: Caller,
        extra_parameters: str | None = None,
        unavailable: str = "",
    ) -> Status:
        """Record and queue an execution, or find the same one again.

        Args:
            values: input name → value or text as the caller wrote it; None or absent: its default.
            unavailable: why nothing new of this service can be started now; "" where it can.

        Raises:
            MissingParameter, InvalidParameter: an input (or a blank serviceID) is refused.
            ServiceIDInUse: the serviceID has another service or other inputs.
            TooManyJobs: there are too many, of all, of the project or of the user, or they come too fast.
            Unavailable: the deployment is being stopped, its disk is full, or the service's own check gives no answer.
            JobFailed, JobAborted: as `status`, for a repeated start.
        """
        began = time.monotonic()
        permit(caller, Action.START, service_id)
        name = folder_name(service_id)
        inputs = service.accept(values)
        if service.instruments:
            inputs = self._lab(service).choose(service.inputs, inputs)
        if self._same(name, service, inputs, caller):
            self.records.keep(name)
            return self.status(service, service_id, caller)
        if unavailable:
            raise Unavailable(unavailable)
        instruments = tuple(inputs[p.name] for p in service.instruments)
        files = tuple(str(inputs[p.name]) for p in service.inputs if p.kind == "file" and inputs[p.name] is not None)
        now, owner = time.time(), caller.identity or Identity()
        request = Request(
            service_id=service_id,
            service=service.name,
            inputs=inputs,
            extra_parameters=extra_parameters,
            user=owner.user,
            created=now,
            instruments=instruments,
            address=caller.public_url,
            polls=caller.polls,
            files=files,
            signature=service.as_data(),
            project=owner.project,
            authority=owner.authority,
            face=caller.face,
        )
        claimed = False
        tell = self.records.admit(request)
        try:
            judged = self.artifacts.resolve(service.inputs, inputs)
            if service.checks:
                importing.refuse(service.file, service.name, judged)
            about = {"serviceID": service_id, "service": service.name}
            self._acts.begin("start", caller, about)
            try:
                claimed = self.records.claim(name, request, caller.token if service.session_token else "")
            except Unavailable as error:
                self._acts.go_on("not started", caller, about | {"why": error.message})
                raise
        finally:
            tell(claimed)
        if not claimed:
            self._acts.go_on("not started", caller, about | {"why": "another call was faster"})
            if not self._same(name, service, inputs, caller):
                raise Unavailable("The jobs folder changes under this start; try again.")
            return self.status(service, service_id, caller)
        self._acts.tell("start", caller, about | {"seconds": round(time.monotonic() - began, 4)})
        record = derive(name, request, None, None)
        if caller.polls:
            self.records.polled(record)  # from now on somebody is expected to ask for it
        view = View(record=record, now=time.time(), limit=service.limit)
        return Status(view, False, service.placeholders, service)

    def _lab(self, service: Service) -> Lab:
        try:
            return self._lab_file.load()
        except Misconfigured as error:
            log.exception("%s", error)
            raise Unavailable(f"The service {service.name} is not available: lab.toml has a mistake.") from error

    def _same(self, name: str, service: Service, inputs: dict[str, Any], caller: Caller) -> bool:
        """Whether this very execution is there already; False where nothing is."""
        request = self.records.request(name)
        if request is None:
            tombstone = self.records.buried(name)
            if tombstone is None:
                return False
            if not permission.may(caller, Action.SEE, tombstone):
                raise ServiceIDInUse(ANOTHER_S)
            raise ServiceIDInUse(
                "This serviceID was used before, and what it made has been removed: give every execution a new one."
            )
        if not permission.may(caller, Action.SEE, request):  # whatever its service and inputs are
            raise ServiceIDInUse(ANOTHER_S)
        if request.service != service.name:
            raise ServiceIDInUse(f"This serviceID belongs to an execution of {request.service}: use a new one.")
        # an input that was appended since had its default then
        if not all(same(request.inputs.get(p.name, p.default), inputs[p.name]) for p in service.inputs):
            raise ServiceIDInUse("This serviceID belongs to an execution with other inputs: use a new one.")
        return True

    @answered
    def status(self, service: Service, service_id: str, caller: Caller) -> Status:
        """How an execution is going. Where a workflow manager asks, what waits to be abandoned begins to wait anew.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            JobFailed, JobAborted: it came to a bad end, and its page has been shown for 20 s.
        """
        look = self._look(service, service_id, caller, Action.SEE)
        record = look.record
        service = began_with(record.request, service) or service
        if caller.polls:
            self.records.polled(record)
        if record.state is State.COMPLETED:
            return Status(View(record=record, now=time.time()), True, self._outputs(service, record), service)
        if record.state in (State.FAILED, State.ABORTED):
            if "outcome" in service.placeholders:
                outputs = service.placeholders | {"outcome": record.why}
                return Status(View(record=record, now=time.time()), True, outputs, service)
            if self._told(record.name):
                raise (JobFailed if record.state is State.FAILED else JobAborted)(record.why)
        return Status(look.view(service), False, service.placeholders, service)

    def heard(self, service_id: str, identity: Identity | None) -> None:
        """Note that a workflow manager polls, though by a token that has run out, or that nobody can judge just now.

        Silence aborts nothing for that. Nothing is told, and nothing raised.

        Args:
            identity: whose token it was; None where nobody can say.
        """
        with contextlib.suppress(ServiceError, OSError):
            record = self.records.look(folder_name(service_id), partial(_refuse_others, identity)).record
            if record.active and record.request.polls:
                self.records.polled(record)

    def goes_on(self, record: Record, revision: Revision, caller: Caller) -> bool:
        """As `status`, of a running one whose revision is the same: whether it would tell the same. False: ask it."""
        permit(caller, Action.SEE, record.request)
        try:
            if not revision.look_again():
                return False
        except OSError:
            return False
        if caller.polls:
            self.records.polled(record)
        return True

    def _outputs(self, service: Service, record: Record) -> dict[str, Any]:
        if record.outputs is None:
            raise Unavailable("This execution has completed, but its outputs are lost; tell the administrator.")
        # a record of an older release may lack an output that was appended since
        outputs = record.outputs
        return {p.name: outputs.get(p.name, p.placeholder) for p in service.outputs}

    def _told(self, name: str) -> bool:
        """Whether the page of a bad end has been shown long enough."""
        age = self.records.told(name)
        # a clock set back makes the age negative: then it's long enough, too
        return age is not None and not -1.0 <= age < TOLD_SECONDS

    @answered
    def abort(self, service: Service | None, service_id: str, caller: Caller, wait: float = 7.5) -> bool:
        """Have an execution stopped: True once it is gone and its instruments read back safe, else False.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            Unavailable: it can't be told to stop.
        """
        began, about = time.monotonic(), {"serviceID": service_id}
        try:
            record = self._record(service, service_id, caller, Action.ABORT)
        except Unavailable:
            # an instrument is not to go on because of a record that can't be read
            name, request = folder_name(service_id), None
            with contextlib.suppress(Unavailable):
                request = self.records.request(name)
            if request is not None:
                self._judge(request, service, caller, Action.ABORT)
            elif not permission.may(caller, Action.ABORT, service_id):
                raise  # whose it is can't be read either
            self._acts.go_on("abort", caller, about)
            gone = self.records.abort_unread(name, wait)
            if gone is None:
                raise
        else:
            about["service"] = record.request.service
            self._acts.go_on("abort", caller, about)
            gone = self.records.abort(record, wait, caller.in_words)
        self._acts.tell("abort", caller, about | {"gone": gone, "seconds": round(time.monotonic() - began, 4)})
        return gone

    def queued(self, caller: Caller) -> builtins.list[str]:
        """The serviceIDs of the executions that wait to begin, oldest first."""
        return [record.request.service_id for record in self.list(caller) if record.state is State.QUEUED]

    def abort_queued(self, service_ids: Iterable[str], caller: Caller) -> builtins.list[str]:
        """Abort those of these executions that still wait to begin: the serviceIDs of those that never began."""
        service_ids = [*service_ids]
        # from the end: what is freed at the front would begin meanwhile
        for service_id in reversed(service_ids):
            if self.record(service_id, caller).state is State.QUEUED:
                self.abort(None, service_id, caller)
        return [service_id for service_id in service_ids if self.record(service_id, caller).started is None]

    def wait(self, service_id: str, timeout: float, caller: Caller) -> Record:
        """The record once the execution has ended, or as it is after `timeout` seconds.

        Raises:
            UnknownServiceID.
        """
        record = self._record(None, service_id, caller, Action.SEE)
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            if ended := self.records.ended(record.name, max(0.0, min(LOOK_SECONDS, left))):
                return ended
            # the look also sees whether anybody is left to end it, and has somebody do that
            before, record = record, self.records.record(record.name)
            over = not (record.active or before.active or not self.records.unserved())  # and nobody is at it any more
            if left <= 0 or over:
                return record

    @answered
    def notify(self, service: Service | None, service_id: str, message: str, caller: Caller, wait: float = 1.0) -> str:
        """Hand a message to the job: its reply, or the message's number if none comes in `wait` s.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            InvalidParameter: the message is too long, or there are too many.
        """
        record = self._record(service, service_id, caller, Action.NOTIFY)
        messages.judge(message)
        if caller.steers and (service := self.service_of(record)) and (why := service.not_declared(message)):
            raise InvalidParameter(why)
        # its orders come from its holder alone: `verbs/control.py`, `verbs/sessions.py`
        if record.request.service in (DIRECT_CONTROL, LAB_SESSION, LAB_TASK):
            raise InvalidParameter("An instrument in somebody's hands takes no messages; its holder sets and does.")
        if not record.active:
            return N_(f"The execution has ended ({record.state}); the message was not delivered.")
        about = {"serviceID": service_id, "service": record.request.service}
        self._acts.begin("notify", caller, about)
        try:
            answer = self.records.notify(record, message, wait, caller.in_words)
        except ServiceError as error:
            self._acts.go_on("not notified", caller, about | {"why": error.message})
            raise
        self._acts.tell("notify", caller, about)
        return answer

    def buttons(self, view: View, service: Service, caller: Caller) -> Buttons | None:
        """By what a page steers its execution; None for who may not, of one that has ended, and without a button.

        Also where nobody knows how the caller reaches this deployment: the page could send to no address.
        """
        record = view.record
        if not (record.active and caller.public_url and steers(view, service)):
            return None
        if not all(permission.may(caller, action, record.request) for action in (Action.NOTIFY, Action.ABORT)):
            return None
        try:
            key = self.artifacts.page_key(record.name, record.request.created)
        except Unavailable:  # without links.key the page says all, and has no buttons
            return None
        return Buttons(f"{caller.public_url}/buttons/{quote(record.name)}", key)

    def by_page_key(self, name: str, key: str, caller: Caller) -> Caller | None:
        """Who has the key of an execution's page: the key is the right. None: it is none of this execution.

        Args:
            name: its folder's name, as the page's address has it.

        Raises:
            Unavailable: its record, or the key, can't be read.
        """
        request = self.records.request(name) if _NAME.fullmatch(name) else None
        right = self.artifacts.page_key(name, request.created if request is not None else 0.0)
        is_right = hmac.compare_digest(right.encode(), key.encode("utf-8", "replace"))
        if request is None or not is_right:
            return None
        return replace(caller, identity=None, token="", face=PAGES_KEY, steers=request.service_id)

    def list(self, caller: Caller) -> builtins.list[Record]:
        """Every execution, oldest first."""
        return self.newest(None, caller)[0]

    def newest(
        self,
        most: int | None,
        caller: Caller,
        fits: Callable[[Record], bool] = lambda record: True,
        left_out: builtins.list[str] | None = None,
        brief: bool = False,
        active: bool = False,
    ) -> tuple[builtins.list[Record], int]:
        """The executions that were started last, oldest first, and how many older ones are not among them.

        Args:
            most: so many of them; None: all.
            fits: which count at all. Of the older ones that weren't looked at nobody knows whether they do.
            left_out: gets the folders' names of those whose records are damaged or can't be read.
            brief: without outputs, which takes less time.
            active: those that have ended needn't be among them, which takes hardly any.
        """
        if active or most is None:
            waiting = [(math.inf, name) for name in self.records.names(active)]
        else:
            waiting = sorted(self.records.times(), reverse=True)
        newest: builtins.list[tuple[float, str, Record]] = []  # a heap, the oldest first
        passed, at = 0, 0
        # what could have been started after the oldest of those is read, and nothing else
        while at < len(waiting) and (most is None or len(newest) < most or waiting[at][0] >= newest[0][0]):
            batch, at = [name for _, name in waiting[at : at + BATCH]], min(at + BATCH, len(waiting))
            for record in self.records.every(left_out, brief, batch):
                if not (permission.may(caller, Action.SEE, record.request) and fits(record)):
                    continue
                heapq.heappush(newest, (record.request.created, record.name, record))
                if most is not None and len(newest) > most:
                    heapq.heappop(newest)
                    passed += 1
        return [record for *_, record in sorted(newest, key=lambda entry: entry[:2])], passed + len(waiting) - at

    def began_with(self, service_name: str, service_id: str) -> Service | None:
        """The service as it was when an execution of it was started; None where there is none, or that isn't known.

        Raises:
            MissingParameter, InvalidParameter: what can be no serviceID.
            Unavailable: its record can't be read.
        """
        request = self.records.request(folder_name(service_id))
        if request is None or request.service.lower() != service_name.lower():
            return None
        return began_with(request)

    def unserved(self) -> str:
        """Why nothing that is started now begins, in some words; else "". Raises OSError: that can't be seen now."""
        why = self.records.unserved()
        if not why and not self.settings.redis_url and supervisor_client.stopped(self.settings):
            why = N_("it is being stopped, and starts nothing")
        return why

    def aside(self) -> str:
        """What is to be said of a list of executions, in a sentence: that it is not of now; "" where it is."""
        why = self.records.unserved() if self.settings.redis_url else ""
        return f"{why}: these are the executions that this machine knew, as it knew them." if why else ""

    def not_now(self) -> str:
        """Why a start that comes now would not begin at once, in some words; else "". Raises OSError, as `unserved`.

        An execution that needs an instrument may have to wait for it all the same.
        """
        return self.unserved() or self.records.crowded()

    def files(self, name: str, caller: Caller) -> Sequence[tuple[str, int]]:
        """What an execution has made: names and sizes in bytes, at most 500. Raises Unavailable.

        Args:
            name: its folder's.
        """
        permit(caller, Action.READ_FILES, self.records.request(name) or name)
        return self.artifacts.listing(name, LOOKED_AT_MAX)

    def file(self, name: str, file: str, caller: Caller) -> Path | None:
        """Where a file that an execution has made lies on this machine; None: there is none. Raises Unavailable."""
        permit(caller, Action.READ_FILES, self.records.request(name) or name)
        return self.artifacts.made(name, file)

    def linked_files(self, name: str, key: str) -> Sequence[tuple[str, int]] | None:
        """What an execution has made, as a link shows it: names and sizes in bytes; None where the key isn't its own.

        Whoever has the link may: its key can't be guessed, and only who may see the execution was given it.

        Args:
            name: its folder's, as the link has it.
        """
        return self.artifacts.listing(name, LOOKED_AT_MAX) if self.artifacts.opens(name, key) else None

    def linked_file(self, name: str, key: str, file: str) -> Path | None:
        """A file that an execution has made, as `linked_files`. Raises Unavailable: its machine can't be reached."""
        return self.artifacts.made(name, file) if self.artifacts.opens(name, key) else None

    def log(self, service_id: str, at: int, most: int, caller: Caller) -> tuple[bytes, int]:
        """A part of what an execution has printed, wherever it ran, and how many bytes that is in all.

        Args:
            at: the byte at which it begins.
            most: bytes of it.

        Raises:
            UnknownServiceID, Unavailable.
        """
        return self.artifacts.log(self._record(None, service_id, caller, Action.SEE).name, at, most)

    @answered
    def take_in(self, name: str, content: IO[bytes], caller: Caller) -> str:
        """Keep a file that an input is to name: its name in the files folder, which may be another than its owner's.

        Raises:
            InvalidParameter: it can't be kept under any name, or is too large.
            Unavailable: the disk is full, or it could not be remembered who handed it in.
        """
        permit(caller, Action.START)
        limits.judge_room(self.settings)
        self._acts.begin("file", caller, {"file": name[:100]})
        return self.artifacts.take_in(name, content)

    def record(self, service_id: str, caller: Caller) -> Record:
        """One execution. Raises UnknownServiceID."""
        return self._record(None, service_id, caller, Action.SEE)

    def service_of(self, record: Record) -> Service | None:
        """The service of an execution, as it was when that began or was offered last; None where nobody knows it."""
        name = record.request.service
        return began_with(record.request) or catalogue.of(self.settings).now(name).known(name)

    def timeline(self, service_id: str, caller: Caller) -> tuple[Happening, ...]:
        """What an execution has been through so far, oldest first. Raises UnknownServiceID, Unavailable."""
        return self.records.timeline(self._record(None, service_id, caller, Action.SEE).name)

    def view(self, service_id: str, caller: Caller, service: Service | None = None) -> View:
        """All that a page shows of one execution. Raises UnknownServiceID."""
        look = self._look(None, service_id, caller, Action.SEE)
        return look.view(began_with(look.record.request, service))

    def views(self, service_id: str, seconds: float, caller: Caller, service: Service | None = None) -> Iterator[View]:
        """As `view`, now, and again each time that it may have changed, until so many seconds have gone.

        Nothing is held meanwhile that others wait for. Raises as `view`.
        """
        until = time.monotonic() + seconds
        while True:
            began = time.time()
            view = self.view(service_id, caller, service)
            revision = None
            if view.record.state is State.COMPLETED or (view.record.state is State.RUNNING and view.ran is not None):
                revision = self.records.stamps(view, began)
            yield view
            if not _may_change(view, revision, until):
                return

    def service_id_of(self, name: str, caller: Caller) -> str:
        """The serviceID of an execution that an address names by its folder's name. Raises UnknownServiceID."""
        if _READABLE.fullmatch(name):
            return name
        if not _NAME.fullmatch(name):
            raise UnknownServiceID(UNKNOWN)
        return self._look_at(name, None, caller, Action.SEE).record.request.service_id

    @answered
    def remove(self, service_id: str, caller: Caller) -> None:
        """Remove what an ended execution made; a tombstone keeps its serviceID from being used again.

        Raises:
            UnknownServiceID: there's none.
            ServiceIDInUse: it hasn't ended.
        """
        record = self._record(None, service_id, caller, Action.REMOVE)
        if record.active:
            raise ServiceIDInUse(f"This execution is {record.state}; abort it first.")
        about = {"serviceID": service_id, "service": record.request.service}
        self._acts.go_on("remove", caller, about, durable=True)
        self.records.bury(record, caller.in_words)
        self._acts.tell("remove", caller, about)

    def _record(self, service: Service | None, service_id: str, caller: Caller, action: Action) -> Record:
        return self._look(service, service_id, caller, action).record

    def _look(self, service: Service | None, service_id: str, caller: Caller, action: Action) -> Look:
        """One execution that the caller may do that with; of that service, unless it is None."""
        return self._look_at(folder_name(service_id), service, caller, action)

    def _look_at(self, name: str, service: Service | None, caller: Caller, action: Action) -> Look:
        """As `_look`, by its folder's name."""
        try:
            return self.records.look(name, lambda request: self._judge(request, service, caller, action))
        except Removed as error:
            if not permission.may(caller, Action.SEE, error.tombstone):
                raise UnknownServiceID(UNKNOWN) from None
            raise

    def _judge(self, request: Request, service: Service | None, caller: Caller, action: Action) -> None:
        """Whether a caller may do that with an execution; who may not even see it hears that there is none."""
        if not permission.may(caller, Action.SEE, request):
            raise UnknownServiceID(UNKNOWN)
        if service is not None and request.service != service.name:
            raise UnknownServiceID(OF_ANOTHER.format(service.name))
        permit(caller, action, request)
