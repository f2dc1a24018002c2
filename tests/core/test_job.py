"""The `Job` of a service's function is its user's: nothing of the engine's is in the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from here import ROOT
from labwaiter import Job
from labwaiter.model.record import Request
from labwaiter.runner.job_engine import JobEngine
from labwaiter.runner.stop import Stop
from labwaiter.settings import load
from labwaiter.store.artifacts import Artifacts
from labwaiter.store.folder import Folder
from labwaiter.system.channel import Channel, pair


@pytest.fixture
def job(tmp_path: Path) -> Iterator[tuple[Job, Channel]]:
    """A job without a process of its own, and the runner's end of its channel."""
    ours, theirs = pair()
    settings = load({"WAITER_LOG_FOLDER": str(tmp_path / "jobs"), "LABWAITER_ENV": os.devnull})
    request = Request("one", "Waiter", {}, user="kim")
    engine = JobEngine(
        Folder(tmp_path / "jobs"), "one", request, Stop(Channel(ours)), Artifacts(settings), Channel(ours)
    )
    yield Job(engine), Channel(theirs)
    ours.close()
    theirs.close()


def test_a_job_has_the_names_that_are_documented(job: tuple[Job, Channel]) -> None:
    text = (ROOT / "docs" / "services.md").read_text().partition("## What a job offers")[2]
    documented = set(re.findall(r"`job\.(\w+)", text))
    assert {name for name in dir(job[0]) if not name.startswith("_")} == documented
    assert [name for name in vars(job[0]) if name.startswith("_")] == ["_engine"]


def test_what_it_says_goes_to_its_runner(job: tuple[Job, Channel]) -> None:
    inside, runner = job
    inside.progress(1.5, "half")
    inside.units(volts="V")
    inside.picture("a.png", "A")
    messages = [runner.receive() for _ in range(3)]
    assert [message[0] for message in messages if message] == [
        {"say": {"fraction": 1.0, "stage": "half"}},
        {"say": {"units": {"volts": "V"}}},
        {"say": {"picture": {"file": "a.png", "caption": "A"}}},
    ]
    with pytest.raises(TypeError, match="fraction of job.progress"):
        inside.progress("much")  # type: ignore[arg-type]


def test_meanwhile_can_be_set_and_taken_away(job: tuple[Job, Channel]) -> None:
    inside, _ = job
    assert inside.meanwhile is None
    inside.meanwhile = look = lambda: None
    assert inside.meanwhile is look
