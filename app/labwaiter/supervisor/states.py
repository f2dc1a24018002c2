"""Writing the jobs' states, also on a disk that is full or refuses."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ..model.record import NOBODY, Owner, Request, State, StoredState, move
from ..model.sentences import N_
from ..model.span import span
from ..store import timeline
from ..store.events import Event, Events, Kind
from ..store.folder import Folder, ran
from ..system.logs import tell
from .aborts import AbortWishes
from .figures import SupervisorFigures
from .single_instance import SingleInstance

log = logging.getLogger("labwaiter.supervisor")
UNTOLD_MAX = 1000  # events that are kept for a disk that refuses


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
        self._events = Events(store.layout)
        self._untold: list[Event] = []  # which the disk has refused so far
        self._owners: dict[str, Owner] = {}
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
        self._owners[name] = Owner(request.authority, request.project, request.user)

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
        if state is State.FAILED:
            self._tell_event(
                Kind.FAILED,
                name,
                lambda service_id, service: N_(f"The execution {service_id} of {service} failed: {why}"),
                service,
            )
        self._of.pop(name, None)
        self._owners.pop(name, None)
        timeline.note(self._store.path(name), "ended", at=now, state=str(state), why=why)
        self._figures.ended(service, state)
        try:
            self._write_end(name, ended)
        except OSError:
            log.exception("%s: its end can't be written yet", name)
            self.unwritten[name] = ended

    def tell_long_wait(self, name: str, service: str, seconds: float) -> None:
        """An execution has waited too long, so many s: an event."""
        self._tell_event(
            Kind.WAITS,
            name,
            lambda service_id, service: N_(
                f"The execution {service_id} of {service} has been waiting for {span(seconds)}."
            ),
            service,
        )

    def _tell_event(self, kind: Kind, name: str, text: Callable[[str, str], str], service: str) -> None:
        """An event of an execution, one and the same for whichever supervisor tells it.

        Args:
            text: the sentence, of the serviceID and the service.
        """
        service_id = self._of.get(name, {}).get("serviceID", name)
        owner = self._owners.get(name, NOBODY)
        id = f"{kind}-{sha256(name.encode()).hexdigest()[:32]}"
        told = text(service_id, service or N_("a service"))
        self._untold.append(Event(kind, told, service_id=service_id, service=service, owner=owner, id=id))
        self._retry_events()

    def _retry_events(self) -> None:
        with contextlib.suppress(OSError):
            while self._untold:
                self._events.add(self._untold[0])
                del self._untold[0]
        for event in self._untold[UNTOLD_MAX:]:
            log.error("the event %s can't be written: %s", event.id, event.text)
        del self._untold[UNTOLD_MAX:]

    def retry(self) -> None:
        """Try again to write the ends and the events that were refused."""
        if self._untold:
            self._retry_events()
        for name, ended in list(self.unwritten.items()):
            with contextlib.suppress(OSError):
                self._write_end(name, ended)
                del self.unwritten[name]
                self._single_instance.keep_reserve()

    def forget_all(self) -> None:
        """The jobs folder is gone: there is nothing left to tell."""
        self.unwritten.clear()
        self._of.clear()
        self._owners.clear()
        self._untold.clear()

    def _write_end(self, name: str, ended: StoredState) -> None:
        try:
            self.write(name, ended)
        except FileNotFoundError:
            log.warning("%s: its folder is gone", name)
        self._store.forget_active(name)
