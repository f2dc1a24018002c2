"""From the queue into a running process: who may, what it holds, and when it is let go."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass

from ..model.record import State, StoredState, move
from ..runner.main import NOT_BEGUN
from ..store.leases import Held
from ..system.backoff import Backoff
from ..system.process import Identity, boot_clock, boot_id, identify, open_pidfd
from .guard import DAMAGED
from .keeper import WANT, Keeper
from .nurseries import Nurseries
from .nursery_handle import NurseryHandle
from .queue import Queue, Waiting
from .running_job import RunningJob

log = logging.getLogger("labwaiter.supervisor")
UNREADABLE = "The execution could not be started: its record is damaged."
VANISHED_SECONDS = 2.0  # an editor may empty the file before it writes it
VANISHED = "The execution could not be started: the instrument {} is no longer in lab.toml."
DISK_FULL = "The execution could not be started: the disk is full or can't be written."
TRIES = 5  # processes that may end before the work begins, other than for want of something
NEVER_BEGAN = f"The execution could not be started: its process ended {TRIES} times before the work began."
LONGEST_PAUSE = 5.0  # s between two tries while processes or memory are wanting


@dataclass
class Forking:
    """A job that the nursery was asked to fork."""

    waiting: Waiting
    nursery_pid: int


class Admission:
    """Starts who waits, as far as the limits and the instruments let them."""

    def __init__(self, queue: Queue, keeper: Keeper, nurseries: Nurseries) -> None:
        self.queue, self.keeper, self.nurseries = queue, keeper, nurseries
        self.leases, self.store = keeper.leases, keeper.store
        self.forking: dict[str, Forking] = {}
        # instruments that are no longer in lab.toml, and since when, boot clock, s
        self.vanished: dict[str, float] = {}
        self._tries: dict[str, int] = {}  # of jobs whose processes ended before their work began
        self._backoff = Backoff(0.25, LONGEST_PAUSE)  # by the boot clock

    @property
    def running(self) -> list[str]:
        """The services of the jobs that take a place among the running."""
        running = [running_job.service for running_job in self.keeper.running_jobs.values()]
        return running + [forking.waiting.service for forking in self.forking.values()]

    def admit(self) -> None:
        """Have all forked that may begin. Their leases are written first."""
        self._refuse_vanished()
        if not self._backoff.is_due(boot_clock()):
            return
        contested: set[str] = set()  # somebody was faster, or is just at it: the next tick looks again
        while self.queue:
            nursery_handle = self.nurseries.ready()
            if nursery_handle is None:
                return
            taken, shut = self._not_free()
            one = self.queue.next(self.running, taken | contested, shut)
            if one is None:
                return
            self.queue.remove(one.name)
            try:
                if not self.leases.take(one.name, one.instruments):
                    self.queue.add(one)
                    contested.update(one.instruments)
                    continue
            except OSError:
                log.exception("%s can't be started: its leases can't be written", one.name)
                self.keeper.write_end(one.name, StoredState(), State.FAILED, DISK_FULL)
                continue
            try:
                nursery_handle.channel.send({"do": "fork", "name": one.name})
            except OSError:
                self._give_back(one)
                return
            self.forking[one.name] = Forking(one, nursery_handle.pid)

    def _not_free(self) -> tuple[set[str], set[str]]:
        """The instruments that a job or what clears up after it has, and those that only a person frees."""
        taken = self.keeper.instruments
        shut: set[str] = set()
        if self.queue.needs:
            for name, lease in self.leases.all().items():
                (shut if lease.how in (Held.UNSAFE, Held.RESERVED) else taken).add(name)
        lab = self.keeper.lab.now() if taken or shut else None
        if lab is not None:  # one device may stand in lab.toml under two names
            taken, shut = ({twin for name in names for twin in lab.twins(name)} for names in (taken, shut))
        return taken, shut

    def _refuse_vanished(self) -> None:
        """Whoever waits for an instrument that is no longer in lab.toml would wait for ever."""
        needs = self.queue.needs
        lab = self.keeper.lab.now() if needs else None
        if lab is None:
            self.vanished.clear()
            return
        now = boot_clock()
        gone = {one for instruments in needs.values() for one in instruments if one not in lab.entries}
        self.vanished = {one: self.vanished.get(one, now) for one in gone}
        for name, instruments in needs.items():
            over = [one for one in instruments if now - self.vanished.get(one, now) > VANISHED_SECONDS]
            if over:
                self.queue.remove(name)
                self.keeper.write_end(name, StoredState(), State.FAILED, VANISHED.format(over[0]))

    def _want(self) -> None:
        """Something that a process needs is wanting: the next one is tried after a pause."""
        self._backoff.failed(boot_clock())

    def _give_back(self, one: Waiting) -> None:
        """It did not begin: it waits again, and holds nothing."""
        self._free(one.instruments)
        self.queue.add(one)

    def _free(self, instruments: tuple[str, ...]) -> None:
        """Of a job that was never released: it has opened nothing."""
        for name in instruments:
            self.leases.free(name)

    def refused(self, name: str, why: str) -> None:
        """The nursery can't read its request ("record"), or can't fork just now ("processes"): then it waits again."""
        forking = self.forking.pop(name, None)
        if forking is None:
            return
        damaged = False
        if why == "record":
            try:
                damaged = self.store.request(name) is None
            except DAMAGED:
                damaged = True
            except OSError:
                damaged = False  # it can't be read now
        if damaged:
            self._free(forking.waiting.instruments)
            self.keeper.write_end(name, StoredState(), State.FAILED, UNREADABLE)
            return
        log.warning("%s: there is no process for it now; it is tried again", name)
        self._give_back(forking.waiting)
        self._want()

    def unreleased(self, name: str) -> None:
        """A process has ended, or can't be let go; where it was never released, its job waits again."""
        if name in self.forking:
            self._give_back(self.forking.pop(name).waiting)
            self._want()

    def unbegun(self, running_job: RunningJob) -> None:
        """A process has ended before it began the work: the job waits again, unless that is so each time."""
        if running_job.status != NOT_BEGUN:
            self._tries[running_job.name] = self._tries.get(running_job.name, 0) + 1
        if self._tries.get(running_job.name, 0) >= TRIES:
            del self._tries[running_job.name]
            self.keeper.write_end(running_job.name, running_job.condition, State.FAILED, NEVER_BEGAN)
            return
        try:
            self.keeper.wait_again(running_job.name)
        except OSError:
            log.exception("%s: that it waits again can't be written", running_job.name)
        self._want()
        self.queue.add(
            Waiting(
                running_job.created, running_job.name, running_job.service, running_job.instruments, running_job.rules
            )
        )

    def lost(self, nursery_handle: NurseryHandle) -> None:
        """A nursery has died: its forks' release pipes with it, so they do nothing."""
        for name in [n for n, f in self.forking.items() if f.nursery_pid == nursery_handle.pid]:
            self._give_back(self.forking.pop(name).waiting)

    def forked(
        self, nursery_handle: NurseryHandle, name: str, pid: int, start_ticks: int, release: int
    ) -> RunningJob | None:
        """Have the runner's identity on disk, then let it begin. Unreleased it leaves undone: None."""
        forking = self.forking.pop(name, None)
        if forking is None:
            return None
        now, clock = time.time(), boot_clock()
        try:
            runner = identify(pid) or Identity(pid, start_ticks, boot_id())
            pidfd = open_pidfd(runner)
        except WANT as want:
            log.warning("%s: its process can't be watched now (%s); it is tried again", name, want)
            self._give_back(forking.waiting)
            self._want()
            return None
        condition = move(
            StoredState(marks_begin=True), State.RUNNING, since=now, started=now, started_boot=clock, runner=runner
        )
        waiting = forking.waiting
        running_job = RunningJob(
            name, waiting.service, waiting.rules, condition, nursery_pid=nursery_handle.pid, moved_at=clock
        )
        running_job.instruments, running_job.created, running_job.pidfd = waiting.instruments, waiting.created, pidfd
        try:
            self.keeper.write(name, condition)
        except OSError:
            log.exception("%s can't be started: its state can't be written", name)
            if pidfd is not None:
                os.close(pidfd)
            self._free(running_job.instruments)
            self.keeper.write_end(name, StoredState(), State.FAILED, DISK_FULL)
            return None
        if running_job.instruments and self.store.polled_at(name) is not None:
            self.store.polled(name)  # nobody is abandoned for the time in the queue
        self._backoff.pause = 0.0
        self.keeper.take(running_job)
        with contextlib.suppress(BrokenPipeError):  # it died before it began: its exit is told
            os.write(release, b"1")
        return running_job
