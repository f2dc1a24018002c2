"""From the queue into a running process: who may, what it holds, and when it is let go."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..lab.labfile import WatchedLab
from ..model.record import Owner, State, StoredState, move, unbegun
from ..model.sentences import N_
from ..runner.main import NOT_BEGUN
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..store.upkeep import Upkeep
from ..system.backoff import Backoff
from ..system.process import Identity, boot_clock, boot_id, identify, open_pidfd
from .cleanup import Cleanup
from .faults import DAMAGED, SHORTAGE
from .figures import SupervisorFigures
from .fork_servers import ForkServerHandle, ForkServers
from .keeper import Keeper
from .monitoring import Monitoring
from .queue import MostRunning, Queue, Waiting, next_to_run, waiting_for
from .running_job import RunningJob
from .states import StateWriter

log = logging.getLogger("labwaiter.supervisor")
UNREADABLE = N_("The execution could not be started: its record is damaged.")
VANISHED_SECONDS = 2.0  # an editor may empty the file before it writes it
VANISHED = N_("The execution could not be started: the instrument {} is no longer in lab.toml.")
DISK_FULL = N_("The execution could not be started: the disk is full or can't be written.")
FORKING_MAX = 30  # jobs that a fork server is asked to fork at a time: a socket takes some ninety messages
TRIES = 5  # processes that may end before the work begins, other than for want of something
NEVER_BEGAN = N_(f"The execution could not be started: its process ended {TRIES} times before the work began.")
LONG_WAITS_EVERY = 1.0  # s between two looks for who has waited too long
LONGEST_PAUSE = 5.0  # s between two tries while processes or memory are wanting


@dataclass
class Forking:
    """A job that the fork server was asked to fork."""

    waiting: Waiting
    fork_server_pid: int


class Admission:
    """Starts who waits, as far as the limits and the instruments let them."""

    def __init__(
        self,
        most: MostRunning,
        store: Folder,
        queue: Queue,
        fork_servers: ForkServers,
        keeper: Keeper,
        cleanup: Cleanup,
        states: StateWriter,
        leases: Leases,
        lab: WatchedLab,
        figures: SupervisorFigures,
        monitoring: Monitoring,
        long_wait: float | None,
    ) -> None:
        """
        Args:
            long_wait: s in the queue after which an execution that still waits is an event; None: never.
        """
        self._monitoring, self._long_wait = monitoring, long_wait
        self._long_waits: set[str] = set()  # of whom that was told
        self._next_long_waits = 0.0  # boot clock, s
        self._most, self._store = most, store
        self._queue, self._fork_servers, self._keeper, self._cleanup = queue, fork_servers, keeper, cleanup
        self._states, self._leases, self._lab, self._figures = states, leases, lab, figures
        self._upkeep = Upkeep(store.layout)
        self._forking: dict[str, Forking] = {}
        # instruments that are no longer in lab.toml, and since when, boot clock, s
        self._vanished: dict[str, float] = {}
        self._tries: dict[str, int] = {}  # of jobs whose processes ended before their work began
        self._backoff = Backoff(0.25, LONGEST_PAUSE)  # by the boot clock

    # -- looking --------------------------------------------------------------------------------

    @property
    def forking(self) -> list[str]:
        """The jobs that a fork server was asked to fork, and that aren't let go yet."""
        return list(self._forking)

    @property
    def running(self) -> list[tuple[str, Owner]]:
        """Service and owner of each job that takes a place among the running."""
        waiting = [forking.waiting for forking in self._forking.values() if not forking.waiting.rules.takes_no_place]
        return self._keeper.running + [(job.service, job.owner) for job in waiting]

    def figures(self) -> dict[str, Any]:
        """Of those who wait, as `SupervisorFigures.tell` takes them."""
        if not self._queue:
            return {"queued": {}}
        queued = waiting_for(self._queue, self._most, self.running, *self._not_free())
        return {"queued": queued, "oldest": next(iter(self._queue)).created}

    def forget_all(self) -> None:
        """The jobs folder is gone: nothing is to be started."""
        self._forking.clear()

    # -- starting -------------------------------------------------------------------------------

    def admit(self) -> None:
        """Have all forked that may begin. Their leases are written first."""
        self._refuse_vanished()
        if not self._backoff.is_due(boot_clock()):
            return
        contested: set[str] = set()  # somebody was faster, or is just at it: the next tick looks again
        # one that waits until we hear what it tells doesn't hear what we ask: more than fits would wait for ever
        while self._queue and len(self._forking) < FORKING_MAX:
            fork_server = self._fork_servers.ready()
            if fork_server is None:
                return
            taken, shut = self._not_free()
            queue, turns = self._queue, self._queue.turns
            heads, busy = queue.heads, taken | contested
            waiting = self._without_a_place_next(heads, busy)
            if waiting is None:
                heads = [job for job in heads if not job.rules.takes_no_place]
                waiting = next_to_run(heads, self._most, self.running, busy, shut, turns)
            if waiting is None:
                return
            if waiting.instruments and self._monitoring.ask(waiting.instruments):
                contested.update(waiting.instruments)  # whoever reads it wakes us once its line is closed
                continue
            queue.begins(waiting)
            try:
                if not self._leases.take(waiting.name, waiting.instruments, waiting.rules.is_direct_control):
                    self._queue.add(waiting)
                    contested.update(waiting.instruments)
                    continue
            except OSError:
                log.exception("%s can't be started: its leases can't be written", waiting.name)
                self._states.end(waiting.name, waiting.service, StoredState(), State.FAILED, DISK_FULL)
                continue
            try:
                fork_server.channel.send({"do": "fork", "name": waiting.name})
            except OSError:
                self._give_back(waiting)
                return
            self._forking[waiting.name] = Forking(waiting, fork_server.pid)

    def tell_long_waits(self) -> None:
        """Those who have waited too long are an event, once."""
        if self._long_wait is None or boot_clock() < self._next_long_waits:
            return
        self._next_long_waits = boot_clock() + LONG_WAITS_EVERY
        now = time.time()
        self._long_waits.intersection_update(self._queue.names)
        for waiting in self._queue:  # the oldest first
            if now - waiting.created < self._long_wait:
                break
            if waiting.name not in self._long_waits and not waiting.rules.takes_no_place:
                self._long_waits.add(waiting.name)
                self._states.tell_long_wait(waiting.name, waiting.service, now - waiting.created)

    def _without_a_place_next(self, heads: Iterable[Waiting], taken: set[str]) -> Waiting | None:
        """Of those who want an instrument in hand the first one whose instrument nobody has, or a session's task.

        They wait for no place, and not behind others: whoever asks for an instrument is there, and hears at once that
        it is taken. That it is reserved or out of service is judged there (`verbs/control.py`). A task's session has a
        place, and may be waiting for it.
        """
        for waiting in heads:
            if waiting.rules.takes_no_place and taken.isdisjoint(waiting.instruments):
                leases = [self._leases.of(name) for name in waiting.instruments]
                if all(lease is None or lease.how is Held.RESERVED for lease in leases):
                    return waiting
        return None

    def _not_free(self) -> tuple[set[str], set[str]]:
        """The instruments that a job or what clears up after it has, and those that only a person frees."""
        taken = self._keeper.instruments | self._cleanup.instruments
        shut: set[str] = set()
        if self._queue.needs_any:
            leased, shut = sorted_out(self._leases.all())
            taken |= leased
            shut |= self._upkeep.out().keys()
        lab = self._lab.now() if taken or shut else None
        if lab is not None:  # one device may stand in lab.toml under two names
            taken, shut = ({twin for name in names for twin in lab.twins(name)} for names in (taken, shut))
        return taken, shut

    def _refuse_vanished(self) -> None:
        """Whoever waits for an instrument that is no longer in lab.toml would wait for ever."""
        needs = self._queue.needs
        lab = self._lab.now() if needs else None
        if lab is None:
            self._vanished.clear()
            return
        now = boot_clock()
        missing = {name for instruments in needs.values() for name in instruments if name not in lab.entries}
        self._vanished = {name: self._vanished.get(name, now) for name in missing}
        over = {name for name, since in self._vanished.items() if now - since > VANISHED_SECONDS}
        for waiting in list(self._queue) if over else ():
            if instrument := first_of(waiting.instruments, over):
                self._queue.remove(waiting.name)
                why = VANISHED.format(instrument)
                self._states.end(waiting.name, waiting.service, StoredState(), State.FAILED, why)

    def on_forked(
        self,
        fork_server: ForkServerHandle,
        name: str,
        pid: int,
        start_ticks: int,
        release: int,
        confined: dict[str, Any],
    ) -> None:
        """Have the runner's identity on disk, hand it to the keeper, then let it begin. Unreleased it leaves undone.

        Args:
            confined: what confines its processes: see `StoredState`.
        """
        forking = self._forking.pop(name, None)
        if forking is None:
            return
        waiting = forking.waiting
        now, clock = time.time(), boot_clock()
        try:
            runner = identify(pid) or Identity(pid, start_ticks, boot_id())
            pidfd = open_pidfd(runner)
        except SHORTAGE as error:
            log.warning("%s: its process can't be watched now (%s); it is tried again", name, error)
            self._give_back(waiting)
            self._pause()
            return
        stored = move(
            StoredState(marks_begin=True, confined=confined),
            State.RUNNING,
            since=now,
            started=now,
            started_boot=clock,
            runner=runner,
        )
        try:
            self._states.write(name, stored)
        except OSError:
            log.exception("%s can't be started: its state can't be written", name)
            if pidfd is not None:
                os.close(pidfd)
            self._free(waiting)
            self._states.end(name, waiting.service, StoredState(), State.FAILED, DISK_FULL)
            return
        # nobody is abandoned for the time in the queue; but who waits for a session asks all the time
        if waiting.instruments and not waiting.rules.is_session and self._store.polled_at(name) is not None:
            self._store.polled(name)
        self._backoff.pause = 0.0
        running_job = RunningJob(
            name,
            waiting.service,
            waiting.rules,
            stored,
            pidfd=pidfd,
            fork_server_pid=fork_server.pid,
            moved_at=clock,
            instruments=waiting.instruments,
            created=waiting.created,
            owner=waiting.owner,
        )
        self._keeper.take(running_job)
        self._states.tell("begun", name, runner=pid, waited=round(max(0.0, now - waiting.created), 3))
        self._figures.began(waiting.service, now - waiting.created)
        with contextlib.suppress(BrokenPipeError):  # it died before it began: its exit is told
            os.write(release, b"1")

    # -- what came to nothing ---------------------------------------------------------------------

    def _pause(self) -> None:
        """Something that a process needs is wanting: the next one is tried after a pause."""
        self._backoff.failed(boot_clock())

    def _give_back(self, waiting: Waiting) -> None:
        """It did not begin: it waits again, and holds nothing."""
        self._free(waiting)
        self._queue.add(waiting)

    def _free(self, waiting: Waiting) -> None:
        """Free the instruments of a job that was never released: it has opened none."""
        for name in waiting.instruments:
            self._leases.free(name)

    def on_refused(self, name: str, why: str, sentence: str = "") -> None:
        """The fork server can't read its request ("record"), or can't fork just now ("processes"): then it waits again.

        One that can't be run as it is to be ("confinement") has failed with that sentence.
        """
        forking = self._forking.pop(name, None)
        if forking is None:
            return
        if why == "confinement":
            self._free(forking.waiting)
            self._states.end(name, forking.waiting.service, StoredState(), State.FAILED, sentence)
            return
        damaged = False
        if why == "record":
            try:
                damaged = self._store.request(name) is None
            except DAMAGED:
                damaged = True
            except OSError:
                damaged = False  # it can't be read now
        if damaged:
            self._free(forking.waiting)
            self._states.end(name, forking.waiting.service, StoredState(), State.FAILED, UNREADABLE)
            return
        log.warning("%s: there is no process for it now; it is tried again", name)
        self._give_back(forking.waiting)
        self._pause()

    def on_unreleased(self, name: str) -> None:
        """A process has ended, or can't be let go; where it was never released, its job waits again."""
        if name in self._forking:
            self._give_back(self._forking.pop(name).waiting)
            self._pause()

    def on_unbegun(self, job: RunningJob) -> None:
        """A process has ended before it began the work: the job waits again, unless that is so each time."""
        if job.status != NOT_BEGUN:
            self._tries[job.name] = self._tries.get(job.name, 0) + 1
        if self._tries.get(job.name, 0) >= TRIES:
            del self._tries[job.name]
            self._states.end(job.name, job.service, job.stored, State.FAILED, NEVER_BEGAN)
            return
        log.info("%s: its process ended before its work began; it waits again", job.name)
        try:
            self._states.write(job.name, unbegun())
        except OSError:
            log.exception("%s: that it waits again can't be written", job.name)
        self._pause()
        self._queue.add(Waiting(job.created, job.name, job.service, job.instruments, job.rules, job.owner))

    def on_fork_server_lost(self, pid: int) -> None:
        """A fork server has died: its forks' release pipes with it, so they do nothing."""
        for name in [name for name, forking in self._forking.items() if forking.fork_server_pid == pid]:
            self._give_back(self._forking.pop(name).waiting)


def sorted_out(leases: Mapping[str, Lease]) -> tuple[set[str], set[str]]:
    """Of leased instruments those that a job's end frees, and those that only a person frees."""
    shut = {name for name, lease in leases.items() if lease.how in (Held.UNSAFE, Held.RESERVED)}
    return set(leases) - shut, shut


def first_of(names: Iterable[str], wanted: set[str]) -> str | None:
    """The first of these names that is among the wanted."""
    return next((name for name in names if name in wanted), None)
