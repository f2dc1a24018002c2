"""A running job as the supervisor knows it: its process, its clocks, its stop, and the limits that it may pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..catalogue import catalogue
from ..model import direct_control, lab_session, lab_task
from ..model.parameter import Parameter
from ..model.record import NOBODY, End, Owner, Request, Silence, State, Stopping, StoredState, settle
from ..model.sentences import N_
from ..model.service import Service, service_of
from ..model.span import span
from ..store.folder import Folder
from ..system.backoff import Backoff
from ..system.process import Identity

NO_SIGN = N_("Its student gave no sign of life for {span}, so the session was ended.")
LET_GO = N_("Whoever had it in hand asked nothing for {span}, so it was let go.")
ABANDONED = N_("The execution was abandoned by its workflow manager: that asked nothing for {span}.")
GOES_ON = "It had not stopped {span} after it was told to, and was ended."
LONGEST_PAUSE = 30.0  # s between two looks at an end that can't be read


@dataclass(frozen=True)
class Rules:
    """What the supervisor must know of a job's service, whose code it never imports."""

    limit: float | None = None  # s
    stall: float | None = None  # s
    grace: float = 5.0  # s
    at_once: int | None = None
    outputs: tuple[Parameter, ...] = ()
    unattended: float | None = None  # s of its holder's silence after which it is ended; None: that doesn't count
    is_direct_control: bool = False  # an instrument in hand: it takes no place among the running, and waits for none
    is_session: bool = False  # somebody has a remote lab
    is_task: bool = False  # of a session, which has a place: it takes none of its own, and waits for none
    stop_grace: float = 0.0  # s that a task has from when it is told to stop, until it is ended

    @property
    def takes_no_place(self) -> bool:
        """Whether it begins at once, however many run."""
        return self.is_direct_control or self.is_task


def rules_of(request: Request, jobs_folder: Path) -> Rules:
    """The rules that a job began with; for one of a release before 0.5 those that are known of its service."""
    if request.signature:
        service: Service | None = service_of(request.signature)
    else:
        service = catalogue.known(catalogue.cache_of(jobs_folder), request.service)
    if service is None:
        return Rules()
    rules = Rules(service.limit, service.stall, service.grace, service.at_once, service.outputs)
    if service.name == direct_control.NAME:
        return replace(rules, unattended=direct_control.UNATTENDED, is_direct_control=True)
    if service.name == lab_session.NAME:
        return replace(rules, unattended=lab_session.unattended_of(request), is_session=True)
    if service.name == lab_task.NAME:
        return replace(rules, is_task=True, stop_grace=float(request.inputs.get("grace", lab_task.GRACE)))
    return rules


@dataclass
class RunningJob:
    """One running job."""

    name: str
    service: str
    rules: Rules
    stored: StoredState
    pidfd: int | None = None
    fork_server_pid: int | None = None  # the fork server that forked it and will tell its exit; None: nobody tells
    status: int | None = None  # its exit status once known, negative for a signal
    gone_at: float | None = None  # boot clock, s: the process has ended, its status isn't known yet
    stopped_at: float | None = None  # boot clock, s: it was told to stop, by this supervisor
    kill_at: float | None = None  # boot clock, s
    moved_at: float = 0.0  # boot clock, s of the last progress
    instruments: tuple[str, ...] = ()  # which it holds
    created: float = 0.0  # Unix time of its start, s
    owner: Owner = NOBODY
    # at its end, which couldn't be read, by the boot clock
    looks: Backoff = field(default_factory=lambda: Backoff(0.5, LONGEST_PAUSE))
    trace: object = None  # what the last progress looked like

    @property
    def pid(self) -> int | None:
        """The process's pid; None where its record was lost."""
        return None if self.stored.runner is None else self.stored.runner.pid

    @property
    def runner(self) -> Identity:
        """The process. A job is running once its identity is on disk; only adopted ones may have lost it: see `pid`."""
        assert self.stored.runner is not None
        return self.stored.runner

    def note_stop(self, reason: str, why: str, stage: str) -> None:
        """Note why and how far it is being stopped."""
        self.stored = replace(self.stored, stopping=Stopping(reason, why, stage))

    def note_progress(self, trace: object, now: float) -> None:
        """Note what its progress looks like at `now` (boot clock, s): `progress_trace`."""
        if trace != self.trace:
            self.trace, self.moved_at = trace, now


@dataclass(frozen=True)
class StopReason:
    """Why a running job is to be stopped."""

    reason: str  # as in `Stopping`
    why: str  # the sentence for the user


def stop_due(
    rules: Rules,
    started: float | None,
    moved_at: float,
    silence: Silence | None,
    now: float,
    asked: float | None = None,
) -> StopReason | None:
    """Why a running job is to be stopped now; None while it may go on.

    Args:
        started, moved_at, now: its begin, its last progress and the look, all by the boot clock, s: a wall clock that
            is set moves no deadline. A begin that isn't known passes no limit.
        silence: of its workflow manager, where that counts.
        asked: when whoever holds it asked last, by the boot clock, s; None: never since it began.
    """
    if rules.limit is not None and started and now - started >= rules.limit:
        return StopReason("limit", f"The execution took longer than its limit of {span(rules.limit)} and was stopped.")
    if rules.stall is not None and now - moved_at >= rules.stall:
        return StopReason("stall", f"The execution made no progress for {span(rules.stall)} and was stopped.")
    since = max(asked or 0.0, started or 0.0)
    if rules.unattended is not None and since and now - since >= rules.unattended:
        words = NO_SIGN if rules.is_session else LET_GO
        return StopReason("abandoned", words.format(span=span(rules.unattended)))
    if silence is not None and silence.seconds >= silence.most:
        return StopReason("abandoned", ABANDONED.format(span=span(silence.most)))
    return None


def task_stop_due(rules: Rules, told: float | None, now: float) -> StopReason | None:
    """Why a task is to be ended now: it was told to stop at `told` (boot clock, s), and goes on."""
    if told is None or now - told < rules.stop_grace:
        return None
    return StopReason("abort", GOES_ON.format(span=span(rules.stop_grace)))


def settled(
    stored: StoredState, end: End | None, never_began: bool, unsafe: Sequence[str] = ()
) -> tuple[State, str] | None:
    """How a job whose processes are gone has ended, and the sentence for its user; None: it waits again.

    Args:
        end: end.json, if there is one.
        never_began: its process ended before the work began.
        unsafe: its instruments that could not be made safe afterwards.
    """
    if end is None and never_began and stored.stopping is None:
        return None
    state, why = settle(stored, end)
    if state is not State.COMPLETED and unsafe:
        why += f" Afterwards {' and '.join(unsafe)} could not be made safe."
    return state, why


def progress_trace(store: Folder, name: str) -> object:
    """Something that differs whenever the job got on.

    What counts is what it says of its progress; only a program that has never said anything of it
    is judged by whether it prints.
    """
    folder = store.path(name)
    progress = store.progress(name)
    if progress.fraction is not None or progress.stage or progress.values:
        return progress.fraction, progress.stage, tuple(progress.values.items())
    stamps = []
    for file in ("status.txt", "status.html", "log.txt"):
        try:
            stat = (folder / file).stat()
            stamps.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            stamps.append((0, 0))
    return tuple(stamps)
