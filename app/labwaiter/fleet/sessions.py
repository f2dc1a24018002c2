"""The verbs over remote labs and their sessions, on all machines of a lab: a session is where its instruments are.

Which machine that is stands in the session's id, signed: so any face finds it, and none asks a machine for an id that
somebody has made up. What is on this machine is done here, as where there is no Redis; else its machine does it
(`session_operations`), and judges it once more.
"""

from __future__ import annotations

import builtins
import contextlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..catalogue.remote_labs import BrokenLab
from ..errors import (
    InvalidParameter,
    LabClosed,
    Misconfigured,
    ServiceError,
    SessionFailed,
    Unavailable,
    UnknownSession,
    UnknownTask,
)
from ..lab.lab import Lab
from ..model import lab_session
from ..model.caller import SHELL, Caller
from ..model.lab_session import About, service_id_of
from ..model.remote_lab import RemoteLab
from ..model.sentences import N_, plain
from ..settings import Settings
from ..store.names import folder_name
from ..system.process import start_thread
from ..verbs.control import WAIT, Done
from ..verbs.permission import Action, permit
from ..verbs.sessions import (
    LOOK_EVERY,
    Acted,
    Beginning,
    SessionLook,
    Sessions,
    SessionView,
    Stage,
    TaskView,
)
from . import instruments_told
from . import session_operations as operations
from .files import FleetFiles
from .fleet_store import FleetStore
from .instruments import ACT_SECONDS, LOOK_SECONDS, ON_THE_WAY, OtherMachines
from .redis_faults import FAULTS, away
from .signing import Seals

T = TypeVar("T")
STUDENT = Caller(face="session")
SIGNED = 16  # hexadecimal digits of an id's signature, which keeps made-up ids from machines
UNHEARD_SECONDS = 10.0  # that a start bears to know nothing of its session: a machine ends one that nobody asks for
STAYS = 600.0  # s that the wish to end one waits for a machine that isn't heard of
JUDGE_SECONDS = 20.0  # that a machine may take to judge a lab: it may have to import the lab's file and drivers first
PIECE = 4.0  # s that a machine waits at a time for an end
NOBODY = N_("Nobody can be let in until it is heard of.")
GOES_ON = N_("Nothing is known of the session until it is heard of.")


class FleetSessions(Sessions):
    """The verbs over remote labs and sessions, wherever their instruments are."""

    def __init__(self, settings: Settings, store: FleetStore) -> None:
        super().__init__(settings)
        self._here = Sessions(settings)
        self._others = OtherMachines(settings, store)
        self._store = store

    # -- where a lab may be ---------------------------------------------------------------------

    def _homes(self, found: RemoteLab, lab: Lab) -> builtins.list[str]:
        """The machines on which a lab has all that it needs; "" is this one."""
        homes: set[str] | None = None
        for choices in found.instruments.values():
            there = {home for choice in choices if (home := self._machine_with(choice, lab)) is not None}
            homes = there if homes is None else homes & there
        if homes is None:  # it needs none
            own = {"" if name == self._settings.machine else name for name in lab.machines}
            homes = {""} if not own or "" in own else own
        return sorted(homes)

    def _machine_with(self, instrument: str, lab: Lab) -> str | None:
        """The machine of an instrument, "" for this one; None where there is no such instrument."""
        return "" if instrument in lab.entries else lab.elsewhere.get(instrument)

    def _why_nowhere(self, found: RemoteLab, lab: Lab) -> builtins.list[str]:
        unknown = [name for name in found.instruments_named if self._machine_with(name, lab) is None]
        reasons = []
        for name in unknown:
            try:
                self._instruments.entry(lab, name)
            except ServiceError as error:
                reasons.append(error.message)
        homes = {name: lab.elsewhere.get(name, self._settings.machine) for name in found.instruments_named}
        where = ", ".join(f"{name} on {machine}" for name, machine in homes.items() if name not in unknown)
        return reasons or [
            f"{found.file.name} needs instruments of several machines ({where}): a session has those of one."
        ]

    def _why_closed(self, found: RemoteLab, lab: Lab) -> builtins.list[str]:
        """As the machines that have what it needs say it."""
        if no_page := self._no_page(found):
            return no_page
        homes = self._homes(found, lab)
        reasons = [] if homes else self._why_nowhere(found, lab)
        for machine in homes:
            if not machine:
                told: Sequence[str] = super()._why_closed(found, lab)
            else:
                try:
                    told = self._ask(operations.why_closed, machine, SHELL, NOBODY, JUDGE_SECONDS, lab=found.name)
                except ServiceError as error:
                    told = [error.message]
            if not told:
                return []
            reasons += told
        return list(dict.fromkeys(reasons))

    def _inside(self) -> dict[str, int]:
        counts = super()._inside()
        for view in self._of_others(""):
            counts[view.lab] = counts.get(view.lab, 0) + 1
        return counts

    def _new_id(self, lab: str) -> str:
        """It names the machine, where one can begin now rather than one where it has to wait."""
        found = self._find(lab)
        if isinstance(found, BrokenLab):
            raise LabClosed(found.reason)
        try:
            known = self._instruments.lab()
        except Misconfigured as error:
            raise LabClosed(str(error)) from error
        homes = self._homes(found, known)
        if why := self._no_page(found) or ([] if homes else self._why_nowhere(found, known)):
            raise LabClosed(" ".join(why))
        if len(homes) > 1:
            homes = self._free(found, homes) or self._heard(homes) or homes
        return id_on(secrets.choice(homes) or self._settings.machine, self._store.seals)

    def _heard(self, homes: Sequence[str]) -> builtins.list[str]:
        _, silent = self._others.told([name for name in homes if name])
        return [name for name in homes if not silent.get(name)]

    def _free(self, found: RemoteLab, homes: Sequence[str]) -> builtins.list[str]:
        """Those on which all that the lab needs is free, as the machines told last."""
        others = [name for name in homes if name]
        heard, silent = self._others.told(others)
        free = [name for name in others if not silent[name] and self._is_free(found, name, heard[name])]
        if "" in homes:
            with contextlib.suppress(ServiceError, Misconfigured):
                lab, leased, wanted = self._instruments.lab(), self._leases.all(), self._wanted()

                def can_be_had(name: str) -> bool:
                    has = any(twin in leased or twin in wanted for twin in lab.twins(name))
                    return not has and not self._why_shut(lab, name)

                if self._combination(found, lab, can_be_had) is not None:
                    free.append("")
        return free

    def _is_free(self, found: RemoteLab, machine: str, told: Mapping[str, instruments_told.Told]) -> bool:
        try:
            lab = self._instruments.lab(machine)
        except Misconfigured:
            return False
        nobody = instruments_told.Told(absent=True)

        def can_be_had(name: str) -> bool:
            one = told.get(name, nobody)
            return one.holding is None and one.out is None and not one.absent

        return self._combination(found, lab, can_be_had) is not None

    # -- letting somebody in --------------------------------------------------------------------

    def begin(self, lab: str, about: About, session_id: str, wait: float, caller: Caller) -> None:
        permit(caller, Action.LET_IN, lab)
        machine = self._home(session_id)
        if not machine:
            self._here.begin(lab, about, session_id, wait, caller)
            return
        try:
            self._ask(
                operations.begin_session,
                machine,
                caller,
                NOBODY,
                JUDGE_SECONDS,
                lab=lab,
                about=about,
                session_id=session_id,
                wait=wait,
            )
        except ServiceError as error:
            if type(error) is Unavailable:  # it may have begun all the same
                with contextlib.suppress(ServiceError):
                    self.withdraw(session_id, caller, "whoever asked for it was told that it could not begin")
            raise

    def beginning(self, session_id: str, wait: float, caller: Caller) -> Beginning:
        machine = self._home(session_id)
        if not machine:
            return self._or_elsewhere(session_id, self._here.beginning(session_id, wait, caller), caller)
        bears_until = time.monotonic() + UNHEARD_SECONDS
        ends = time.monotonic() + wait
        while True:
            try:
                at = self._ask(
                    operations.session_beginning,
                    machine,
                    caller,
                    NOBODY,
                    ACT_SECONDS,
                    session_id=session_id,
                    wait=ends - time.monotonic(),
                )
                return self._or_elsewhere(session_id, at, caller)
            except UnknownSession as error:
                raise SessionFailed(f"The machine {machine} knows nothing of the session any more.") from error
            except ServiceError as error:
                if type(error) is not Unavailable or time.monotonic() >= bears_until:
                    raise
            time.sleep(LOOK_EVERY)

    def _or_elsewhere(self, session_id: str, at: Beginning, caller: Caller) -> Beginning:
        """Of one that waits: whether it is to be begun anew, since it could begin at once on another machine."""
        if at.stage is not Stage.WAITS:
            return at
        found, home = self._find(at.lab), self._home(session_id)
        if isinstance(found, RemoteLab):
            homes: builtins.list[str] = []
            with contextlib.suppress(Misconfigured):  # until lab.toml is mended it waits where it is
                homes = [name for name in self._homes(found, self._instruments.lab()) if name != home]
            if homes and self._free(found, homes):
                self.withdraw(session_id, caller, "another instrument became free")
                return Beginning(Stage.ANEW, at.lab)
        return at

    def withdraw(self, session_id: str, caller: Caller, why: str) -> None:
        machine = self._home(session_id)
        if not machine:
            self._here.withdraw(session_id, caller, why)
            return
        self._leave(operations.withdraw_session, machine, caller, session_id=session_id, why=why)

    def _pause(self, session_id: str, seconds: float) -> None:
        if self._home(session_id):
            time.sleep(seconds)
        else:
            super()._pause(session_id, seconds)

    # -- looking --------------------------------------------------------------------------------

    def status(self, session_id: str, caller: Caller) -> SessionView:
        if machine := self._home(session_id):
            return self._ask(operations.session_status, machine, caller, session_id=session_id)
        return self._here.status(session_id, caller)

    def statuses(self, session_ids: Sequence[str], caller: Caller, wait: float) -> dict[str, tuple[str, int]]:
        """As on one machine; of one whose machine isn't heard of, that it is to be asked for again."""
        permit(caller, Action.LET_IN)
        until = time.monotonic() + wait
        homes: dict[str, builtins.list[str]] = {}
        told: dict[str, tuple[str, int]] = {}
        for session_id in session_ids:
            try:
                homes.setdefault(self._home(session_id), []).append(session_id)
            except UnknownSession:
                told[session_id] = ("", -1)
            except Unavailable:
                told[session_id] = ("", self.ask_again)

        def ask(machine: str, ids: builtins.list[str]) -> None:
            left = max(0.0, until - time.monotonic())
            patience = min(left, LOOK_SECONDS)
            try:
                told.update(
                    self._ask(
                        operations.session_statuses,
                        machine,
                        caller,
                        GOES_ON,
                        patience + ON_THE_WAY,
                        session_ids=ids,
                        wait=patience,
                    )
                )
            except ServiceError:
                told.update(dict.fromkeys(ids, ("", self.ask_again)))

        threads = [start_thread(ask, machine, ids, daemon=True) for machine, ids in homes.items() if machine]
        if "" in homes:
            told.update(self._here.statuses(homes[""], caller, wait))
        for thread in threads:
            thread.join(max(0.1, until + ON_THE_WAY - time.monotonic()))
        return dict(told)

    def sessions(self, caller: Caller, lab: str = "") -> builtins.list[SessionView]:
        """All of this machine, and of those that are heard of: `unheard` says which aren't."""
        mine = self._here.sessions(caller, lab)
        return [*mine, *self._of_others(lab, caller)]

    def _of_others(self, lab: str, caller: Caller | None = None) -> builtins.list[SessionView]:
        views: builtins.list[SessionView] = []
        for machine in self._machines():
            with contextlib.suppress(ServiceError):
                views += self._ask(operations.list_sessions, machine, caller or SHELL, lab=lab)
        return views

    def _machines(self) -> builtins.list[str]:
        """The other machines, as lab.toml has them."""
        with contextlib.suppress(Misconfigured):
            return sorted(self._instruments.lab().machines.keys() - {self._settings.machine})
        return []

    def unheard(self) -> builtins.list[str]:
        _, silent = self._others.told(self._machines())
        return list(dict.fromkeys(why for why in silent.values() if why))

    def alive(self, session_id: str) -> SessionView:
        if machine := self._home(session_id):
            return self._ask(operations.session_alive, machine, STUDENT, session_id=session_id)
        return self._here.alive(session_id)

    def look(self, session_id: str) -> SessionLook:
        """As on one machine; of its tasks the last ones, without their data."""
        if machine := self._home(session_id):
            return self._ask(operations.look_at_session, machine, STUDENT, session_id=session_id)
        return self._here.look(session_id)

    def data(self, session_id: str) -> MutableMapping[str, Any]:
        if machine := self._home(session_id):
            return DataElsewhere(self._ask, machine, session_id)
        return self._here.data(session_id)

    def file(self, session_id: str, name: str) -> Path:
        """As on one machine: a copy, where it is elsewhere."""
        machine = self._home(session_id)
        if not machine:
            return self._here.file(session_id, name)
        self._ask(operations.session_file, machine, STUDENT, session_id=session_id, name=name)
        job = folder_name(service_id_of(session_id))
        files = FleetFiles(self._settings, self._store, lambda _: machine)
        made = files.made(job, f"{lab_session.FILES}/{name}")
        if made is None:
            raise InvalidParameter(f"There is no file {plain(name, 60)}.")
        return made

    # -- setting, doing, acting -----------------------------------------------------------------

    def set(self, session_id: str, instrument: str, control: str, value: Any, wait: float = WAIT) -> Done:
        if machine := self._home(session_id):
            return self._act_there(
                operations.set_in_session,
                machine,
                session_id,
                wait,
                instrument=instrument,
                control=control,
                value=value,
            )
        return self._here.set(session_id, instrument, control, value, wait)

    def do(self, session_id: str, instrument: str, action: str, inputs: dict[str, Any], wait: float = WAIT) -> Done:
        if machine := self._home(session_id):
            return self._act_there(
                operations.do_in_session,
                machine,
                session_id,
                wait,
                instrument=instrument,
                action=action,
                inputs=inputs,
            )
        return self._here.do(session_id, instrument, action, inputs, wait)

    def act(self, session_id: str, action: str, inputs: dict[str, Any], wait: float = WAIT) -> Acted:
        if machine := self._home(session_id):
            return self._act_there(operations.act_in_session, machine, session_id, wait, action=action, inputs=inputs)
        return self._here.act(session_id, action, inputs, wait)

    # -- tasks ----------------------------------------------------------------------------------

    def tasks(self, session_id: str, name: str = "") -> builtins.list[TaskView]:
        if machine := self._home(session_id):
            return [*self._ask(operations.session_tasks, machine, STUDENT, session_id=session_id, name=name)]
        return self._here.tasks(session_id, name)

    def task(self, session_id: str, task_id: str) -> TaskView:
        if machine := self._home(session_id):
            return self._ask(operations.session_task, machine, STUDENT, session_id=session_id, task_id=task_id)
        return self._here.task(session_id, task_id)

    def start_task(self, session_id: str, task: str, inputs: Mapping[str, Any], by_student: bool = True) -> TaskView:
        if machine := self._home(session_id):
            return self._ask(
                operations.start_task,
                machine,
                STUDENT,
                GOES_ON,
                ACT_SECONDS + ON_THE_WAY,
                session_id=session_id,
                task=task,
                inputs=dict(inputs),
                by_student=by_student,
            )
        return self._here.start_task(session_id, task, inputs, by_student)

    def stop_task(self, session_id: str, task_id: str, by_student: bool = True) -> TaskView:
        if machine := self._home(session_id):
            return self._ask(
                operations.stop_task,
                machine,
                STUDENT,
                GOES_ON,
                ACT_SECONDS,
                session_id=session_id,
                task_id=task_id,
                by_student=by_student,
            )
        return self._here.stop_task(session_id, task_id, by_student)

    def join_task(self, session_id: str, task_id: str, timeout: float) -> TaskView:
        machine = self._home(session_id)
        if not machine:
            return self._here.join_task(session_id, task_id, timeout)
        until = time.monotonic() + timeout
        while True:
            piece = max(0.0, min(PIECE, until - time.monotonic()))
            view = self._ask(
                operations.join_task,
                machine,
                STUDENT,
                GOES_ON,
                piece + LOOK_SECONDS,
                session_id=session_id,
                task_id=task_id,
                timeout=piece,
            )
            if view.finished or time.monotonic() >= until:
                return view

    def tasks_of(self, session_id: str, caller: Caller) -> builtins.list[TaskView]:
        if machine := self._home(session_id):
            return [*self._ask(operations.tasks_of, machine, caller, session_id=session_id)]
        return self._here.tasks_of(session_id, caller)

    def end_task(self, task_id: str, caller: Caller, wait: float) -> TaskView:
        permit(caller, Action.LET_IN)
        try:
            machine = self._machine_of(folder_name(task_id))
        except (UnknownSession, ServiceError) as error:
            if isinstance(error, Unavailable):
                raise
            raise UnknownTask(
                f"There is no task {plain(task_id, 60)}; `labwaiter labs tasks SESSION` lists them."
            ) from error
        if not machine:
            return self._here.end_task(task_id, caller, wait)
        until = time.monotonic() + wait
        while True:
            piece = max(0.0, min(PIECE, until - time.monotonic()))
            view = self._ask(
                operations.end_task, machine, caller, GOES_ON, piece + LOOK_SECONDS, task_id=task_id, wait=piece
            )
            if view.finished or time.monotonic() >= until:
                return view

    # -- the end --------------------------------------------------------------------------------

    def end(self, session_id: str, caller: Caller, why: str = "The session was ended by whoever had begun it.") -> None:
        """As on one machine; where that isn't heard of, it is ended once it is heard of again within ten minutes."""
        permit(caller, Action.LET_IN)
        if machine := self._home(session_id):
            self._leave(operations.end_session, machine, caller, session_id=session_id, why=why)
        else:
            self._here.end(session_id, caller, why)

    def leave(self, session_id: str) -> None:
        """As `end`, by its student."""
        if machine := self._home(session_id):
            self._leave(operations.leave_session, machine, STUDENT, session_id=session_id)
        else:
            self._here.leave(session_id)

    def gone(self, session_id: str, wait: float) -> bool:
        """As on one machine; False, too, where that is not heard of."""
        machine = self._home(session_id)
        if not machine:
            return self._here.gone(session_id, wait)
        until = time.monotonic() + wait
        while True:
            piece = max(0.0, min(PIECE, until - time.monotonic()))
            try:
                if self._ask(
                    operations.session_gone,
                    machine,
                    SHELL,
                    GOES_ON,
                    piece + LOOK_SECONDS,
                    session_id=session_id,
                    wait=piece,
                ):
                    return True
            except ServiceError as error:
                if type(error) is not Unavailable:
                    raise
                time.sleep(max(0.0, min(LOOK_EVERY, until - time.monotonic())))
            if time.monotonic() >= until:
                return False

    # -- the way to its machine -----------------------------------------------------------------

    def _home(self, session_id: str) -> str:
        """The machine of a session, by its id or its serviceID; "" for this one.

        Raises:
            UnknownSession: the id is none of this lab's.
            Unavailable: Redis is away, which knows where that serviceID is.
        """
        if session_id.startswith("session-"):
            return self._machine_of(folder_name(session_id))
        machine = machine_in(session_id, self._store.seals)
        if machine is None:
            raise UnknownSession("There is no such session, or it has ended long ago.")
        if machine in ("", self._settings.machine):
            return ""
        with contextlib.suppress(Misconfigured):
            if machine not in self._instruments.lab().machines:
                raise UnknownSession(f"The machine {machine}, which had this session, is no longer in lab.toml.")
        return machine

    def _machine_of(self, job: str) -> str:
        """The machine of an execution, as Redis has it. Raises UnknownSession, Unavailable."""
        if self._folder.request(job) is not None:
            return ""
        try:
            machine = self._store.snapshot(job, brief=True).machine
        except FAULTS as error:
            raise away(error) from error
        if not machine:
            raise UnknownSession("There is no such session, or it has ended long ago.")
        return "" if machine == self._settings.machine else machine

    def _ask(
        self,
        function: Callable[..., T],
        machine: str,
        caller: Caller,
        advice: str = GOES_ON,
        patience: float = LOOK_SECONDS,
        **inputs: Any,
    ) -> T:
        return self._others.ask(function, machine, caller, patience, advice, **inputs)

    def _leave(self, function: Callable[..., Any], machine: str, caller: Caller, **inputs: Any) -> None:
        self._others.leave(function, machine, caller, ACT_SECONDS, STAYS, **inputs)

    def _act_there(self, function: Callable[..., T], machine: str, session_id: str, wait: float, **inputs: Any) -> T:
        there = min(wait, ACT_SECONDS)
        return self._ask(
            function, machine, STUDENT, GOES_ON, there + ON_THE_WAY, session_id=session_id, wait=there, **inputs
        )


def id_on(machine: str, seals: Seals) -> str:
    """A session's id, a secret, which says on which machine it is."""
    said = f"{secrets.token_urlsafe(32)}.{machine}"
    return f"{said}.{_signature(said, seals)}"


def machine_in(session_id: str, seals: Seals) -> str | None:
    """The machine that an id names; "" where it names none, as those of a deployment without Redis; None: made up."""
    said, dot, signature = session_id.rpartition(".")
    if not dot:
        return ""
    if not hmac.compare_digest(_signature(said, seals).encode(), signature.encode("utf-8", "replace")):
        return None
    return said.partition(".")[2]


def _signature(said: str, seals: Seals) -> str:
    return seals.sign("session", said)[:SIGNED]


class DataElsewhere(MutableMapping[str, Any]):
    """What a lab's code keeps of a session of another machine: as `SessionData`; each use is a call to that."""

    def __init__(self, ask: Callable[..., Any], machine: str, session_id: str) -> None:
        self._ask, self._machine, self._session_id = ask, machine, session_id

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.change({name: value})

    def __delitem__(self, name: str) -> None:
        if not self._change({}, [name]):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"DataElsewhere({self._read()!r})"

    def change(self, values: Mapping[str, Any]) -> None:
        """Put several at once. Raises as `SessionData`; ServiceError: its machine can't do it."""
        json.dumps(dict(values))  # what JSON can't hold is refused here
        self._change(dict(values), [])

    def _change(self, values: dict[str, Any], without: builtins.list[str]) -> bool:
        ask, told = self._ask, {"session_id": self._session_id, "values": values, "without": without}
        try:
            changed: bool = ask(operations.change_session_data, self._machine, STUDENT, GOES_ON, ACT_SECONDS, **told)
        except InvalidParameter as error:
            raise ValueError(error.message) from error
        return changed

    def _read(self) -> dict[str, Any]:
        content: dict[str, Any] = self._ask(
            operations.session_data, self._machine, STUDENT, session_id=self._session_id
        )
        return content
