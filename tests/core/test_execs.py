"""A process in the middle of an exec, of which proc(5) shows no environment for a moment: it is still that process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from labwaiter.store import supervisor_client
from labwaiter.system.process import MARKER, environment_of, identify, marked

ELSEWHERE = "/another/app"
ENVIRON = {MARKER: "f" * 64, "PYTHONPATH": ELSEWHERE}
LOOKS = 2000  # one of fifty meets an exec's middle
AGAIN = "import os, sys; os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', sys.argv[1], sys.argv[1]])"


@pytest.fixture
def pid() -> Iterator[int]:
    """A process that becomes another program over and over."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", AGAIN, AGAIN], env=ENVIRON)
    yield process.pid
    process.kill()
    process.wait()


def test_it_has_its_environment(pid: int) -> None:
    expected = {f"{name}={value}".encode() for name, value in ENVIRON.items()}
    assert all(expected <= {*environment_of(pid)} for _ in range(LOOKS))


def test_what_a_job_started_is_found(pid: int) -> None:
    mine = identify(pid)
    assert all(mine in marked(ENVIRON[MARKER]) for _ in range(LOOKS // 10))


def test_a_supervisor_of_another_labwaiter_is_that(pid: int) -> None:
    assert {supervisor_client.code_elsewhere(pid) for _ in range(LOOKS)} == {ELSEWHERE}


def test_one_that_was_given_none_has_none() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={}) as process:
        assert not any(environment_of(process.pid))
