"""Records on this machine: a folder for each execution, and the supervisor who is woken for it."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import time
from collections.abc import Iterable

from ..errors import TooManyJobs, Unavailable, UnknownServiceID
from ..model.record import ENDED, Record, Request, State, View
from ..model.service import Service
from ..settings import Settings
from ..system.watch import until
from . import messages, presence, records, supervisor_client
from .artifacts import Artifacts
from .folder import Folder
from .leases import Leases
from .look import Look

log = logging.getLogger(__name__)
CLOCKS_DIFFER = 60.0  # s: a file system's, which counts in steps, or a face's on another machine, from this one's
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class LocalStore:
    """The records of this machine's jobs folder: `records.Records`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Folder(settings.jobs_folder)
        self.artifacts = Artifacts(settings)
        self._leases = Leases(settings.jobs_folder)
        self._look = Look(settings, self.folder, self.artifacts)

    def unserved(self) -> str:
        """Whether no supervisor lives. Raises OSError: that can't be seen now."""
        return "no supervisor" if supervisor_client.alive(self.settings) is None else ""

    def have_supervisor(self) -> None:
        """Have a supervisor there, unless it was stopped on purpose."""
        self._look.have_supervisor()

    # -- starting -----------------------------------------------------------------------------

    def request(self, name: str) -> Request | None:
        """request.json."""
        return self._look.read(self.folder.request, name)

    def buried(self, name: str) -> bool:
        """Whether there is a tombstone."""
        return self._look.read(self.folder.tombstone, name) is not None

    def admit(self, request: Request) -> None:
        """Refuse while the deployment is stopped, or too many run and wait."""
        if supervisor_client.stopped(self.settings):
            raise Unavailable("This deployment is being stopped and starts nothing more; try again later.")
        most = self.settings.max_running + self.settings.max_queued
        if len(self.folder.active_names()) >= most:
            raise TooManyJobs(f"{most} executions are running or waiting already; try again later.")

    def claim(self, name: str, request: Request) -> bool:
        """Fill a folder, rename it into place, wake the supervisor."""
        try:
            try:
                claimed = self.folder.claim(name, request)
            except FileNotFoundError:  # the first claim of this folder
                self.folder.make(self.settings.jobs_mode)
                claimed = self.folder.claim(name, request)
        except OSError as error:
            log.exception("no record could be made for %s", name)
            why = "the disk is full" if error.errno in _NO_SPACE else "the jobs folder can't be written"
            raise Unavailable(f"The execution was not started: {why}. Tell the administrator.") from error
        if claimed:
            self._look.wake(name)
        return claimed

    # -- looking ------------------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """It lies on the disk."""

    def record(self, name: str) -> Record:
        """Derived from what lies in its folder."""
        return self._look.record(name)

    def look(self, name: str) -> records.Look:
        """What lies in its folder."""
        record = self.record(name)
        return records.Look(record, functools.partial(self.view, record))

    def view(self, record: Record, service: Service | None) -> View:
        """All that a page shows of it."""
        return self._look.view(record, service)

    def names(self, active: bool = False) -> Iterable[str]:
        """Every folder, or what the queue's index has."""
        return self.folder.active_names() if active else self.folder.names()

    def times(self) -> list[tuple[float, str]]:
        """By when their requests were written: that is never before the start, but for what clocks differ."""
        return [(written + CLOCKS_DIFFER, name) for written, name in self.folder.claimed()]

    def every(
        self, left_out: list[str] | None = None, brief: bool = False, names: Iterable[str] | None = None
    ) -> Iterable[Record]:
        """These folders' records."""
        for name in self.names() if names is None else names:
            try:
                yield self._look.record(name, brief)
            except UnknownServiceID:
                continue  # removed
            except Unavailable:
                if left_out is not None:
                    left_out.append(name)

    def polled(self, record: Record) -> None:
        """Its mark tells when it was last asked for."""
        self.folder.polled(record.name)

    def told(self, name: str) -> float | None:
        """Since the mark was set."""
        with contextlib.suppress(OSError):  # a full disk must not hide the page for ever
            if self.folder.mark(name, "told"):
                return 0.0
        first = self.folder.marked_at(name, "told")
        return None if first is None else time.time() - first

    def ended(self, name: str, wait: float) -> Record | None:
        """Once state.json says so."""
        # end.json alone is not the end: the supervisor's state says that nothing is left behind
        found = until(self.folder.path(name), lambda: self._look.settled(name), wait)
        return self._look.record(name) if found else None

    def signed(self, anew: bool = False) -> None:
        """Sign for the web side of this machine."""
        presence.sign(self.folder.ours, anew)

    def settled(self, name: str) -> bool:
        """Whether it has ended and nothing is left behind."""
        return self._look.settled(name) is not None

    # -- speaking to it -----------------------------------------------------------------------

    def abort(self, record: Record, wait: float) -> bool:
        """Set the mark, wake the supervisor, wait for the end."""
        name = record.name
        if not record.active and not record.request.instruments:
            return True
        if record.active:
            self._tell_to_abort(name)
        # what has written its end may still be made safe; what could not be read back safe keeps its lease
        return self.ended(name, wait) is not None and not self._leases.of_job(name)

    def abort_unread(self, name: str, wait: float) -> bool | None:
        """As `abort`: the supervisor knows its processes."""
        if not self.folder.path(name).is_dir():
            return None
        self._tell_to_abort(name)

        def over() -> bool:
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                condition = self.folder.condition(name)
                return condition is not None and condition.state in ENDED
            return False

        return bool(until(self.folder.path(name), over, wait)) and not self._leases.of_job(name)

    def _tell_to_abort(self, name: str) -> None:
        """Set the mark and wake the supervisor. Raises Unavailable: neither can be done."""
        try:
            self.folder.mark(name, "abort")
        except OSError as error:  # a full disk keeps nothing running
            if not supervisor_client.wake(self.settings, supervisor_client.ABORT + name):
                log.exception("%s can't be told to stop", name)
                raise Unavailable(
                    f"The execution could not be told to stop: its folder can't be written ({error.strerror}), and no"
                    " supervisor hears it. Tell the administrator."
                ) from error
            return
        self._look.wake(name)

    def notify(self, record: Record, message: str, wait: float) -> str:
        """Append it to notifications.txt."""
        name = record.name
        try:
            number = messages.append(self.folder.path(name), message)
        except OSError as error:
            raise Unavailable("The message could not be kept: the disk is full or can't be written.") from error
        if record.state is State.QUEUED:
            return str(number)

        def reply() -> tuple[str, ...] | None:
            said = self.folder.progress(name).replies.get(number)
            return None if said is None else (said,)

        found = until(self.folder.path(name), reply, wait)
        return found[0] if found else str(number)

    def bury(self, record: Record) -> None:
        """Leave a tombstone in its folder."""
        self.folder.bury(record.name, record.request.service, time.time())
