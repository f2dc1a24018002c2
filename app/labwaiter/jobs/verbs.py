"""The verbs themselves, wherever the records live. They know nothing of HTTP, XML or terminals."""

from __future__ import annotations

import builtins
import logging
import time
from dataclasses import dataclass
from typing import Any

from .. import lab
from ..errors import JobAborted, JobFailed, Misconfigured, ServiceIDInUse, Unavailable, UnknownServiceID
from ..lab import Lab
from ..record import Record, Request, State, View, derive
from ..service import Service
from ..settings import Settings
from .here import Here
from .names import folder_name
from .records import Records

log = logging.getLogger(__name__)
TOLD_SECONDS = 20.0  # portals show no fault texts: so long everybody gets the page that says why


@dataclass(frozen=True)
class Status:
    """The answer to start and getServiceStatus, before a face gives it its form."""

    view: View  # what the page is made of
    completed: bool  # then the word COMPLETED stands instead of the page
    outputs: dict[str, Any]  # the real ones when completed, else placeholders, in the signature's order


class Jobs:
    """The verbs over the executions of this deployment. Thread-safe, cheap to make."""

    def __init__(self, settings: Settings, records: Records | None = None) -> None:
        """
        Args:
            records: where they are recorded; this machine's jobs folder unless given.
        """
        self.settings = settings
        self.records: Records = records or Here(settings)
        self.exchange = self.records.exchange

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
        instruments = tuple(inputs[p.name] for p in service.instruments)
        files = tuple(str(inputs[p.name]) for p in service.inputs if p.kind == "file" and inputs[p.name] is not None)
        now = time.time()
        request = Request(service_id, service.name, inputs, extra_parameters, user, now, instruments, address, files)
        self.records.admit(request)
        service.refuse(self.exchange.resolve(service.inputs, inputs))
        if not self.records.claim(name, request):
            if not self._same(name, service, inputs):
                raise Unavailable("The jobs folder changes under this start; try again.")
            return self.status(service, service_id, polled=bool(address))
        if address:
            self.records.polled(name)  # from now on somebody is expected to ask for it
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
        request = self.records.request(name)
        if request is None:
            if not self.records.buried(name):
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
            self.records.polled(record.name)
        if record.state is State.COMPLETED:
            return Status(View(record=record, now=time.time()), True, self._outputs(service, record))
        if record.state in (State.FAILED, State.ABORTED):
            if "outcome" in service.placeholders:
                outputs = service.placeholders | {"outcome": record.why}
                return Status(View(record=record, now=time.time()), True, outputs)
            if self._told(record.name):
                raise (JobFailed if record.state is State.FAILED else JobAborted)(record.why)
        return Status(self.records.view(record, service), False, service.placeholders)

    def _outputs(self, service: Service, record: Record) -> dict[str, Any]:
        # a record of an older release may lack an output that was appended since
        found = record.outputs or {}
        return {p.name: found.get(p.name, p.placeholder) for p in service.outputs}

    def _told(self, name: str) -> bool:
        """Whether the page of a bad end has been shown long enough."""
        age = self.records.told(name)
        # a clock set back makes the age negative: then it's long enough, too
        return age is not None and not -1.0 <= age < TOLD_SECONDS

    def abort(self, service: Service | None, service_id: str, wait: float = 7.5) -> bool:
        """Have an execution stopped: True once it is gone and its instruments read back safe, else False.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
        """
        return self.records.abort(self._record(service, service_id), wait)

    def wait(self, service_id: str, timeout: float) -> Record:
        """The record once the execution has ended, or as it is after `timeout` seconds.

        Raises:
            UnknownServiceID.
        """
        record = self._record(None, service_id)
        return self.records.ended(record.name, timeout) or self.records.record(record.name)

    def notify(self, service: Service | None, service_id: str, message: str, wait: float = 1.0) -> str:
        """Hand a message to the job: its reply, or the message's number if none comes in `wait` s.

        Raises:
            UnknownServiceID: nothing of this service was started under it.
            InvalidParameter: the message is too long, or there are too many.
        """
        record = self._record(service, service_id)
        if not record.active:
            return f"The execution has ended ({record.state}); the message was not delivered."
        return self.records.notify(record, message, wait)

    def list(self) -> builtins.list[Record]:
        """Every execution, oldest first."""
        return sorted(self.records.every(), key=lambda record: (record.request.created, record.name))

    def record(self, service_id: str) -> Record:
        """One execution. Raises UnknownServiceID."""
        return self._record(None, service_id)

    def view(self, service_id: str, service: Service | None = None) -> View:
        """All that a page shows of one execution. Raises UnknownServiceID."""
        return self.records.view(self._record(None, service_id), service)

    def remove(self, service_id: str) -> None:
        """Remove what an ended execution made; a tombstone keeps its serviceID from being used again.

        Raises:
            UnknownServiceID: there's none.
            ServiceIDInUse: it hasn't ended.
        """
        record = self._record(None, service_id)
        if record.active:
            raise ServiceIDInUse(f"This execution is {record.state}; abort it first.")
        self.records.bury(record)

    def _record(self, service: Service | None, service_id: str) -> Record:
        record = self.records.record(folder_name(service_id))
        if service is not None and record.request.service != service.name:
            raise UnknownServiceID(f"No execution of {service.name} was started under this serviceID.")
        return record
