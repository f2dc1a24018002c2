"""Looking at a job: its record and view, derived from what lies in its folder, and never written.

Whoever looks at a job that somebody should run makes sure that somebody does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from .. import lab
from ..errors import Unavailable, UnknownServiceID
from ..process import lives
from ..record import ACTIVE, ENDED, Condition, Record, Silence, State, View, derive
from ..service import Service
from ..settings import Settings
from ..watch import until
from . import link, messages
from .exchange import Exchange
from .folder import Folder
from .leases import Held, Leases
from .presence import QUIET, silence

log = logging.getLogger(__name__)
T = TypeVar("T")
MESSAGES_SHOWN = 10
TRY_AGAIN = 60.0  # s after a supervisor could not be started
SETTLE_SECONDS = 1.5  # a supervisor settles in milliseconds; one that has yet to start, in a tenth of a second


class Look:
    """Looks at the jobs of one folder."""

    def __init__(self, settings: Settings, folder: Folder, exchange: Exchange) -> None:
        self.settings, self.folder, self.exchange = settings, folder, exchange
        self._lab, self._leases = lab.Kept(settings.lab), Leases(settings.jobs_folder)
        self._not_before = 0.0  # monotonic s

    def record(self, name: str) -> Record:
        """One job as everybody sees it.

        Raises:
            UnknownServiceID: there is none of this name.
            Unavailable: its record is damaged.
        """
        request = self.read(self.folder.request, name)
        if request is None:
            buried = self.folder.tombstone(name)
            raise UnknownServiceID(
                "Nothing was started under this serviceID."
                if buried is None
                else "What was started under this serviceID has been removed, its results too."
            )
        condition, end = self.read(self.folder.condition, name), self.read(self.folder.end, name)
        nobody = False
        if condition is None:
            self.folder.mark_active(name)  # a face may have died between claim and mark
        if condition is None or condition.state in ACTIVE:
            self.have_supervisor()
            if end is None and condition is not None and condition.runner and lives(condition.runner) is False:
                # its process is gone and the supervisor is about to say how it ended
                settled = until(self.folder.path(name), lambda: self.settled(name), SETTLE_SECONDS)
                condition, end = settled or condition, self.read(self.folder.end, name)
                nobody = settled is None and link.alive(self.settings) is None
        return derive(name, request, condition, end, self.folder.marked(name, "abort"), nobody)

    def settled(self, name: str) -> Condition | None:
        """The job's last condition, once the supervisor has written it; None before."""
        condition = self.read(self.folder.condition, name)
        return condition if condition is not None and condition.state in ENDED else None

    def read(self, read: Callable[[str], T], name: str) -> T:
        """What one of the folder's readers gives. Raises Unavailable for a damaged record."""
        try:
            return read(name)
        except (ValueError, TypeError, KeyError) as error:
            log.exception("a record is damaged: %s", name)
            raise Unavailable("The record of this execution is damaged; tell the administrator.") from error

    def wake(self, name: str) -> None:
        """Have the supervisor look at a job, and have one."""
        if not link.wake(self.settings, name):
            self.have_supervisor()

    def have_supervisor(self) -> None:
        """Have a supervisor there, unless it was stopped on purpose."""
        if time.monotonic() < self._not_before:
            return
        try:
            link.ensure(self.settings)
        except OSError:
            # the try takes 10 s, and polls come one after the other: not each of them can make one
            self._not_before = time.monotonic() + TRY_AGAIN
            log.exception("no supervisor could be started")

    def view(self, record: Record, service: Service | None) -> View:
        """All that a page shows of a job."""
        name = record.name
        progress = self.folder.progress(name)
        place, ahead = self._place(record) if record.state is State.QUEUED else (None, "")
        said = messages.read(self.folder.path(name))
        return View(
            record=record,
            now=time.time(),
            progress=progress,
            place=place,
            ahead=ahead,
            limit=service.limit if service else None,
            messages=tuple(said[-MESSAGES_SHOWN:]),
            message_count=len(said),
            log=self.folder.log_tail(name),
            own_page=self.folder.own_page(name) if record.active else None,
            picture=self.folder.picture(name, progress.picture.file) if progress.picture else None,
            files=self.exchange.listing(name),
            silence=self._silence(record),
            hardware=self._hardware(record),
        )

    def _silence(self, record: Record) -> Silence | None:
        needs = record.request.instruments
        if record.state is not State.RUNNING or record.stopping or not needs:
            return None
        found = silence(self.folder, self._lab.now(), record.name, needs)
        return found if found is not None and found.seconds >= QUIET else None

    def _hardware(self, record: Record) -> tuple[str, ...]:
        """What is to be said of the instruments of a job that ends or has ended."""
        told = []
        for name in record.request.instruments:
            lease = self._leases.of(name)
            if lease is None or lease.job != record.name:
                continue
            if lease.how is Held.UNSAFE:
                told.append(f"{name} is UNSAFE and waits for an operator: {lease.why}")
            elif lease.how is Held.MAKING_SAFE or not record.active:
                told.append(f"{name} is being made safe.")
        return tuple(told)

    def _place(self, record: Record) -> tuple[int | None, str]:
        """Its place, and for what it waits: among all, or among those who wait for an instrument of its own."""
        queue = self.folder.queue()
        queued, needs = queue.get("queued"), queue.get("needs")
        if not isinstance(queued, list) or record.name not in queued:
            return None, ""
        before = queued[: queued.index(record.name)]
        own = record.request.instruments
        if own and isinstance(needs, dict):
            rivals = [name for name in before if set(needs.get(name, ())) & set(own)]
            busy = [lease.in_words for name in own if (lease := self._leases.of(name))]
            if busy or rivals:
                return len(rivals) + 1, ", ".join([*busy, *_before(own, [needs[rival] for rival in rivals])])
        return len(before) + 1, f"{queue.get('running')} of {queue.get('max_running')} jobs are running"


def _before(own: tuple[str, ...], others: list[list[str]]) -> list[str]:
    """For which of its instruments others wait before it, in words."""
    counts = {name: sum(name in other for other in others) for name in own}
    return [f"{n} {'waits' if n == 1 else 'wait'} for {name} before it" for name, n in counts.items() if n]
