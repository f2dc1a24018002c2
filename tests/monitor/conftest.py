"""Monitored instruments behind real ptys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import Plugged, bench_lab, plugged
from lab import Lab


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def monitored(tmp_path: Path, bench: Plugged) -> Iterator[Callable[..., Lab]]:
    """A deployment whose lab.toml has more lines for some instruments."""
    made: list[Lab] = []

    def make(settings: dict[str, str] | None = None, **more: str) -> Lab:
        bench.write(**more)
        made.append(bench_lab(tmp_path / "jobs", bench, **(settings or {})))
        made[-1].supervise()
        return made[-1]

    yield make
    for one in made:
        one.close()
