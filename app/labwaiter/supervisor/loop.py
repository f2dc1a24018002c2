"""The supervisor's loop: who woke us, who is next, and what is due."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
from typing import Any

from ..model.record import ENDED, Request, State, StoredState, move, settle
from ..settings import Settings
from ..simulated_lab.keeping import Simulated
from ..store import supervisor_client
from ..store.files import touch
from ..store.folder import Folder
from ..system.process import become_subreaper, boot_clock, lives, open_pidfd
from . import notify, retention
from .admission import Admission
from .guard import DAMAGED
from .keeper import ABORTED, WANT, Keeper
from .nurseries import Nurseries
from .nursery_handle import NurseryHandle
from .queue import Queue, QueueSnapshot, Waiting
from .running_job import Rules, RunningJob, rules_of
from .single_instance import SingleInstance
from .webside import WebSideKeeper

log = logging.getLogger("labwaiter.supervisor")
WRITE_SECONDS = 10.0  # how long leaving waits for a disk that refuses how jobs ended
TICK = 0.5  # s: how late a deadline may be noticed
STOPPED = "The execution was stopped, because this deployment was stopped."
WITHDRAWN = "The execution was aborted before it began."


class Supervisor:
    """The one supervisor of a jobs folder."""

    def __init__(self, settings: Settings, single_instance: SingleInstance) -> None:
        self.settings = settings
        self.single_instance = single_instance
        self.store = Folder(settings.jobs_folder)
        self.selector = selectors.DefaultSelector()
        self.nurseries = Nurseries(settings, self.selector, self._on_nursery, self._on_nursery_lost)
        self.keeper = Keeper(
            self.store,
            single_instance,
            self.selector,
            lambda: [*single_instance.mine, *self.nurseries.descriptors],
            settings.lab,
        )
        self.keeper.on_unbegun = self._on_unbegun
        self.simulated = Simulated(settings)
        self.web_side = WebSideKeeper(settings)
        self.nurseries.descriptors_before = single_instance.descriptors_before
        self.queue = Queue(single_instance.most_at_once(settings.max_running))
        self.admission = Admission(self.queue, self.keeper, self.nurseries)
        self.forking = self.admission.forking
        self.leaving = False
        self._leaves_by = 0.0  # boot clock, s: see WRITE_SECONDS
        self._knows = False  # that it is to leave, before anybody told it
        self._next_tick = 0.0
        self._next_retention = 0.0
        self._active_seen = 0
        self._unread: set[str] = set()  # jobs whose records could not be read: they are looked at again
        self._told_unread: set[str] = set()  # those of them that the log has been told of
        self.snapshot = QueueSnapshot(self.store, self.queue.max_running)

    # -- the loop -------------------------------------------------------------------------------

    def run(self, leaving: bool = False) -> None:
        """Serve until stopped; `leaving`: settle what is left, and nothing else."""
        become_subreaper()
        self.selector.register(self.single_instance.wake, selectors.EVENT_READ, self._on_wake)
        self.selector.register(self.single_instance.signals, selectors.EVENT_READ, self._on_signals)
        with self.keeper.waited_out("the simulated lab"):
            self.simulated.look(boot_clock())
        self.nurseries.start()
        with self.keeper.waited_out("a look at the executions"):
            for name in self.store.active_names():
                self._look(name)
        self.keeper.free_orphans()
        notify.tell("READY=1")
        if leaving:
            self._leave()
            self._knows = True
        while not (self.leaving and self._done()):
            due = min(self._next_tick, self.snapshot.due)
            for key, _ in self.selector.select(max(0.0, due - boot_clock())):
                with self.keeper.waited_out("an event"):
                    key.data()
            if boot_clock() >= self._next_tick:
                self._next_tick = boot_clock() + TICK
                with self.keeper.waited_out("a look round"):
                    self._tick()
            if not self.leaving:
                with self.keeper.waited_out("an admission"):
                    self.admission.admit()
            self.snapshot.post(boot_clock(), self.admission.running, self.queue)
        if left := [*self.keeper.unsettled, *self.keeper.unwritten, *self._unread]:
            log.warning("it leaves executions unsettled, whose records can't be read or written: %s", ", ".join(left))
        self.nurseries.retire()
        with self.keeper.waited_out("the end of the simulated lab"):
            self.simulated.end()
        self.keeper.reap()

    def _done(self) -> bool:
        """Whether all is settled that can be; the next supervisor tells the rest."""
        if self.keeper.busy or self.forking:
            return False
        return not self.keeper.unwritten or boot_clock() >= self._leaves_by

    def _on_wake(self) -> None:
        for word in self.single_instance.names():
            name = word.removeprefix(supervisor_client.ABORT)
            if name != word and (name in self.keeper.running_jobs or name in self.queue or name in self.forking):
                self.keeper.wishes.add(name)
            if name and not name.startswith(".") and "/" not in name:
                self._look(name)

    def _on_signals(self) -> None:
        told = self.single_instance.signals_told()
        if signal.SIGCHLD in told:
            self.keeper.reap()
        if told & {signal.SIGTERM, signal.SIGINT}:
            self._leave()
        if signal.SIGHUP in told and not self.leaving:
            self._begin_anew()

    def _tick(self) -> None:
        now = boot_clock()
        notify.tell("WATCHDOG=1")
        self.keeper.reap()
        if not self.single_instance.stands():
            log.warning("the jobs folder was removed or replaced: there is nothing left to supervise")
            self.leaving = True
            for kept in (self.keeper.running_jobs, self.keeper.unwritten, self.keeper.unsettled, self.forking):
                kept.clear()
            return
        if self.single_instance.told:
            self._on_signals()
        self.keeper.check(now)
        with self.keeper.waited_out("a look at the executions"):
            stamp = self.store.active_stamp()
            if stamp != self._active_seen:
                for name in self.store.active_names():
                    self._look(name)
                self._active_seen = stamp
            unread, self._unread = self._unread, set()
            for name in [*unread, *(name for name in self.queue.names() if self.keeper.wanted_gone(name))]:
                self._look(name)
            self._told_unread &= self._unread
        with self.keeper.waited_out("the simulated lab"):
            self.simulated.look(now)
        if not self.forking:  # a fork that wasn't told yet is no stray
            with self.keeper.waited_out("a look for what jobs left behind"):
                self.keeper.end_strays(self.nurseries.pids)
        if not self.leaving:
            self.nurseries.ready()
            with self.keeper.waited_out("the web side"):
                self.web_side.look(now)
        if now >= self._next_retention:
            keep = self.settings.keep_seconds
            self._next_retention = now + retention.every(keep)
            self.keeper.in_a_child(lambda: retention.round_of(self.store, keep))

    # -- taking up --------------------------------------------------------------------------------

    def _look(self, name: str) -> None:
        with self.keeper.alone(name):
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        """Take up a job, or what somebody wishes of it."""
        if name in self.forking or name in self.keeper.unwritten or name in self.keeper.unsettled:
            return
        abort = self.keeper.wanted_gone(name)
        if name in self.keeper.running_jobs:
            if abort:
                self.keeper.stop(self.keeper.running_jobs[name], "abort", ABORTED)
            return
        if name not in self.queue:
            self._take_up(name)
        if name in self.queue and (abort or self.leaving):
            self.queue.remove(name)
            self.keeper.write_end(name, StoredState(), State.ABORTED, WITHDRAWN if abort else STOPPED)

    def _take_up(self, name: str) -> None:
        """Learn of a job from its folder."""
        try:
            request, condition = self.store.request(name), self.store.condition(name)
            rules = rules_of(request, self.settings.jobs_folder) if request else Rules()
            # an end forbids a second run, whatever became of the state
            waits = request is not None and (condition is None or condition.state is State.QUEUED)
            end = self.store.end(name) if waits else None
        except (OSError, *DAMAGED) as error:
            self._take_up_unread(name, error)
            return
        if request is None or (condition is not None and condition.state in ENDED):
            self.store.forget_active(name)
        elif end is not None:
            log.warning("%s: its state was lost, and it has ended: it is not run again", name)
            ran = move(StoredState(), State.RUNNING)
            self.keeper.write_end(name, ran, *settle(ran, end))
        elif condition is None or condition.state is State.QUEUED:
            self.queue.add(Waiting(request.created, name, request.service, request.instruments, rules))
        else:
            self._adopt(name, request, condition, rules)

    def _look_again(self, name: str, why: str) -> None:
        """At a job of which something can't be seen now; the log is told once, as long as that lasts."""
        if name not in self._told_unread:
            log.warning("%s: %s", name, why)
        self._unread.add(name)
        self._told_unread.add(name)

    def _take_up_unread(self, name: str, error: Exception) -> None:
        """A job whose record can't be read, or is damaged: what its runner wrote of its begin tells whom to watch."""
        damaged = not isinstance(error, OSError)
        request, rules = None, Rules()
        try:
            begun = self.store.begun(name)
            lives_on = begun is not None and begun.runner is not None and lives(begun.runner) is not False
        except OSError as want:
            self._look_again(name, f"its record can't be read now ({want}); nothing is done with it")
            return
        if begun is not None and (lives_on or damaged):
            with contextlib.suppress(OSError, *DAMAGED):
                request = self.store.request(name)
                rules = rules_of(request, self.settings.jobs_folder) if request else rules
            log.warning("%s: its record can't be read now (%s); it is known by its process", name, error)
            self._adopt(name, request, begun, rules)
        elif damaged:
            log.error("%s: its record is damaged, it is left alone", name, exc_info=error)
            self.store.forget_active(name)
        else:
            self._look_again(name, f"its record can't be read now ({error}); nothing is done with it")

    def _adopt(self, name: str, request: Request | None, condition: StoredState, rules: Rules) -> None:
        """A job that a supervisor before us had started; without its request its leases say what it has."""
        now = boot_clock()
        running_job = RunningJob(name, request.service if request else "", rules, condition, moved_at=now)
        if request is not None:
            running_job.instruments, running_job.created = request.instruments, request.created
        else:
            running_job.instruments = tuple(lease.instrument for lease in self.keeper.leases.of_job(name))
        try:
            if condition.runner is not None and lives(condition.runner) is not False:
                running_job.pidfd = open_pidfd(condition.runner)
        except WANT as want:  # who can't look has seen no death
            self._look_again(name, f"whether its process lives can't be seen now ({want})")
            return
        self.keeper.take(running_job)
        if running_job.pidfd is None:
            self.keeper.clear_up(running_job)
            return
        log.info("%s goes on under pid %d; it is ours now", name, running_job.runner.pid)
        if condition.stopping is not None:
            running_job.kill_at = now + running_job.rules.grace
        elif self.keeper.wanted_gone(name):
            self.keeper.stop(running_job, "abort", ABORTED)

    def _on_unbegun(self, running_job: RunningJob) -> None:
        """Its process has gone before the work began: it waits again, unless nobody wants it any more."""
        self.admission.unbegun(running_job)
        if running_job.name in self.queue:
            self._look(running_job.name)

    # -- starting ---------------------------------------------------------------------------------

    def _on_nursery(self, nursery_handle: NurseryHandle, message: dict[str, Any], release: int | None) -> None:
        with self.keeper.alone(message["name"]):
            self._on_job(nursery_handle, message, message["name"], release)

    def _on_job(self, nursery_handle: NurseryHandle, message: dict[str, Any], name: str, release: int | None) -> None:
        if message["event"] == "refused":
            self.admission.refused(name, message["why"])
        elif message["event"] == "exited":
            self.admission.unreleased(name)
            self.keeper.on_exited(name, message["status"])
        elif release is None:  # it came without, for want of descriptors: what it would let go leaves undone
            self.admission.unreleased(name)
        else:
            try:
                begun = self.admission.forked(nursery_handle, name, message["pid"], message["start_ticks"], release)
            finally:
                os.close(release)
            if begun is not None and self.leaving:
                self.keeper.stop(begun, "shutdown", STOPPED)
            elif begun is not None and self.keeper.wanted_gone(name):
                self.keeper.stop(begun, "abort", ABORTED)

    def _on_nursery_lost(self, nursery_handle: NurseryHandle) -> None:
        self.admission.lost(nursery_handle)
        for running_job in self.keeper.running_jobs.values():
            if running_job.nursery_pid == nursery_handle.pid:
                running_job.nursery_pid = None  # its exit will be told by the kernel
        if not self.leaving:
            self.nurseries.ready()

    # -- leaving ----------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Stop on purpose: admit nothing more, settle every job. Told twice: at once."""
        if self.leaving and self._knows:
            self._knows = False
            return
        if self.leaving:
            for running_job in self.keeper.running_jobs.values():
                self.keeper.kill(running_job)
            return
        notify.tell("STOPPING=1")
        log.info("stopping: %d jobs run, %d wait", len(self.keeper.running_jobs), len(self.queue))
        self.leaving, self._leaves_by = True, boot_clock() + WRITE_SECONDS
        with contextlib.suppress(OSError):
            touch(self.store.layout.stopped)
        for name in self.queue.names():
            self._look(name)
        for running_job in list(self.keeper.running_jobs.values()):
            self.keeper.stop(running_job, "shutdown", STOPPED)

    def _begin_anew(self) -> None:
        """Become the supervisor that the code on the disk is now; the jobs stay, and so does the lock."""
        if self.keeper.guards or self.forking:
            self.single_instance.told.add(signal.SIGHUP)  # they are our children and must be heard out first
            self._next_tick = min(self._next_tick, boot_clock() + 0.02)
            return
        log.info("beginning anew with the code that is there now")
        self.nurseries.retire()
        try:
            self.single_instance.exec_anew()
        except OSError:
            log.exception("beginning anew is not possible now; it is tried again")
            self.single_instance.told.add(signal.SIGHUP)
