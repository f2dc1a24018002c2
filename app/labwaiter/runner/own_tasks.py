"""A session's tasks, for its lab's code: in the session's process, in on_dispose's, and in a task's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import SessionOver
from ..model.record import Request
from ..model.remote_lab import RemoteLab, TaskFunction
from ..settings import Settings
from ..store.lab_tasks import LabTask, LabTasks, Wait
from ..store.local_store import LocalStore
from ..system.watch import until
from .job import Job


class OwnTasks:
    """The tasks of one session, for the lab's code."""

    def __init__(
        self,
        settings: Settings,
        session: str,
        request: Request,
        declared: RemoteLab,
        wait: Wait = until,
        look: Callable[[], None] | None = None,
        is_over: bool = False,
    ) -> None:
        """
        Args:
            session, request: the folder of its execution, and what was asked for.
            wait, look: as `LabTask` has them.
            is_over: it has ended, and starts no more.
        """
        self._tasks = LabTasks(LocalStore(settings, has_supervisor=True), session, wait, look)
        self._declared = {task.name: task for task in declared.tasks}
        self._request, self._is_over = request, is_over

    def start(self, task: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LabTask:
        """Start one. Raises as `TaskFunction.delay`."""
        if self._is_over:
            raise SessionOver("The session is over: it starts no more tasks.")
        return self._tasks.start(self._declared[task], self._request, args, kwargs, face="lab")

    def all(self, name: str | TaskFunction = "") -> list[LabTask]:
        """All of the session, ended ones too, or those of this name or function; the oldest first."""
        return self._tasks.all(_name(name))

    def running(self, name: str | TaskFunction = "") -> list[LabTask]:
        """Of these, those that have not ended."""
        return [task for task in self.all(name) if not task.finished]

    def get(self, task: str | TaskFunction) -> LabTask | None:
        """The one of this id; by a name or a function the first of these; None where there is none."""
        by_id = self._tasks.find(task) if isinstance(task, str) else None
        return by_id or next(iter(self.all(task)), None)

    def join(self, name: str | TaskFunction = "", timeout: float | None = None, stop: bool = False) -> None:
        """Wait for the end of all that run, or of those of this name or function.

        Args:
            timeout: s for all together; None: as long as it takes.
            stop: tell all to stop first.

        Raises:
            TimeoutError: one goes on.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        tasks = self.running(name)
        for task in tasks if stop else ():
            task.stop()
        for task in tasks:
            task.join(None if ends is None else max(0.0, ends - time.monotonic()))

    def __iter__(self) -> Iterator[LabTask]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())


def _name(task: str | TaskFunction) -> str:
    return task.name if isinstance(task, TaskFunction) else task


class CurrentTask(LabTask):
    """The task that runs here, for its own function: session.task."""

    def __init__(self, records: LocalStore, request: Request, name: str, job: Job) -> None:
        super().__init__(records, request, name)
        self._job = job

    def say(self, fraction: float | None, stage: str = "") -> None:
        """Say how far it is: a fraction from 0 to 1 or None, and what goes on, in a few words."""
        self._job.progress(fraction, stage)

    def join(self, timeout: float | None = None, stop: bool = False, error_on_timeout: bool = True) -> None:
        """Raises TimeoutError: a task would wait for itself."""
        raise TimeoutError(f"The task {self.name} can't wait for its own end.")
