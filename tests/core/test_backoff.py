"""The pauses between tries, as the supervisor and `labwaiter up` have them."""

from __future__ import annotations

import pytest

from labwaiter.system.backoff import Backoff


@pytest.mark.parametrize(
    "backoff, pauses",
    [
        (Backoff(0.5, 30.0), [0.5, 1, 2, 4, 8, 16, 30, 30]),  # a fork server, the web side, the simulated lab
        (Backoff(0.25, 5.0), [0.25, 0.5, 1, 2, 4, 5, 5]),  # a start without a process for it
        (Backoff(0.05, 1.0), [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1]),  # a program without one
        (Backoff(0.1, 10.0, step=0.1), [0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 10, 10]),  # `labwaiter up`
    ],
)
def test_pauses_double_up_to_the_longest(backoff: Backoff, pauses: list[float]) -> None:
    assert [round(backoff.failed(100.0), 9) for _ in pauses] == pauses
    assert backoff.due == 100.0 + backoff.pause and not backoff.is_due(100.0) and backoff.is_due(backoff.due)
    backoff.succeeded()
    assert backoff.is_due(0.0) and round(backoff.failed(), 9) == pauses[0]


def test_what_is_started_again_is_so_at_once_first_and_then_after_pauses() -> None:
    backoff, now, waited = Backoff(0.5, 30.0), 1000.0, []
    for _ in range(9):
        assert backoff.is_due(now)
        backoff.started(now)
        waited.append(backoff.due - now)
        now = backoff.due
    assert waited == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("lived, pause", [(0.0, 1.0), (9.0, 1.0), (12.0, 0.0)])
def test_what_has_lived_for_a_while_is_believed(lived: float, pause: float) -> None:
    backoff = Backoff(0.5, 30.0)
    for _ in range(2):
        backoff.started(1000.0)
    backoff.lives(backoff.due + lived)
    assert backoff.pause == pause
