"""A job as a value, its states and moves, and how a state is derived from what lies on disk.

No files and no clock here: whoever reads the folder passes in what it found (`store.folder`), so
every rule in this module can be tried with literals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..system.process import Identity
from .sentences import N_


class State(StrEnum):
    """Where a job is in its life. A wish to stop is not a state: see `Record.stopping`."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


ACTIVE = frozenset({State.QUEUED, State.RUNNING})
ENDED = frozenset({State.COMPLETED, State.FAILED, State.ABORTED})

MOVES = {
    State.QUEUED: {State.RUNNING, State.FAILED, State.ABORTED},
    State.RUNNING: {State.COMPLETED, State.FAILED, State.ABORTED},
    State.COMPLETED: set(),
    State.FAILED: set(),
    State.ABORTED: set(),
}

INTERRUPTED = N_("The execution was interrupted: its process or its machine stopped before it ended.")


class Owner(NamedTuple):
    """Whose work an execution is: what limits and turns are reckoned by."""

    authority: str = ""  # the authentication manager whose word it is; "": this deployment's own
    project: str = ""  # "": nobody's in particular, as from a shell, or where no token is asked for
    user: str = ""

    @property
    def is_known(self) -> bool:
        """Whether limits for a project and a user hold for it."""
        return bool(self.project)

    @property
    def of_project(self) -> tuple[str, str]:
        """Its project, as no other authority's."""
        return self.authority, self.project

    @property
    def of_user(self) -> tuple[str, str]:
        """Its user, whatever the project."""
        return self.authority, self.user


NOBODY = Owner()


@dataclass(frozen=True)
class Request:
    """request.json: what was asked, written once by a face. Never holds the token."""

    service_id: str
    service: str  # the service's name, e.g. "Waiter"
    inputs: dict[str, Any]  # defaults filled in, in the signature's order
    extra_parameters: str | None = None
    user: str = ""
    created: float = 0.0  # Unix time, s
    instruments: tuple[str, ...] = ()  # the names of those that it needs
    address: str = ""  # this deployment's public address, as the caller reached it
    polls: bool = False  # the caller asks for its status again and again
    files: tuple[str, ...] = ()  # the names of the files that it is given
    signature: dict[str, Any] = field(default_factory=dict)  # the service as it was then: `service.service_of`
    project: str = ""  # whose work it is, as the token said; "": no token was asked for
    authority: str = ""  # the authentication manager whose word that was; "": this deployment's own
    face: str = ""  # by which it was started: soap, json, shell, python, schedule

    @property
    def owner(self) -> Owner:
        """Whose it is; `NOBODY` where no project is known, whatever name a shell gave."""
        return Owner(self.authority, self.project, self.user) if self.project else NOBODY


@dataclass(frozen=True)
class Tombstone:
    """tombstone.json: what is left of an execution after retention: enough to refuse its serviceID."""

    service: str
    removed: float  # Unix time, s
    user: str = ""  # it belonged to, as in its request; of an older release's nobody knows
    project: str = ""
    authority: str = ""

    @classmethod
    def of(cls, execution: Request | Tombstone, now: float) -> Tombstone:
        """What is to be left of an execution.

        Args:
            execution: its request; the tombstone of one of which a part was left.
            now: Unix time, s.
        """
        return cls(execution.service, now, execution.user, execution.project, execution.authority)


@dataclass(frozen=True)
class Stopping:
    """Somebody or something wants the job stopped."""

    reason: str  # "abort", "limit", "stall", "size", "abandoned", "shutdown"
    why: str  # the sentence for the user
    stage: str  # "asked", "told to stop", "killed"


@dataclass(frozen=True)
class StoredState:
    """state.json: written by the supervisor alone."""

    state: State = State.QUEUED
    why: str = ""
    since: float = 0.0  # Unix time of the last move, s
    started: float | None = None  # Unix time, s
    started_boot: float | None = None  # boot clock, s: deadlines are counted on it
    ended: float | None = None  # Unix time, s
    ran: float | None = None  # s from its begin to its end, by the boot clock: a wall clock that is set changes nothing
    runner: Identity | None = None
    stopping: Stopping | None = None
    marks_begin: bool = False  # its runner leaves the mark `begun` before it begins: releases before 0.5 did not
    # what its processes were confined by: umask, user, cgroup (true), each limit by its keyword in @service, and those
    # that hold for all processes together; {} before it ran
    confined: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """end.json: outputs AND outcome, written once by the runner. The point of no return."""

    outcome: State  # COMPLETED, FAILED or ABORTED
    why: str = ""
    outputs: dict[str, Any] = field(default_factory=dict)
    ended: float = 0.0  # Unix time, s


NO_PLOTS = (
    "job.plot needs matplotlib, which is not installed here: put the line matplotlib into app/services/requirements.txt"
    " and call ./build.sh, or pip install 'labwaiter[plots]'."
)
PLOT = "plot.png"  # the picture of what a job records: dark on white, so that a dark page may turn it round


@dataclass(frozen=True)
class Picture:
    """A picture the job wants on its page: a file in data/."""

    file: str
    caption: str = ""


@dataclass(frozen=True)
class Progress:
    """progress.json: what the runner last said of its work."""

    fraction: float | None = None  # 0…1; None: not known
    stage: str = ""
    values: dict[str, Any] = field(default_factory=dict)  # the last recorded values by name
    units: dict[str, str] = field(default_factory=dict)
    picture: Picture | None = None
    replies: dict[int, str] = field(default_factory=dict)  # message number (from 1) → reply

    @property
    def is_told(self) -> bool:
        """Whether it says anything of how far the work is."""
        return self.fraction is not None or bool(self.stage)


@dataclass(frozen=True)
class Record:
    """One execution as everybody sees it: request and stored state, with the end already applied."""

    name: str  # the folder's name
    request: Request
    state: State
    why: str = ""  # one sentence for the user, for failed and aborted
    started: float | None = None  # Unix time, s
    started_boot: float | None = None  # boot clock of its machine, s
    ended: float | None = None  # Unix time, s
    ran: float | None = None  # s that it ran, of one that has ended; None where that isn't known
    confined: dict[str, Any] = field(default_factory=dict)  # as `StoredState.confined`
    outputs: dict[str, Any] | None = None  # only when completed
    runner: Identity | None = None
    stopping: Stopping | None = None
    abort_asked: bool = False
    machine: str = ""  # which has it, of many; "": this one
    as_of: float | None = None  # Unix time, s: nothing newer is known, because its machine can't be reached

    @property
    def active(self) -> bool:
        """Queued or running."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class Silence:
    """For how long a job's workflow manager has asked nothing, while it could have."""

    seconds: float
    most: float  # s: then the job is abandoned


@dataclass(frozen=True)
class Happening:
    """One event of an execution's timeline."""

    at: float  # Unix time, s
    event: str  # queued, began, stage, message, abort asked for, told to stop, made safe, ended, …
    about: dict[str, Any] = field(default_factory=dict)  # what is to be said of it: texts, numbers, switches


@dataclass(frozen=True)
class Holder:
    """Who has an instrument that a job waits for, or what is with it."""

    words: str  # "smu is in use by Sweep"
    since: float | None = None  # Unix time, s
    until: float | None = None  # Unix time, s: when it is free at the latest


class Moment(NamedTuple):
    """What of a view moves by itself while nothing else of it changes: with the clock and with the work."""

    now: float  # Unix time, s
    ran: float | None  # s that it has been running, or ran; None where that isn't known
    fraction: float | None  # of the work, 0…1; None: not known

    def shown(self) -> tuple[int, int, float | None]:
        """What a page shows of it: whole seconds of two clocks, and how far the work is."""
        return int(self.now), int(self.ran or 0.0), self.fraction


@dataclass(frozen=True)
class View:
    """All that a page shows of one execution, read at one moment. Bounded, not yet escaped."""

    record: Record
    now: float  # Unix time of the look, s
    ran: float | None = None  # s that it has been running, or ran, by the boot clock; None where that isn't known
    progress: Progress = Progress()  # progress.json, else the program's status.txt
    place: int | None = None  # in the queue, from 1; None when not queued
    ahead: str = ""  # why a queued one waits, e.g. "100 of 100 jobs are running"
    holders: tuple[Holder, ...] = ()  # of the instruments that a queued one waits for
    limit: float | None = None  # s the job may run
    messages: tuple[str, ...] = ()  # the last ones received
    message_count: int = 0
    log: str = ""  # the last lines of log.txt
    own_page: str | None = None  # the program's own status.html
    picture: bytes | None = None  # the file of progress.picture
    files: tuple[tuple[str, int], ...] = ()  # what it made, by name, with sizes in bytes
    silence: Silence | None = None  # of its workflow manager, where that counts and polls were left out
    hardware: tuple[str, ...] = ()  # what is to be said of its instruments at its end, a sentence each
    note: str = ""  # what the looker has to say of this look
    timeline: tuple[Happening, ...] = ()  # of one that has ended; `Jobs.timeline` has it of any

    @property
    def moment(self) -> Moment:
        """When it was read, and how far the work was."""
        return Moment(self.now, self.ran, self.progress.fraction)


def move(now: StoredState, to: State, **changes: Any) -> StoredState:
    """The stored state after a move: the one place where a job changes its state.

    Raises:
        ValueError: the move isn't in the drawing of a job's life.
    """
    from dataclasses import replace

    if to not in MOVES[now.state]:
        raise ValueError(f"a {now.state} job can't become {to}")
    return replace(now, state=to, **changes)


def unbegun() -> StoredState:
    """The stored state of a job whose process ended before its work began: it waits again, as if none had been."""
    return StoredState()


def settle(stored: StoredState, end: End | None) -> tuple[State, str]:
    """How a job whose runner is gone (or has written its end) ended, and the sentence for its user.

    end.json decides. One thing it can't know: whether the SIGTERM that the runner reports as
    "aborted" was a caller's wish, a limit or a shutdown; the supervisor wrote that down first.
    """
    stopping = stored.stopping
    if end is not None and end.outcome is not State.ABORTED:
        return end.outcome, end.why
    if stopping is not None:
        failed = stopping.reason in ("limit", "stall", "size")
        return (State.FAILED if failed else State.ABORTED), stopping.why
    if end is not None:
        return State.ABORTED, end.why
    return State.FAILED, INTERRUPTED


def derive(
    name: str,
    request: Request,
    stored: StoredState | None,
    end: End | None,
    abort_asked: bool = False,
    nobody_runs_it: bool = False,
) -> Record:
    """What everybody is told about a job, from what lies in its folder.

    Args:
        stored: state.json; None while the supervisor hasn't seen the job.
        end: end.json; it wins over a state that still says running.
        nobody_runs_it: the looker knows that the runner is dead and no supervisor is there to
            say so: without an end that is "interrupted".
    """
    stored = stored or StoredState()
    state, why = stored.state, stored.why
    # an end of one that was never seen to run: the state was lost, and what has ended waits for nothing
    if (state is State.RUNNING and nobody_runs_it) or (state in ACTIVE and end is not None):
        state, why = settle(stored, end)
    return Record(
        name=name,
        request=request,
        state=state,
        why=why,
        started=stored.started,
        started_boot=stored.started_boot,
        ended=stored.ended or (end.ended if end else None),
        ran=stored.ran,
        confined=stored.confined,
        outputs=end.outputs if end is not None and state is State.COMPLETED else None,
        runner=stored.runner,
        stopping=stored.stopping if state in ACTIVE else None,
        abort_asked=abort_asked,
    )
