"""Writing the jobs' states, also on a disk that is full or refuses."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

from ..model.record import Request, State, StoredState, move
from ..store import timeline
from ..store.folder import Folder, ran
from ..system.logs import tell
from .aborts import AbortWishes
from .figures import SupervisorFigures
from .single_instance import SingleInstance

log = logging.getLogger("labwaiter.supervisor")


class StateWriter:
    """Writes state.json of every job; every end is written here.

    Attributes:
        unwritten: the jobs whose ends the disk has refused so far.
    """

    def __init__(
        self, store: Folder, single_instance: SingleInstance, wishes: AbortWishes, figures: SupervisorFigures
    ) -> None:
        self._store, self._single_instance, self._wishes, self._figures = store, single_instance, wishes, figures
        self.unwritten: dict[str, StoredState] = {}
        self._of: dict[str, dict[str, str]] = {}  # of executions that have not ended: what the log says of each

    def know(self, name: str, request: Request) -> None:
        """An execution is taken up: whose it is, for the log."""
        self._of[name] = {
            "serviceID": request.service_id,
            "service": request.service,
            "user": request.user,
            "project": request.project,
            "face": request.face,
        }

    def tell(self, event: str, name: str, **about: Any) -> None:
        """Have a line in the log: what became of an execution."""
        tell(log, event, **(self._of.get(name) or {"job": name}), **about)

    def write(self, name: str, stored: StoredState) -> None:
        """Write a state, on a full disk into the room that is kept for it. Raises OSError."""
        try:
            self._store.write_state(name, stored)
        except FileNotFoundError:
            raise
        except OSError:
            self._single_instance.use_reserve()
            self._store.write_state(name, stored)

    def write_or_log(self, name: str, stored: StoredState) -> None:
        """As `write`, where the job goes on whether or not the disk takes it."""
        try:
            self.write(name, stored)
        except OSError:
            log.exception("%s: its state can't be written", name)

    def end(self, name: str, service: str, stored: StoredState, state: State, why: str) -> None:
        """Make the last move of a job; a disk that refuses it is tried again by `retry`."""
        now = time.time()
        self._wishes.forget(name)
        self._store.forget_token(name)  # whatever the disk says to the rest
        ended = move(stored, state, why=why, since=now, ended=now, ran=ran(stored))
        seconds = None if ended.ran is None else round(ended.ran, 3)
        self.tell("ended", name, state=str(state), seconds=seconds, why=why)
        self._of.pop(name, None)
        timeline.note(self._store.path(name), "ended", at=now, state=str(state), why=why)
        self._figures.ended(service, state)
        try:
            self._write_end(name, ended)
        except OSError:
            log.exception("%s: its end can't be written yet", name)
            self.unwritten[name] = ended

    def retry(self) -> None:
        """Try again to write the ends that were refused."""
        for name, ended in list(self.unwritten.items()):
            with contextlib.suppress(OSError):
                self._write_end(name, ended)
                del self.unwritten[name]
                self._single_instance.keep_reserve()

    def forget_all(self) -> None:
        """The jobs folder is gone: there is nothing left to tell."""
        self.unwritten.clear()
        self._of.clear()

    def _write_end(self, name: str, ended: StoredState) -> None:
        try:
            self.write(name, ended)
        except FileNotFoundError:
            log.warning("%s: its folder is gone", name)
        self._store.forget_active(name)
