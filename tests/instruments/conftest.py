"""A bench with plugged instruments, and a deployment whose services use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchlab import Plugged, bench_lab, plugged
from lab import Lab


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def using(tmp_path: Path, bench: Plugged) -> Iterator[Lab]:
    """A deployment of the test's own."""
    lab = bench_lab(tmp_path / "jobs", bench)
    lab.supervise()
    yield lab
    lab.close()
