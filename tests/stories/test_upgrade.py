"""A new release finds the jobs of those before: each tests/samples/jobs-… was written by that release itself.

`tests/samples/make_jobs.py` makes such a sample.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from here import ROOT
from lab import SAMPLES, Lab
from labwaiter.errors import JobAborted, JobFailed, ServiceIDInUse, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import INTERRUPTED, State
from labwaiter.store import supervisor_client

RELEASES = ("0.1.0", "0.3.0", "0.4.0")


@pytest.fixture(params=RELEASES)
def upgraded(make_lab: Callable[..., Lab], tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    """A lab in the jobs folder of an earlier release."""
    shutil.copytree(SAMPLES / f"jobs-{request.param}", tmp_path / "jobs")
    for folder in (tmp_path / "jobs").glob("[!.]*"):  # git keeps no empty ones
        (folder / "data").mkdir(exist_ok=True)
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


@pytest.mark.parametrize("upgraded", RELEASES[1:], indirect=True)
def test_what_ran_when_the_machine_stopped_is_told_as_interrupted(upgraded: Lab) -> None:
    record = upgraded.ended("interrupted")
    assert record.state is State.FAILED and record.why == INTERRUPTED


@pytest.mark.parametrize("upgraded", RELEASES[1:], indirect=True)
def test_what_a_job_made_is_there_as_it_was(upgraded: Lab) -> None:
    files = upgraded.jobs.view("with a file", SHELL).files
    assert [name for name, _ in files] == ["child.pid"]


@pytest.mark.folder_way  # of many machines, Redis says what was told
def test_a_bad_end_that_was_told_before_stays_a_fault(upgraded: Lab) -> None:
    for service_id, service, fault in (("failed", "Missing", JobFailed), ("aborted", "Talk", JobAborted)):
        upgraded.store.mark(service_id, "told")
        told = upgraded.folder(service_id) / "told"
        os.utime(told, (0, 0))
        with pytest.raises(fault):
            upgraded.status(service, service_id)


@pytest.fixture
def elsewhere(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    """A lab whose supervisor is of another place: a copy of this labwaiter, as another environment has one."""
    lab = make_lab()
    shutil.copytree(ROOT / "app" / "labwaiter", tmp_path / "other" / "labwaiter")
    lab.environment["PYTHONPATH"] = str(tmp_path / "other")
    return lab


@pytest.mark.folder_way
def test_a_supervisor_of_another_environment_begins_anew_in_ours_and_what_runs_goes_on(elsewhere: Lab) -> None:
    elsewhere.supervise()
    pid = elsewhere.supervisor
    assert supervisor_client.code_elsewhere(pid) == elsewhere.environment["PYTHONPATH"]
    elsewhere.start("Talk", "talks")
    runner = elsewhere.running("talks")
    elsewhere.when("talks", lambda: elsewhere.status_progress("talks").stage == "listening")
    supervisor_client.replace(elsewhere.settings)
    assert elsewhere.supervisor == pid and supervisor_client.code_elsewhere(pid) == ""
    assert elsewhere.running("talks") == runner
    elsewhere.jobs.notify(elsewhere.services["Talk"], "talks", "bye", SHELL)
    assert elsewhere.ended("talks").outputs == {"result": "bye"}


@pytest.mark.folder_way
def test_one_that_goes_on_with_its_own_code_is_told(elsewhere: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of 0.4 and before."""
    code = Path(elsewhere.environment["PYTHONPATH"], "labwaiter", "supervisor", "single_instance.py")
    handing = "supervisor_client.handed_on(self._layout)"
    assert handing in code.read_text()
    code.write_text(
        code.read_text().replace(handing, "sys.executable, os.environ").replace("import os", "import os, sys")
    )
    elsewhere.supervise()
    monkeypatch.setattr(supervisor_client, "TAKE_OVER_SECONDS", 2.0)
    with pytest.raises(TimeoutError, match=r"is of another labwaiter, in .*other, .* end it by that one's own"):
        supervisor_client.replace(elsewhere.settings)
    assert supervisor_client.alive(elsewhere.settings)
