"""Devices behind real ptys, and a deployment whose services use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchlab import Plugged, bench_lab, plugged
from lab import Lab
from labwaiter.instruments.line import Line
from labwaiter.instruments.simulators.host import Host


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


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every line that a test opens is closed after it; a failed test's frames would keep it open."""
    opened: list[Line] = []
    really = Line.open
    monkeypatch.setattr(Line, "open", lambda line: (opened.append(line), really(line))[1])
    yield
    for line in opened:
        line.close()


@pytest.fixture
def host() -> Iterator[Host]:
    one = Host()
    yield one
    one.close()


@pytest.fixture
def port(tmp_path: Path) -> Path:
    return tmp_path / "port"
