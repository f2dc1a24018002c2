"""Taking up jobs from their folders: new ones, and what a supervisor before us has left."""

from __future__ import annotations

import contextlib
import logging
from enum import Enum
from pathlib import Path

from ..model.record import ENDED, End, Request, State, StoredState, move, settle
from ..store.folder import Folder
from ..store.leases import Leases
from ..system.process import boot_clock, lives, open_pidfd
from .faults import DAMAGED, SHORTAGE
from .keeper import Keeper
from .queue import Queue, Waiting
from .running_job import Rules, RunningJob, rules_of
from .states import StateWriter

log = logging.getLogger("labwaiter.supervisor")


class FirstStep(Enum):
    """What a supervisor that learns of a job does with it."""

    FORGET = "it has ended, or was never asked for"
    SETTLE = "it has ended, and its state doesn't say so"
    QUEUE = "it waits"
    ADOPT = "it was running when it was last seen"


def first_step(request: Request | None, stored: StoredState | None, end: End | None) -> FirstStep:
    """What to do with a job, from what lies in its folder.

    Args:
        stored: state.json; None while no supervisor has written it.
        end: end.json; it forbids a second run, whatever became of the state.
    """
    if request is None or (stored is not None and stored.state in ENDED):
        return FirstStep.FORGET
    if stored is not None and stored.state is State.RUNNING:
        return FirstStep.ADOPT
    return FirstStep.QUEUE if end is None else FirstStep.SETTLE


class Intake:
    """Takes jobs up: into the queue, or to those that run."""

    def __init__(
        self, store: Folder, jobs_folder: Path, queue: Queue, keeper: Keeper, states: StateWriter, leases: Leases
    ) -> None:
        self._store, self._jobs_folder = store, jobs_folder
        self._queue, self._keeper, self._states, self._leases = queue, keeper, states, leases
        self._unread: set[str] = set()
        self._logged: set[str] = set()  # those of the unread that the log has been told of

    @property
    def unread(self) -> list[str]:
        """The jobs whose records could not be read."""
        return list(self._unread)

    def take_unread(self) -> list[str]:
        """As `unread`; they are to be taken up again now."""
        unread, self._unread = self._unread, set()
        return list(unread)

    def forget_read(self) -> None:
        """The unread have been taken up again: those that could be read are told anew if they ever can't be."""
        self._logged &= self._unread

    def take_up(self, name: str) -> None:
        """Learn of a job from its folder."""
        try:
            request, stored = self._store.request(name), self._store.stored_state(name)
            rules = rules_of(request, self._jobs_folder) if request else Rules()
            waits = request is not None and (stored is None or stored.state is State.QUEUED)
            end = self._store.end(name) if waits else None
        except (OSError, *DAMAGED) as error:
            self._take_up_unread(name, error)
            return
        step = first_step(request, stored, end)
        if request is None or step is FirstStep.FORGET:
            self._store.forget_token(name)
            self._store.forget_active(name)
        elif step is FirstStep.QUEUE:
            self._states.know(name, request)
            waiting = Waiting(request.created, name, request.service, request.instruments, rules, request.owner)
            self._queue.add(waiting)
        elif stored is not None and step is FirstStep.ADOPT:
            self._adopt(name, request, stored, rules)
        else:
            log.warning("%s: its state was lost, and it has ended: it is not run again", name)
            lost = move(StoredState(), State.RUNNING)
            self._states.end(name, request.service, lost, *settle(lost, end))

    def _take_up_unread(self, name: str, error: Exception) -> None:
        """A job whose record can't be read, or is damaged: what its runner wrote of its begin tells whom to watch."""
        damaged = not isinstance(error, OSError)
        request, rules = None, Rules()
        try:
            begun = self._store.begun(name)
            lives_on = begun is not None and begun.runner is not None and lives(begun.runner) is not False
        except OSError as shortage:
            self._look_again(name, f"its record can't be read now ({shortage}); nothing is done with it")
            return
        if begun is not None and (lives_on or damaged):
            with contextlib.suppress(OSError, *DAMAGED):
                request = self._store.request(name)
                rules = rules_of(request, self._jobs_folder) if request else rules
            log.warning("%s: its record can't be read now (%s); it is known by its process", name, error)
            self._adopt(name, request, begun, rules)
        elif damaged:
            log.error("%s: its record is damaged, it is left alone", name, exc_info=error)
            self._store.forget_token(name)
            self._store.forget_active(name)
        else:
            self._look_again(name, f"its record can't be read now ({error}); nothing is done with it")

    def _look_again(self, name: str, why: str) -> None:
        """At a job of which something can't be seen now; the log is told once, as long as that lasts."""
        if name not in self._logged:
            log.warning("%s: %s", name, why)
        self._unread.add(name)
        self._logged.add(name)

    def _adopt(self, name: str, request: Request | None, stored: StoredState, rules: Rules) -> None:
        """A job that a supervisor before us had started; without its request its leases say what it has."""
        job = RunningJob(name, request.service if request else "", rules, stored, moved_at=boot_clock())
        if request is not None:
            self._states.know(name, request)
            job.instruments, job.created, job.owner = request.instruments, request.created, request.owner
        else:
            job.instruments = tuple(lease.instrument for lease in self._leases.of_job(name))
        try:
            if stored.runner is not None and lives(stored.runner) is not False:
                job.pidfd = open_pidfd(stored.runner)
        except SHORTAGE as error:  # who can't look has seen no death
            self._look_again(name, f"whether its process lives can't be seen now ({error})")
            return
        self._keeper.adopt(job)
