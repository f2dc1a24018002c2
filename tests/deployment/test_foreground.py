"""What is kept running in the foreground is tried again with pauses, and not for ever."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from labwaiter.deployment import DeploymentError
from labwaiter.deployment.foreground import MOST_TRIES, _Part


def part(code: str, told: list[str]) -> _Part:
    return _Part("the web side", lambda: subprocess.Popen([sys.executable, "-S", "-c", code]), told.append)


def looked_at(kept: _Part, until: float) -> None:
    while time.monotonic() < until:
        time.sleep(min(0.05, kept.look() or 0.05))


def test_one_that_never_lives_is_given_up() -> None:
    told: list[str] = []
    with pytest.raises(DeploymentError, match=f"^the web side ended {MOST_TRIES} times as soon as it had begun"):
        looked_at(part("raise SystemExit(3)", told), time.monotonic() + 60)
    assert told == ["the web side ended with 3; it is started again"] * (MOST_TRIES - 1)


def test_one_that_leaves_in_peace_is_never_given_up() -> None:
    told: list[str] = []
    looked_at(part("", told), time.monotonic() + 4)
    assert set(told) == {"the web side ended with 0; it is started again"}
