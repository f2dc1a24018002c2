"""Running jobs: told to stop, killed, cleared up after, settled.

Every end of every job is written here, by `record.move`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..lab.lab import Kept
from ..model.record import End, State, StoredState, move, settle, unbegun
from ..model.span import span
from ..store.folder import Folder, ran
from ..store.leases import Held, Leases
from ..store.silence_watch import silence
from ..system.process import boot_clock, ended_children, strays, tell_group
from . import guard
from .guard import DAMAGED, CleanupTask
from .running_job import RunningJob
from .single_instance import SingleInstance

log = logging.getLogger("labwaiter.supervisor")
ABORTED = "The execution was aborted."
ABANDONED = "The execution was abandoned by its workflow manager: that asked nothing for {}."
END_DAMAGED = "The execution ended, but its record of how (end.json) is damaged."
PARENT_SECONDS = 1.0  # how long a parent may take to tell how its child ended
WANT = (OSError, MemoryError)  # no processes, no descriptors, no memory, no disk: to be waited out
LONGEST_PAUSE = 30.0  # s between two looks at an end that can't be read
SAY_EVERY = 60.0  # s between two lines in the log that say the same of a want


class Keeper:
    """The running jobs, those who clear up after them, and the ends that couldn't be written yet."""

    def __init__(
        self,
        store: Folder,
        single_instance: SingleInstance,
        selector: selectors.BaseSelector,
        only_ours: Callable[[], list[int]],
        lab_file: Path,
    ) -> None:
        """
        Args:
            only_ours: the descriptors that no child of the supervisor may keep.
        """
        self.store, self.single_instance, self.selector, self._only_ours = store, single_instance, selector, only_ours
        self.leases, self.lab = Leases(store.root), Kept(lab_file)
        self.running_jobs: dict[str, RunningJob] = {}
        self.guards: dict[int, CleanupTask] = {}  # a guard's pid → what it is at
        self.unwritten: dict[str, StoredState] = {}  # ends that a full disk refused so far
        # jobs that are over, and how can't be read so far: they hold up nobody, and the next supervisor looks, too
        self.unsettled: dict[str, RunningJob] = {}
        self.wishes: set[str] = set()  # jobs to be aborted, where no disk could take the mark
        self._odd: set[str] = set()  # jobs with which something went wrong that nobody foresaw
        self._orphans_due = False  # those of leases whose jobs nobody runs: a child could not be had so far
        self._told: dict[str, float] = {}  # wants, and when the log was told, boot clock, s
        # has a job wait again that never began
        self.on_unbegun: Callable[[RunningJob], None] = lambda running_job: None

    @property
    def busy(self) -> bool:
        """Whether something is left to be done before this process may leave; but see `unwritten`."""
        return bool(self.running_jobs or any(task.instruments for task in self.guards.values()))

    @property
    def instruments(self) -> set[str]:
        """Those that a running job has, or a guard is at."""
        held = [running_job.instruments for running_job in self.running_jobs.values()]
        return set().union(*held, *(task.instruments for task in self.guards.values()))

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Whatever nobody foresaw in one job's data concerns that job alone: it is logged once, the others go on."""
        try:
            yield
        except Exception:
            if name not in self._odd:  # it may be so at every tick
                log.exception("%s: this was not foreseen; the others go on", name)
            self._odd.add(name)

    @contextlib.contextmanager
    def waited_out(self, what: str) -> Iterator[None]:
        """Whatever the machine has too little of now ends nothing: it is logged, and tried again when it is due."""
        try:
            yield
        except WANT as want:
            now = boot_clock()
            if now - self._told.get(what, -SAY_EVERY) >= SAY_EVERY:
                self._told[what] = now
                log.warning("%s: not possible now (%s); it is tried again", what, want, exc_info=True)

    # -- watching ---------------------------------------------------------------------------------

    def take(self, running_job: RunningJob) -> None:
        """Watch a running job from now on."""
        self.running_jobs[running_job.name] = running_job
        if running_job.pidfd is not None:
            self.selector.register(running_job.pidfd, selectors.EVENT_READ, lambda: self._on_gone(running_job))

    def _unwatch(self, running_job: RunningJob) -> None:
        if running_job.pidfd is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(running_job.pidfd)
            os.close(running_job.pidfd)
            running_job.pidfd = None

    def _on_gone(self, running_job: RunningJob) -> None:
        """Its process has ended. Whoever is its parent knows how, and tells in a moment."""
        self._unwatch(running_job)
        running_job.gone_at = boot_clock()
        if running_job.nursery_pid is None:
            self.reap()
            if running_job.name in self.running_jobs and running_job.status is None:
                with self.alone(running_job.name):
                    self.clear_up(running_job)

    def on_exited(self, name: str, status: int) -> None:
        """A parent tells how a runner ended (negative for a signal)."""
        running_job = self.running_jobs.get(name)
        if running_job is None or running_job.status is not None:
            return
        running_job.status, running_job.gone_at = status, running_job.gone_at or boot_clock()
        self._unwatch(running_job)
        if status == 0 and not running_job.instruments and self._end_is_there(running_job):
            self._settle(running_job)  # it said itself that it left nothing behind
        else:
            self.clear_up(running_job)

    def check(self, now: float) -> None:
        """What is due: wishes nobody woke us for, limits, the end of a grace (`now`: boot clock, s)."""
        for running_job in list(self.running_jobs.values()):
            with self.alone(running_job.name):
                self._check(running_job, now)
        for name, condition in list(self.unwritten.items()):
            with contextlib.suppress(OSError):
                self.write(name, condition)
                self.store.forget_active(name)
                del self.unwritten[name]
                self.single_instance.keep_reserve()
        for name, running_job in list(self.unsettled.items()):
            if now >= running_job.again_at:
                with self.alone(name):
                    self._settle(running_job)
        if self._orphans_due:
            self.free_orphans()

    def wanted_gone(self, name: str) -> bool:
        """Whether somebody wants this job aborted."""
        with contextlib.suppress(OSError):  # what can't be seen now is looked at again
            return name in self.wishes or self.store.marked(name, "abort")
        return False

    def _check(self, running_job: RunningJob, now: float) -> None:
        if running_job.gone_at is not None and now - running_job.gone_at > PARENT_SECONDS:
            self.clear_up(running_job)  # nobody told how it ended, or that went wrong before
        elif running_job.condition.stopping is None:
            if self.wanted_gone(running_job.name):
                self.stop(running_job, "abort", ABORTED)
            elif due := running_job.overdue(self.store, now) or self._abandoned(running_job):
                self.stop(running_job, *due)
        elif running_job.kill_at is not None and now >= running_job.kill_at:
            self.kill(running_job)

    def _abandoned(self, running_job: RunningJob) -> tuple[str, str] | None:
        """The reason and the sentence, once its workflow manager has been silent for too long."""
        found = silence(self.store, self.lab.now(), running_job.name, running_job.instruments)
        if found is None or found.seconds < found.most:
            return None
        return "abandoned", ABANDONED.format(span(found.most))

    # -- stopping ---------------------------------------------------------------------------------

    def stop(self, running_job: RunningJob, reason: str, why: str) -> None:
        """The polite stop; the sure one follows after its grace."""
        if running_job.condition.stopping is not None or running_job.gone_at is not None:
            return
        log.info("%s is told to stop: %s", running_job.name, reason)
        running_job.stopping(reason, why, "told to stop")
        self._write_or_log(running_job.name, running_job.condition)
        running_job.kill_at = boot_clock() + running_job.rules.grace
        self._signal(running_job, signal.SIGTERM)

    def _signal(self, running_job: RunningJob, number: int) -> None:
        if running_job.pid is None or tell_group(running_job.pid, number):
            return
        # one that has just been forked has no group of its own yet
        if running_job.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(running_job.pidfd, number)

    def kill(self, running_job: RunningJob) -> None:
        """The sure stop."""
        running_job.kill_at = None
        stopping = running_job.condition.stopping
        if stopping is not None:
            running_job.stopping(stopping.reason, stopping.why, "killed")
            self._write_or_log(running_job.name, running_job.condition)
        self._signal(running_job, signal.SIGKILL)

    # -- ending -----------------------------------------------------------------------------------

    def clear_up(self, running_job: RunningJob) -> None:
        """Have a child end what the job left behind, then settle the job; where none can be had, `check` asks again."""
        if any(task.running_job is running_job for task in self.guards.values()):
            return
        running_job.gone_at = running_job.gone_at or boot_clock()
        with self.waited_out("a process that clears up after a job"):
            seconds = self._seconds_for(running_job.instruments)
            pid = guard.in_a_child(lambda: guard.clear_up(self.store, running_job), self._only_ours(), seconds)
            self.guards[pid] = CleanupTask(running_job.name, running_job.instruments, running_job)

    def _seconds_for(self, instruments: tuple[str, ...]) -> float:
        """How long clearing up may take: what lab.toml gives the instruments, and as much for a second way."""
        lab = self.lab.now()
        return guard.SECONDS + (2 * lab.safe_seconds(instruments) if lab else 0.0)

    def free_orphans(self) -> None:
        """Make safe what jobs held that nobody runs any more: their supervisor died with them."""
        self._orphans_due = True
        with self.waited_out("a process that makes instruments safe"):
            self._free_orphans()
            self._orphans_due = False

    def _free_orphans(self) -> None:
        busy = {task.job for task in self.guards.values()}
        orphans: dict[str, list[str]] = {}
        for lease in self.leases.all().values():
            if (
                lease.job
                and lease.how in (Held.BY_JOB, Held.MAKING_SAFE)
                and lease.job not in {*self.running_jobs, *busy}
            ):
                orphans.setdefault(lease.job, []).append(lease.instrument)
        for job, names in orphans.items():
            log.warning("%s had %s and is gone: it is made safe", job, ", ".join(names))
            task = CleanupTask(job, tuple(names))
            work = partial(guard.after_orphan, self.store, job, task.instruments)
            pid = guard.in_a_child(work, self._only_ours(), self._seconds_for(task.instruments))
            self.guards[pid] = task

    def in_a_child(self, work: Callable[[], None]) -> None:
        """Have something done that may take its time."""
        with self.waited_out("a process that looks after old executions"):
            self.guards[guard.in_a_child(work, self._only_ours())] = CleanupTask()

    def _judge(self, task: CleanupTask) -> None:
        """After a guard: what it did not get to is unsafe, on a full disk, too."""
        for _ in range(2):
            try:
                guard.judge(self.store, task.job)
                return
            except OSError:
                log.exception("%s: its leases can't be written", task.job)
                self.single_instance.use_reserve()

    def _end_is_there(self, running_job: RunningJob) -> bool:
        try:
            return self.store.end(running_job.name) is not None
        except (OSError, *DAMAGED):
            return False

    def _settle(self, running_job: RunningJob) -> None:
        running_job.gone_at = boot_clock()  # where it can't be settled now, `check` comes back to it
        end: End | None = None
        unsafe: list[str] = []
        try:
            if running_job.instruments:
                unsafe = [one.instrument for one in self.leases.of_job(running_job.name) if one.how is Held.UNSAFE]
            end = self.store.end(running_job.name)
            never_began = end is None and self.store.never_began(running_job.name, running_job.condition)
        except DAMAGED:
            log.exception("%s: its end is damaged", running_job.name)
            never_began = False
            end = None if running_job.condition.stopping else End(State.FAILED, END_DAMAGED)
        except OSError as error:
            self._put_off(running_job, error)
            return
        self.unsettled.pop(running_job.name, None)
        self.running_jobs.pop(running_job.name, None)
        if never_began and running_job.condition.stopping is None:
            self.on_unbegun(running_job)
            return
        state, why = settle(running_job.condition, end)
        if state is not State.COMPLETED and unsafe:
            why += f" Afterwards {' and '.join(unsafe)} could not be made safe."
        self.write_end(running_job.name, running_job.condition, state, why)

    def _put_off(self, running_job: RunningJob, error: OSError) -> None:
        """Its processes are gone, and how it ended can't be read now: it is looked at again, with pauses."""
        if running_job.name not in self.unsettled:
            log.warning("%s has ended, and how can't be read now (%s); it is tried again", running_job.name, error)
        self.running_jobs.pop(running_job.name, None)
        self.unsettled[running_job.name] = running_job
        running_job.pause = min(LONGEST_PAUSE, 2 * running_job.pause or 0.5)
        running_job.again_at = boot_clock() + running_job.pause

    def write_end(self, name: str, condition: StoredState, state: State, why: str) -> None:
        """Make the last move of a job; on a full disk it's tried again until it's written."""
        now = time.time()
        self.wishes.discard(name)
        ended = move(condition, state, why=why, since=now, ended=now, ran=ran(condition))
        log.info("%s: %s%s", name, state, f" ({why})" if why else "")
        try:
            self.write(name, ended)
            self.store.forget_active(name)
        except FileNotFoundError:
            log.warning("%s: its folder is gone", name)
            self.store.forget_active(name)
        except OSError:
            log.exception("%s: its end can't be written yet", name)
            self.unwritten[name] = ended

    def wait_again(self, name: str) -> None:
        """Have a job's state say that it waits: its work never began. Raises OSError."""
        log.info("%s: its process ended before its work began; it waits again", name)
        self.write(name, unbegun())

    def write(self, name: str, condition: StoredState) -> None:
        """state.json, on a full disk into the room that is kept for it. Raises OSError."""
        try:
            self.store.write_condition(name, condition)
        except FileNotFoundError:
            raise
        except OSError:
            self.single_instance.use_reserve()
            self.store.write_condition(name, condition)

    def _write_or_log(self, name: str, condition: StoredState) -> None:
        try:
            self.write(name, condition)
        except OSError:
            log.exception("%s: its state can't be written", name)

    def reap(self) -> None:
        """Bury children: guards, nurseries, runners whose nursery died, and what jobs left."""
        for pid, status in ended_children():
            if task := self.guards.pop(pid, None):
                with self.alone(task.job):
                    if task.instruments:
                        self._judge(task)
                    if task.running_job is not None and task.job in self.running_jobs:
                        self._settle(task.running_job)
                continue
            for running_job in list(self.running_jobs.values()):
                if running_job.pid == pid:
                    if status:
                        tell_group(pid, signal.SIGKILL)
                    with self.alone(running_job.name):
                        self.on_exited(running_job.name, status)

    def end_strays(self, nurseries: set[int]) -> None:
        """Kill what jobs left behind without any mark: orphans of theirs become our children."""
        known = {
            *self.guards,
            *nurseries,
            *(running_job.pid for running_job in self.running_jobs.values() if running_job.pid),
        }
        for pid in strays(known):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
