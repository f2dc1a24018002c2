"""A session, in the process on its instruments' lines; and on_dispose, in a process of its own after it.

The session's process opens what the lab needs, has on_start called, says that its student may come, or why not, and
then serves (`runner/holding.py`). It ends and that is all: what it leaves is put away by the guard
(`supervisor/disposal.py`), which runs `python -m labwaiter.runner.session JOB` for on_dispose.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .. import settings as settings_module
from ..errors import InvalidParameter, JobFailed, Misconfigured, MissingParameter, ServiceError
from ..instruments.opening import Opened
from ..instruments.panel import panel_of
from ..instruments.reading import words_of
from ..lab import labfile
from ..model import lab_session
from ..model.lab_session import About, about_of
from ..model.panel import What
from ..model.record import Request
from ..model.remote_lab import Lab, RemoteLab
from ..model.sentences import N_
from ..model.values import plain_tree
from ..service_files import import_lab, put_on_path
from ..settings import Settings
from ..store.files import write_whole
from ..store.folder import Folder
from ..store.session_data import SessionData
from ..system.watch import until
from .holding import HeldInstrument, Serving
from .job import Job
from .own_tasks import CurrentTask, OwnTasks
from .recorder import Table
from .task_line import TaskLine

ANSWER_MAX = 15_000  # characters of what an action returns: a reply may have some more
LATE = 2.0  # s after its end at which a driver that hangs is ended with this process


class OutOfTime(BaseException):
    """on_start or on_dispose has had its time. No Exception, so that `except Exception` doesn't swallow it."""


class Session:
    """A session, as a lab's functions get it.

    Attributes:
        username, unique, full_name, locale: whose it is, as the calling system says it.
        client_data, server_data: all that this said, as dicts.
        category, experiment, reservation_id, back: likewise.
        data: what the lab's code keeps of it: it survives this process. See `SessionData`.
        length_s: how long it is to last, in seconds.
        files: a folder; what lies in it can be taken home.
        tasks: its tasks: see `OwnTasks`.
        task: in a task, that one: see `CurrentTask`; elsewhere None.
    """

    tasks: OwnTasks
    task: CurrentTask | None = None

    def __init__(self, about: About, folder: Path, instruments: Callable[[str], Any]) -> None:
        self.username, self.unique, self.full_name = about.username, about.unique, about.full_name
        self.locale, self.category, self.experiment = about.locale, about.category, about.experiment
        self.client_data, self.server_data = about.client_data, about.server_data
        self.reservation_id, self.back = about.reservation_id, about.back
        self.length_s = about.length_s
        self.data = SessionData(folder)
        self.files = folder / "data" / lab_session.FILES
        self._instruments = instruments
        self._ends: float | None = None  # Unix time, s

    def instrument(self, name: str) -> Any:
        """The driver of an instrument, open, by the lab's name for it. Raises KeyError: the lab has none of it."""
        return self._instruments(name)

    @property
    def time_left(self) -> float:
        """Seconds that are left of it; 0 after its end."""
        return 0.0 if self._ends is None else max(0.0, self._ends - time.time())

    def ends_at(self, when: float) -> None:
        """It ends then (Unix time, s): its process knows."""
        self._ends = when

    def __repr__(self) -> str:
        return f"Session({self.username!r}, {self.time_left:.0f} s left)"


@contextlib.contextmanager
def _at_most(seconds: float, name: str) -> Any:
    """Have OutOfTime raised in the main thread after so many seconds."""

    def over(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"{name} took longer than its {seconds:g} s.")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- the session's process ----------------------------------------------------------------------


def judge_wanted(request: Request) -> None:
    """Raises JobFailed: whoever wanted the session waits for it no longer."""
    if time.time() > float(request.inputs["wanted_until"]):
        raise JobFailed("Whoever asked for this session waits for it no longer.")


def serve(job: Job, store: Folder, settings: Settings, request: Request, opened: dict[str, Opened]) -> None:
    """Be the session, from on_start to its end.

    Args:
        opened: its instruments, by the lab's names for them.

    Raises:
        JobFailed: it could not begin; the message says why.
        InstrumentError: a line is lost, or another device answers.
    """
    about = about_of(str(request.inputs["about"]))
    try:
        lab, declared = imported(settings, request)
        held = []
        for name, one in opened.items():
            panel = declared.panel(name, panel_of(one.device, one.entry))
            held.append(HeldInstrument(name, one, panel))
    except Misconfigured as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise JobFailed(f"The lab {request.inputs['lab']} is not available: {error}") from None
    session = Session(about, job.folder, lambda name: opened[name].device)
    session.files.mkdir(exist_ok=True)
    line = TaskLine(job.folder, opened)

    def wait(folder: Path, look: Callable[[], Any], seconds: float) -> Any:
        """As `until`; meanwhile the tasks that are waited for have their calls taken."""

        def turn() -> Any:
            line.serve()
            job.check()
            return look()

        return until(folder, turn, seconds, line.descriptors)

    session.tasks = lab.tasks_here = OwnTasks(settings, job.folder.name, request, declared, wait, line.serve)
    seconds = about.length_s
    if about.initialization_in_accounting and about.start:
        seconds -= max(0.0, time.time() - about.start)
    session.ends_at(time.time() + seconds)
    due = {"limit": declared.dispose_limit, "at": time.time()}
    write_whole(job.folder / lab_session.DISPOSE, json.dumps(due).encode(), durable=True)
    began = time.monotonic()
    if lab.start_function is not None:
        _start(lab.start_function, session, declared)
    if about.initialization_in_accounting:
        seconds -= time.monotonic() - began
    if seconds <= 0:
        raise JobFailed("The session's time was over before the lab was ready.")
    session.ends_at(time.time() + seconds)
    told = {
        "began": time.time(),
        "ends": time.time() + seconds,
        "panels": {one.name: one.panel.as_data() for one in held},
        "identities": {one.name: one.identity for one in held},
        "actions": declared.own.as_data(),
        "tasks": [task.as_data() for task in declared.tasks],
    }
    job.write(lab_session.SESSION, json.dumps(told))
    # a driver that hangs then is ended by the kernel: nothing else of this process would
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + LATE)
    _InSession(job, held, store, lab, session, declared, line, lab_session.unattended_of(request)).serve(seconds)


def imported(settings: Settings, request: Request) -> tuple[Lab, RemoteLab]:
    """The lab of a session. Raises Misconfigured."""
    put_on_path(str(settings.services))  # drivers of this lab's own lie beside its services
    return import_lab(settings.labs / f"{request.inputs['lab']}.py")


def _start(function: Callable[[Any], Any], session: Session, declared: RemoteLab) -> None:
    try:
        with _at_most(declared.start_limit, "on_start"):
            function(session)
    except OutOfTime as error:
        traceback.print_exc()
        raise JobFailed(f"The lab could not be made ready: {error}") from None
    except ServiceError as error:  # a sentence for people
        raise JobFailed(f"The lab could not be made ready: {error.message}") from error
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        words = " ".join(str(error).split())[:200]
        raise JobFailed(
            f"The lab could not be made ready: on_start failed ({type(error).__name__}{f': {words}' if words else ''})."
        ) from None


class _InSession(Serving):
    """Several instruments, and the lab's own actions."""

    def __init__(
        self,
        job: Job,
        held: list[HeldInstrument],
        store: Folder,
        lab: Lab,
        session: Session,
        declared: RemoteLab,
        line: TaskLine,
        unattended: float | None,
    ) -> None:
        super().__init__(job, held, store, unattended)
        self._lab, self._session, self._declared = lab, session, declared
        self._by_name = {one.name: one for one in held}
        self._line = line
        self._results: list[dict[str, Any]] = []  # of the lab's actions
        self._table, self._began = Table(session.files / lab_session.RECORDED), time.monotonic()

    def _tell(self) -> None:
        told = {"at": time.time(), "readings": {one.name: one.read for one in self._held}, "results": self._results}
        self._job.write(lab_session.READINGS, json.dumps(told))
        row: dict[str, Any] = {"time": round(time.monotonic() - self._began, 3)}
        units = {"time": "s"}
        for one in self._held:
            for name, read in one.read.items():
                value = read.get("value")
                if isinstance(value, int | float) and not isinstance(value, bool):
                    row[f"{one.name}.{name}"], units[f"{one.name}.{name}"] = value, str(read.get("unit") or "")
        with contextlib.suppress(OSError):  # a full disk costs the row, not the session
            self._table.add(row, units)

    def _wait(self, seconds: float) -> None:
        until(self._job.folder, self._has_work, seconds, self._line.descriptors)

    def _has_work(self) -> bool:
        return self._has_come() or self._line.has_come()

    def _obey_all(self) -> None:
        super()._obey_all()
        self._line.serve()

    def _obey(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if "act" in wanted:
            return self._act(str(wanted["act"]), wanted.get("inputs", {}))
        return self._set_or_do(self._by_name[wanted["instrument"]], wanted)

    def _act(self, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        try:
            item = self._declared.own.find(self._declared.name, name, What.ACTION)
            values = item.accept(self._declared.name, inputs)
        except (InvalidParameter, MissingParameter) as error:
            return {"why": error.message}
        try:
            gave = self._lab.action_functions[name](self._session, **values)
            answer = {"done": True, "gave": plain_tree(gave, f"What {name} gave")}
            if len(json.dumps(answer)) > ANSWER_MAX:
                return {"why": f"{name} gave more than can be shown: put it into a file of session.files."}
            result = {"action": name, "at": time.time(), "inputs": values, "gave": answer["gave"]}
            self._results = [result, *self._results][: lab_session.RESULTS_MAX]
            self._tell()
            return answer
        except (Exception, SystemExit) as error:  # sys.exit() in it, too, is the end of the action alone
            why = words_of(name, error)
            if not isinstance(error, ServiceError):
                traceback.print_exc()
            return {"why": why}


# -- on_dispose's process -----------------------------------------------------------------------


class _OnDemand:
    """The instruments of a session that is over, each opened when it is first asked for."""

    def __init__(self, settings: Settings, names: dict[str, str]) -> None:
        self._settings, self._names = settings, names
        self._opened: dict[str, Opened] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._opened:
            entry = labfile.load(self._settings.lab).entries[self._names[name]]
            self._opened[name] = Opened(entry, self._settings.jobs_folder, rescue=True)
        return self._opened[name].device

    def close(self) -> None:
        for one in self._opened.values():
            with contextlib.suppress(Exception):
                one.close()


def dispose(settings: Settings, job: str) -> str:
    """Have the lab's on_dispose called for a session that is over: why it failed, in a sentence; "": it is done."""
    store = Folder(settings.jobs_folder)
    request = store.request(job)
    if request is None:
        return N_("on_dispose was not run: the session's record is gone.")
    instruments = _OnDemand(settings, lab_session.instruments_of(request))
    try:
        lab, declared = imported(settings, request)
        if lab.dispose_function is None:
            return ""
        session = Session(about_of(str(request.inputs["about"])), store.path(job), instruments)
        session.tasks = lab.tasks_here = OwnTasks(settings, job, request, declared, is_over=True)
        with _at_most(declared.dispose_limit, "on_dispose"):
            lab.dispose_function(session)
        return ""
    except OutOfTime as error:
        traceback.print_exc()
        return f"{error} {N_('It was ended.')}"
    except Misconfigured as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        return N_(f"on_dispose was not run: {error}")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        words = " ".join(str(error).split())[:200]
        if words:
            return N_(f"on_dispose failed ({type(error).__name__}: {words}).")
        return N_(f"on_dispose failed ({type(error).__name__}).")
    finally:
        instruments.close()


def main() -> None:
    """Entry: `python -m labwaiter.runner.session JOB`, with the job's log as standard error; tells a line of JSON."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what on_dispose prints is for the log
    try:
        settings = settings_module.load()
    except Misconfigured:
        # a mistake that somebody is just making in the file env keeps no lab from being put away
        traceback.print_exc()
        settings = settings_module.load(env_file=Path(os.devnull))
    why = dispose(settings, sys.argv[1])
    sys.stdout.flush()
    print(json.dumps({"why": why}), file=out, flush=True)
    os._exit(0)  # a thread that on_dispose left is not waited for


if __name__ == "__main__":
    main()
