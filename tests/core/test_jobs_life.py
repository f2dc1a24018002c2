"""A job's life as a table: its moves, its end, and what is derived of what lies in its folder."""

from __future__ import annotations

import pytest

from labwaiter.model.record import (
    INTERRUPTED,
    End,
    Record,
    Request,
    State,
    Stopping,
    StoredState,
    derive,
    move,
    settle,
    unbegun,
)
from labwaiter.supervisor.intake import FirstStep, first_step
from labwaiter.supervisor.running_job import settled
from labwaiter.system.process import Identity

QUEUED, RUNNING, COMPLETED, FAILED, ABORTED = State
REQUEST = Request("one", "Waiter", {"seconds": 1}, created=100.0)
RUNNER = Identity(4711, 17, "boot")


def stored(state: State, reason: str = "", why: str = "") -> StoredState:
    """A stored state; with a reason: of a job that is being stopped for that."""
    return StoredState(state, stopping=Stopping(reason, why, "told to stop") if reason else None)


def end(outcome: State, why: str = "") -> End:
    return End(outcome, why, {"sum": 3} if outcome is COMPLETED else {}, ended=200.0)


# -- moving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_a_job_moves_on_and_never_back(before: State, after: State) -> None:
    allowed = {
        (QUEUED, RUNNING),
        (QUEUED, FAILED),
        (QUEUED, ABORTED),
        (RUNNING, COMPLETED),
        (RUNNING, FAILED),
        (RUNNING, ABORTED),
    }
    if (before, after) in allowed:
        assert move(stored(before), after).state is after
    else:
        with pytest.raises(ValueError, match=f"a {before} job can't become {after}"):
            move(stored(before), after)


def test_a_move_keeps_what_it_does_not_change() -> None:
    began = move(StoredState(marks_begin=True), RUNNING, started=100.0, started_boot=10.0, runner=RUNNER)
    ended = move(began, FAILED, why="No.", ended=200.0)
    assert ended == StoredState(FAILED, "No.", 0.0, 100.0, 10.0, 200.0, None, RUNNER, None, marks_begin=True)
    assert unbegun() == StoredState()


# -- settling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason, said, outcome",
    [
        # without a stop its end decides
        ("", end(COMPLETED), (COMPLETED, "")),
        ("", end(FAILED, "It broke."), (FAILED, "It broke.")),
        ("", end(ABORTED, "It gave up."), (ABORTED, "It gave up.")),
        ("", None, (FAILED, INTERRUPTED)),
        # one that ended by itself while it was stopped has ended so
        ("abort", end(COMPLETED), (COMPLETED, "")),
        ("limit", end(FAILED, "It broke."), (FAILED, "It broke.")),
        # who stopped it is known to the supervisor alone
        ("abort", end(ABORTED, "It stopped."), (ABORTED, "Why.")),
        ("abort", None, (ABORTED, "Why.")),
        ("shutdown", None, (ABORTED, "Why.")),
        ("abandoned", None, (ABORTED, "Why.")),
        ("limit", end(ABORTED, "It stopped."), (FAILED, "Why.")),
        ("limit", None, (FAILED, "Why.")),
        ("stall", None, (FAILED, "Why.")),
    ],
)
def test_how_a_job_ended(reason: str, said: End | None, outcome: tuple[State, str]) -> None:
    state = stored(RUNNING, reason, "Why.")
    assert settle(state, said) == outcome
    assert settled(state, said, never_began=False) == outcome


@pytest.mark.parametrize(
    "reason, said, never_began, unsafe, outcome",
    [
        ("", None, True, [], None),  # it waits again
        ("abort", None, True, [], (ABORTED, "Why.")),  # nobody wants it any more
        ("", end(COMPLETED), True, [], (COMPLETED, "")),  # an end forbids a second run
        ("", end(COMPLETED), False, ["smu"], (COMPLETED, "")),
        ("", end(FAILED, "No."), False, ["smu"], (FAILED, "No. Afterwards smu could not be made safe.")),
        ("", None, False, ["a", "b"], (FAILED, f"{INTERRUPTED} Afterwards a and b could not be made safe.")),
    ],
)
def test_what_becomes_of_a_job_whose_processes_are_gone(
    reason: str, said: End | None, never_began: bool, unsafe: list[str], outcome: tuple[State, str] | None
) -> None:
    assert settled(stored(RUNNING, reason, "Why."), said, never_began, unsafe) == outcome


# -- deriving -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state, said, nobody_runs_it, shown",
    [
        (None, None, False, (QUEUED, "", None)),  # the supervisor has not seen it yet
        (None, end(COMPLETED), False, (COMPLETED, "", {"sum": 3})),  # its state was lost
        (stored(QUEUED), None, True, (QUEUED, "", None)),
        (stored(RUNNING), None, False, (RUNNING, "", None)),
        (stored(RUNNING), None, True, (FAILED, INTERRUPTED, None)),
        (stored(RUNNING), end(COMPLETED), False, (COMPLETED, "", {"sum": 3})),  # the end is the point of no return
        (stored(RUNNING), end(FAILED, "No."), True, (FAILED, "No.", None)),
        (stored(RUNNING, "abort", "Why."), None, False, (RUNNING, "", None)),
        (stored(RUNNING, "abort", "Why."), None, True, (ABORTED, "Why.", None)),
        (StoredState(COMPLETED), end(COMPLETED), True, (COMPLETED, "", {"sum": 3})),
        (StoredState(FAILED, "No."), None, True, (FAILED, "No.", None)),
        (StoredState(ABORTED, "Why."), end(COMPLETED), False, (ABORTED, "Why.", None)),  # what was told stays
    ],
)
def test_what_everybody_is_told(
    state: StoredState | None,
    said: End | None,
    nobody_runs_it: bool,
    shown: tuple[State, str, dict[str, int] | None],
) -> None:
    record = derive("one", REQUEST, state, said, nobody_runs_it=nobody_runs_it)
    assert (record.state, record.why, record.outputs) == shown
    assert record.active == (record.state in (QUEUED, RUNNING))
    assert (record.stopping is not None) == (record.active and state is not None and state.stopping is not None)


def test_a_record_tells_when_and_by_whom() -> None:
    running = StoredState(RUNNING, since=100.0, started=100.0, started_boot=10.0, runner=RUNNER)
    assert derive("one", REQUEST, running, None, abort_asked=True) == Record(
        "one", REQUEST, RUNNING, started=100.0, started_boot=10.0, runner=RUNNER, abort_asked=True
    )
    assert derive("one", REQUEST, running, end(COMPLETED)).ended == 200.0
    assert derive("one", REQUEST, move(running, FAILED, ended=300.0, ran=9.5), end(FAILED)).ended == 300.0


# -- taking up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_, state, said, step",
    [
        (None, None, None, FirstStep.FORGET),  # a mark without a job
        (REQUEST, None, None, FirstStep.QUEUE),
        (REQUEST, stored(QUEUED), None, FirstStep.QUEUE),
        (REQUEST, None, end(COMPLETED), FirstStep.SETTLE),
        (REQUEST, stored(QUEUED), end(FAILED), FirstStep.SETTLE),
        (REQUEST, stored(RUNNING), None, FirstStep.ADOPT),
        (REQUEST, stored(COMPLETED), end(COMPLETED), FirstStep.FORGET),
        (REQUEST, stored(FAILED), None, FirstStep.FORGET),
        (REQUEST, stored(ABORTED), None, FirstStep.FORGET),
    ],
)
def test_what_a_supervisor_does_first(
    request_: Request | None, state: StoredState | None, said: End | None, step: FirstStep
) -> None:
    assert first_step(request_, state, said) is step
