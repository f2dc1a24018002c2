"""Python for scripts: start executions, wait for them, read what they made. On one machine or many; without SOAP.

from labwaiter import Client

lab = Client()
waited = lab.start("Waiter", secondsToWait=5).join(timeout=60, raising=True)
print(waited.outputs["result"], waited.data.names())
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from . import settings as settings_module
from .catalogue import catalogue
from .errors import JobAborted, JobFailed
from .fleet import open_jobs
from .model.caller import Caller, administrator
from .model.record import Happening, Record, State
from .model.service import Service
from .settings import Settings
from .store.timeline import made_by
from .verbs import Jobs

__all__ = ["Client", "Data", "Execution"]

logging.getLogger(__package__).addHandler(logging.NullHandler())  # a script's stderr is its own, unless it wants logs
_WAIT = 60.0  # s of one wait; longer ones are several


class Data:
    """The files that an execution has made, wherever it runs: `name in data`, `for name in data`, `data.open(name)`."""

    def __init__(self, jobs: Jobs, name: str, caller: Caller) -> None:
        self._jobs, self._name, self._caller = jobs, name, caller

    def names(self) -> list[str]:
        """Their names; at most 500. Raises Unavailable: its machine can't be reached."""
        return [file for file, _ in self._jobs.files(self._name, self._caller)]

    def sizes(self) -> dict[str, int]:
        """Their sizes in bytes. Raises Unavailable."""
        return dict(self._jobs.files(self._name, self._caller))

    def path(self, name: str) -> Path:
        """Where a file lies on this machine; one of another machine is fetched first. Read it, don't write it.

        Raises:
            FileNotFoundError: there is no such file.
            Unavailable: its machine can't be reached.
        """
        path = self._jobs.file(self._name, name, self._caller)
        if path is None:
            raise FileNotFoundError(f"This execution has made no file {name}.")
        return path

    def open(self, name: str) -> BinaryIO:
        """A file, for reading bytes. Raises as `path`."""
        return os.fdopen(self._jobs.artifacts.open(self.path(name)), "rb")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __len__(self) -> int:
        return len(self.names())


class Execution:
    """One execution. What is asked of it is looked up anew each time; `record` is one look at all of it.

    Every look raises Unavailable where nothing can be known now, and UnknownServiceID once it was removed.
    """

    def __init__(self, jobs: Jobs, record: Record, caller: Caller) -> None:
        self._jobs, self._caller = jobs, caller
        self.service_id = record.request.service_id
        self.service = record.request.service
        self.user = record.request.user
        self.inputs = dict(record.request.inputs)
        self.data = Data(jobs, record.name, caller)

    @property
    def record(self) -> Record:
        """How it stands now, as a value: state, times (Unix time, s), machine, outputs."""
        return self._jobs.record(self.service_id, self._caller)

    @property
    def state(self) -> State:
        """One of "queued", "running", "completed", "failed" and "aborted"."""
        return self.record.state

    @property
    def running(self) -> bool:
        """Whether it has not ended yet: it runs, or waits for that."""
        return self.record.active

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.state is State.COMPLETED

    @property
    def failed(self) -> bool:
        """Whether it ended by a mistake."""
        return self.state is State.FAILED

    @property
    def aborted(self) -> bool:
        """Whether it was stopped."""
        return self.state is State.ABORTED

    @property
    def outputs(self) -> dict[str, Any] | None:
        """Its outputs by name once it has completed, else None."""
        return self.record.outputs

    @property
    def error(self) -> str | None:
        """The sentence that says why it failed or was aborted, else None."""
        record = self.record
        return record.why if record.state in (State.FAILED, State.ABORTED) else None

    @property
    def progress(self) -> float | None:
        """0…1; None where it is not known."""
        return self._jobs.view(self.service_id, self._caller).progress.fraction

    @property
    def stage(self) -> str:
        """What it says that it does now."""
        return self._jobs.view(self.service_id, self._caller).progress.stage

    @property
    def values(self) -> dict[str, Any]:
        """The last values that it has recorded, by name."""
        return dict(self._jobs.view(self.service_id, self._caller).progress.values)

    @property
    def timeline(self) -> list[Happening]:
        """What it has been through so far, oldest first: when (Unix time, s), which event, and what of it is known."""
        return list(self._jobs.timeline(self.service_id, self._caller))

    @property
    def made_by(self) -> dict[str, Any]:
        """What it was made by: versions, the hashes of its service's file and of its programs, its instruments."""
        return made_by(self._jobs.timeline(self.service_id, self._caller))

    @property
    def log(self) -> str:
        """The last lines of its log."""
        return self._jobs.view(self.service_id, self._caller).log

    def join(self, timeout: float | None = None, raising: bool = False) -> Execution:
        """Wait until it has ended; returns itself.

        Args:
            timeout: seconds to wait at most; None: as long as it takes.
            raising: raise what else is only seen in `running`, `failed` and `aborted`.

        Raises:
            TimeoutError: with `raising`, it has not ended in time.
            JobFailed, JobAborted: with `raising`, it came to a bad end.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _WAIT if until is None else until - time.monotonic()
            record = self._jobs.wait(self.service_id, max(0.0, min(_WAIT, left)), self._caller)
            if not record.active or left <= 0:
                break
        if raising and record.active:
            raise TimeoutError(f"{self.service_id} has not ended within {timeout:g} s: it is {record.state}.")
        if raising and record.state in (State.FAILED, State.ABORTED):
            raise (JobFailed if record.state is State.FAILED else JobAborted)(record.why)
        return self

    def abort(self, wait: float = 7.5) -> bool:
        """Have it stopped: True once it is gone and its instruments read back safe, False after `wait` s.

        The stop goes on by itself then.
        """
        return self._jobs.abort(None, self.service_id, self._caller, wait)

    def notify(self, message: str, wait: float = 1.0) -> str:
        """Send it a message: its reply, or the message's number if none comes in `wait` s.

        Raises:
            InvalidParameter: the message is too long, or there are too many.
        """
        return self._jobs.notify(None, self.service_id, message, self._caller, wait)

    def remove(self) -> None:
        """Remove what it made; its serviceID stays used. Raises ServiceIDInUse: it has not ended."""
        self._jobs.remove(self.service_id, self._caller)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Execution) and other.service_id == self.service_id

    def __hash__(self) -> int:
        return hash(self.service_id)

    def __repr__(self) -> str:
        return f"<Execution {self.service_id!r} of {self.service}>"


class Client:
    """The executions of a deployment. Thread-safe; cheap to make."""

    def __init__(self, settings: Settings | None = None, user: str = "") -> None:
        """
        Args:
            settings: of the deployment; unless given those of the environment and the file env, as the command line.
            user: whose executions these are, as the list shows it.

        Raises:
            Misconfigured: a setting is wrong.
        """
        self.settings = settings or settings_module.load()
        self.user = user
        self._jobs = open_jobs(self.settings)
        self._offered = catalogue.of(self.settings, quiet=True)

    @property
    def _caller(self) -> Caller:
        address = self.settings.public_url + self.settings.context_root if self.settings.public_url else ""
        return administrator(self.user, address, "python")

    def _service(self, name: str) -> Service:
        return self._offered.now(name).get(name)

    def start(self, service: str, service_id: str | None = None, /, **inputs: Any) -> Execution:
        """Start an execution of a service, or find the same one again.

        Args:
            service_id: its name, unique in this deployment; a fresh one unless given.
            inputs: by name; those that are left out have their defaults.

        Raises:
            InvalidParameter, MissingParameter, UnknownInstrument: there is no such service, or an input is refused.
            ServiceIDInUse: the serviceID belongs to another execution.
            TooManyJobs, Unavailable: not now; nothing was started.
        """
        offered = self._service(service)
        if service_id is None:
            service_id = f"{offered.name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        with contextlib.suppress(JobFailed, JobAborted):  # the same start again: the execution says how it ended
            self._jobs.start(offered, service_id, inputs, self._caller)
        return self.get(service_id)

    def get(self, service_id: str) -> Execution:
        """One execution. Raises UnknownServiceID."""
        return Execution(self._jobs, self._jobs.record(service_id, self._caller), self._caller)

    def executions(
        self, running: bool | None = None, service: str | None = None, user: str | None = None
    ) -> list[Execution]:
        """Every execution, oldest first.

        Args:
            running: only those that have not ended (True), or that have (False).
            service: only those of this service.
            user: only those of this user.
        """
        return [
            Execution(self._jobs, record, self._caller)
            for record in self._jobs.list(self._caller)
            if (running is None or record.active == running)
            and (service is None or record.request.service.lower() == service.lower())
            and (user is None or record.request.user == user)
        ]

    def join(self, executions: list[Execution], timeout: float | None = None) -> list[Execution]:
        """Wait until all of these have ended, or `timeout` s have gone: those that have ended."""
        until = None if timeout is None else time.monotonic() + timeout
        for execution in executions:
            execution.join(None if until is None else max(0.0, until - time.monotonic()))
        return [execution for execution in executions if not execution.running]
