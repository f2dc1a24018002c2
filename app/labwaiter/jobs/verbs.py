"""The verbs themselves, over the folder of this machine. They know nothing of HTTP, XML or terminals."""

from __future__ import annotations

import builtins
import contextlib
import errno
import logging
import time
from dataclasses import dataclass
from typing import Any

from .. import lab
from ..errors import JobAborted, JobFailed, Misconfigured, ServiceIDInUse, TooManyJobs, Unavailable, UnknownServiceID
from ..lab import Lab
from ..record import Record, Request, State, View, derive
from ..service import Service
from ..settings import Settings
from ..watch import until
from . import link, messages
from .exchange import Exchange
from .folder import Folder
from .leases import Leases
from .look import Look
from .names import folder_name

log = logging.getLogger(__name__)
TOLD_SECONDS = 20.0  # portals show no fault texts: so long everybody gets the page that says why
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Status:
    """The answer to start and getServiceStatus, before a face gives it its form."""

    view: View  # what the page is made of
    completed: bool  # then the word COMPLETED stands instead of the page
    outputs: dict[str, Any]  # the real ones when completed, else placeholders, in the signature's order


class Jobs:
    """The verbs over the jobs folder of this deployment. Thread-safe, cheap to make."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = Folder(settings.jobs_folder)
        self.exchange = Exchange(settings)
        self._leases = Leases(settings.jobs_folder)
        self._look = Look(settings, self.folder, self.exchange)

    def start(
        self,
        service: Service,
        service_id: str,
        given: dict[str, Any],
        extra_parameters: str | None = None,
        user: str = "",
        address: str = "",
    ) -> Status:
        """Record and queue an execution, or find the same one again.

        Args:
            given: input name → value or text as the caller wrote it; None or absent: its default.
            address: this deployment's public address with its context root, for links; whoever starts without one, as
                a shell does, is not expected to poll.

        Raises:
            MissingParameter, InvalidParameter: an input (or a blank serviceID) is refused.
            ServiceIDInUse: the serviceID has another service or other inputs.
            TooManyJobs: the queue is full.
            Unavailable: the deployment is being stopped, or its disk is full.
            JobFailed, JobAborted: as `status`, for a repeated start.
        """
        name = folder_name(service_id)
        inputs = service.accept(given)
        if service.instruments:
            inputs = self._lab(service).choose(service.inputs, inputs)
        if self._same(name, service, inputs):
            return self.status(service, service_id, polled=bool(address))
        if link.stopped(self.settings):
            raise Unavailable("This deployment is being stopped and starts nothing more; try again later.")
        service.refuse(self.exchange.resolve(service.inputs, inputs))
        self._room()
        instruments = tuple(inputs[p.name] for p in service.instruments)
        request = Request(service_id, service.name, inputs, extra_parameters, user, time.time(), instruments, address)
        if not self._claim(name, request):
            if not self._same(name, service, inputs):
                raise Unavailable("The jobs folder changes under this start; try again.")
            return self.status(service, service_id, polled=bool(address))
        if address:
            self.folder.polled(name)  # from now on somebody is expected to ask for it
        self._look.wake(name)
        view = View(record=derive(name, request, None, None), now=time.time(), limit=service.limit)
        return Status(view, False, service.placeholders)

    def _lab(self, service: Service) -> Lab:
        try:
            return lab.load(self.settings.lab)
        except Misconfigured as error:
            log.exception("lab.toml is wrong")
            raise Unavailable(f"The service {service.name} is not available: lab.toml has a mistake.") from error

    def _same(self, name: str, service: Service, inputs: dict[str, Any]) -> bool:
        """Whether this very execution is there already; False where nothing is."""
        try:
            request = self._look.read(self.folder.request, name)
        except UnknownServiceID:
            return False
        if request is None:
            if self.folder.tombstone(name) is None:
                return False
            raise ServiceIDInUse(
                "This serviceID was used before, and what it made has been removed: give every execution a new one."
            )
        if request.service != service.name:
            raise ServiceIDInUse(f"This serviceID belongs to an execution of {request.service}: use a new one.")
        # an input that was appended since had its default then
        if {p.name: request.inputs.get(p.name, p.default) for p in service.inputs} != inputs:
            raise ServiceIDInUse("This serviceID belongs to an execution with other inputs: use a new one.")
        return True

    def _room(self) -> None:
        most = self.settings.max_running + self.settings.max_queued
        if len(self.folder.active_names()) >= most:
            raise TooManyJobs(f"{most} executions are running or waiting already; try again later.")

    def _claim(self, name: str, request: Request) -> bool:
        try:
            try:
                return self.folder.claim(name, request)
            except FileNotFoundError:  # the first claim of this folder
                self.folder.make()
                return self.folder.claim(name, request)
        except OSError as error:
            log.exception("no record could be made for %s", name)
            why = "the disk is full" if error.errno in _NO_SPACE else "the jobs folder can't be written"
            raise Unavailable(f"The execution was not started: {why}. Tell the administrator.") from error

    def status(self, service: Service, service_id: str, polled: bool = True) -> Status:
        """How an execution is going.

        Args:
            polled: it is a workflow manager that asks; what waits to be abandoned begins to wait anew.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            JobFailed, JobAborted: it came to a bad end, and its page has been shown for 20 s.
        """
        record = self._record(service, service_id)
        if polled:
            self.folder.polled(record.name)
        if record.state is State.COMPLETED:
            return Status(View(record=record, now=time.time()), True, self._outputs(service, record))
        if record.state in (State.FAILED, State.ABORTED):
            if "outcome" in service.placeholders:
                outputs = service.placeholders | {"outcome": record.why}
                return Status(View(record=record, now=time.time()), True, outputs)
            if self._told(record.name):
                raise (JobFailed if record.state is State.FAILED else JobAborted)(record.why)
        return Status(self._look.view(record, service), False, service.placeholders)

    def _outputs(self, service: Service, record: Record) -> dict[str, Any]:
        # a record of an older release may lack an output that was appended since
        found = record.outputs or {}
        return {p.name: found.get(p.name, p.placeholder) for p in service.outputs}

    def _told(self, name: str) -> bool:
        """Whether the page of a bad end has been shown long enough."""
        with contextlib.suppress(OSError):  # a full disk must not hide the page for ever
            if self.folder.mark(name, "told"):
                return False
        first = self.folder.marked_at(name, "told")
        # a clock set back makes the age negative: then it's long enough, too
        return first is not None and not -1.0 <= time.time() - first < TOLD_SECONDS

    def abort(self, service: Service | None, service_id: str, wait: float = 7.5) -> bool:
        """Have an execution stopped: True once it is gone and its instruments read back safe, else False.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
        """
        record = self._record(service, service_id)
        if not record.active and not record.request.instruments:
            return True
        if record.active:
            with contextlib.suppress(FileExistsError):
                self.folder.mark(record.name, "abort")
            self._look.wake(record.name)
        # what has written its end may still be made safe; what could not be read back safe keeps its lease
        return self._wait(record.name, wait) is not None and not self._leases.of_job(record.name)

    def _wait(self, name: str, seconds: float) -> Record | None:
        # end.json alone is not the end: the supervisor's state says that nothing is left behind
        ended = until(self.folder.path(name), lambda: self._look.settled(name), seconds)
        return self._look.record(name) if ended else None

    def wait(self, service_id: str, timeout: float) -> Record:
        """The record once the execution has ended, or as it is after `timeout` seconds.

        Raises:
            UnknownServiceID.
        """
        record = self._record(None, service_id)
        return self._wait(record.name, timeout) or self._look.record(record.name)

    def notify(self, service: Service | None, service_id: str, message: str, wait: float = 1.0) -> str:
        """Hand a message to the job: its reply, or the message's number if none comes in `wait` s.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            InvalidParameter: the message is too long, or there are too many.
        """
        record = self._record(service, service_id)
        if not record.active:
            return f"The execution has ended ({record.state}); the message was not delivered."
        try:
            number = messages.append(self.folder.path(record.name), message)
        except OSError as error:
            raise Unavailable("The message could not be kept: the disk is full or can't be written.") from error
        if record.state is State.QUEUED:
            return str(number)

        def reply() -> tuple[str, ...] | None:
            said = self.folder.progress(record.name).replies.get(number)
            return None if said is None else (said,)

        found = until(self.folder.path(record.name), reply, wait)
        return found[0] if found else str(number)

    def list(self) -> builtins.list[Record]:
        """Every execution on disk, oldest first."""
        found = []
        for name in self.folder.names():
            with contextlib.suppress(UnknownServiceID, Unavailable):
                found.append(self._look.record(name))
        return sorted(found, key=lambda record: (record.request.created, record.name))

    def record(self, service_id: str) -> Record:
        """One execution. Raises UnknownServiceID."""
        return self._record(None, service_id)

    def view(self, service_id: str, service: Service | None = None) -> View:
        """All that a page shows of one execution. Raises UnknownServiceID."""
        return self._look.view(self._record(None, service_id), service)

    def remove(self, service_id: str) -> None:
        """Remove what an ended execution made; a tombstone keeps its serviceID from being used again.

        Raises:
            UnknownServiceID: there's none.
            ServiceIDInUse: it hasn't ended.
        """
        record = self._record(None, service_id)
        if record.active:
            raise ServiceIDInUse(f"This execution is {record.state}; abort it first.")
        self.folder.bury(record.name, record.request.service, time.time())

    def _record(self, service: Service | None, service_id: str) -> Record:
        record = self._look.record(folder_name(service_id))
        if service is not None and record.request.service != service.name:
            raise UnknownServiceID(f"No execution of {service.name} was started under this serviceID.")
        return record
