"""Looking at a job: its record and view, derived from what lies in its folder, and never written.

Whoever looks at a job that somebody should run makes sure that somebody does.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import Unavailable, UnknownServiceID
from ..lab import labfile
from ..model.record import ACTIVE, ENDED, Holder, Record, Silence, State, StoredState, View, derive
from ..model.service import Service
from ..settings import Settings
from ..system.process import Identity, lives
from ..system.watch import until
from . import messages, supervisor_client
from .artifacts import Artifacts
from .folder import Folder, ran
from .leases import Held, Lease, Leases
from .presence import QUIET, silence

log = logging.getLogger(__name__)
T = TypeVar("T")
MESSAGES_SHOWN = 10
OTHERS_SECONDS = 2.0  # that a look waits for somebody else who starts a supervisor
TRY_AGAIN = 60.0  # s after a supervisor could not be started
SETTLE_SECONDS = 1.5  # a supervisor settles in milliseconds; one that has yet to start, in a tenth of a second


class Look:
    """Looks at the jobs of one folder."""

    def __init__(self, settings: Settings, folder: Folder, artifacts: Artifacts) -> None:
        self.settings, self.folder, self.artifacts = settings, folder, artifacts
        self._lab, self._leases = labfile.Kept(settings.lab), Leases(settings.jobs_folder)
        self._not_before = 0.0  # monotonic s

    def record(self, name: str, brief: bool = False) -> Record:
        """One job as everybody sees it.

        Args:
            brief: without the outputs of one that has completed.

        Raises:
            UnknownServiceID: there is none of this name.
            Unavailable: its record is damaged.
        """
        request = self.read(self.folder.request, name)
        if request is None:
            buried = self.read(self.folder.tombstone, name)
            raise UnknownServiceID(
                "Nothing was started under this serviceID."
                if buried is None
                else "What was started under this serviceID has been removed, its results too."
            )
        condition, end = self.read(self.folder.condition, name), None
        if brief and condition is not None and condition.state in ENDED:
            return derive(name, request, condition, None)
        if condition is not None and condition.state in (State.FAILED, State.ABORTED):
            # the supervisor has told it all, also where the end itself is damaged
            return derive(name, request, condition, None, self._is_to_stop(name))
        end = self.read(self.folder.end, name)
        nobody = False
        if condition is None or condition.state in ACTIVE:
            if not self.folder.is_active(name):
                self.folder.mark_active(name)  # a face may have died between claim and mark, or the mark was lost
            self.have_supervisor()
            if end is None and condition is not None and condition.runner and self._is_gone(condition.runner):
                # its process is gone and the supervisor is about to say how it ended
                runner = condition.runner
                settled = until(self.folder.path(name), lambda: self._moved_on(name, runner), SETTLE_SECONDS)
                condition, end = settled or condition, self.read(self.folder.end, name)
                nobody = settled is None and self._nobody_will(name, condition)
        return derive(name, request, condition, end, self._is_to_stop(name), nobody)

    def _is_to_stop(self, name: str) -> bool:
        return self.read(lambda name: self.folder.marked(name, "abort"), name)

    def _is_gone(self, runner: Identity) -> bool:
        """Whether that process has ended; what can't be looked at now may live."""
        try:
            return lives(runner) is False
        except OSError:
            return False

    def _moved_on(self, name: str, before: Identity) -> StoredState | None:
        """The job's condition, once it has ended, or is no longer with that process and waits again."""
        condition = self.read(self.folder.condition, name)
        if condition is None or (condition.state in ACTIVE and condition.runner == before):
            return None
        return condition

    def _nobody_will(self, name: str, condition: StoredState) -> bool:
        """Whether nobody is there who will say how a job ended whose process is gone."""
        try:
            if supervisor_client.alive(self.settings) is not None or supervisor_client.is_being_started(self.settings):
                return False
            return not self.folder.never_began(name, condition)
        except OSError:
            return False

    def settled(self, name: str) -> StoredState | None:
        """The job's last condition, once the supervisor has written it; None before."""
        condition = self.read(self.folder.condition, name)
        return condition if condition is not None and condition.state in ENDED else None

    def read(self, read: Callable[[str], T], name: str) -> T:
        """What one of the folder's readers gives. Raises Unavailable for a record that is damaged or can't be read."""
        try:
            return read(name)
        except OSError as error:
            log.exception("a record can't be read: %s", name)
            raise Unavailable("The record of this execution can't be read now; try again in a moment.") from error
        except (ValueError, TypeError, KeyError) as error:
            log.exception("a record is damaged: %s", name)
            raise Unavailable("The record of this execution is damaged; tell the administrator.") from error

    def wake(self, name: str) -> None:
        """Have the supervisor look at a job, and have one."""
        if not supervisor_client.wake(self.settings, name):
            self.have_supervisor()

    def have_supervisor(self) -> None:
        """Have a supervisor there, unless it was stopped on purpose."""
        if time.monotonic() < self._not_before:
            return
        try:
            supervisor_client.ensure(self.settings, patience=OTHERS_SECONDS)
        except OSError:
            # the try takes 10 s, and polls come one after the other: not each of them can make one
            self._not_before = time.monotonic() + TRY_AGAIN
            log.exception("no supervisor could be started")

    def view(self, record: Record, service: Service | None) -> View:
        """All that a page shows of a job."""
        name = record.name
        progress = self.folder.progress(name)
        place, ahead, holders = self._place(record) if record.state is State.QUEUED else (None, "", ())
        told, count = messages.last(self.folder.path(name), MESSAGES_SHOWN)
        return View(
            record=record,
            now=time.time(),
            ran=ran(record),
            progress=progress,
            place=place,
            ahead=ahead,
            holders=holders,
            limit=service.limit if service else None,
            messages=told,
            message_count=count,
            log=self.folder.log_tail(name),
            own_page=self.folder.own_page(name) if record.active else None,
            picture=self.folder.picture(name, progress.picture.file) if progress.picture else None,
            files=self.artifacts.listing(name),
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

    def _place(self, record: Record) -> tuple[int | None, str, tuple[Holder, ...]]:
        """Its place, and for what it waits: among all, or among those who wait for an instrument of its own."""
        queue = self.folder.queue()
        queued, needs, full = queue.get("queued"), queue.get("needs"), queue.get("full")
        if not isinstance(queued, list) or record.name not in queued:
            return None, "", ()
        before = queued[: queued.index(record.name)]
        own = record.request.instruments
        if own and isinstance(needs, dict):
            known = self._lab.now()  # one device may stand in lab.toml under two names
            names = {name: known.twins(name) if known else {name} for name in own}
            rivals = [name for name in before if set(needs.get(name, ())) & set().union(*names.values())]
            holders = tuple(
                self._holder(lease, name)
                for name in own
                for twin in sorted(names[name], key=lambda twin: (twin != name, twin))
                if (lease := self._leases.of(twin))
            )
            if holders or rivals:
                return len(rivals) + 1, ", ".join(_before(names, [needs[rival] for rival in rivals])), holders
        service = record.request.service
        if isinstance(full, dict) and service in full:
            return len(before) + 1, f"no more than {full[service]} of {service} run at a time", ()
        return len(before) + 1, f"{queue.get('running')} of {queue.get('max_running')} jobs are running", ()

    def _holder(self, lease: Lease, wanted: str) -> Holder:
        """Who has an instrument, for those who wait for it: what is run there, but not under whose serviceID."""
        name, by = lease.instrument, ""
        if name != wanted:
            name = f"{name}, the same device as {wanted},"
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            request = self.folder.request(lease.job) if lease.how is Held.BY_JOB and lease.job else None
            by = request.service if request else ""
        words = {
            Held.BY_JOB: f"{name} is in use" + (f" by {by}" if by else ""),
            Held.MAKING_SAFE: f"{name} is being made safe",
            Held.UNSAFE: f"{name} is unsafe and waits for an operator",
            Held.RESERVED: f"{name} is reserved" + (f" by {lease.why}" if lease.why else ""),
        }[lease.how]
        return Holder(words, lease.since or None, lease.until)


def _before(own: dict[str, set[str]], others: list[list[str]]) -> list[str]:
    """For which of its instruments, under any of their names, others wait before it, in words."""
    counts = {name: sum(not names.isdisjoint(other) for other in others) for name, names in own.items()}
    return [f"{n} {'waits' if n == 1 else 'wait'} for {name} before it" for name, n in counts.items() if n]
