"""The supervisor's loop: who woke us, who is next, and what is due."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
from typing import Any

from ..jobs.files import touch
from ..jobs.folder import Folder
from ..process import become_subreaper, boot_clock, lives, open_pidfd
from ..record import ENDED, Condition, Request, State
from ..settings import Settings
from . import notify, retention
from .admission import Admission
from .brood import UNKNOWN, Brood
from .care import ABORTED, DAMAGED, Care
from .charge import Charge
from .hearth import Hearth
from .nurseries import Nurseries
from .queue import Notice, Queue, Waiting
from .simulated import Simulated

log = logging.getLogger("labwaiter.supervisor")
TICK = 0.5  # s: how late a deadline may be noticed
STOPPED = "The execution was stopped, because this deployment was stopped."
WITHDRAWN = "The execution was aborted before it began."


class Supervisor:
    """The one supervisor of a jobs folder."""

    def __init__(self, settings: Settings, hearth: Hearth) -> None:
        self.settings = settings
        self.hearth = hearth
        self.store = Folder(settings.jobs_folder)
        self.selector = selectors.DefaultSelector()
        self.nurseries = Nurseries(settings, self.selector, self._on_nursery, self._on_nursery_lost)
        self.care = Care(
            self.store, hearth, self.selector, lambda: [*hearth.mine, *self.nurseries.descriptors], settings.lab
        )
        self.simulated = Simulated(settings)
        self.queue = Queue(settings.max_running)
        self.admission = Admission(self.queue, self.care, self.nurseries)
        self.forking = self.admission.forking
        self.leaving = False
        self._knows = False  # that it is to leave, before anybody told it
        self._next_tick = 0.0
        self._next_retention = 0.0
        self._active_seen = 0
        self.notice = Notice(self.store, settings.max_running)

    # -- the loop -------------------------------------------------------------------------------

    def run(self, leaving: bool = False) -> None:
        """Serve until stopped; `leaving`: settle what is left, and nothing else."""
        become_subreaper()
        self.selector.register(self.hearth.wake, selectors.EVENT_READ, self._on_wake)
        self.selector.register(self.hearth.signals, selectors.EVENT_READ, self._on_signals)
        self.simulated.look(boot_clock())
        self.nurseries.start()
        for name in self.store.active_names():
            self._look(name)
        self.care.free_orphans()
        notify.tell("READY=1")
        if leaving:
            self._leave()
            self._knows = True
        while not (self.leaving and not (self.care.busy or self.forking)):
            due = min(self._next_tick, self.notice.due)
            for key, _ in self.selector.select(max(0.0, due - boot_clock())):
                key.data()
            if boot_clock() >= self._next_tick:
                self._tick()
            if not self.leaving:
                self.admission.admit()
            self.notice.post(boot_clock(), len(self.care.charges) + len(self.forking), self.queue)
        self.nurseries.retire()
        self.simulated.end()
        self.care.reap()

    def _on_wake(self) -> None:
        for name in self.hearth.names():
            if name and not name.startswith(".") and "/" not in name:
                self._look(name)

    def _on_signals(self) -> None:
        told = self.hearth.signals_told()
        if signal.SIGCHLD in told:
            self.care.reap()
        if told & {signal.SIGTERM, signal.SIGINT}:
            self._leave()
        if signal.SIGHUP in told and not self.leaving:
            self._begin_anew()

    def _tick(self) -> None:
        now = boot_clock()
        self._next_tick = now + TICK
        notify.tell("WATCHDOG=1")
        self.care.reap()
        if not self.hearth.stands():
            log.warning("the jobs folder was removed or replaced: there is nothing left to supervise")
            self.leaving = True
            for kept in (self.care.charges, self.care.unwritten, self.forking):
                kept.clear()
            return
        if signal.SIGHUP in self.hearth.told:
            self._on_signals()
        stamp = self.store.active_stamp()
        if stamp != self._active_seen:
            self._active_seen = stamp
            for name in self.store.active_names():
                self._look(name)
        for name in self.queue.names():
            if self.store.marked(name, "abort"):
                self._look(name)
        self.care.check(now)
        self.simulated.look(now)
        if not self.forking:  # a fork that wasn't told yet is no stray
            self.care.end_strays(self.nurseries.pids)
        if not self.leaving:
            self.nurseries.ready()
        if now >= self._next_retention:
            keep = self.settings.keep_seconds
            self._next_retention = now + retention.every(keep)
            self.care.in_a_child(lambda: retention.round_of(self.store, keep))

    # -- taking up --------------------------------------------------------------------------------

    def _look(self, name: str) -> None:
        with self.care.alone(name):
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        """Take up a job, or what somebody wishes of it."""
        if name in self.forking or name in self.care.unwritten:
            return
        abort = self.store.marked(name, "abort")
        if name in self.care.charges:
            if abort:
                self.care.stop(self.care.charges[name], "abort", ABORTED)
            return
        if name not in self.queue:
            self._take_up(name)
        if name in self.queue and (abort or self.leaving):
            self.queue.remove(name)
            self.care.write_end(name, Condition(), State.ABORTED, WITHDRAWN if abort else STOPPED)

    def _take_up(self, name: str) -> None:
        """Learn of a job from its folder."""
        try:
            request, condition = self.store.request(name), self.store.condition(name)
        except DAMAGED:
            log.exception("%s: its record is damaged, it is left alone", name)
            self.store.forget_active(name)
            return
        if request is None or (condition is not None and condition.state in ENDED):
            self.store.forget_active(name)
        elif condition is None or condition.state is State.QUEUED:
            self.queue.add(Waiting(request.created, name, request.service, request.instruments))
        else:
            self._adopt(name, request, condition)

    def _adopt(self, name: str, request: Request, condition: Condition) -> None:
        """A job that a supervisor before us had started."""
        now, service = boot_clock(), request.service
        rules = self.nurseries.rules(service)
        charge = Charge(name, service, rules, condition, moved_at=now, instruments=request.instruments)
        if condition.runner is not None and lives(condition.runner) is not False:
            charge.pidfd = open_pidfd(condition.runner)
        self.care.take(charge)
        if charge.pidfd is None:
            self.care.clear_up(charge)
            return
        log.info("%s goes on under pid %d; it is ours now", name, charge.runner.pid)
        if condition.stopping is not None:
            charge.kill_at = now + charge.rules.grace
        elif self.store.marked(name, "abort"):
            self.care.stop(charge, "abort", ABORTED)

    # -- starting ---------------------------------------------------------------------------------

    def _on_nursery(self, brood: Brood, message: dict[str, Any], release: int | None) -> None:
        if message["event"] == "ready":
            for charge in self.care.charges.values():
                if charge.rules is UNKNOWN:  # adopted before anybody knew its service
                    charge.rules = self.nurseries.rules(charge.service)
            return
        with self.care.alone(message["name"]):
            self._on_job(brood, message, message["name"], release)

    def _on_job(self, brood: Brood, message: dict[str, Any], name: str, release: int | None) -> None:
        if message["event"] == "refused":
            self.admission.refused(name)
        elif message["event"] == "exited":
            self.admission.unreleased(name)
            self.care.on_exited(name, message["status"])
        elif release is not None:
            try:
                begun = self.admission.forked(brood, name, message["pid"], message["start_ticks"], release)
            finally:
                os.close(release)
            if begun is not None and self.leaving:
                self.care.stop(begun, "shutdown", STOPPED)
            elif begun is not None and self.store.marked(name, "abort"):
                self.care.stop(begun, "abort", ABORTED)

    def _on_nursery_lost(self, brood: Brood) -> None:
        self.admission.lost(brood)
        for charge in self.care.charges.values():
            if charge.brood_pid == brood.pid:
                charge.brood_pid = None  # its exit will be told by the kernel
        if not self.leaving:
            self.nurseries.ready()

    # -- leaving ----------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Stop on purpose: admit nothing more, settle every job. Told twice: at once."""
        if self.leaving and self._knows:
            self._knows = False
            return
        if self.leaving:
            for charge in self.care.charges.values():
                self.care.kill(charge)
            return
        notify.tell("STOPPING=1")
        log.info("stopping: %d jobs run, %d wait", len(self.care.charges), len(self.queue))
        self.leaving = True
        with contextlib.suppress(OSError):
            touch(self.hearth.ours / "stopped")
        for name in self.queue.names():
            self._look(name)
        for charge in list(self.care.charges.values()):
            self.care.stop(charge, "shutdown", STOPPED)

    def _begin_anew(self) -> None:
        """Become the supervisor that the code on the disk is now; the jobs stay, and so does the lock."""
        if self.care.guards or self.forking:
            self.hearth.told.add(signal.SIGHUP)  # they are our children and must be heard out first
            self._next_tick = min(self._next_tick, boot_clock() + 0.02)
            return
        log.info("beginning anew with the code that is there now")
        self.nurseries.retire()
        self.hearth.exec_anew()
