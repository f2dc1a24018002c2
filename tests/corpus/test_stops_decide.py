"""A stop that was asked first decides how a job ended, whatever its work makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ways import HERE

from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

WAYS = [
    *(("script", how) for how in ("exits 0", "exits 143", "_exits 0", "goes on", "raises in finally")),
    *(("python", how) for how in ("exits 0", "exits 143", "_exits 0", "goes on", "raises in finally")),
    *(("shell", how) for how in ("exits 0", "exits 143")),
    *(("run", how) for how in ("hands on", "swallows the end of job.run")),
    *(("handler", how) for how in ("handler exits 0", "handler raises")),
    *(
        ("function", how)
        for how in (
            "returns",
            "returns nothing",
            "fails",
            "raises",
            "raises in finally",
            "exits 0",
            "_exits 0",
            "aborted",
        )
    ),
]
IDS = [f"{by} {how}" for by, how in WAYS]


@pytest.fixture(scope="module")
def stopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root: Path = tmp_path_factory.mktemp("stopping")
    shutil.copytree(HERE / "samples" / "stopping", root / "services")
    lab = Lab(root / "jobs", root / "services")
    lab.supervise()
    yield lab
    lab.close()


def started(lab: Lab, service: str, by: str, how: str) -> str:
    """The execution, once its work would catch a stop."""
    service_id = f"{service} {by} {how}"
    lab.start(service, service_id, by=by, how=how)
    eventually((lab.folder(service_id) / "data" / "ready").exists)
    return service_id


def part_of(lab: Lab, service_id: str) -> str:
    return (lab.folder(service_id) / "result.txt").read_text().strip()


@pytest.mark.parametrize(("by", "how"), WAYS, ids=IDS)
def test_after_an_abort_it_is_aborted(stopping: Lab, by: str, how: str) -> None:
    service_id = started(stopping, "Stopped", by, how)
    assert stopping.jobs.abort(stopping.services["Stopped"], service_id, SHELL) is True
    record = stopping.record(service_id)
    assert (record.state, record.outputs) == (State.ABORTED, None), record.why
    assert part_of(stopping, service_id) == "a part"  # it did catch it


@pytest.fixture(scope="module")
def over_time(stopping: Lab) -> None:
    """All of them at the same time: each takes its limit."""
    for by, how in WAYS:
        stopping.start("OverTime", f"OverTime {by} {how}", by=by, how=how)


@pytest.mark.parametrize(("by", "how"), WAYS, ids=IDS)
def test_after_its_limit_it_has_failed(stopping: Lab, over_time: None, by: str, how: str) -> None:
    record = stopping.ended(f"OverTime {by} {how}")
    assert (record.state, record.outputs) == (State.FAILED, None), record.why
    assert "limit of 3 s" in record.why
    assert part_of(stopping, record.request.service_id) == "a part"


@pytest.mark.parametrize(("by", "how"), [("script", "exits 0"), ("function", "returns"), ("shell", "exits 143")])
def test_after_a_stall_it_has_failed(stopping: Lab, by: str, how: str) -> None:
    record = stopping.ended(started(stopping, "Stalled", by, how))
    assert (record.state, record.outputs) == (State.FAILED, None), record.why
    assert "no progress for 1.5 s" in record.why


def test_a_status_that_is_success_is_none_after_an_abort(stopping: Lab) -> None:
    stopping.start("SucceedsBy143", "one")
    eventually((stopping.folder("one") / "data" / "ready").exists)
    assert stopping.jobs.abort(stopping.services["SucceedsBy143"], "one", SHELL) is True
    assert stopping.record("one").state is State.ABORTED
