"""Whoever is not the job's process ends nothing: the instrument stays as the job has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ways import HERE

from benchlab import Plugged, let_go, plugged
from lab import Lab, eventually
from labwaiter.model.record import State


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    with plugged(tmp_path_factory.mktemp("bench")) as one:
        yield one


@pytest.fixture(scope="module")
def forking(tmp_path_factory: pytest.TempPathFactory, bench: Plugged) -> Iterator[Lab]:
    root: Path = tmp_path_factory.mktemp("forking")
    shutil.copytree(HERE / "samples" / "forking", root / "services")
    lab = Lab(root / "jobs", root / "services", LAB=str(bench.toml))
    lab.supervise()
    yield lab
    lab.close()


@pytest.mark.parametrize(
    "how",
    [
        "sys.exit(0)",
        "sys.exit(3)",
        "raise",
        "fail",
        "os._exit",
        "killed",
        "interrupted",
        "returns",
        "process",
        "daemon of a process",
        "script",
    ],
)
def test_a_child_that_is_not_the_job_leaves_the_instrument_to_it(forking: Lab, bench: Plugged, how: str) -> None:
    begun = bench.count("smu")
    forking.start("Forks", how, source="smu", how=how)
    forking.when(
        how, lambda: forking.status_progress(how).stage == "the child has ended" or not forking.record(how).active
    )
    record = forking.record(how)
    assert record.state is State.RUNNING, record.why
    measured = len((forking.folder(how) / "data" / "smu.line.txt").read_bytes())
    eventually(lambda: len((forking.folder(how) / "data" / "smu.line.txt").read_bytes()) > measured)
    happened = [what for _, what in list(bench.simulators["smu"].happened)[begun:]]
    assert "output on" in happened
    assert "output off" not in happened[happened.index("output on") :], happened
    assert not bench.simulators["smu"].is_safe()
    assert not (forking.folder(how) / "end.json").exists()
    let_go(forking, how)
    record = forking.ended(how)
    assert record.outputs == {"result": "of the parent"}, record.why
    bench.assert_made_safe("smu", begun)
