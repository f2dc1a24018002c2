"""From the queue into a running process: who may, what it holds, and when it is let go."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass

from ..jobs.leases import Held
from ..process import boot_clock, boot_id, identify, open_pidfd
from ..record import Condition, Identity, State, move
from .brood import Brood
from .care import Care
from .charge import Charge
from .nurseries import Nurseries
from .queue import Queue, Waiting

log = logging.getLogger("labwaiter.supervisor")
UNREADABLE = "The execution could not be started: its record is damaged."
VANISHED_SECONDS = 2.0  # an editor may empty the file before it writes it
VANISHED = "The execution could not be started: the instrument {} is no longer in lab.toml."
DISK_FULL = "The execution could not be started: the disk is full or can't be written."


@dataclass
class Forking:
    """A job that the nursery was asked to fork."""

    waiting: Waiting
    brood_pid: int


class Admission:
    """Starts who waits, as far as the limits and the instruments let them."""

    def __init__(self, queue: Queue, care: Care, nurseries: Nurseries) -> None:
        self.queue, self.care, self.nurseries = queue, care, nurseries
        self.leases, self.store = care.leases, care.store
        self.forking: dict[str, Forking] = {}
        # instruments that are no longer in lab.toml, and since when, boot clock, s
        self.vanished: dict[str, float] = {}

    @property
    def _running(self) -> list[str]:
        """The services of the jobs that take a place among the running."""
        running = [charge.service for charge in self.care.charges.values()]
        return running + [forking.waiting.service for forking in self.forking.values()]

    def admit(self) -> None:
        """Have all forked that may begin. Their leases are written first."""
        self._refuse_vanished()
        contested: set[str] = set()  # somebody was faster, or is just at it: the next tick looks again
        while self.queue:
            brood = self.nurseries.ready()
            if brood is None:
                return
            limits = {name: rules.at_once for name, rules in brood.offers.items()}
            taken, shut = self._not_free()
            one = self.queue.next(self._running, limits, taken | contested, shut)
            if one is None:
                return
            self.queue.remove(one.name)
            if one.service not in brood.offers:
                why = brood.broken.get(one.service) or "this deployment no longer offers it."
                why = f"The service {one.service} is not available: {why}"
                self.care.write_end(one.name, Condition(), State.FAILED, why)
                continue
            try:
                if not self.leases.take(one.name, one.instruments):
                    self.queue.add(one)
                    contested.update(one.instruments)
                    continue
            except OSError:
                log.exception("%s can't be started: its leases can't be written", one.name)
                self.care.write_end(one.name, Condition(), State.FAILED, DISK_FULL)
                continue
            try:
                brood.wire.send({"do": "fork", "name": one.name, "service": one.service})
            except OSError:
                self._give_back(one)
                return
            self.forking[one.name] = Forking(one, brood.pid)

    def _not_free(self) -> tuple[set[str], set[str]]:
        """The instruments that a job or what clears up after it has, and those that only a person frees."""
        taken = self.care.instruments
        shut: set[str] = set()
        if self.queue.needs:
            for name, lease in self.leases.all().items():
                (shut if lease.how in (Held.UNSAFE, Held.RESERVED) else taken).add(name)
        return taken, shut

    def _refuse_vanished(self) -> None:
        """Whoever waits for an instrument that is no longer in lab.toml would wait for ever."""
        needs = self.queue.needs
        lab = self.care.lab.now() if needs else None
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
                self.care.write_end(name, Condition(), State.FAILED, VANISHED.format(over[0]))

    def _give_back(self, one: Waiting) -> None:
        """It did not begin: it waits again, and holds nothing."""
        self._free(one.instruments)
        self.queue.add(one)

    def _free(self, instruments: tuple[str, ...]) -> None:
        """Of a job that was never released: it has opened nothing."""
        for name in instruments:
            self.leases.free(name)

    def refused(self, name: str) -> None:
        """The nursery can't read its request."""
        forking = self.forking.pop(name, None)
        if forking is not None:
            self._free(forking.waiting.instruments)
        self.care.write_end(name, Condition(), State.FAILED, UNREADABLE)

    def unreleased(self, name: str) -> None:
        """A process has ended; where it was never released, its job waits again."""
        if name in self.forking:
            self._give_back(self.forking.pop(name).waiting)

    def lost(self, brood: Brood) -> None:
        """A nursery has died: its forks' release pipes with it, so they do nothing."""
        for name in [n for n, f in self.forking.items() if f.brood_pid == brood.pid]:
            self._give_back(self.forking.pop(name).waiting)

    def forked(self, brood: Brood, name: str, pid: int, start_ticks: int, release: int) -> Charge | None:
        """Have the runner's identity on disk, then let it begin. Unreleased it leaves undone: None."""
        forking = self.forking.pop(name, None)
        if forking is None:
            return None
        now, clock = time.time(), boot_clock()
        runner = identify(pid) or Identity(pid, start_ticks, boot_id())
        condition = move(Condition(), State.RUNNING, since=now, started=now, started_boot=clock, runner=runner)
        service = forking.waiting.service
        charge = Charge(name, service, brood.offers[service], condition, brood_pid=brood.pid, moved_at=clock)
        charge.instruments = forking.waiting.instruments
        try:
            self.care.write(name, condition)
        except OSError:
            log.exception("%s can't be started: its state can't be written", name)
            self._free(charge.instruments)
            self.care.write_end(name, Condition(), State.FAILED, DISK_FULL)
            return None
        if charge.instruments and self.store.polled_at(name) is not None:
            self.store.polled(name)  # nobody is abandoned for the time in the queue
        charge.pidfd = open_pidfd(runner)
        self.care.take(charge)
        with contextlib.suppress(BrokenPipeError):  # it died before it began: its exit is told
            os.write(release, b"1")
        return charge
