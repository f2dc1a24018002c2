"""The running jobs: watched, told to stop, killed, settled once they are over."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
from collections.abc import Callable

from ..lab.labfile import WatchedLab
from ..model.record import End, Owner, State
from ..model.sentences import N_
from ..store import lab_tasks, timeline
from ..store.folder import Folder
from ..store.silence_watch import silence
from ..store.upkeep import Upkeep
from ..system.process import boot_clock, reap, tell_group
from .aborts import AbortWishes
from .cleanup import Cleanup
from .faults import DAMAGED, Faults
from .figures import SupervisorFigures
from .running_job import RunningJob, progress_trace, settled, stop_due, task_stop_due
from .states import StateWriter

log = logging.getLogger("labwaiter.supervisor")
ABORTED = N_("The execution was aborted.")
LET_GO = N_("It was let go.")  # of an instrument in somebody's hands
SESSION_ENDED = "The session was ended."
TASK_ENDED = "It was ended: its session is over, or somebody wanted that."
END_DAMAGED = N_("The execution ended, but its record of how (end.json) is damaged.")
PARENT_SECONDS = 1.0  # how long a parent may take to tell how its child ended


class Keeper:
    """Has the running jobs, from their begin to the end that is written of them.

    A job whose process has ended is cleared up after (`Cleanup`), then settled: its end is read and told. One whose
    end can't be read now is *unsettled*: it holds up nobody, and the next supervisor looks, too.
    """

    def __init__(
        self,
        store: Folder,
        selector: selectors.BaseSelector,
        lab: WatchedLab,
        states: StateWriter,
        wishes: AbortWishes,
        cleanup: Cleanup,
        faults: Faults,
        figures: SupervisorFigures,
        on_unbegun: Callable[[RunningJob], None],
    ) -> None:
        """
        Args:
            on_unbegun: gets a job whose process ended before the work began.
        """
        self._store, self._selector, self._lab = store, selector, lab
        self._states, self._wishes, self._cleanup, self._faults = states, wishes, cleanup, faults
        self._figures, self._on_unbegun = figures, on_unbegun
        self._upkeep = Upkeep(store.layout)
        self._running: dict[str, RunningJob] = {}
        self._unsettled: dict[str, RunningJob] = {}

    # -- looking --------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def __len__(self) -> int:
        return len(self._running)

    @property
    def names(self) -> list[str]:
        """The running jobs."""
        return list(self._running)

    @property
    def unsettled(self) -> list[str]:
        """The jobs that are over, and how can't be read so far."""
        return list(self._unsettled)

    @property
    def running(self) -> list[tuple[str, Owner]]:
        """Service and owner of each running job; instruments in somebody's hands and tasks count for no limit."""
        return [(job.service, job.owner) for job in self._running.values() if not job.rules.takes_no_place]

    @property
    def instruments(self) -> set[str]:
        """Those that a running job has."""
        return set().union(*(job.instruments for job in self._running.values()))

    @property
    def pids(self) -> set[int]:
        """The runners."""
        return {job.pid for job in self._running.values() if job.pid}

    # -- watching -------------------------------------------------------------------------------

    def take(self, job: RunningJob) -> None:
        """Watch a running job from now on."""
        self._running[job.name] = job
        if job.pidfd is not None:
            self._selector.register(job.pidfd, selectors.EVENT_READ, lambda: self._on_gone(job))

    def adopt(self, job: RunningJob) -> None:
        """As `take`, of a job that a supervisor before us had started; without a pidfd its process has ended."""
        self.take(job)
        if job.pidfd is None:
            self._clear_up(job)
            return
        log.info("%s goes on under pid %d; it is ours now", job.name, job.runner.pid)
        if job.stored.stopping is not None:
            job.kill_at = boot_clock() + job.rules.grace
        elif job.name in self._wishes:
            self._stop(job, "abort", _why_aborted(job))

    def forget_all(self) -> None:
        """The jobs folder is gone: there is nothing left to watch or to tell."""
        self._running.clear()
        self._unsettled.clear()

    def _unwatch(self, job: RunningJob) -> None:
        if job.pidfd is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(job.pidfd)
            os.close(job.pidfd)
            job.pidfd = None

    def _on_gone(self, job: RunningJob) -> None:
        """Its process has ended. Whoever is its parent knows how, and tells in a moment."""
        if job.pidfd is None:  # it has been told in the same round of events
            return
        job.gone_at, status = boot_clock(), None
        if job.fork_server_pid is None:
            with contextlib.suppress(ChildProcessError):  # its parent is none of ours: nobody tells
                status = reap(job.pidfd)
        self._unwatch(job)
        if status is not None:
            self._on_reaped(job, status)
        elif job.fork_server_pid is None:
            with self._faults.of_job(job.name):
                self._clear_up(job)

    def on_exited(self, name: str, status: int) -> None:
        """A fork server tells how a runner ended (negative for a signal)."""
        if name in self._running:
            self._on_status(self._running[name], status)

    def on_child_ended(self, pid: int, status: int) -> None:
        """A child of the supervisor has ended: a runner, perhaps, whose fork server has died."""
        for job in list(self._running.values()):
            if job.pid == pid:
                self._on_reaped(job, status)

    def on_fork_server_lost(self, pid: int) -> None:
        """A fork server has died: the kernel tells how its runners end."""
        for job in self._running.values():
            if job.fork_server_pid == pid:
                job.fork_server_pid = None

    def _on_reaped(self, job: RunningJob, status: int) -> None:
        if status:
            tell_group(job.runner.pid, signal.SIGKILL)
        self._on_status(job, status)

    def _on_status(self, job: RunningJob, status: int) -> None:
        if job.status is not None:
            return
        with self._faults.of_job(job.name):
            job.status, job.gone_at = status, job.gone_at or boot_clock()
            self._unwatch(job)
            ended_itself = not job.rules.is_task or lab_tasks.came_to_its_end(self._store, job.name)
            if status == 0 and not job.instruments and ended_itself and self._has_end(job):
                self._cleanup.forget_group(job.name)
                self._settle(job)  # it said itself that it left nothing behind
            else:
                self._clear_up(job)

    def check(self, now: float) -> None:
        """What is due: wishes nobody woke us for, limits, the end of a grace (`now`: boot clock, s)."""
        for job in list(self._running.values()):
            with self._faults.of_job(job.name):
                self._check(job, now)
        for job in list(self._unsettled.values()):
            if job.looks.is_due(now):
                with self._faults.of_job(job.name):
                    self._settle(job)

    def _check(self, job: RunningJob, now: float) -> None:
        if job.gone_at is not None and now - job.gone_at > PARENT_SECONDS:
            self._clear_up(job)  # nobody told how it ended, or that went wrong before
        elif job.stored.stopping is None:
            if job.name in self._wishes:
                self._stop(job, "abort", _why_aborted(job))
                return
            if job.rules.stall is not None:
                job.note_progress(progress_trace(self._store, job.name), now)
            unpolled = None
            if not job.rules.is_session:  # whose student's sign of life has a limit of its own
                unpolled = silence(self._store, self._lab.now(), job.name, job.instruments)
            asked = self._store.polled_at(job.name) if job.rules.unattended is not None else None
            if due := stop_due(job.rules, job.stored.started_boot, job.moved_at, unpolled, now, asked):
                self._stop(job, due.reason, due.why)
            elif job.rules.is_task:
                told = lab_tasks.told_to_stop_at(self._store, job.name)
                if due := task_stop_due(job.rules, told, now):
                    self._stop(job, due.reason, due.why)
        elif job.kill_at is not None and now >= job.kill_at:
            self._kill(job)

    # -- stopping -------------------------------------------------------------------------------

    def stop(self, name: str, reason: str, why: str) -> None:
        """The polite stop of one job; the sure one follows after its grace. Nothing where it is being stopped."""
        self._stop(self._running[name], reason, why)

    def abort(self, name: str) -> None:
        """As `stop`, because somebody wants that."""
        self._stop(self._running[name], "abort", _why_aborted(self._running[name]))

    def stop_all(self, reason: str, why: str) -> None:
        """As `stop`, all of them."""
        for job in list(self._running.values()):
            self._stop(job, reason, why)

    def kill_all(self) -> None:
        """The sure stop of all."""
        for job in self._running.values():
            self._kill(job)

    def _stop(self, job: RunningJob, reason: str, why: str) -> None:
        if job.stored.stopping is not None or job.gone_at is not None:
            return
        self._states.tell("stop", job.name, reason=reason, why=why)
        timeline.note(self._store.path(job.name), "told to stop", reason=reason, why=why)
        job.note_stop(reason, why, "told to stop")
        self._states.write_or_log(job.name, job.stored)
        job.stopped_at = boot_clock()
        job.kill_at = job.stopped_at + job.rules.grace
        self._signal(job, signal.SIGTERM)

    def _kill(self, job: RunningJob) -> None:
        job.kill_at = None
        stopping = job.stored.stopping
        if stopping is not None:
            timeline.note(self._store.path(job.name), "killed")
            job.note_stop(stopping.reason, stopping.why, "killed")
            self._states.write_or_log(job.name, job.stored)
        self._signal(job, signal.SIGKILL)

    def _signal(self, job: RunningJob, number: int) -> None:
        if job.pid is None or tell_group(job.pid, number):
            return
        # one that has just been forked has no group of its own yet
        if job.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(job.pidfd, number)

    # -- settling -------------------------------------------------------------------------------

    def _clear_up(self, job: RunningJob) -> None:
        """Have it cleared up after, then settle it; where no child can be had for that, `check` asks again."""
        job.gone_at = job.gone_at or boot_clock()
        self._cleanup.begin(job)

    def on_cleared_up(self, job: RunningJob) -> None:
        """What a job left behind is ended, and its instruments are safe as far as they are."""
        if job.name in self._running:
            self._settle(job)

    def _has_end(self, job: RunningJob) -> bool:
        try:
            return self._store.end(job.name) is not None
        except (OSError, *DAMAGED):
            return False

    def _settle(self, job: RunningJob) -> None:
        job.gone_at = boot_clock()  # where it can't be settled now, `check` comes back to it
        end: End | None = None
        unsafe: list[str] = []
        try:
            unsafe = self._cleanup.unsafe_after(job)
            end = self._store.end(job.name)
            never_began = end is None and self._store.never_began(job.name, job.stored)
        except DAMAGED:
            log.exception("%s: its end is damaged", job.name)
            never_began = False
            end = None if job.stored.stopping else End(State.FAILED, END_DAMAGED)
        except OSError as error:
            self._put_off(job, error)
            return
        self._unsettled.pop(job.name, None)
        self._running.pop(job.name, None)
        outcome = settled(job.stored, end, never_began, unsafe)
        if outcome is None:
            self._on_unbegun(job)
        else:
            self._states.end(job.name, job.service, job.stored, *outcome)
            self._count_use(job)
            if job.stored.stopping is not None and job.stopped_at is not None:
                self._figures.stopped(job.stored.stopping.reason, boot_clock() - job.stopped_at)

    def _count_use(self, job: RunningJob) -> None:
        started = job.stored.started_boot
        for name in job.instruments:
            with contextlib.suppress(OSError):  # a full disk costs the count, not the work
                seconds = 0.0 if started is None else boot_clock() - started
                self._upkeep.add_use(name, seconds, counts=not job.rules.is_direct_control)

    def _put_off(self, job: RunningJob, error: OSError) -> None:
        """Its processes are gone, and how it ended can't be read now: it is looked at again, with pauses."""
        if job.name not in self._unsettled:
            log.warning("%s has ended, and how can't be read now (%s); it is tried again", job.name, error)
        self._running.pop(job.name, None)
        self._unsettled[job.name] = job
        job.looks.failed(boot_clock())


def _why_aborted(job: RunningJob) -> str:
    """In a sentence, of one that somebody wants stopped."""
    if job.rules.is_direct_control:
        return LET_GO
    if job.rules.is_task:
        return TASK_ENDED
    return SESSION_ENDED if job.rules.is_session else ABORTED
