"""A task of a session, in its own process: the lab's function is called, and what came of it written down."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import JobFailed, Misconfigured, ServiceError
from ..instruments.errors import InstrumentError
from ..model import lab_session, lab_task
from ..model.lab_session import About, about_of
from ..model.record import Request
from ..model.values import plain_tree
from ..settings import Settings
from ..store import lab_tasks
from ..store.files import read_bounded
from ..store.folder import Folder
from ..store.local_store import LocalStore
from .job import Job
from .own_tasks import CurrentTask, OwnTasks
from .session import Session, imported
from .stop import Aborted
from .task_line import LineToSession, RemoteInstrument, words_of

MESSAGE_MAX = 2000  # characters of an exception's words that are kept


class _TaskSession(Session):
    """The session, as a task gets it."""

    def __init__(self, about: About, folder: Path, instruments: Callable[[str], Any]) -> None:
        super().__init__(about, folder, instruments)
        self._told_in = folder / "data" / lab_session.SESSION

    @property
    def time_left(self) -> float:
        """Seconds that are left of it; 0 after its end. While on_start runs, as many as it is to last."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            told = read_bounded(self._told_in, 10 * lab_task.LARGEST)
            if told is not None:
                return max(0.0, float(json.loads(told)["ends"]) - time.time())
        return self.length_s


def run(job: Job, store: Folder, settings: Settings, request: Request) -> None:
    """Call the task's function, and write down what came of it.

    Raises:
        JobFailed: it failed; the message says why.
    """
    name, session_job = str(request.inputs["task"]), str(request.inputs["session"])
    of_session = store.request(session_job)
    if of_session is None:
        raise JobFailed("The session of this task is gone.")
    folder = store.path(session_job)
    try:
        line = LineToSession(folder, request.service_id)
        lab, declared = imported(settings, of_session)
        if name not in lab.task_functions:
            raise JobFailed(f"The lab {declared.name} has no task {name} any more.")
    except Misconfigured as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        raise JobFailed(f"The lab {request.inputs['lab']} is not available: {error}") from None
    function = lab.task_functions[name].function
    instruments = lab_session.instruments_of(of_session)

    def instrument(asked: str) -> Any:
        if asked not in instruments:
            raise KeyError(f"This lab has no instrument {asked}; it has: {', '.join(instruments)}.")
        return RemoteInstrument(line, asked)

    session = _TaskSession(about_of(str(of_session.inputs["about"])), folder, instrument)
    own = OwnTasks(settings, session_job, of_session, declared)
    session.tasks = lab.tasks_here = own
    session.task = CurrentTask(LocalStore(settings, has_supervisor=True), request, job.folder.name, job)
    call = json.loads(str(request.inputs["call"]))
    try:
        gave = function(session, *call["args"], **call["kwargs"])
        lab_tasks.keep(job.folder, lab_task.RESULT, {"result": plain_tree(gave, f"What {name} gave")})
    except Aborted:
        raise
    except BaseException as error:
        told = {"code": "exception", "class": type(error).__name__, "message": words_of(error)[:MESSAGE_MAX]}
        lab_tasks.keep(job.folder, lab_task.ERROR, told)
        if isinstance(error, InstrumentError):
            raise
        if not isinstance(error, ServiceError):
            traceback.print_exc()
        words = " ".join(words_of(error).split())[:300]
        raise JobFailed(f"The task {name} failed: {words or type(error).__name__} ({type(error).__name__}).") from None
