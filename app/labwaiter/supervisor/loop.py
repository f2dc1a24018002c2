"""The supervisor's loop. Every move of every job is made here."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass

from ..jobs.files import touch
from ..jobs.folder import Folder
from ..process import become_subreaper, boot_clock, boot_id, identify, lives, open_pidfd, tell_group
from ..record import ENDED, Condition, Identity, State, move, settle
from ..settings import Settings
from . import guard, retention
from .brood import Brood, Rules, hatch
from .charge import Charge
from .hearth import Hearth
from .queue import Queue, Waiting

log = logging.getLogger("labwaiter.supervisor")
TICK = 0.5  # s: how late a deadline may be noticed
QUEUE_EVERY = 0.1  # s between two writes of queue.json
STOPPED = "The execution was stopped, because this deployment was stopped."
WITHDRAWN = "The execution was aborted before it began."
ABORTED = "The execution was aborted."


@dataclass
class Forking:
    """A job that the nursery was asked to fork."""

    waiting: Waiting
    brood_pid: int


class Supervisor:
    """The one supervisor of a jobs folder."""

    def __init__(self, settings: Settings, hearth: Hearth) -> None:
        self.settings = settings
        self.hearth = hearth
        self.store = Folder(settings.jobs_folder)
        self.queue = Queue(settings.max_running)
        self.forking: dict[str, Forking] = {}
        self.charges: dict[str, Charge] = {}
        self.services: dict[str, str] = {}  # running and forking jobs → their service
        self.guards: dict[int, Charge | None] = {}  # a guard's pid → whom it clears up after
        self.unwritten: dict[str, Condition] = {}  # ends that a full disk refused so far
        self.broods: list[Brood] = []  # the last one is the one that forks
        self.leaving = False
        self.selector = selectors.DefaultSelector()
        self._next_tick = 0.0
        self._next_nursery = 0.0
        self._next_retention = 0.0
        self._nursery_wait = 0.0
        self._active_seen = 0
        self._queue_written: tuple[int, list[str]] | None = None
        self._queue_at = 0.0

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stopped."""
        become_subreaper()
        self.hearth.listen()
        self.selector.register(self.hearth.wake, selectors.EVENT_READ, self._on_wake)
        self.selector.register(self.hearth.signals, selectors.EVENT_READ, self._on_signals)
        self._new_nursery()
        for name in self.store.active_names():
            self._look(name)
        while not (self.leaving and not self.charges and not self.forking and not self.unwritten):
            now = boot_clock()
            for key, _ in self.selector.select(max(0.0, min(self._next_tick, self._queue_due()) - now)):
                key.data()
            if boot_clock() >= self._next_tick:
                self._tick()
            self._admit()
            self._publish_queue()
        for brood in self.broods:
            brood.retire()

    def _on_wake(self) -> None:
        for name in self.hearth.names():
            if name and not name.startswith(".") and "/" not in name:
                self._look(name)

    def _on_signals(self) -> None:
        told = self.hearth.signals_told()
        if signal.SIGCHLD in told:
            self._reap()
        if told & {signal.SIGTERM, signal.SIGINT}:
            self._leave()
        if signal.SIGHUP in told and not self.leaving:
            self._begin_anew()

    def _look(self, name: str) -> None:
        """Take up a job, or what somebody wishes of it."""
        if name in self.forking or name in self.unwritten:
            return
        abort = self.store.marked(name, "abort")
        if name in self.charges:
            if abort:
                self._stop(self.charges[name], "abort", ABORTED)
            return
        if name not in self.queue and not self._take_up(name):
            return
        if name in self.queue and (abort or self.leaving):
            self.queue.remove(name)
            self._write_end_state(name, Condition(), State.ABORTED, WITHDRAWN if abort else STOPPED)

    def _take_up(self, name: str) -> bool:
        """Learn of a job from its folder; False if there's nothing to do for it."""
        try:
            request, condition = self.store.request(name), self.store.condition(name)
        except (ValueError, TypeError, KeyError):
            log.exception("%s: its record is damaged, it is left alone", name)
            self.store.forget_active(name)
            return False
        if request is None or (condition is not None and condition.state in ENDED):
            self.store.forget_active(name)
            return False
        if condition is None or condition.state is State.QUEUED:
            self.queue.add(Waiting(request.created, name, request.service))
            return True
        self._adopt(name, request.service, condition)
        return False

    def _adopt(self, name: str, service: str, condition: Condition) -> None:
        """A job that a supervisor before us had started."""
        now = boot_clock()
        charge = Charge(name, self._rules(service), condition, moved_at=now)
        self.charges[name] = charge
        self.services[name] = service
        if condition.runner is not None and lives(condition.runner) is not False:
            charge.pidfd = open_pidfd(condition.runner)
        if charge.pidfd is None:
            self._clear_up(charge)
            return
        log.info("%s goes on under pid %d; it is ours now", name, charge.runner.pid)
        self._watch(charge)
        if condition.stopping is not None:
            charge.kill_at = now + charge.rules.grace
        if self.store.marked(name, "abort"):
            self._stop(charge, "abort", ABORTED)

    # -- starting -------------------------------------------------------------------------------

    def _admit(self) -> None:
        while self.queue and not self.leaving:
            brood = self._ready_nursery()
            if brood is None:
                return
            limits = {name: rules.at_once for name, rules in brood.offers.items()}
            one = self.queue.next(self.services.values(), limits)
            if one is None:
                return
            self.queue.remove(one.name)
            if one.service not in brood.offers:
                why = brood.broken.get(one.service) or "this deployment no longer offers it."
                self._write_end_state(
                    one.name, Condition(), State.FAILED, f"The service {one.service} is not available: {why}"
                )
                continue
            try:
                brood.wire.send({"do": "fork", "name": one.name, "service": one.service})
            except OSError:
                self.queue.add(one)
                return
            self.forking[one.name] = Forking(one, brood.pid)
            self.services[one.name] = one.service

    def _ready_nursery(self) -> Brood | None:
        """The nursery that forks; None while it isn't ready. Changed code has a new one started."""
        if not self.broods or self.broods[-1].retired:
            self._new_nursery()
            return None
        brood = self.broods[-1]
        if brood.ready and brood.changed(self.settings):
            log.info("the services' code has changed: a new nursery")
            brood.retire()
            self._new_nursery()
            return None
        return brood if brood.ready else None

    def _new_nursery(self) -> None:
        now = boot_clock()
        if now < self._next_nursery or self.leaving:
            return
        # one that dies as soon as it is there is started again, but at growing distances
        self._next_nursery = now + self._nursery_wait
        self._nursery_wait = min(30.0, self._nursery_wait * 2 or 0.5)
        brood = hatch(self.settings, now)
        self.broods.append(brood)
        self.selector.register(brood.wire, selectors.EVENT_READ, lambda: self._on_nursery(brood))

    def _on_nursery(self, brood: Brood) -> None:
        received = brood.wire.receive()
        if received is None:
            self._lose_nursery(brood)
            return
        message, descriptors = received
        if message["event"] == "ready":
            brood.hear_ready(message)
            self._nursery_wait = self._next_nursery = 0.0
            log.info("services: %s", ", ".join(sorted(brood.offers)) or "none")
        elif message["event"] == "forked":
            self._on_forked(brood, message, descriptors[0] if descriptors else None)
        elif message["event"] == "exited":
            self._on_exited(message["name"], message["status"])

    def _lose_nursery(self, brood: Brood) -> None:
        self.selector.unregister(brood.wire)
        brood.wire.close()
        self.broods.remove(brood)
        if not brood.retired:
            log.warning("the nursery (pid %d) is gone", brood.pid)
        for name in [n for n, f in self.forking.items() if f.brood_pid == brood.pid]:
            # its release pipe died with the nursery: that fork, if there was one, does nothing
            self.services.pop(name, None)
            self.queue.add(self.forking.pop(name).waiting)
        for charge in self.charges.values():
            if charge.brood_pid == brood.pid:
                charge.brood_pid = None
        if not self.broods or self.broods[-1].retired:
            self._new_nursery()

    def _on_forked(self, brood: Brood, message: dict[str, object], release: int | None) -> None:
        name = str(message["name"])
        forking = self.forking.pop(name, None)
        try:
            if forking is None or release is None:
                return
            now, clock = time.time(), boot_clock()
            found = identify(int(str(message["pid"])))
            runner = found or Identity(int(str(message["pid"])), int(str(message["start_ticks"])), boot_id())
            condition = move(
                Condition(), State.RUNNING, since=now, started=now, started_boot=clock, runner=runner
            )
            charge = Charge(
                name, brood.offers[forking.waiting.service], condition, brood_pid=brood.pid, moved_at=clock
            )
            try:
                self._write(name, condition)
            except OSError:
                log.exception("%s can't be started: its state can't be written", name)
                self.services.pop(name, None)
                self._write_end_state(
                    name, Condition(), State.FAILED, "The execution could not be started: the disk is full."
                )
                return
            self.charges[name] = charge
            charge.pidfd = open_pidfd(runner)
            self._watch(charge)
            os.write(release, b"1")
        except BrokenPipeError:
            pass  # it died before it began: its exit is told like any other
        finally:
            if release is not None:
                os.close(release)
        if self.leaving:
            self._stop(self.charges[name], "shutdown", STOPPED)
        elif self.store.marked(name, "abort"):
            self._stop(self.charges[name], "abort", ABORTED)

    # -- stopping -------------------------------------------------------------------------------

    def _stop(self, charge: Charge, reason: str, why: str) -> None:
        """The polite stop; the sure one follows after its grace."""
        if charge.condition.stopping is not None or charge.gone_at is not None:
            return
        log.info("%s is told to stop: %s", charge.name, reason)
        charge.stopping(reason, why, "told to stop")
        self._write_or_log(charge.name, charge.condition)
        charge.kill_at = boot_clock() + charge.rules.grace
        tell_group(charge.runner.pid, signal.SIGTERM)

    def _kill(self, charge: Charge) -> None:
        charge.kill_at = None
        stopping = charge.condition.stopping
        if stopping is not None:
            charge.stopping(stopping.reason, stopping.why, "killed")
            self._write_or_log(charge.name, charge.condition)
        tell_group(charge.runner.pid, signal.SIGKILL)

    def _leave(self) -> None:
        """Stop on purpose: admit nothing more, settle every job."""
        if self.leaving:
            for charge in self.charges.values():
                self._kill(charge)
            return
        log.info("stopping: %d jobs run, %d wait", len(self.charges), len(self.queue))
        self.leaving = True
        with contextlib.suppress(OSError):
            touch(self.hearth.ours / "stopped")
        for name in self.queue.names():
            self._look(name)
        for charge in list(self.charges.values()):
            self._stop(charge, "shutdown", STOPPED)

    def _begin_anew(self) -> None:
        """Become the supervisor that the code on the disk is now; the jobs stay, and so does the lock."""
        if self.guards or self.forking:
            self.hearth.told.add(signal.SIGHUP)  # they are our children and must be heard out first
            self._next_tick = 0.0
            return
        log.info("beginning anew with the code that is there now")
        for brood in self.broods:
            brood.retire()
        signal.set_wakeup_fd(-1)
        os.set_inheritable(self.hearth.lock, True)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "labwaiter.supervisor", "--lock", str(self.hearth.lock)],
        )

    # -- ending ---------------------------------------------------------------------------------

    def _watch(self, charge: Charge) -> None:
        if charge.pidfd is not None:
            self.selector.register(charge.pidfd, selectors.EVENT_READ, lambda: self._on_gone(charge))

    def _on_gone(self, charge: Charge) -> None:
        """Its process has ended. Whoever is its parent knows how, and tells in a moment."""
        self._unwatch(charge)
        charge.gone_at = boot_clock()
        if charge.brood_pid is None:
            self._reap()
            if charge.name in self.charges and charge.pidfd is None and charge.status is None:
                self._clear_up(charge)

    def _unwatch(self, charge: Charge) -> None:
        if charge.pidfd is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(charge.pidfd)
            os.close(charge.pidfd)
            charge.pidfd = None

    def _on_exited(self, name: str, status: int) -> None:
        if name in self.forking:  # it left unreleased
            self.services.pop(name, None)
            self.queue.add(self.forking.pop(name).waiting)
            return
        charge = self.charges.get(name)
        if charge is None or charge.status is not None:
            return
        charge.status = status
        self._unwatch(charge)
        if status == 0 and self._end_is_there(charge):
            self._settle(charge)  # it said itself that it left nothing behind
        else:
            self._clear_up(charge)

    def _end_is_there(self, charge: Charge) -> bool:
        try:
            return self.store.end(charge.name) is not None
        except (ValueError, TypeError, KeyError):
            return False

    def _clear_up(self, charge: Charge) -> None:
        """Have a child end what the job left behind; then the job is settled."""
        if charge not in self.guards.values():
            mine = [*self.hearth.mine, *(b.wire.fileno() for b in self.broods)]
            pid = guard.in_a_child(lambda: guard.clear_up(self.store, charge), mine)
            self.guards[pid] = charge

    def _settle(self, charge: Charge) -> None:
        try:
            end = self.store.end(charge.name)
        except (ValueError, TypeError, KeyError):
            log.exception("%s: its end is damaged", charge.name)
            end = None
        state, why = settle(charge.condition, end)
        del self.charges[charge.name]
        self.services.pop(charge.name, None)
        self._write_end_state(charge.name, charge.condition, state, why)

    def _write_end_state(self, name: str, condition: Condition, state: State, why: str) -> None:
        now = time.time()
        ended = move(condition, state, why=why, since=now, ended=now)
        log.info("%s: %s%s", name, state, f" ({why})" if why else "")
        try:
            self._write(name, ended)
            self.store.forget_active(name)
            self.unwritten.pop(name, None)
        except FileNotFoundError:
            log.warning("%s: its folder is gone", name)
            self.store.forget_active(name)
        except OSError:
            log.exception("%s: its end can't be written yet", name)
            self.unwritten[name] = ended

    def _write(self, name: str, condition: Condition) -> None:
        try:
            self.store.write_condition(name, condition)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            self.hearth.use_reserve()
            self.store.write_condition(name, condition)

    def _write_or_log(self, name: str, condition: Condition) -> None:
        try:
            self._write(name, condition)
        except OSError:
            log.exception("%s: its state can't be written", name)

    def _reap(self) -> None:
        """Bury children: guards, nurseries, runners whose nursery died, and what jobs left."""
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            if pid in self.guards:
                charge = self.guards.pop(pid)
                if charge is not None and charge.name in self.charges:
                    self._settle(charge)
                continue
            for charge in list(self.charges.values()):
                if charge.runner.pid == pid:
                    if status:
                        tell_group(pid, signal.SIGKILL)
                    self._on_exited(charge.name, status)

    # -- what is due ------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = boot_clock()
        self._next_tick = now + TICK
        self._reap()
        if not self.hearth.stands():
            log.warning("the jobs folder was removed or replaced: there is nothing left to supervise")
            self.leaving = True
            for kept in (self.charges, self.forking, self.unwritten):
                kept.clear()
        if signal.SIGHUP in self.hearth.told:
            self._on_signals()
        seen = self._active_stamp()
        if seen != self._active_seen:
            self._active_seen = seen
            for name in self.store.active_names():
                self._look(name)
        for charge in list(self.charges.values()):
            if charge.condition.stopping is None:
                if self.store.marked(charge.name, "abort"):
                    self._stop(charge, "abort", ABORTED)
                elif due := charge.overdue(self.store, now):
                    self._stop(charge, *due)
            elif charge.kill_at is not None and now >= charge.kill_at:
                self._kill(charge)
            if charge.gone_at is not None and charge.status is None and now - charge.gone_at > 1:
                self._clear_up(charge)  # nobody told how it ended
        for name in self.queue.names():
            if self.store.marked(name, "abort"):
                self._look(name)
        for name, condition in list(self.unwritten.items()):
            self._retry(name, condition)
        known = {*self.guards, *(b.pid for b in self.broods), *(c.runner.pid for c in self.charges.values())}
        if not self.forking:
            for pid in guard.strays(known):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._ready_nursery()
        if now >= self._next_retention:
            self._next_retention = now + retention.every(self.settings.keep_seconds)
            keep = self.settings.keep_seconds
            pid = guard.in_a_child(lambda: retention.round_of(self.store, keep), self.hearth.mine)
            self.guards[pid] = None

    def _active_stamp(self) -> int:
        try:
            return os.stat(self.store.active).st_mtime_ns
        except OSError:
            return 0

    def _retry(self, name: str, condition: Condition) -> None:
        with contextlib.suppress(OSError):
            self._write(name, condition)
            self.store.forget_active(name)
            del self.unwritten[name]
            self.hearth.keep_reserve()

    def _rules(self, service: str) -> Rules:
        for brood in reversed(self.broods):
            if service in brood.offers:
                return brood.offers[service]
        return Rules()

    def _queue_due(self) -> float:
        return self._next_tick if self._queue_written == self._queue_now() else self._queue_at + QUEUE_EVERY

    def _queue_now(self) -> tuple[int, list[str]]:
        return len(self.services), self.queue.names()

    def _publish_queue(self) -> None:
        """queue.json, for the pages of those who wait."""
        now, content = boot_clock(), self._queue_now()
        if content == self._queue_written or now < self._queue_at + QUEUE_EVERY:
            return
        self._queue_at = now
        with contextlib.suppress(OSError):
            self.store.write_queue(content[0], self.settings.max_running, content[1])
            self._queue_written = content


def serve(settings: Settings, lock: int | None = None) -> None:
    """Be the supervisor of the jobs folder until stopped.

    Raises:
        hearth.Taken: there is one already.
        OSError: the folder can't be made or written.
    """
    from .hearth import far_disk

    store = Folder(settings.jobs_folder)
    store.make()
    hearth = Hearth(store.ours, lock)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(store.ours / "stopped")
    kind = far_disk(settings.jobs_folder)
    if kind:
        log.warning("the jobs folder is on %s: labwaiter needs a local disk, jobs may be lost", kind)
    log.info("supervisor (pid %d) of %s", os.getpid(), settings.jobs_folder)
    Supervisor(settings, hearth).run()
    log.info("stopped; every job is settled")

