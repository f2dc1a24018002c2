"""Labs of several machines, with a Redis of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetlab import REDIS, Fleet
from lab import SAMPLES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if REDIS is None and "tests/fleet" in str(item.fspath):
            item.add_marker(pytest.mark.skip(reason="redis-server is not installed"))


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """A Redis, and the machines that are named."""
    made: list[Fleet] = []
    folder = tmp_path / "services"
    folder.mkdir()
    for file in ("services.py", "drills.py", "steered.py"):
        shutil.copy(SAMPLES / file, folder)
    benches = (SAMPLES / "benches.py").read_text().replace('"Limited"', '"LimitedBench"')  # both have one
    (folder / "benches.py").write_text(benches)
    shutil.copy(SAMPLES / "unruly.py", folder.parent / "unruly.py")

    def make(*names: str, lab: str = "", server: Any = None, **settings: str) -> Fleet:
        made.append(Fleet(tmp_path / f"fleet{len(made)}", folder, names, lab, settings, server))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet]) -> Fleet:
    """Two machines and a face, at work."""
    one = make_fleet("north", "south")
    one.start()
    return one
