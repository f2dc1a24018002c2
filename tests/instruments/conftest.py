"""Devices behind real ptys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labwaiter.instruments.line import Line
from labwaiter.instruments.simulators.host import Host


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
