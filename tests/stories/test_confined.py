"""What a job's programs may use, and what is told when they use more."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import SAMPLES, Lab
from labwaiter.errors import Misconfigured
from labwaiter.model.record import State
from labwaiter.settings import load

pytestmark = pytest.mark.folder_way
WAYS = ("function", "script", "command", "run")


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("confined")
    (folder / "services").mkdir()
    shutil.copy(SAMPLES / "confined.py", folder / "services")
    # labwaiter's own secrets, and a token that the shell had for its test client
    secrets = {"REDIS_SECRET": "sixteen letters and more", "SESSION_TOKEN": "mine alone"}
    lab = Lab(folder / "jobs", folder / "services", **secrets)
    lab.supervise()
    yield lab
    lab.close()


@pytest.mark.parametrize("how", WAYS)
def test_a_job_and_all_that_it_starts_have_the_limits_of_its_service(confined: Lab, how: str) -> None:
    confined.start("Confined", f"tell {how}", what="tell", how=how)
    record = confined.ended(f"tell {how}")
    assert record.outputs == {"result": "['0o77', 2, 300000000, 100, 1000000]"}, record.why
    assert {"umask": "077", "cpu_seconds": 2, "memory": 300_000_000}.items() <= record.confined.items()


HIT = {
    "spin": r" used more CPU time than it may \(2 s\) and was ended\.",
    "hog": r" failed: it needed more memory than it may \(300,000,000 bytes\)\.",
    "large": r" failed: a file would have become larger than it may \(1,000,000 bytes\)\.",
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("what", HIT)
def test_a_limit_that_was_hit_is_told_in_a_sentence(confined: Lab, what: str, how: str) -> None:
    confined.start("Confined", f"{what} {how}", what=what, how=how)
    record = confined.ended(f"{what} {how}")
    assert record.state is State.FAILED
    name = {"function": "The (work|program)", "script": "script.py"}.get(how, r"python[\d.]*")
    assert re.fullmatch(name + HIT[what], record.why), record.why


def test_too_many_open_files_are_told_of_a_function(confined: Lab) -> None:
    confined.start("Confined", "open", what="open", how="function")
    assert confined.ended("open").why == "The work failed: it has as many files open as it may (100)."


def test_a_program_that_heeds_no_error_is_told_by_its_signal_or_its_last_line(confined: Lab) -> None:
    confined.start("Dumped", "dumped")
    assert "a file would have become larger than it may (1,000,000 bytes)" in confined.ended("dumped").why


def test_a_program_under_limits_that_is_not_there_is_told_as_any(confined: Lab, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    confined.start("Missing", "text", what=str(tmp_path / "text"))
    assert confined.ended("text").why == "text is no program that this machine can run."
    confined.start("Missing", "none", what="a-program-that-nobody-has")
    assert "is not installed on this machine" in confined.ended("none").why


def test_without_limits_only_the_umask_is_another(confined: Lab) -> None:
    confined.start("Plain", "plain")
    record = confined.ended("plain")
    assert record.outputs == {"result": "600 True"}
    assert {k: v for k, v in record.confined.items() if k != "cgroup"} == {"umask": "077"}


def test_a_program_has_the_deployment_s_environment_and_none_of_its_secrets(confined: Lab) -> None:
    confined.start("Variables", "variables")
    outputs = confined.ended("variables").outputs
    assert outputs is not None
    names = set(outputs["result"].split())
    assert {"PATH", "LABWAITER_JOB", "WAITER_LOG_FOLDER"} <= names
    assert not names & {"REDIS_URL", "REDIS_SECRET", "SESSION_TOKEN"}


def test_what_jobs_make_may_be_read_by_whom_the_jobs_folder_was_given_to(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(services_folder=SAMPLES.parent / "samples", JOBS_MODE="750")
    from labwaiter.runner.confinement import confinement_of

    assert confinement_of(lab.settings, None, "0" * 64, None).confined == {"umask": "027"}
    for mode, umask in (("700", "077"), ("711", "077"), ("755", "022"), ("770", "007")):
        settings = load({"JOBS_MODE": mode, "LABWAITER_ENV": os.devnull})
        assert confinement_of(settings, None, "0" * 64, None).confined == {"umask": umask}


def test_the_deployment_s_limits_hold_where_a_service_says_nothing(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    shutil.copy(SAMPLES / "confined.py", tmp_path / "own")
    lab = make_lab(services_folder=tmp_path / "own", JOB_MEMORY="400000000", JOB_OPEN_FILES="200")
    lab.supervise()
    lab.start("Plain", "plain")
    lab.start("Confined", "tell", what="tell", how="command")
    plain, own = lab.ended("plain"), lab.ended("tell")
    assert plain.outputs == {"result": "600 False"}
    assert plain.confined["memory"] == 400_000_000 and plain.confined["open_files"] == 200
    assert own.confined["memory"] == 300_000_000 and own.confined["open_files"] == 100


@pytest.mark.parametrize(
    ("name", "text"),
    [("JOB_MEMORY", "2G"), ("JOB_MEMORY", "1000"), ("JOB_CPU_SECONDS", "0"), ("JOB_CPUS", "0"), ("JOB_USER", "a b")],
)
def test_a_limit_that_can_be_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(Misconfigured, match=name):
        load({name: text, "LABWAITER_ENV": os.devnull})


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("memory='2G'", "memory must be a whole number"),
        ("cpu_seconds=1.5", "cpu_seconds must be a whole number"),
        ("open_files=True", "open_files must be a whole number"),
        ("cpus=0", "cpus must be a number from 0.01"),
        ("user='a b'", "user must be the name of an account"),
        ("limit=-3", "limit must be a number of seconds"),
        ("limit=float('nan')", "limit must be a number of seconds"),
        ("stall=0", "stall must be a number of seconds"),
        ("grace='5 s'", "grace must be a number of seconds"),
        ("at_once=0", "at_once must be a whole number from 1"),
    ],
)
def test_a_service_whose_limit_can_be_none_is_not_offered(keyword: str, words: str) -> None:
    from labwaiter import Job, service

    def startOdd(job: Job) -> None:
        """Odd."""

    declared = eval(f"service('Odd', namespace='urn:odd', {keyword})", {"service": service})(startOdd)
    with pytest.raises(Misconfigured, match=words):
        declared.__labwaiter__.signature()


def test_what_confined_a_job_is_in_its_record(confined: Lab) -> None:
    confined.start("Plain", "record")
    confined.ended("record")
    state = json.loads((confined.folder("record") / "state.json").read_text())
    assert state["confined"]["umask"] == "077"
