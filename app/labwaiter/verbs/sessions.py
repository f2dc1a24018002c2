"""Sessions of remote labs: the verbs of the systems that let people in, and of the people who are in.

A session is an execution of `model/lab_session.py`, whose process (`runner/session.py`) has the instruments. No lab's
file is imported here, and no port opened. Who asks for a session's status names itself; who is in one has its id, which
is a secret and nowhere in lists, logs and the audit: executions are known by a serviceID that is made of it.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..catalogue import remote_labs
from ..catalogue.remote_labs import BrokenLab
from ..errors import (
    InvalidParameter,
    JobFailed,
    LabClosed,
    Misconfigured,
    NotInTime,
    ServiceError,
    SessionFailed,
    SessionOver,
    Unavailable,
    UnknownLab,
    UnknownSession,
    UnknownTask,
)
from ..lab.lab import Lab
from ..model import lab_session, lab_task
from ..model.caller import Caller
from ..model.lab_session import About, about_of, service_id_of
from ..model.lab_task import TaskDeclaration, declaration_of
from ..model.panel import Item, Panel, What, panel_of
from ..model.record import ENDED, Request, State, StoredState
from ..model.remote_lab import RemoteLab
from ..model.sentences import N_, plain
from ..model.span import span
from ..model.values import text_of
from ..settings import Settings
from ..store.artifacts import within
from ..store.files import read_bounded, write_whole
from ..store.lab_tasks import LabTask, LabTasks
from ..store.leases import Held, Leases
from ..store.local_store import LocalStore
from ..store.names import folder_name
from ..store.session_data import SessionData
from ..store.upkeep import Upkeep
from ..system.process import lives
from ..system.watch import until
from .acts import Acts
from .control import LARGEST, WAIT, Done
from .driver_panels import DriverPanels
from .instruments import Instruments
from .permission import Action, permit

LOOK_EVERY = 0.5  # s between two looks at a session that is to begin: each is a sign of life, too
AFTER_SECONDS = 60.0  # beside on_dispose's own limit, for which the end of a session that failed is waited for
WITHDRAWN_SECONDS = 2.0  # that one which still waited may take to be gone: it has nothing to put away
DRIVERS_SECONDS = 30.0  # that the drivers of a lab's instruments may take to import
DISPOSING_POLL = 2  # s after which the status of a session that is being put away is to be asked again
FILES_MAX = 500  # of a session that are listed
REFUSED_KEPT = 1000  # reasons for which sessions did not begin
NAME_MAX = 200  # characters of a user's name
BY_SYSTEM = N_("The session was ended by whoever had begun it.")
BY_STAFF = N_("The session was ended by the lab's staff.")


@dataclass(frozen=True)
class LabView:
    """A remote lab, as it is now."""

    name: str
    title: str
    instruments: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by the lab's names, those of lab.toml
    why_closed: str = ""  # why nobody can be let in, in a sentence; "": it is open
    declared: RemoteLab | None = None  # None: its file is wrong
    sessions: int = 0  # that are in it now, with those that wait, begin or are being put away

    @property
    def is_open(self) -> bool:
        """Whether somebody can be let in, now or when those who are in have left."""
        return not self.why_closed


@dataclass(frozen=True)
class SessionView:
    """A session, as it is now."""

    session_id: str  # "" where it was asked for by its serviceID
    service_id: str  # of its execution
    lab: str
    about: About
    state: str  # "starting", "running", "disposing" or "ended"
    instruments: dict[str, str] = field(default_factory=dict)  # by the lab's names, those of lab.toml
    began: float | None = None  # Unix time, s, at which its student could come
    ends: float | None = None  # Unix time, s
    time_left_s: float = 0.0
    should_finish: int = -1  # s after which to ask again; -1: it is over
    why_ended: str = ""  # in a sentence, once it is over, or about to be
    failed: bool = False  # it ended by a fault, or never began
    ended: float | None = None  # Unix time, s
    results_until: float | None = None  # Unix time, s: nothing is told of it any more then


class Stage(StrEnum):
    """How far a session is that is to begin."""

    WAITS = "waits"  # for its instruments
    BEGINS = "begins"  # they are opened, and on_start is run
    BEGUN = "begun"  # its student may come
    ANEW = "anew"  # it was withdrawn, since another instrument became free: begin another one
    FAILED = "failed"  # it has ended, and is being put away


@dataclass(frozen=True)
class Beginning:
    """A session that is to begin, as it is now."""

    stage: Stage
    lab: str
    view: SessionView | None = None  # of one that has begun


@dataclass(frozen=True)
class InstrumentLook:
    """An instrument of a session, as its student sees it."""

    name: str  # the lab's
    panel: Panel
    identity: str = ""  # what it said of itself
    # by name: what was read ("value", "unit", "at" in Unix time, s), or why it could not be ("why")
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskView:
    """A task of a session, as it is now."""

    task_id: str
    name: str
    status: str  # "submitted", "running", "done" or "failed"
    fraction: float | None = None  # of its work, by its own word
    stage: str = ""  # what it says that goes on
    stopping: bool = False  # it is told to stop
    result: Any = None  # of one that is done
    error: dict[str, str] | None = None  # of one that failed: "code", "class" and "message"
    data: dict[str, Any] = field(default_factory=dict)  # what its code keeps
    created: float = 0.0  # Unix time, s
    ended: float | None = None  # Unix time, s
    offered: bool = False  # its student may stop it

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.status in ("done", "failed")


@dataclass(frozen=True)
class Result:
    """What an action of the lab's own gave."""

    action: str
    at: float  # Unix time, s
    inputs: dict[str, Any] = field(default_factory=dict)
    gave: Any = None


@dataclass(frozen=True)
class SessionLook:
    """All that a session's student sees."""

    session: SessionView
    instruments: tuple[InstrumentLook, ...] = ()
    actions: tuple[Item, ...] = ()  # the lab's own
    files: tuple[tuple[str, int], ...] = ()  # what may be taken home, by name, with sizes in bytes
    at: float = 0.0  # Unix time, s, of the last reading
    results: tuple[Result, ...] = ()  # of the lab's actions, the last first
    tasks: tuple[TaskView, ...] = ()  # all that it has had, the oldest first
    offered: tuple[Item, ...] = ()  # the tasks that its student may start


@dataclass(frozen=True)
class Acted:
    """What came of an action of the lab's own."""

    done: bool  # False: it goes on
    gave: Any = None


class Sessions:
    """The verbs over remote labs and their sessions. Cheap to make, thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instruments, self._drivers = Instruments(settings), DriverPanels(settings)
        self._records = LocalStore(settings)
        self._folder = self._records.folder
        self._leases, self._upkeep = Leases(settings.jobs_folder), Upkeep(settings.layout)
        self._acts = Acts(settings)
        self._refused: dict[str, ServiceError] = {}  # why sessions were withdrawn that had not begun, by their jobs

    # -- labs -----------------------------------------------------------------------------------

    def labs(self, caller: Caller) -> list[LabView]:
        """All that app/labs/ has, in the order of their names."""
        permit(caller, Action.LIST_LABS)
        offered, inside = remote_labs.of(self._settings), self._inside()
        self._drivers.of(
            [name for lab in offered.values() if isinstance(lab, RemoteLab) for name in lab.instruments_named]
        )
        return [self._view_of_lab(name, found, inside) for name, found in offered.items()]

    def names(self, caller: Caller) -> builtins.list[str]:
        """The names of all that app/labs/ has, in order; none of them is looked at."""
        permit(caller, Action.LIST_LABS)
        return [file.stem for file in remote_labs.files(self._settings.labs)]

    def declared(self, name: str, caller: Caller) -> RemoteLab | None:
        """What a lab's file declares, whether or not it is open; None: the file is wrong. Raises UnknownLab."""
        permit(caller, Action.LIST_LABS, name)
        found = self._find(name)
        return found if isinstance(found, RemoteLab) else None

    def lab(self, name: str, caller: Caller) -> LabView:
        """One of them. Raises UnknownLab."""
        permit(caller, Action.LIST_LABS, name)
        return self._view_of_lab(name, self._find(name), self._inside())

    def test(self, name: str, caller: Caller) -> builtins.list[str]:
        """Why nobody can be let into a lab now, a sentence each; none: it is open. Raises UnknownLab.

        What is wrong with its file is among them, also by what its instruments' drivers declare.
        """
        permit(caller, Action.LIST_LABS, name)
        return self._reasons(self._find(name))

    def judge_file(self, file: Path, caller: Caller) -> builtins.list[str]:
        """What is wrong with a remote lab's file, a sentence each, whether or not its instruments can be had now."""
        permit(caller, Action.LIST_LABS)
        found = remote_labs.one(self._settings, file)
        if isinstance(found, BrokenLab):
            line = next((line for name, line, _ in reversed(found.places) if name == file.name), 0)
            is_told = not line or f"line {line}" in found.reason
            return [found.reason if is_told else f"{found.reason} (line {line})"]
        try:
            lab = self._instruments.lab()
        except Misconfigured as error:
            return [str(error)]
        mistakes = []
        for name in found.instruments_named:
            try:
                if name not in lab.elsewhere:
                    self._instruments.entry(lab, name)
            except ServiceError as error:
                mistakes.append(f"{file.name}: {error.message}")
        return [*mistakes, *self._mistakes(found)]

    def _mistakes(self, found: RemoteLab) -> builtins.list[str]:
        """What is wrong with a lab's file besides what its import tells: by its drivers, and by the files beside it."""
        declared, mistakes = self._drivers.of(found.instruments_named), builtins.list[str]()
        for role, choices in found.instruments.items():
            for choice in choices:
                panel = declared.get(choice)
                try:
                    if isinstance(panel, Panel):
                        found.panel(role, panel)
                    elif panel is not None:
                        mistakes.append(panel)
                except Misconfigured as error:
                    mistakes.append(str(error))
        if found.page:
            module, _, attribute = found.page.partition(":")
            folder = self._settings.labs / found.name
            page = f"{module}.py" if attribute else found.page
            if within(str(folder.resolve()), page) is None or not (folder / page).is_file():
                mistakes.append(
                    f"{found.file.name} names the page {found.page}, but there is no file {found.name}/{page}."
                )
        return builtins.list(dict.fromkeys(mistakes))

    def _find(self, name: str) -> RemoteLab | BrokenLab:
        found = remote_labs.find(self._settings, name)
        if found is None:
            names = ", ".join(file.stem for file in remote_labs.files(self._settings.labs)) or "none"
            raise UnknownLab(f"There is no remote lab {plain(name, 60)}; there are: {names}.")
        return found

    def _view_of_lab(self, name: str, found: RemoteLab | BrokenLab, inside: Mapping[str, int]) -> LabView:
        why = " ".join(self._reasons(found))
        if isinstance(found, BrokenLab):
            return LabView(name, name, why_closed=why)
        return LabView(name, found.title, found.instruments, why, found, inside.get(name, 0))

    def _inside(self) -> dict[str, int]:
        """How many sessions of each lab have not ended."""
        counts: dict[str, int] = {}
        for job in self._folder.active_names():
            request = self._request_of(job)
            if request is not None and not self._records.settled(job):
                name = str(request.inputs["lab"])
                counts[name] = counts.get(name, 0) + 1
        return counts

    def _reasons(self, found: RemoteLab | BrokenLab) -> builtins.list[str]:
        if isinstance(found, BrokenLab):
            return [found.reason]
        try:
            lab = self._instruments.lab()
        except Misconfigured as error:
            return [str(error)]
        return self._why_closed(found, lab)

    def _why_closed(self, found: RemoteLab, lab: Lab) -> builtins.list[str]:
        """Why nobody can be let into a lab whose file can be read."""
        reasons = []
        for choices in found.instruments.values():
            here = [choice for choice in choices if choice not in lab.elsewhere] or choices
            why = [reason for choice in here if (reason := self._why_shut(lab, choice))]
            if len(why) == len(here):
                reasons += why
        if not reasons:
            reasons += self._mistakes(found)
        reasons += self._no_page(found)
        with contextlib.suppress(Misconfigured):
            if not reasons and self._combination(found, lab, lambda choice: not self._why_shut(lab, choice)) is None:
                reasons.append(f"{found.file.name} needs more instruments at once than there are.")
        try:
            self._records.judge_room()
        except Unavailable as error:
            reasons.append(error.message)
        return reasons

    def _no_page(self, found: RemoteLab) -> builtins.list[str]:
        """Why its people would see no page here, in a sentence; none: they see one."""
        if ":" not in found.page or self._settings.weblab_blueprints:
            return []
        return [f"The page of {found.name} is a blueprint of its own, and WEBLAB_BLUEPRINTS is off."]

    def _why_shut(self, lab: Lab, name: str) -> str:
        """Why an instrument can't be had until a person does something, in a sentence; "" where it can."""
        try:
            self._instruments.entry(lab, name)
        except ServiceError as error:
            return error.message
        for twin in sorted(lab.twins(name), key=lambda twin: twin != name):
            lease, out = self._leases.of(twin), self._upkeep.out_of(twin)
            if out is not None:
                return f"{twin} is {out.words}."
            if lease is not None and lease.how is Held.UNSAFE:
                return f"{twin} is unsafe: {plain(lease.why, 500)}"
            if lease is not None and lease.how is Held.RESERVED:
                return f"{twin} is {self._instruments.held(lease).words}."
        return ""

    def _combination(self, found: RemoteLab, lab: Lab, can_be_had: Callable[[str], bool]) -> dict[str, str] | None:
        """An instrument for each of the lab's names, no device twice; None where that can't be."""

        def complete(left: builtins.list[tuple[str, tuple[str, ...]]], taken: set[str]) -> dict[str, str] | None:
            if not left:
                return {}
            (name, choices), *rest = left
            for choice in choices:
                if choice in lab.entries and choice not in taken and can_be_had(choice):
                    more = complete(rest, taken | lab.twins(choice))
                    if more is not None:
                        return {name: choice, **more}
            return None

        return complete(list(found.instruments.items()), set())

    # -- letting somebody in --------------------------------------------------------------------

    def start(self, lab: str, about: About, caller: Caller, wait: float | None = None) -> SessionView:
        """Let somebody in: returns once the lab is ready for them, with the id by which they are known.

        Args:
            wait: s that it may wait for its instruments; None: as the setting WEBLAB_START_WAIT says. How long they and
                on_start may take besides, the lab says.

        Raises:
            UnknownLab: there is none of this name.
            LabClosed: nobody can be let in now; the message says why.
            NotInTime: somebody else has an instrument of it, and had it for all that time.
            SessionFailed: an instrument could not be opened, or on_start failed; on_dispose was run.
            InvalidParameter: what is said of the session can't be.
            Unavailable: the deployment is being stopped, or its disk is full.
        """
        permit(caller, Action.LET_IN, lab)
        deadline = time.monotonic() + (self._settings.session_wait if wait is None else wait)
        while True:
            session_id = self._new_id(lab)
            self.begin(lab, about, session_id, max(0.0, deadline - time.monotonic()), caller)
            view = self._begun(lab, session_id, deadline, caller)
            if view is not None:
                return view

    def _new_id(self, lab: str) -> str:
        """The id of a session that is to begin: a secret."""
        return secrets.token_urlsafe(32)

    def begin(self, lab: str, about: About, session_id: str, wait: float, caller: Caller) -> None:
        """Have a session begin: returns once it waits for its instruments. Again, with the same id, this is nothing.

        Args:
            session_id: as `start` makes them.
            wait: s that it may wait.

        Raises:
            ServiceError: as `start`.
        """
        permit(caller, Action.LET_IN, lab)
        if self._request_of(folder_name(service_id_of(session_id))) is not None:
            return
        found = self._find(lab)
        self._raise_if_closed(found)
        assert isinstance(found, RemoteLab)
        _judge(about)
        self._claim(found, self._choose(found), session_id, about, caller, wait)

    def beginning(self, session_id: str, wait: float, caller: Caller) -> Beginning:
        """How a session stands that is to begin; this is a sign of life of whoever waits for it. Doesn't wait.

        Args:
            wait: s that it may still wait for its instruments.

        Raises:
            NotInTime, LabClosed, SessionFailed: it does not begin; nothing of it is left, or what is left is ended.
            UnknownSession: nothing is known of it.
        """
        permit(caller, Action.LET_IN)
        job, request = self._of(session_id)
        lab = str(request.inputs["lab"])
        if (refused := self._refused.get(job)) is not None:  # the answer to whoever asked before may have been lost
            raise type(refused)(refused.message)
        self._folder.polled(job)
        record = self._records.record(job)
        if not record.active:
            if not self._records.settled(job):
                return Beginning(Stage.FAILED, lab)
            raise SessionFailed(record.why or "The session ended before it began.")
        if (self._folder.path(job) / "data" / lab_session.SESSION).exists():
            self._acts.tell("let in", caller, self._in_words(request))
            return Beginning(Stage.BEGUN, lab, self._view(job, request, session_id))
        found = self._find(lab)
        try:
            if record.state is State.QUEUED:
                self._raise_if_closed(found)
                assert isinstance(found, RemoteLab)
                if self._has_its_turn(job, request):
                    return Beginning(Stage.BEGINS, lab)
                if wait <= 0:
                    raise NotInTime(self._who_has(request, found))
                has_choice = any(len(choices) > 1 for choices in found.instruments.values())
                if has_choice and self._choose_another(found, request):
                    self._withdraw(job, request, "another instrument became free", caller)
                    return Beginning(Stage.ANEW, lab)
                return Beginning(Stage.WAITS, lab)
            began = record.started or request.created
            limit = found.start_limit if isinstance(found, RemoteLab) else 0.0
            if time.time() >= began + limit + lab_session.OPENS_SECONDS:
                raise SessionFailed("The lab was not ready in time.")
        except (NotInTime, LabClosed, SessionFailed) as error:
            if len(self._refused) >= REFUSED_KEPT:
                self._refused.clear()
            self._refused[job] = error
            self._withdraw(job, request, error.message, caller)
            raise
        return Beginning(Stage.BEGINS, lab)

    def _has_its_turn(self, job: str, request: Request) -> bool:
        """Whether it has its instruments already: its process is about to begin."""
        leases = [self._leases.of(name) for name in request.instruments]
        return bool(leases) and all(lease is not None and lease.job == job for lease in leases)

    def withdraw(self, session_id: str, caller: Caller, why: str) -> None:
        """End a session that nobody waits for any more before it has begun. Of one that has ended this is nothing."""
        permit(caller, Action.LET_IN)
        with contextlib.suppress(UnknownSession):
            job, request = self._of(session_id)
            if not self._records.settled(job):
                self._withdraw(job, request, why, caller)

    def _begun(self, lab: str, session_id: str, deadline: float, caller: Caller) -> SessionView | None:
        """Wait until its student may come: the session; None where it is to be begun anew.

        Args:
            deadline: monotonic s, until which it may wait for its instruments.

        Raises:
            NotInTime, LabClosed, SessionFailed, Unavailable: it doesn't begin.
        """
        failed_by = math.inf
        try:
            while True:
                at = self.beginning(session_id, deadline - time.monotonic(), caller)
                if at.stage in (Stage.BEGUN, Stage.ANEW):
                    return at.view
                now = time.monotonic()
                if at.stage is Stage.FAILED and failed_by == math.inf:
                    failed_by = now + self._put_away_seconds(lab)
                if now >= failed_by:
                    raise SessionFailed("The session ended before it began, and is still being put away.")
                left = deadline - now if at.stage is Stage.WAITS else LOOK_EVERY
                self._pause(session_id, max(0.01, min(left, LOOK_EVERY)))
        except (NotInTime, LabClosed, SessionFailed):
            raise
        except BaseException:  # whoever waited for it is gone, or nothing can be known of it
            with contextlib.suppress(ServiceError, OSError):
                self.withdraw(session_id, caller, "it could not begin")
            raise

    def _put_away_seconds(self, lab: str) -> float:
        found = self._find(lab)
        return (found.dispose_limit if isinstance(found, RemoteLab) else 0.0) + AFTER_SECONDS

    def _pause(self, session_id: str, seconds: float) -> None:
        """Until something has happened to a session that is to begin, or for so many seconds."""
        folder = self._folder.path(folder_name(service_id_of(session_id)))
        begun = folder / "data" / lab_session.SESSION
        until(begun.parent if begun.parent.is_dir() else folder, begun.exists, seconds)

    def _raise_if_closed(self, found: RemoteLab | BrokenLab) -> None:
        if reasons := self._reasons(found):
            raise LabClosed(" ".join(reasons))

    def _choose(self, found: RemoteLab) -> dict[str, str]:
        """The instruments for a session: free ones that nobody waits for, else those that it has to wait for."""
        lab = self._instruments.lab()
        leased, wanted = self._leases.all(), self._wanted()

        def open_to_all(name: str) -> bool:
            return not self._why_shut(lab, name)

        def free(name: str) -> bool:
            return open_to_all(name) and not any(twin in leased or twin in wanted for twin in lab.twins(name))

        chosen = self._combination(found, lab, free) or self._combination(found, lab, open_to_all)
        if chosen is None:
            raise LabClosed(
                " ".join(self._reasons(found)) or "Its instruments can't be had now; try again in a moment."
            )
        return chosen

    def _wanted(self) -> set[str]:
        """The instruments for which executions wait."""
        found: set[str] = set()
        for job in self._folder.active_names():
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                stored, request = self._folder.stored_state(job), self._folder.request(job)
                if request is not None and (stored is None or stored.state is State.QUEUED):
                    found.update(request.instruments)
        return found

    def _claim(
        self, found: RemoteLab, chosen: dict[str, str], session_id: str, about: About, caller: Caller, wait: float
    ) -> None:
        seconds = about.length_s + found.start_limit + lab_session.OPENS_SECONDS
        service = lab_session.signature(chosen, seconds, found.file)
        inputs: dict[str, Any] = {
            "lab": found.name,
            "holder": (about.full_name or about.username or "somebody")[:NAME_MAX],
            "seconds": about.length_s,
            "unattended": self._settings.session_timeout,
            "wanted_until": time.time() + wait + LOOK_EVERY,
            "about": about.as_json(),
            **{lab_session.ON_INSTRUMENT + name: instrument for name, instrument in chosen.items()},
        }
        service_id = service_id_of(session_id)
        request = Request(
            service_id=service_id,
            service=service.name,
            inputs=inputs,
            user=about.username[:NAME_MAX],
            created=time.time(),
            instruments=tuple(chosen.values()),
            signature=service.as_data(),
            face=caller.face,
        )
        job, claimed = folder_name(service_id), False
        tell = self._records.admit(request)
        try:
            self._acts.begin("let in", caller, self._in_words(request), durable=True)
            claimed = self._records.claim(job, request)
        finally:
            tell(claimed)
        self._folder.polled(job)

    def _in_words(self, request: Request) -> dict[str, Any]:
        return {"lab": request.inputs["lab"], "student": request.user, "serviceID": request.service_id}

    def _withdraw(self, job: str, request: Request, why: str, caller: Caller) -> None:
        """End what has not begun."""
        self._acts.go_on("withdraw a session", caller, self._in_words(request) | {"why": why})
        self._records.abort(self._records.record(job), WITHDRAWN_SECONDS, caller.in_words)

    def _choose_another(self, found: RemoteLab, request: Request) -> bool:
        """Whether a session that waits could begin at once with other instruments."""
        lab, leased = self._instruments.lab(), self._leases.all()
        wanted = self._wanted() - set(request.instruments)

        def free(name: str) -> bool:
            return not self._why_shut(lab, name) and not any(t in leased or t in wanted for t in lab.twins(name))

        chosen = self._combination(found, lab, free)
        return chosen is not None and set(chosen.values()) != set(request.instruments)

    def _who_has(self, request: Request, found: RemoteLab) -> str:
        """Why a session didn't begin in time, in a sentence."""
        with contextlib.suppress(Misconfigured):
            lab = self._instruments.lab()
            for name in request.instruments:
                for twin in sorted(lab.twins(name), key=lambda twin: twin != name):
                    lease = self._leases.of(twin)
                    if lease is not None and lease.job != folder_name(request.service_id):
                        words = self._instruments.held(lease).words
                        return f"The lab {found.name} is taken: {twin} is {words}. Try again later."
        return f"The lab {found.name} is taken: others came before. Try again later."

    # -- looking --------------------------------------------------------------------------------

    def status(self, session_id: str, caller: Caller) -> SessionView:
        """How a session stands, for whoever let its student in; this is no sign of life.

        Args:
            session_id: or the serviceID of its execution.

        Raises:
            UnknownSession: there is none, or it is over for longer than WEBLAB_EXPIRED_USERS_TIMEOUT.
        """
        permit(caller, Action.LET_IN)
        job, request, own_id = self._asked_for(session_id)
        return self._view(job, request, own_id)

    def statuses(self, session_ids: Sequence[str], caller: Caller, wait: float) -> dict[str, tuple[str, int]]:
        """Of several: the lab and `SessionView.should_finish`; of one that nobody knows -1, and no lab.

        Args:
            wait: s, after which those that are left are left out; one is told in any case.
        """
        permit(caller, Action.LET_IN)
        until_, told = time.monotonic() + wait, dict[str, tuple[str, int]]()
        for session_id in session_ids:
            if told and time.monotonic() >= until_:
                break
            try:
                view = self.status(session_id, caller)
                told[session_id] = (view.lab, view.should_finish)
            except UnknownSession:
                told[session_id] = ("", -1)
            except Unavailable:
                told[session_id] = ("", self.ask_again)
        return told

    @property
    def ask_again(self) -> int:
        """Seconds after which to ask for the status of a session again of which nothing can be known now."""
        return max(1, math.ceil(self._settings.session_poll))

    def unheard(self) -> builtins.list[str]:
        """What can't be known now of the sessions of other machines, a sentence each; none on one machine."""
        return []

    def sessions(self, caller: Caller, lab: str = "") -> builtins.list[SessionView]:
        """All that have not ended, oldest first, without their ids."""
        permit(caller, Action.LET_IN)
        views = []
        for job in self._folder.active_names():
            request = self._request_of(job)
            if request is not None and lab in ("", request.inputs["lab"]):
                views.append((request.created, self._view(job, request, "")))
        return [view for _, view in sorted(views, key=lambda each: each[0]) if view.state != "ended"]

    def alive(self, session_id: str) -> SessionView:
        """The student's sign of life: how the session stands. Raises UnknownSession."""
        job, request = self._of(session_id)
        view = self._view(job, request, session_id)
        if view.state in ("starting", "running"):
            self._folder.polled(job)
        return view

    def look(self, session_id: str) -> SessionLook:
        """All that its student sees, also of one that has ended; this is no sign of life. Raises UnknownSession."""
        job, request = self._of(session_id)
        view = self._view(job, request, session_id)
        data = self._folder.path(job) / "data"
        told, read = self._told(data / lab_session.SESSION), self._told(data / lab_session.READINGS)
        instruments: builtins.list[InstrumentLook] = []
        actions: tuple[Item, ...] = ()
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            for name, panel in told["panels"].items():
                readings = dict(read.get("readings", {}).get(name, {}))
                identity = str(told["identities"].get(name, ""))
                instruments.append(InstrumentLook(name, panel_of(panel), identity, readings))
            actions = panel_of(told["actions"]).items
        results: tuple[Result, ...] = ()
        with contextlib.suppress(KeyError, TypeError, ValueError):
            results = tuple(
                Result(str(one["action"]), float(one["at"]), dict(one["inputs"]), one["gave"])
                for one in read.get("results", [])
            )
        at = read.get("at", 0.0)
        at = float(at) if isinstance(at, int | float) else 0.0
        declared = self._declared_tasks(job)
        return SessionLook(
            view,
            tuple(instruments),
            actions,
            self._files(job),
            at,
            results,
            tasks=tuple(self._view_of_task(task, declared) for task in self._tasks(job).all()),
            offered=tuple(_item(task) for task in declared.values() if task.offered),
        )

    def data(self, session_id: str) -> MutableMapping[str, Any]:
        """What the lab's code keeps of it. Raises UnknownSession."""
        job, _ = self._of(session_id)
        return SessionData(self._folder.path(job))

    def file(self, session_id: str, name: str) -> Path:
        """A file that its student may take home. Raises UnknownSession; InvalidParameter: there is none."""
        job, _ = self._of(session_id)
        made = self._records.artifacts.made(job, f"{lab_session.FILES}/{name}")
        if made is None or within(str(self._files_folder(job).resolve()), name) is None:
            raise InvalidParameter(f"There is no file {plain(name, 60)}.")
        return made

    def _files_folder(self, job: str) -> Path:
        return self._folder.path(job) / "data" / lab_session.FILES

    def _files(self, job: str) -> tuple[tuple[str, int], ...]:
        folder = self._files_folder(job)
        if folder.is_symlink():
            return ()
        files: builtins.list[tuple[str, int]] = []
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir())[:FILES_MAX]:
                with contextlib.suppress(OSError, UnicodeEncodeError):  # it may vanish under the look
                    path.name.encode()
                    if not path.name.startswith(".") and path.is_file() and not path.is_symlink():
                        files.append((path.name, path.stat().st_size))
        return tuple(files)

    def _view(self, job: str, request: Request, session_id: str) -> SessionView:
        folder, now = self._folder.path(job), time.time()
        try:
            stored, end = self._folder.stored_state(job), self._folder.end(job)
        except (OSError, ValueError, TypeError, KeyError):
            raise Unavailable("The record of this session can't be read now; try again in a moment.") from None
        told = self._told(folder / "data" / lab_session.SESSION)
        began, ends = (told.get(name) if isinstance(told.get(name), float) else None for name in ("began", "ends"))
        state = self._state(job, stored, end is not None, began is not None)
        left = max(0.0, ends - now) if ends is not None and state == "running" else 0.0
        if state == "starting":
            left = float(request.inputs["seconds"])
        about = About()
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            about = about_of(str(request.inputs["about"]))
        ended = stored.ended if stored is not None and stored.state in ENDED else None
        failed = stored is not None and stored.state is State.FAILED and not _is_over(ends, stored.ended)
        why = ""
        if state in ("disposing", "ended"):
            why = self._why_ended(folder, stored, end.why if end is not None else "", ends)
        return SessionView(
            session_id=session_id,
            service_id=request.service_id,
            lab=str(request.inputs["lab"]),
            about=about,
            state=state,
            instruments=lab_session.instruments_of(request),
            began=began,
            ends=ends,
            time_left_s=left,
            should_finish=self._should_finish(state, left),
            why_ended=why,
            failed=failed,
            ended=ended,
            results_until=None if ended is None else ended + self._settings.session_kept,
        )

    def _state(self, job: str, stored: StoredState | None, has_end: bool, has_begun: bool) -> str:
        if stored is not None and stored.state in ENDED:
            return "ended"
        self._have_supervisor()
        over = has_end or self._folder.marked(job, "abort") or (stored is not None and stored.stopping is not None)
        if not over and stored is not None and stored.runner is not None:
            with contextlib.suppress(OSError):
                over = lives(stored.runner) is False
        if over:
            return "disposing"
        return "running" if has_begun else "starting"

    def _have_supervisor(self) -> None:
        """Somebody has to be there who puts it away."""
        with contextlib.suppress(OSError):
            if not self._records.is_served():
                self._records.have_supervisor()

    def _should_finish(self, state: str, left: float) -> int:
        if state == "ended":
            return -1
        if state == "disposing":
            return DISPOSING_POLL
        return max(1, min(self.ask_again, math.ceil(left)))

    def _why_ended(self, folder: Path, stored: StoredState | None, of_end: str, ends: float | None) -> str:
        """Why it is over, in a sentence."""
        by = (read_bounded(folder / lab_session.ENDED_BY, 1000) or b"").decode("utf-8", "replace")
        if by:
            return by
        if stored is not None and stored.stopping is not None:
            return stored.stopping.why
        if _is_over(ends, stored.ended if stored is not None and stored.ended else time.time()):
            return N_("Its time is over.")
        return (stored.why if stored is not None else "") or of_end or N_("It is over.")

    # -- setting, doing, acting -----------------------------------------------------------------

    def set(self, session_id: str, instrument: str, control: str, value: Any, wait: float = WAIT) -> Done:
        """Set a control, a value or its text; this is a sign of life.

        Raises:
            UnknownSession: there is none.
            SessionOver: it isn't running.
            InvalidParameter, MissingParameter: the lab lets nobody set that, or not to that: nothing was sent.
            JobFailed: the instrument did not do it; the message says why.
        """
        job, request = self._running(session_id)
        item = self._panel(job, instrument).find(instrument, control, What.CONTROL)
        accepted = item.accept(instrument, {control: value})[control]
        about = {"instrument": instrument, "control": control, "value": text_of(accepted)}
        order = {"set": control, "value": accepted, "instrument": instrument}
        said = self._order(job, request, "set", about, order, wait)
        return Done(False) if said is None else Done(True, said.get("read"))

    def do(self, session_id: str, instrument: str, action: str, inputs: dict[str, Any], wait: float = WAIT) -> Done:
        """Have an instrument do something. Raises as `set`."""
        job, request = self._running(session_id)
        item = self._panel(job, instrument).find(instrument, action, What.ACTION)
        accepted = item.accept(instrument, inputs)
        about = {"instrument": instrument, "action": action, "inputs": json.dumps(accepted)}
        order = {"do": action, "inputs": accepted, "instrument": instrument}
        return Done(self._order(job, request, "do", about, order, wait) is not None)

    def act(self, session_id: str, action: str, inputs: dict[str, Any], wait: float = WAIT) -> Acted:
        """Have the lab itself do something. Raises as `set`."""
        job, request = self._running(session_id)
        lab = str(request.inputs["lab"])
        told = self._told(self._folder.path(job) / "data" / lab_session.SESSION)
        accepted = panel_of(told.get("actions", [])).find(lab, action, What.ACTION).accept(lab, inputs)
        about = {"action": action, "inputs": json.dumps(accepted)}
        said = self._order(job, request, "act", about, {"act": action, "inputs": accepted}, wait)
        return Acted(False) if said is None else Acted(True, said.get("gave"))

    def _running(self, session_id: str) -> tuple[str, Request]:
        job, request = self._of(session_id)
        view = self._view(job, request, session_id)
        if view.state != "running":
            if view.state == "starting":
                raise SessionOver("The session has not begun yet; try again in a moment.")
            raise _over(view.why_ended)
        self._folder.polled(job)
        return job, request

    def _panel(self, job: str, instrument: str) -> Panel:
        panels = self._told(self._folder.path(job) / "data" / lab_session.SESSION).get("panels", {})
        if instrument not in panels:
            names = ", ".join(panels) or "none"
            raise InvalidParameter(f"There is no instrument {plain(instrument, 60)} in this lab; there are: {names}.")
        return panel_of(panels[instrument])

    def _order(
        self, job: str, request: Request, act: str, about: dict[str, Any], order: dict[str, Any], wait: float
    ) -> dict[str, Any] | None:
        """Have the session's process do something: its answer, None where none came in time. Raises JobFailed."""
        student = Caller(face="session")
        about = about | self._in_words(request)
        self._acts.begin(act, student, about)
        answer = self._records.notify(self._records.record(job), json.dumps(order), wait, request.user)
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        if not isinstance(said, dict):  # its number: there was no reply in time
            view = self._view(job, request, "")
            if view.state != "running":
                raise _over(view.why_ended)
            self._acts.tell(act, student, about | {"done": False})
            return None
        self._acts.tell(act, student, about | {"done": "why" not in said, "why": said.get("why", "")})
        if "why" in said:
            raise JobFailed(str(said["why"]))
        return said

    # -- tasks ----------------------------------------------------------------------------------

    def tasks(self, session_id: str, name: str = "") -> builtins.list[TaskView]:
        """The tasks of a session, also of one that has ended; the oldest first. Raises UnknownSession.

        Args:
            name: of those that are wanted; "": all.
        """
        job, _ = self._of(session_id)
        declared = self._declared_tasks(job)
        return [self._view_of_task(task, declared) for task in self._tasks(job).all(name)]

    def task(self, session_id: str, task_id: str) -> TaskView:
        """One of them. Raises UnknownSession, UnknownTask."""
        job, _ = self._of(session_id)
        return self._view_of_task(self._task(job, task_id), self._declared_tasks(job))

    def start_task(self, session_id: str, task: str, inputs: Mapping[str, Any], by_student: bool = True) -> TaskView:
        """Start a task of a session that runs: it goes on whatever becomes of who asks. This is a sign of life.

        Args:
            inputs: by name: values, or their texts.
            by_student: only those that the lab offers to its people may be started, with inputs within their limits.
                False: it is the lab's own code that asks.

        Raises:
            UnknownSession, UnknownTask: there is none.
            SessionOver: the session isn't running.
            InvalidParameter, MissingParameter: it can't be started by its student, or not with these inputs.
            AlreadyRunning: it is unique, and one runs.
            TooManyJobs: as many are there as may.
            Unavailable: it can't be started now; the message says why.
        """
        job, request = self._running(session_id)
        declared = self._declared_tasks(job)
        lab = str(request.inputs["lab"])
        known = [name for name, one in declared.items() if one.offered or not by_student]
        if task not in known:
            raise UnknownTask(f"{lab} has no task {plain(task, 60)} to start; there are: {', '.join(known) or 'none'}.")
        given = _item(declared[task]).accept(lab, dict(inputs)) if declared[task].offered else dict(inputs)
        student = Caller(face="session")
        about = {"task": task, "inputs": json.dumps(given, default=str)} | self._in_words(request)
        self._acts.begin("start a task", student, about)
        try:
            started = self._tasks(job).start(declared[task], request, (), given, "session")
        except TypeError as error:
            raise InvalidParameter(f"{lab}: {error}") from None
        self._acts.tell("start a task", student, about | {"id": started.task_id})
        return self._view_of_task(started, declared)

    def stop_task(self, session_id: str, task_id: str, by_student: bool = True) -> TaskView:
        """Tell a task to stop; one that goes on is ended after its grace. Of one that has ended this is nothing.

        Raises:
            UnknownSession, UnknownTask: there is none.
            InvalidParameter: it is none that the lab's people may stop.
            Unavailable: it can't be told.
        """
        job, request = self._of(session_id)
        task, declared = self._task(job, task_id), self._declared_tasks(job)
        if by_student and not (task.name in declared and declared[task.name].offered):
            raise InvalidParameter(f"{task.name} is stopped by the lab itself.")
        self._stop_task(task, Caller(face="session"), request)
        return self._view_of_task(task, declared)

    def join_task(self, session_id: str, task_id: str, timeout: float) -> TaskView:
        """How it stands once it has ended, or after so many seconds. Raises UnknownSession, UnknownTask."""
        job, _ = self._of(session_id)
        task = self._task(job, task_id)
        task.join(timeout, error_on_timeout=False)
        return self._view_of_task(task, self._declared_tasks(job))

    def tasks_of(self, session_id: str, caller: Caller) -> builtins.list[TaskView]:
        """As `tasks`, for whoever may let people in; a session is known by its id or its execution's serviceID."""
        permit(caller, Action.LET_IN)
        job, _, _ = self._asked_for(session_id)
        declared = self._declared_tasks(job)
        return [self._view_of_task(task, declared) for task in self._tasks(job).all()]

    def end_task(self, task_id: str, caller: Caller, wait: float) -> TaskView:
        """As `stop_task`, for whoever may let people in, and wait for its end. Raises UnknownTask.

        Args:
            wait: s at most.
        """
        permit(caller, Action.LET_IN)
        found: LabTask | None = None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, ServiceError):
            request = self._folder.request(folder_name(task_id))
            if request is not None and request.service == lab_task.NAME:
                found = self._tasks(str(request.inputs["session"])).find(task_id)
        if found is None:
            raise UnknownTask(f"There is no task {plain(task_id, 60)}; `labwaiter labs tasks SESSION` lists them.")
        session = self._request_of(found.session)
        self._stop_task(found, caller, session)
        found.join(wait, error_on_timeout=False)
        return self._view_of_task(found, self._declared_tasks(found.session))

    def _stop_task(self, task: LabTask, caller: Caller, session: Request | None) -> None:
        about = {"task": task.name, "id": task.task_id} | (self._in_words(session) if session is not None else {})
        self._acts.go_on("stop a task", caller, about)
        task.stop()
        self._acts.tell("stop a task", caller, about)

    def _tasks(self, job: str) -> LabTasks:
        return LabTasks(self._records, job)

    def _task(self, job: str, task_id: str) -> LabTask:
        task = self._tasks(job).find(task_id)
        if task is None:
            raise UnknownTask(f"This session has no task {plain(task_id, 60)}.")
        return task

    def _declared_tasks(self, job: str) -> dict[str, TaskDeclaration]:
        """As its session's process has found them in the lab's file; none before it has begun."""
        told = self._told(self._folder.path(job) / "data" / lab_session.SESSION)
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            return {task["name"]: declaration_of(task) for task in told.get("tasks", [])}
        return {}

    def _view_of_task(self, task: LabTask, declared: Mapping[str, TaskDeclaration]) -> TaskView:
        status, progress = task.status or "failed", task.progress
        return TaskView(
            task_id=task.task_id,
            name=task.name,
            status=status,
            fraction=progress.fraction,
            stage=progress.stage,
            stopping=status in ("submitted", "running") and task.stopping,
            result=task.result if status == "done" else None,
            error=task.error if status == "failed" else None,
            data=dict(task.data),
            created=task.created,
            ended=task.ended,
            offered=task.name in declared and declared[task.name].offered,
        )

    # -- the end --------------------------------------------------------------------------------

    def end(self, session_id: str, caller: Caller, why: str = BY_SYSTEM) -> None:
        """End it, for whoever let its student in: on_dispose is run, and the instruments are made safe. Doesn't wait.

        Ending one that is over is nothing.

        Args:
            session_id: or the serviceID of its execution.
            why: the sentence for its student.

        Raises:
            UnknownSession: there is none.
        """
        permit(caller, Action.LET_IN)
        job, request, _ = self._asked_for(session_id)
        self._end(job, request, caller, why)

    def leave(self, session_id: str) -> None:
        """As `end`, by its student. Raises UnknownSession."""
        job, request = self._of(session_id)
        self._end(job, request, Caller(face="session"), N_("You have left the lab."))

    def _end(self, job: str, request: Request, caller: Caller, why: str) -> None:
        if self._records.settled(job):
            return
        about = self._in_words(request) | {"why": why}
        self._acts.go_on("end a session", caller, about, durable=True)
        with contextlib.suppress(OSError):  # the first one's words count; a full disk keeps nobody in
            write_whole(self._folder.path(job) / lab_session.ENDED_BY, why.encode()[:1000], exclusive=True)
        self._records.abort(self._records.record(job), 0.0, caller.in_words)
        self._acts.tell("end a session", caller, about)

    def gone(self, session_id: str, wait: float) -> bool:
        """Whether, after `wait` s at most, all is put away: on_dispose has ended, and the instruments were judged.

        Raises UnknownSession.
        """
        job, _, _ = self._asked_for(session_id)
        return self._records.settled(job) or self._records.ended(job, wait) is not None

    # -- whose it is ----------------------------------------------------------------------------

    def _of(self, session_id: str) -> tuple[str, Request]:
        """The execution of the session of that id. Raises UnknownSession."""
        job = folder_name(service_id_of(session_id))
        request = self._request_of(job)
        if request is None or self._is_forgotten(job):
            raise UnknownSession("There is no such session, or it has ended long ago.")
        return job, request

    def _asked_for(self, session_id: str) -> tuple[str, Request, str]:
        """As `_of`, by its serviceID as well, as those who may end all sessions see it in lists; and its own id."""
        if session_id.startswith("session-"):
            job = folder_name(session_id)
            request = self._request_of(job)
            if request is not None and not self._is_forgotten(job):
                return job, request, ""
        return (*self._of(session_id), session_id)

    def _request_of(self, job: str) -> Request | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            request = self._folder.request(job)
            if request is not None and request.service == lab_session.NAME:
                return request
        return None

    def _stored(self, job: str) -> StoredState | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return self._folder.stored_state(job)
        return None

    def _is_forgotten(self, job: str) -> bool:
        stored = self._stored(job)
        if stored is None or stored.state not in ENDED or stored.ended is None:
            return False
        return time.time() > stored.ended + self._settings.session_kept

    def _told(self, path: Path) -> dict[str, Any]:
        """What a session's process has written."""
        with contextlib.suppress(ValueError):
            said = json.loads(read_bounded(path, LARGEST) or b"{}")
            return said if isinstance(said, dict) else {}
        return {}


def _over(why: str) -> SessionOver:
    return SessionOver(f"This session is over. {why}")


def _item(task: TaskDeclaration) -> Item:
    """A task as a page has it."""
    return Item(task.name, What.ACTION, task.doc, "", task.inputs)


def _is_over(ends: float | None, now: float | None) -> bool:
    """Whether it ended since its time was over, more or less."""
    return ends is not None and now is not None and now >= ends - 0.5


def _judge(about: About) -> None:
    """Raises InvalidParameter for what can't be said of a session."""
    length = about.length_s
    if not (isinstance(length, int | float) and lab_session.SHORTEST <= length <= lab_session.LONGEST):
        raise InvalidParameter(
            f"A session must last from {span(lab_session.SHORTEST)} to {span(lab_session.LONGEST)}, not {length} s."
        )
    if about.initialization_in_accounting and about.start and about.start + length <= time.time():
        raise InvalidParameter("The session's time is over already: look at its start, its length and the clocks.")
    try:
        text = about.as_json()
    except (TypeError, ValueError) as error:
        raise InvalidParameter(f"What is said of the session can't be kept: {error}.") from None
    if len(text) > lab_session.ABOUT_MAX:
        raise InvalidParameter(
            f"What is said of the session has {len(text):,} characters; at most {lab_session.ABOUT_MAX:,} are taken."
        )
