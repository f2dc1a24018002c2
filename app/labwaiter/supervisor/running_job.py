"""A running job as the supervisor knows it: its process, its clocks, its stop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..catalogue import catalogue
from ..model.parameter import Parameter
from ..model.record import Request, Stopping, StoredState
from ..model.service import Service, service_of
from ..model.span import span
from ..store.folder import Folder
from ..system.process import Identity


@dataclass(frozen=True)
class Rules:
    """What the supervisor must know of a job's service, whose code it never imports."""

    limit: float | None = None  # s
    stall: float | None = None  # s
    grace: float = 5.0  # s
    at_once: int | None = None
    outputs: tuple[Parameter, ...] = ()


def rules_of(request: Request, jobs_folder: Path) -> Rules:
    """The rules that a job began with; for one of a release before 0.5 those that are known of its service."""
    if request.signature:
        service: Service | None = service_of(request.signature)
    else:
        service = catalogue.known(catalogue.cache_of(jobs_folder), request.service)
    if service is None:
        return Rules()
    return Rules(service.limit, service.stall, service.grace, service.at_once, service.outputs)


@dataclass
class RunningJob:
    """One running job."""

    name: str
    service: str
    rules: Rules
    condition: StoredState
    pidfd: int | None = None
    nursery_pid: int | None = None  # the nursery that forked it and will tell its exit; None: nobody tells
    status: int | None = None  # its exit status once told, negative for a signal
    gone_at: float | None = None  # boot clock, s: the process has ended, its status isn't told yet
    kill_at: float | None = None  # boot clock, s
    moved_at: float = 0.0  # boot clock, s of the last progress
    instruments: tuple[str, ...] = ()  # which it holds
    created: float = 0.0  # Unix time of its start, s
    again_at: float = 0.0  # boot clock, s: when its end, which couldn't be read, is looked at again
    pause: float = 0.0  # s before that
    trace: object = None  # what the last progress looked like

    @property
    def pid(self) -> int | None:
        """The process's pid; None where its record was lost."""
        return None if self.condition.runner is None else self.condition.runner.pid

    @property
    def runner(self) -> Identity:
        """The process. A job is running once its identity is on disk; only adopted ones may have lost it: see `pid`."""
        assert self.condition.runner is not None
        return self.condition.runner

    def stopping(self, reason: str, why: str, stage: str) -> None:
        """Note why and how far it is being stopped."""
        self.condition = replace(self.condition, stopping=Stopping(reason, why, stage))

    def overdue(self, store: Folder, now: float) -> tuple[str, str] | None:
        """The reason and the sentence, once a limit of its service is passed.

        Args:
            now: the boot clock: a wall clock that is set moves no deadline.
        """
        limit, stall = self.rules.limit, self.rules.stall
        if limit is not None and now - (self.condition.started_boot or now) >= limit:
            return "limit", f"The execution took longer than its limit of {span(limit)} and was stopped."
        if stall is not None:
            trace = progress_trace(store, self.name)
            if trace != self.trace:
                self.trace, self.moved_at = trace, now
            elif now - self.moved_at >= stall:
                return "stall", f"The execution made no progress for {span(stall)} and was stopped."
        return None


def progress_trace(store: Folder, name: str) -> object:
    """Something that differs whenever the job got on.

    What counts is what it says of its progress; only a program that has never said anything of it
    is judged by whether it prints.
    """
    folder = store.path(name)
    said = store.progress(name)
    if said.fraction is not None or said.stage or said.values:
        return said.fraction, said.stage, tuple(said.values.items())
    found = []
    for file in ("status.txt", "status.html", "log.txt"):
        try:
            stat = (folder / file).stat()
            found.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)
