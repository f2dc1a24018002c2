"""The supervisor's loop: who woke us, who is next, and what is due."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
from typing import Any

from ..lab.labfile import WatchedLab
from ..model.record import State, StoredState
from ..model.sentences import N_
from ..settings import Settings
from ..simulated_lab.keeping import SimulatedLabKeeper
from ..store import supervisor_client
from ..store.files import touch
from ..store.folder import Folder
from ..store.leases import Leases
from ..system import cgroup
from ..system.logs import Out
from ..system.process import become_subreaper, boot_clock, ended_children, strays
from . import notify, retention
from .aborts import AbortWishes
from .admission import Admission
from .cleanup import Cleanup
from .companions import Companion
from .faults import Faults
from .figures import SupervisorFigures
from .fork_servers import ForkServerHandle, ForkServers
from .intake import Intake
from .keeper import Keeper
from .monitoring import Monitoring
from .queue import MostRunning, Queue, QueueSnapshot
from .running_job import RunningJob
from .single_instance import SingleInstance
from .sizes import SizeWatch
from .states import StateWriter
from .web_side_keeper import WebSideKeeper

log = logging.getLogger("labwaiter.supervisor")
WRITE_SECONDS = 10.0  # how long leaving waits for a disk that refuses how jobs ended
TICK = 0.5  # s: how late a deadline may be noticed
STOPPED = N_("The execution was stopped, because this deployment was stopped.")
WITHDRAWN = "The execution was aborted before it began."


class Supervisor:
    """The one supervisor of a jobs folder."""

    def __init__(self, settings: Settings, single_instance: SingleInstance, out: Out | None = None) -> None:
        """
        Args:
            out: where its log goes.
        """
        self._out = out
        store, lab = Folder(settings.jobs_folder), WatchedLab(settings.lab)
        leases = Leases(store.root)
        most = MostRunning.of(settings, single_instance.most_at_once(settings.max_running))
        self._settings, self._single_instance, self._store = settings, single_instance, store
        self._selector = selectors.DefaultSelector()
        self._faults = Faults()
        self._wishes = AbortWishes(store)
        self._figures = SupervisorFigures(store.layout)
        self._states = StateWriter(store, single_instance, self._wishes, self._figures)
        self._fork_servers = ForkServers(
            settings,
            self._selector,
            single_instance.descriptors_before,
            self._on_fork_server,
            self._on_fork_server_lost,
        )
        self._cleanup = Cleanup(
            store,
            single_instance,
            leases,
            lab,
            self._faults,
            cgroup.found(),
            lambda: [
                *single_instance.descriptors,
                *self._fork_servers.descriptors,
                *self._monitoring.descriptors,
                *(fd for delivery in self._deliveries for fd in delivery.descriptors),
            ],
        )
        self._monitoring = Monitoring(settings, lab, leases, self._cleanup)
        self._deliveries = _deliveries(settings)
        self._keeper = Keeper(
            store,
            self._selector,
            lab,
            self._states,
            self._wishes,
            self._cleanup,
            self._faults,
            self._figures,
            self._on_unbegun,
        )
        self._queue = Queue()
        self._snapshot = QueueSnapshot(store, most)
        self._admission = Admission(
            most,
            store,
            self._queue,
            self._fork_servers,
            self._keeper,
            self._cleanup,
            self._states,
            leases,
            lab,
            self._figures,
            self._monitoring,
            settings.long_wait,
        )
        self._intake = Intake(store, settings.jobs_folder, self._queue, self._keeper, self._states, leases)
        self._sizes = SizeWatch(settings, store, self._cleanup)
        self._simulated = SimulatedLabKeeper(settings)
        self._web_side = WebSideKeeper(settings)
        self._leaving = False
        self._leaves_by = 0.0  # boot clock, s: see WRITE_SECONDS
        self._knows = False  # that it is to leave, before anybody told it
        self._next_tick = 0.0
        self._next_retention = 0.0
        self._active_stamp = 0

    # -- the loop -------------------------------------------------------------------------------

    def run(self, leaving: bool = False) -> None:
        """Serve until stopped; `leaving`: settle what is left, and nothing else."""
        become_subreaper()
        self._selector.register(self._single_instance.wake, selectors.EVENT_READ, self._on_wake)
        self._selector.register(self._single_instance.signals, selectors.EVENT_READ, self._on_signals)
        with self._faults.of_shortage("the simulated lab"):
            self._simulated.look(boot_clock())
        self._fork_servers.start()
        with self._faults.of_shortage("a look at the executions"):
            for name in self._store.active_names():
                self._look(name)
        self._cleanup.free_orphans(self._keeper.names)
        with self._faults.of_shortage("the monitor"):
            self._monitoring.begin()
        notify.tell("READY=1")
        if leaving:
            self._leave()
            self._knows = True
        while not (self._leaving and self._done()):
            due = min(self._next_tick, self._snapshot.due)
            for key, _ in self._selector.select(max(0.0, due - boot_clock())):
                with self._faults.of_shortage("an event"):
                    key.data()
            if (now := boot_clock()) >= self._next_tick:
                if self._next_tick:
                    self._figures.late(now - self._next_tick)
                self._next_tick = now + TICK
                with self._faults.of_shortage("a look round"):
                    self._tick()
            if not self._leaving:
                with self._faults.of_shortage("an admission"):
                    self._admission.admit()
            self._snapshot.write(boot_clock(), self._admission.running, self._queue)
        if unsettled := [*self._keeper.unsettled, *self._states.unwritten, *self._intake.unread]:
            log.warning(
                "it leaves executions unsettled, whose records can't be read or written: %s", ", ".join(unsettled)
            )
        self._fork_servers.retire()
        with self._faults.of_shortage("the end of the monitor"):
            self._monitoring.end()
            for delivery in self._deliveries:
                delivery.end()
        with self._faults.of_shortage("the end of the simulated lab"):
            self._simulated.end()
        self._reap()
        if self._single_instance.stands():
            self._figures.tell_at_last(boot_clock())

    def _done(self) -> bool:
        """Whether all is settled that can be; the next supervisor tells the rest."""
        if self._keeper.names or self._cleanup.instruments or self._admission.forking:
            return False
        if not self._monitoring.has_left():
            return False
        return not self._states.unwritten or boot_clock() >= self._leaves_by

    def _on_wake(self) -> None:
        for word in self._single_instance.names():
            name = word.removeprefix(supervisor_client.ABORT)
            if name != word and (name in self._keeper or name in self._queue or name in self._admission.forking):
                self._wishes.add(name)
            if name and not name.startswith(".") and "/" not in name:
                self._look(name)

    def _on_signals(self) -> None:
        numbers = self._single_instance.take_signals()
        if signal.SIGCHLD in numbers:
            self._reap()
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._leave()
        if signal.SIGHUP in numbers and not self._leaving:
            self._begin_anew()

    def _reap(self) -> None:
        """Bury children: those that clear up, fork servers, runners whose fork server died, and what jobs left."""
        for pid, status in ended_children():
            task = self._cleanup.take(pid)
            if task is None:
                self._keeper.on_child_ended(pid, status)
                continue
            if task.instruments:
                self._figures.made_safe(boot_clock() - task.begun)
            with self._faults.of_job(task.job):
                self._cleanup.judge(task)
                if task.running_job is not None:
                    self._keeper.on_cleared_up(task.running_job)

    def _end_strays(self) -> None:
        """Kill what jobs left behind without any mark: orphans of theirs become our children."""
        for pid in strays({*self._cleanup.pids, *self._fork_servers.pids, *self._keeper.pids}):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _tick(self) -> None:
        now = boot_clock()
        notify.tell("WATCHDOG=1")
        if self._out is not None:
            with contextlib.suppress(OSError):
                self._out.follow()  # what its children print, and its own last words, belong into the log of now
        self._reap()
        if not self._single_instance.stands():
            log.warning("the jobs folder was removed or replaced: there is nothing left to supervise")
            self._leaving = True
            self._keeper.forget_all()
            self._states.forget_all()
            self._admission.forget_all()
            return
        if self._single_instance.has_signals:
            self._on_signals()
        self._keeper.check(now)
        if not self._leaving:
            with self._faults.of_shortage("a look at the jobs' folders"):
                for name, due in self._sizes.check(now, self._keeper.names):
                    self._keeper.stop(name, due.reason, due.why)
        self._states.retry()
        self._cleanup.retry(self._keeper.names)
        with self._faults.of_shortage("a look at the executions"):
            self._look_round()
        with self._faults.of_shortage("the simulated lab"):
            self._simulated.look(now)
        if not self._admission.forking:  # a fork that wasn't told yet is no stray
            with self._faults.of_shortage("a look for what jobs left behind"):
                self._end_strays()
        with self._faults.of_shortage("a look at what is read"):
            self._monitoring.check(now)
        if not self._leaving:
            with self._faults.of_shortage("the monitor"):
                self._monitoring.look(now)
                for delivery in self._deliveries:
                    delivery.look(now)
            self._admission.tell_long_waits()
            self._fork_servers.ready()
            with self._faults.of_shortage("the web side"):
                self._web_side.look(now)
        with self._faults.of_shortage("its figures"):
            self._figures.tell(now, lambda: [service for service, _ in self._keeper.running], self._admission.figures)
        if now >= self._next_retention:
            keep, of_sessions = self._settings.keep_seconds, self._settings.session_kept
            self._next_retention = now + retention.every(keep)
            self._cleanup.in_a_child(
                lambda: retention.round_of(self._store, keep, of_sessions), "a process that looks after old executions"
            )

    # -- looking at jobs --------------------------------------------------------------------------

    def _look_round(self) -> None:
        """At the jobs that nobody woke us for, and those of which something can't be seen or is wished."""
        stamp = self._store.active_stamp()
        if stamp != self._active_stamp:
            for name in self._store.active_names():
                self._look(name)
            self._active_stamp = stamp
        for name in [*self._intake.take_unread(), *(name for name in self._queue.names if name in self._wishes)]:
            self._look(name)
        self._intake.forget_read()

    def _look(self, name: str) -> None:
        """Take up a job, or what somebody wishes of it."""
        with self._faults.of_job(name):
            if name in self._admission.forking or name in self._states.unwritten or name in self._keeper.unsettled:
                return
            abort = name in self._wishes
            if name in self._keeper:
                if abort:
                    self._keeper.abort(name)
                return
            if name not in self._queue:
                self._intake.take_up(name)
            if (abort or self._leaving) and (waiting := self._queue.remove(name)):
                self._states.end(name, waiting.service, StoredState(), State.ABORTED, WITHDRAWN if abort else STOPPED)

    def _on_unbegun(self, job: RunningJob) -> None:
        """Its process has gone before the work began: it waits again, unless nobody wants it any more."""
        self._admission.on_unbegun(job)
        if job.name in self._queue:
            self._look(job.name)

    # -- fork servers --------------------------------------------------------------------------------

    def _on_fork_server(self, fork_server: ForkServerHandle, message: dict[str, Any], release: int | None) -> None:
        with self._faults.of_job(message["name"]):
            self._on_job(fork_server, message, message["name"], release)

    def _on_job(self, fork_server: ForkServerHandle, message: dict[str, Any], name: str, release: int | None) -> None:
        if message["event"] == "refused":
            self._admission.on_refused(name, message["why"], message.get("sentence", ""))
        elif message["event"] == "exited":
            self._admission.on_unreleased(name)
            self._keeper.on_exited(name, message["status"])
        elif release is None:  # it came without, for want of descriptors: what it would let go leaves undone
            self._admission.on_unreleased(name)
        else:
            try:
                self._admission.on_forked(
                    fork_server, name, message["pid"], message["start_ticks"], release, message.get("confined", {})
                )
            finally:
                os.close(release)
            if name in self._keeper and self._leaving:
                self._keeper.stop(name, "shutdown", STOPPED)
            elif name in self._keeper and name in self._wishes:
                self._keeper.abort(name)

    def _on_fork_server_lost(self, fork_server: ForkServerHandle) -> None:
        self._admission.on_fork_server_lost(fork_server.pid)
        self._keeper.on_fork_server_lost(fork_server.pid)
        if not self._leaving:
            self._fork_servers.ready()

    # -- leaving ----------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Stop on purpose: admit nothing more, settle every job. Told twice: at once."""
        if self._leaving and self._knows:
            self._knows = False
            return
        if self._leaving:
            self._keeper.kill_all()
            return
        notify.tell("STOPPING=1")
        log.info("stopping: %d jobs run, %d wait", len(self._keeper), len(self._queue))
        self._leaving, self._leaves_by = True, boot_clock() + WRITE_SECONDS
        with contextlib.suppress(OSError):
            touch(self._store.layout.stopped)
        for name in self._queue.names:
            self._look(name)
        self._keeper.stop_all("shutdown", STOPPED)
        with self._faults.of_shortage("the end of the monitor"):
            self._monitoring.leave()

    def _begin_anew(self) -> None:
        """Become the supervisor that the code on the disk is now; the jobs stay, and so does the lock."""
        if self._cleanup.pids or self._admission.forking:
            self._single_instance.put_back(signal.SIGHUP)  # they are our children and must be heard out first
            self._next_tick = min(self._next_tick, boot_clock() + 0.02)
            return
        log.info("beginning anew with the code that is there now")
        self._fork_servers.retire()
        self._figures.tell_at_last(boot_clock())
        try:
            self._single_instance.exec_anew()
        except OSError:
            log.exception("beginning anew is not possible now; it is tried again")
            self._single_instance.put_back(signal.SIGHUP)


def _deliveries(settings: Settings) -> list[Companion]:
    """A process for each way by which events are sent on."""
    ways = [("url", settings.events_url, {"EVENTS_URL": settings.events_url}), ("command", settings.events_command, {})]
    return [
        Companion(
            settings, f"the delivery of events by {way}", ["labwaiter.monitor.delivery", way], lambda: True, secrets
        )
        for way, target, secrets in ways
        if target
    ]
