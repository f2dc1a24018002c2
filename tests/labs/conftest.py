"""Remote labs on simulated instruments behind real ptys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchlab import Plugged, plugged
from lab import Lab
from remotelab import remote_lab


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def here(tmp_path: Path, bench: Plugged) -> Iterator[Lab]:
    """A deployment of the test's own, with the labs of samples/labs; a slow machine is no student who is gone."""
    lab = remote_lab(tmp_path, bench, WEBLAB_TIMEOUT="-1")
    lab.supervise()
    yield lab
    lab.close()
