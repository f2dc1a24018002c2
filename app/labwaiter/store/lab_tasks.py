"""The tasks of sessions of remote labs, for whoever starts, sees and stops them: the lab's code, verbs, the guard.

What is told of a task lies in its execution's folder; in its session's folder a file by its name says whose it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..errors import AlreadyRunning, TooManyJobs, Unavailable
from ..model import lab_task
from ..model.lab_session import about_of
from ..model.lab_task import TaskDeclaration
from ..model.record import ENDED, Progress, Request, State, StoredState
from ..model.values import plain_tree
from ..system import flock
from ..system.process import boot_clock
from ..system.watch import until
from .files import make_folder, open_ours, read_record, rights_in, write_whole
from .folder import Folder
from .local_store import LocalStore
from .session_data import SessionData

PATIENCE = 5.0  # s that a start waits for others'
T = TypeVar("T")
STATUS = {State.QUEUED: "submitted", State.RUNNING: "running", State.COMPLETED: "done"}  # all else: failed


class Wait(Protocol):
    """How an end is waited for: `system.watch.until`, or with something else done meanwhile."""

    def __call__(self, folder: Path, look: Callable[[], T | None], seconds: float) -> T | None:
        """What `look` gives once it is true; None after so many seconds."""


class LabTask:
    """A task of a session: each look at it tells how it stands now."""

    def __init__(
        self,
        records: LocalStore,
        request: Request,
        name: str,
        wait: Wait = until,
        look: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            name: of its execution's folder.
            look: called before each look at its state.
        """
        self._records, self._request, self._name, self._wait, self._look = records, request, name, wait, look
        self._folder = records.folder.path(name)

    @property
    def task_id(self) -> str:
        """By which it is asked for later: a text, the serviceID of its execution."""
        return self._request.service_id

    @property
    def name(self) -> str:
        """Its function's."""
        return str(self._request.inputs["task"])

    @property
    def session(self) -> str:
        """The folder of its session's execution."""
        return str(self._request.inputs["session"])

    @property
    def ended(self) -> float | None:
        """Unix time (s) at which it ended; None before."""
        return self._stored().ended

    @property
    def created(self) -> float:
        """Unix time (s) at which it was asked for."""
        return self._request.created

    @property
    def status(self) -> str | None:
        """ "submitted", "running", "done" or "failed"; None: it was removed."""
        if self._look is not None:
            self._look()
        state = self._state()
        return None if state is None else STATUS.get(state, "failed")

    def _state(self) -> State | None:
        if not self._folder.is_dir() or self._records.folder.request(self._name) is None:
            return None
        stored = self._stored()
        if stored.state not in ENDED:
            self._records.have_supervisor()  # somebody has to run it, or to say how it ended
        return stored.state

    def _stored(self) -> StoredState:
        """An end counts once the supervisor has written it: then nothing of it is left."""
        try:
            return self._records.folder.stored_state(self._name) or StoredState()
        except (OSError, ValueError, TypeError, KeyError):
            raise Unavailable("The record of this task can't be read now; try again in a moment.") from None

    @property
    def submitted(self) -> bool:
        """Whether it has not begun."""
        return self.status == "submitted"

    @property
    def running(self) -> bool:
        """Whether it has begun, and not ended."""
        return self.status == "running"

    @property
    def done(self) -> bool:
        """Whether it has ended well."""
        return self.status == "done"

    @property
    def failed(self) -> bool:
        """Whether it has ended by an error, or was ended."""
        return self.status == "failed"

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.status not in ("submitted", "running")

    @property
    def result(self) -> Any:
        """What its function returned; None unless it is done."""
        return self._told(lab_task.RESULT).get("result") if self.done else None

    @property
    def error(self) -> dict[str, str] | None:
        """Why it failed: "code", "class" and "message"; None unless it did.

        The code is "exception" where the function raised one, whose class and words are told; "stopped" where it was
        ended because it had not stopped by itself, or its session was over; "died" where its process ended otherwise.
        """
        if not self.failed:
            return None
        told = self._told(lab_task.ERROR)
        if set(told) == {"code", "class", "message"}:
            return {name: str(value) for name, value in told.items()}
        stored = self._stored()
        if stored.state is State.ABORTED:
            return {"code": "stopped", "class": "Stopped", "message": stored.why}
        return {"code": "died", "class": "Died", "message": stored.why}

    @property
    def data(self) -> SessionData:
        """What its code keeps, like a dict; anybody may read it meanwhile, and after its end."""
        return SessionData(self._folder, lab_task.DATA)

    @property
    def progress(self) -> Progress:
        """How far it is, by its own word."""
        return self._records.folder.progress(self._name)

    @property
    def stopping(self) -> bool:
        """Whether it is told to stop."""
        return any((self._folder / mark).exists() for mark in (lab_task.STOP, "abort"))

    def stop(self) -> None:
        """Tell it to stop: `stopping` is true from now on. One that goes on is ended after its `grace`."""
        if self._stored().state in ENDED:
            return
        tell_to_stop(self._records.folder, self._name)

    def join(self, timeout: float | None = None, stop: bool = False, error_on_timeout: bool = True) -> None:
        """Wait for its end.

        Args:
            timeout: s; None: as long as it takes.
            stop: tell it to stop first.

        Raises:
            TimeoutError: it goes on, unless `error_on_timeout` is False.
        """
        if stop:
            self.stop()
        left = float("inf") if timeout is None else max(0.0, timeout)
        if not self._wait(self._folder, lambda: self.finished, left) and error_on_timeout:
            raise TimeoutError(f"The task {self.name} goes on after {timeout:g} s.")

    def _told(self, file: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(read_record(self._folder / file, 2 * lab_task.LARGEST) or b"{}")
            return told if isinstance(told, dict) else {}
        return {}

    def __repr__(self) -> str:
        return f"<task {self.name} {self.task_id}: {self.status}>"


class LabTasks:
    """The tasks of one session."""

    def __init__(
        self, records: LocalStore, session: str, wait: Wait = until, look: Callable[[], None] | None = None
    ) -> None:
        """
        Args:
            session: the folder of its execution.
            wait, look: as `LabTask` has them.
        """
        self._records, self._session, self._wait, self._look = records, session, wait, look
        self._folder = records.folder.path(session) / lab_task.TASKS

    def all(self, name: str = "") -> list[LabTask]:
        """All of it, or those of this name; the oldest first."""
        tasks = []
        for own in names_of(self._records.folder, self._session):
            task = self._task(own)
            if task is not None and name in ("", task.name):
                tasks.append(task)
        return sorted(tasks, key=lambda task: (task.created, task.task_id))

    def find(self, task_id: str) -> LabTask | None:
        """The one of this id; None where the session has none."""
        return self._task(task_id) if task_id in names_of(self._records.folder, self._session) else None

    def _task(self, name: str) -> LabTask | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            request = self._records.folder.request(name)
            if request is not None and request.service == lab_task.NAME:
                return LabTask(self._records, request, name, self._wait, self._look)
        return None

    def start(
        self, declared: TaskDeclaration, session: Request, args: Any, kwargs: Mapping[str, Any], face: str = ""
    ) -> LabTask:
        """Start one.

        Args:
            session: the request of its execution.
            args, kwargs: what the function takes after `session`.

        Raises:
            TypeError: JSON can't hold these.
            AlreadyRunning: it is unique, and one runs.
            TooManyJobs: as many tasks or executions are there as may.
            Unavailable: it can't be started now; the message says why.
        """
        label = f"What {declared.name} is given"
        call = json.dumps({"args": plain_tree(list(args), label), "kwargs": plain_tree(dict(kwargs), label)})
        if len(call) > lab_task.LARGEST:
            raise TypeError(f"{label} has {len(call):,} characters; at most {lab_task.LARGEST:,} go: use a file.")
        lab, about = str(session.inputs["lab"]), about_of(str(session.inputs["about"]))
        unique = about.unique or about.username
        service = lab_task.signature(self._records.settings.labs / f"{lab}.py")
        inputs = {
            "lab": lab,
            "task": declared.name,
            "session": self._session,
            "unique": unique,
            "grace": declared.grace,
            "call": call,
        }
        request = Request(
            service_id=lab_task.new_id(),
            service=service.name,
            inputs=inputs,
            user=session.user,
            created=time.time(),
            signature=service.as_data(),
            face=face,
        )
        with self._turn():
            self._judge(declared, lab, unique)
            claimed, name = False, request.service_id
            tell = self._records.admit(request)
            try:
                self._note(name)
                claimed = self._records.claim(name, request)
            finally:
                tell(claimed)
        return LabTask(self._records, request, name, self._wait, self._look)

    def _judge(self, declared: TaskDeclaration, lab: str, unique: str) -> None:
        own = names_of(self._records.folder, self._session)
        active = [name for name in self._records.folder.active_names() if name.startswith(lab_task.PREFIX)]
        if len(own & set(active)) >= lab_task.AT_ONCE:
            raise TooManyJobs(
                f"This session has {lab_task.AT_ONCE} tasks that have not ended, as many as it may; stop one, or wait."
            )
        if len(own) >= lab_task.KEPT:
            raise TooManyJobs(f"This session has had {lab_task.KEPT} tasks, as many as it may.")
        if not declared.unique:
            return
        for name in active:
            task = self._task(name)
            inputs = task._request.inputs if task is not None else {}
            if (inputs.get("lab"), inputs.get("task")) != (lab, declared.name) or (task is not None and task.finished):
                continue
            if declared.unique == "global":
                raise AlreadyRunning(f"{declared.name} is running already: it runs once at a time in the whole lab.")
            if inputs.get("unique") == unique:
                raise AlreadyRunning(f"{declared.name} is running already: it runs once at a time for each user.")

    def _note(self, name: str) -> None:
        """Note whose it is, before it is there."""
        try:
            with contextlib.suppress(FileExistsError):
                make_folder(self._folder, rights_in(self._folder.parent))
            os.close(open_ours(self._folder / name, os.O_WRONLY | os.O_EXCL))
        except OSError as error:
            raise Unavailable(
                f"The task can't be started: its session's folder takes nothing ({error.strerror})."
            ) from error

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Of those who start tasks in this deployment, one at a time."""
        file = self._records.folder.layout.tasks_lock
        fd = open_ours(file, os.O_RDWR)
        try:
            flock.lock(fd, PATIENCE)
            yield
        except BlockingIOError as error:
            raise Unavailable("Too many tasks are started at the same time; try again in a moment.") from error
        finally:
            os.close(fd)


def names_of(folder: Folder, session: str) -> set[str]:
    """The folders of a session's tasks; of one that could not be started there is none."""
    try:
        return set(os.listdir(folder.path(session) / lab_task.TASKS))
    except OSError:
        return set()


def tell_to_stop(folder: Folder, name: str) -> None:
    """Tell a task to stop. Raises ServiceError."""
    mark = folder.path(name) / lab_task.STOP
    try:
        if folder.mark(name, lab_task.STOP):
            now = boot_clock()  # which nobody sets
            os.utime(mark, (now, now))
    except OSError as error:
        raise Unavailable(f"The task can't be told to stop: its folder takes nothing ({error.strerror}).") from error


def told_to_stop_at(folder: Folder, name: str) -> float | None:
    """When a task was told to stop, by the boot clock, s; None: it wasn't."""
    return folder.marked_at(name, lab_task.STOP)


def came_to_its_end(folder: Folder, name: str) -> bool:
    """Whether a task's function has returned or raised by itself; what was ended, or died, has left nothing written."""
    return any((folder.path(name) / file).exists() for file in (lab_task.RESULT, lab_task.ERROR))


def keep(folder: Path, file: str, content: dict[str, Any]) -> None:
    """Write down what came of a task. Raises ValueError: it is too large; OSError."""
    text = json.dumps(content).encode()
    if len(text) > lab_task.LARGEST:
        raise ValueError(f"it gave {len(text):,} bytes; at most {lab_task.LARGEST:,} are kept: use a file.")
    write_whole(folder / file, text, durable=True)
