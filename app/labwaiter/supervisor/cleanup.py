"""Clearing up behind holders, by children of the supervisor: `guard` is what they do, and may take its time."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from ..lab.labfile import WatchedLab
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..store.readers import Reader, job_of
from ..system.cgroup import Groups
from ..system.process import boot_clock, mark_of
from . import disposal, guard, tasks
from .faults import Faults
from .running_job import RunningJob
from .single_instance import SingleInstance

log = logging.getLogger("labwaiter.supervisor")
SECONDS = 20.0  # a child that isn't done by then is ended, and what it did so far stands


@dataclass(frozen=True)
class CleanupTask:
    """What a child is at."""

    job: str = ""
    instruments: tuple[str, ...] = ()  # that it makes safe
    running_job: RunningJob | None = None  # the job that is settled afterwards
    begun: float = field(default_factory=boot_clock, compare=False)  # boot clock, s


class Cleanup:
    """The children that clear up, and what they are at."""

    def __init__(
        self,
        store: Folder,
        single_instance: SingleInstance,
        leases: Leases,
        lab: WatchedLab,
        faults: Faults,
        groups: Groups | None,
        own_descriptors: Callable[[], list[int]],
    ) -> None:
        """
        Args:
            groups: where jobs have their control groups.
            own_descriptors: those that no child of the supervisor may keep.
        """
        self._store, self._single_instance, self._leases, self._lab = store, single_instance, leases, lab
        self._faults, self._groups, self._own_descriptors = faults, groups, own_descriptors
        self._tasks: dict[int, CleanupTask] = {}  # by the child's pid
        self._orphans_due = False  # a child for orphaned leases could not be had so far

    # -- what is being done ---------------------------------------------------------------------

    @property
    def pids(self) -> Collection[int]:
        """The children."""
        return self._tasks.keys()

    @property
    def instruments(self) -> set[str]:
        """Those that a child is making safe."""
        return set().union(*(task.instruments for task in self._tasks.values()))

    def unsafe_after(self, running_job: RunningJob) -> list[str]:
        """The instruments of a job that were not made safe. Raises OSError."""
        if not running_job.instruments:
            return []
        return [lease.instrument for lease in self._leases.of_job(running_job.name) if lease.how is Held.UNSAFE]

    # -- having it done -------------------------------------------------------------------------

    def begin(self, running_job: RunningJob) -> None:
        """Have a child end what the job left behind, unless one is at it; where none can be had now, it is logged."""
        if any(task.running_job is running_job for task in self._tasks.values()):
            return
        with self._faults.of_shortage("a process that clears up after a job"):
            task = CleanupTask(running_job.name, running_job.instruments, running_job)
            seconds = _seconds_for(self._store, running_job.name)
            if running_job.rules.is_task:
                seconds += tasks.MAKE_SAFE_SECONDS
            self._begin(task, partial(guard.clear_up, self._store, running_job, self._groups), seconds)

    def forget_group(self, job: str) -> None:
        """Remove the control group of a job that said itself that it left nothing behind."""
        if self._groups is not None:
            self._groups.of(mark_of(self._store.root, job)).remove()

    def free_orphans(self, running: Collection[str]) -> None:
        """Make safe what jobs held that nobody runs any more: their supervisor died with them.

        Args:
            running: the names of the jobs that run.
        """
        self._orphans_due = True
        with self._faults.of_shortage("a process that makes instruments safe"):
            known = {*running, *(task.job for task in self._tasks.values())}
            for job, instruments in orphaned(self._leases.all().values(), known).items():
                log.warning("%s had %s and is gone: it is made safe", job, ", ".join(instruments))
                work = partial(guard.after_orphan, self._store, job, instruments, self._groups)
                self._begin(CleanupTask(job, instruments), work, _seconds_for(self._store, job))
            self._orphans_due = False

    def retry(self, running: Collection[str]) -> None:
        """As `free_orphans`, where that could not be done so far."""
        if self._orphans_due:
            self.free_orphans(running)

    def after_reader(self, reader: Reader) -> None:
        """Make safe what a process of the monitor's had open as it died."""
        with self._faults.of_shortage("a process that makes instruments safe"):
            work = partial(guard.after_reader, self._store, reader)
            self._begin(CleanupTask(job_of(reader.instrument), (reader.instrument,)), work)

    def in_a_child(self, work: Callable[[], None], purpose: str, seconds: float = SECONDS) -> int | None:
        """Have something else done that may take its time, but no more than so many s: the child, if one can be had."""
        child: int | None = None
        with self._faults.of_shortage(purpose):
            child = self._begin(CleanupTask(), work, seconds)
        return child

    def _begin(self, task: CleanupTask, work: Callable[[], None], seconds: float = SECONDS) -> int:
        lab = self._lab.now() if task.instruments else None
        # what lab.toml gives the instruments, and as much for a second way
        seconds += 2 * lab.safe_seconds(task.instruments) if lab else 0.0
        child = fork(work, self._own_descriptors(), seconds)
        self._tasks[child] = task
        return child

    # -- afterwards -----------------------------------------------------------------------------

    def take(self, pid: int) -> CleanupTask | None:
        """A child of the supervisor has ended: the task that it was at; None where it was none of these."""
        return self._tasks.pop(pid, None)

    def judge(self, task: CleanupTask) -> None:
        """What a child that has ended did not get to is unsafe, on a full disk, too."""
        for _ in range(2 if task.instruments else 0):
            try:
                guard.judge(self._store, task.job)
                return
            except OSError:
                log.exception("%s: its leases can't be written", task.job)
                self._single_instance.use_reserve()


def _seconds_for(store: Folder, job: str) -> float:
    """How long a child that clears up after a job may take, without making its instruments safe."""
    return SECONDS + disposal.seconds_for(store, job) + tasks.seconds_for(store, job)


def orphaned(leases: Collection[Lease], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The instruments that jobs hold which nobody knows, by these jobs' names."""
    orphans: dict[str, tuple[str, ...]] = {}
    for lease in leases:
        if lease.job and lease.how in (Held.BY_JOB, Held.MAKING_SAFE) and lease.job not in known:
            orphans[lease.job] = (*orphans.get(lease.job, ()), lease.instrument)
    return orphans


def fork(work: Callable[[], None], close: list[int], seconds: float) -> int:
    """Fork a child that does `work` and leaves: its pid.

    Args:
        close: descriptors that only the supervisor may hold.
        seconds: after so many it is ended.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(math.ceil(seconds))
        for fd in close:
            os.close(fd)
        work()
        status = 0
    except BaseException:
        log.exception("a child of the supervisor did not come to its end")
    finally:
        os._exit(status)
