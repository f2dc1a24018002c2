"""The scripts as a new user types them, in a folder that nobody has used before."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwaiter.jobs import Jobs, link
from labwaiter.record import State
from labwaiter.settings import ROOT, load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Clone:
    """A fresh copy of what git knows, and a shell in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in known.splitlines():
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        with socket.socket() as trial:
            trial.bind(("127.0.0.1", 0))
            self.port = str(trial.getsockname()[1])
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_CERT", "SSL_CERT_FILE", "PIP_CONFIG_FILE")
        self.environment = {k: v for k, v in os.environ.items() if k in kept}
        self.environment["PYTHON"] = os.path.realpath(sys.executable)
        self.settings = load({}, folder / "env")

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        script, *rest = words
        command = [str(self.folder / script), *rest]
        return subprocess.run(
            command, cwd="/", env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    one = Clone(tmp_path_factory.mktemp("clone"))
    yield one
    one("stop.sh")


def test_before_anything_was_made_stop_says_so(clone: Clone) -> None:
    done = clone("stop.sh")
    assert done.returncode == 0
    assert "./rebuildandrun.sh" in done.stdout


def test_rebuildandrun_makes_everything_tries_it_and_returns(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", clone.port)
    assert done.returncode == 0, done.stdout + done.stderr
    wsdl = f"http://localhost:{clone.port}/sintef/docker_services/waiter/Waiter?wsdl"
    for words in (wsdl, "labwaiter 0.1.0", str(clone.folder / "waiter_logs"), "Every sessionToken is accepted"):
        assert words in done.stdout
    states = [record.state for record in Jobs(clone.settings).list()]
    assert states == [State.COMPLETED]


def test_the_tutorial_s_words_tell_its_story(clone: Clone) -> None:
    assert "UNSET" in clone("run.sh", clone.port, "start").stdout
    assert "status_base64" in clone("run.sh", clone.port, "status").stdout
    assert clone("run.sh", clone.port, "notify", "ABORT").returncode == 0
    watched = clone("run.sh", clone.port, "watch", "--every", "0.5")
    assert watched.returncode == 0 and "result = ABORTED" in watched.stdout


def test_a_second_call_replaces_the_web_side_and_leaves_a_running_job_alone(clone: Clone) -> None:
    assert clone("run.sh", clone.port, "start", "--id", "long", "secondsToWait=600").returncode == 0
    jobs = Jobs(clone.settings)
    while (before := jobs.record("long").runner) is None:
        jobs.wait("long", 0.1)
    done = clone("rebuildandrun.sh", clone.port)
    assert done.returncode == 0, done.stderr
    assert jobs.record("long").runner == before
    assert jobs.record("long").state is State.RUNNING


def test_stop_settles_every_job_and_nothing_is_left(clone: Clone) -> None:
    done = clone("stop.sh")
    assert done.returncode == 0 and "every job is settled" in done.stdout
    assert Jobs(clone.settings).record("long").state is State.ABORTED
    assert link.alive(clone.settings) is None
    assert "can't be reached" in clone("run.sh", clone.port, "status").stderr


@pytest.mark.parametrize("words", [("rebuildandrun.sh", "eighty"), ("rebuildandrun.sh", "1", "2"), ("build.sh", "--x")])
def test_what_a_script_does_not_know_is_answered_with_its_usage(clone: Clone, words: tuple[str, ...]) -> None:
    done = clone(*words)
    assert done.returncode == 2 and "usage" in done.stderr


def test_containers_are_named_as_what_comes_next(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", "--docker")
    assert done.returncode == 2 and "next release" in done.stderr
