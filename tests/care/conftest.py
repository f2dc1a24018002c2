"""A lab of many machines, and the shell of its operator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["RQ_KEY_PREFIX"] = "lab:rq"  # RQ asks for it once; tests here import it before a lab of the tests does

from fleetlab import REDIS, FleetLab, RedisServer
from lab import Lab
from operators import Operator


@pytest.fixture
def fleet(tmp_path: Path, services: Path) -> Iterator[FleetLab]:
    """A lab of one machine with a worker, and a face; both are the test's to start."""
    if REDIS is None:
        pytest.skip("no redis-server on this machine")
    one = FleetLab(tmp_path / "jobs", services)
    yield one
    one.close()


@pytest.fixture
def operator(fleet: FleetLab) -> Operator:
    return Operator(fleet.face_environment)


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """A Redis with options of the test's own."""
    if REDIS is None:
        pytest.skip("no redis-server on this machine")
    made: list[RedisServer] = []

    def make(*options: str, password: str = "") -> RedisServer:
        made.append(RedisServer(tmp_path / f"redis{len(made)}", *options, password=password))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def alone(make_lab: Callable[..., Lab]) -> Lab:
    """A lab on one machine, whichever way the suite runs."""
    return make_lab()
