"""A caller's token in its job: of services that ask for it, in a file that is gone with the job, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from callers import Caller, envelope
from here import ROOT
from lab import SAMPLES, Lab
from labwaiter.errors import Unavailable
from labwaiter.model.record import Request, State
from labwaiter.store.folder import TOKEN_FILE

pytestmark = pytest.mark.folder_way
TOKEN = "a-token-that-nobody-may-see-Z"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "own").mkdir()
    shutil.copy(SAMPLES / "confined.py", tmp_path / "own")
    one = Lab(tmp_path / "jobs", tmp_path / "own", JOBS_MODE="755", MAX_RUNNING="2")
    one.supervise()
    yield one
    one.close()


def start(lab: Lab, service_id: str, how: str, service: str = "Calling") -> None:
    texts = {"how": how} if how else {}
    Caller(lab)(f"/{service}", envelope(f"start{service}", serviceID=service_id, sessionToken=TOKEN, **texts))


def holding(lab: Lab) -> list[str]:
    """The files of the jobs folder, and of what lies beside it, in which the token stands."""
    files = [path for path in lab.root.parent.rglob("*") if path.is_file()]
    return [str(path.relative_to(lab.root)) for path in files if TOKEN.encode() in path.read_bytes()]


def test_a_job_of_a_service_that_asks_for_it_has_it_and_then_it_is_gone(lab: Lab) -> None:
    start(lab, "function", "function")
    start(lab, "program", "program")
    for service_id in ("function", "program"):
        record = lab.ended(service_id)
        assert record.outputs == {"result": f"{len(TOKEN)} Z"}, record.why
    assert "Z 600" in lab.file("program", "log.txt")  # though everybody may read the rest of this jobs folder
    assert holding(lab) == []


def test_it_is_put_into_no_argument_list(lab: Lab) -> None:
    start(lab, "one", "argument")
    assert lab.ended("one").why == (
        "The sessionToken is put into no argument list, which every account of the machine may read: give echo"
        " job.session_token_file."
    )
    assert holding(lab) == []


def test_others_are_not_given_it(lab: Lab) -> None:
    start(lab, "one", "", "Nosy")
    assert "doesn't ask for its caller's sessionToken" in lab.ended("one").why
    assert holding(lab) == []


def test_an_abort_takes_it_from_what_runs_and_from_what_waits(lab: Lab) -> None:
    for service_id in ("runs", "runs-too", "waits"):
        start(lab, service_id, "waits")
    for service_id in ("runs", "runs-too"):
        lab.when(service_id, lambda one=service_id: lab.status_progress(one).stage == "has it")
    names = sorted(f"{one}/{TOKEN_FILE}" for one in ("runs", "runs-too", "waits"))
    assert sorted(holding(lab)) == names  # that one, and no log, record or page
    assert {(lab.root / name).stat().st_mode & 0o777 for name in names} == {0o600}
    for service_id in ("waits", "runs", "runs-too"):
        Caller(lab)("/Calling", envelope("abortService", serviceID=service_id, sessionToken=TOKEN))
        assert lab.ended(service_id).state is State.ABORTED
    assert holding(lab) == []


def test_a_job_that_is_killed_leaves_none(lab: Lab) -> None:
    start(lab, "one", "waits")
    lab.when("one", lambda: lab.status_progress("one").stage == "has it")
    os.kill(lab.running("one"), 9)
    assert lab.ended("one").state is State.FAILED
    assert holding(lab) == []


def test_a_start_by_the_shell_has_none_and_says_so(lab: Lab) -> None:
    lab.start("Calling", "one", how="function")
    assert "was started without a sessionToken" in lab.ended("one").why


def test_over_redis_such_a_service_is_refused() -> None:
    from labwaiter.fleet.redis_store import RedisStore

    request = Request("one", "Calling", {}, signature={"session_token": True})
    with pytest.raises(Unavailable, match="is not handed on over Redis"):
        RedisStore.admit(RedisStore.__new__(RedisStore), request)


FILES = {
    "unasked": (
        '@service("Odd", namespace="urn:odd")\ndef startOdd(job: Job) -> None:\n    print(len(job.session_token))\n',
        "session_token=True",
    ),
    "argument": (
        '@service("Odd", namespace="urn:odd", session_token=True)\n'
        'def startOdd(job: Job) -> None:\n    job.run(Command("echo", f"x{job.session_token}"))\n',
        "argument list",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_check_tells_where_it_is_not_given_or_would_be_seen(tmp_path: Path, kind: str) -> None:
    text, words = FILES[kind]
    file = tmp_path / "odd.py"
    file.write_text("from labwaiter import Command, Job, service\n\n" + text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app"), "WAITER_LOG_FOLDER": str(tmp_path / "jobs")}
    command = [sys.executable, "-m", "labwaiter", "check", str(file)]
    environment["LABWAITER_ENV"] = os.devnull
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 1 and words in checked.stderr, checked.stderr
    assert "odd.py, line" in checked.stderr
