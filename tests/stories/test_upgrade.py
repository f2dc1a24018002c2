"""A new release finds the jobs of the last one: tests/samples/jobs-0.1.0 was written by 0.1.0 itself."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import SAMPLES, Lab
from labwaiter.errors import JobAborted, JobFailed, ServiceIDInUse, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State


@pytest.fixture
def upgraded(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    """A lab in the jobs folder of the last release."""
    shutil.copytree(SAMPLES / "jobs-0.1.0", tmp_path / "jobs")
    (tmp_path / "jobs" / "queued" / "data").mkdir()
    lab = make_lab()
    lab.supervise()
    return lab


def test_ended_jobs_are_told_as_they_ended(upgraded: Lab) -> None:
    done = upgraded.status("Echo", "completed é")
    assert done.completed and done.outputs["text"] == "done <&>" and done.outputs["number"] == 5
    assert {r.request.service_id: r.state for r in upgraded.jobs.list(SHELL)}["aborted"] is State.ABORTED
    assert not upgraded.status("Missing", "failed").completed  # its page comes first
    assert "not installed" in upgraded.record("failed").why
    with pytest.raises(UnknownServiceID, match="has been removed"):
        upgraded.status("Echo", "removed")


def test_a_start_that_is_repeated_after_the_upgrade_is_the_same_start(upgraded: Lab) -> None:
    assert upgraded.start("Echo", "completed é", text="done <&>", number=5).completed
    for service_id in ("completed é", "removed"):
        with pytest.raises(ServiceIDInUse):
            upgraded.start("Echo", service_id, text="another")


def test_what_waited_for_the_upgrade_is_run(upgraded: Lab) -> None:
    upgraded.start("Echo", "queued", text="still here")  # as its workflow manager polls, or repeats the start
    assert upgraded.ended("queued").outputs is not None


@pytest.mark.folder_way  # of many machines, Redis says what was told
def test_a_bad_end_that_was_told_before_stays_a_fault(upgraded: Lab) -> None:
    for service_id, service, fault in (("failed", "Missing", JobFailed), ("aborted", "Talk", JobAborted)):
        upgraded.store.mark(service_id, "told")
        told = upgraded.folder(service_id) / "told"
        os.utime(told, (0, 0))
        with pytest.raises(fault):
            upgraded.status(service, service_id)
