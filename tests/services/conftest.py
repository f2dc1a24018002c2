"""The services as they are offered, on simulated instruments behind real ptys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import Plugged, plugged
from here import ROOT
from lab import Lab


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def shop(make_lab: Callable[..., Lab], tmp_path: Path, bench: Plugged) -> Lab:
    """A lab with its supervisor, those instruments, and a folder for files."""
    (tmp_path / "files").mkdir()
    lab = make_lab(services_folder=ROOT / "app" / "services", LAB=str(bench.toml), FILES_FOLDER=str(tmp_path / "files"))
    lab.supervise()
    return lab
