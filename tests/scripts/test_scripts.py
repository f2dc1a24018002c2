"""The scripts as a new user types them, in a folder that nobody has used before."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clone import Clone
from labwaiter import __version__
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store import supervisor_client
from labwaiter.verbs import Jobs

ELSEWHERE = {  # how its user has Python and pip for other work
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere",
    "PIP_DRY_RUN": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": "/nowhere",
    "GRANIAN_PORT": "1",
}
SOMEBODY = 54321  # a user id that is nobody's here
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    one = Clone(tmp_path_factory.mktemp("clone"), **ELSEWHERE)
    yield one
    one("stop.sh")


def test_before_anything_was_made_stop_says_so(clone: Clone) -> None:
    done = clone("stop.sh")
    assert done.returncode == 0
    assert "./rebuildandrun.sh" in done.stdout


def test_rebuildandrun_makes_everything_tries_it_and_returns(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", clone.port)
    assert done.returncode == 0, done.stdout + done.stderr
    wsdl = f"http://127.0.0.1:{clone.port}/sintef/docker_services/waiter/Waiter?wsdl"
    for words in (
        wsdl,
        f"labwaiter {__version__}",
        str(clone.folder / "waiter_logs"),
        "Every sessionToken is accepted",
    ):
        assert words in done.stdout
    assert "Traceback" not in done.stderr
    states = [record.state for record in Jobs(clone.settings).list(SHELL)]
    assert states == [State.COMPLETED]


def test_the_tutorial_s_words_tell_its_story(clone: Clone) -> None:
    assert "UNSET" in clone("run.sh", clone.port, "start").stdout
    assert "status_base64" in clone("run.sh", clone.port, "status").stdout
    assert clone("run.sh", clone.port, "notify", "ABORT").returncode == 0
    watched = clone("run.sh", clone.port, "watch", "--every", "0.5")
    assert watched.returncode == 0 and "result = ABORTED" in watched.stdout


def test_the_port_need_not_be_named_again(clone: Clone) -> None:
    done = clone("run.sh", "start", "secondsToWait=0")
    assert f"wsdl URL is http://127.0.0.1:{clone.port}/sintef/" in done.stdout and done.returncode == 0, done.stderr
    done = clone("rebuildandrun.sh")
    assert f"runs at http://127.0.0.1:{clone.port}/sintef/docker_services/\n" in done.stdout, done.stderr


def test_a_second_call_replaces_the_web_side_and_leaves_a_running_job_alone(clone: Clone) -> None:
    assert clone("run.sh", clone.port, "start", "--id", "long", "secondsToWait=600").returncode == 0
    jobs = Jobs(clone.settings)
    while (before := jobs.record("long", SHELL).runner) is None:
        jobs.wait("long", 0.1, SHELL)
    done = clone("rebuildandrun.sh", clone.port)
    assert done.returncode == 0, done.stderr
    assert jobs.record("long", SHELL).runner == before
    assert jobs.record("long", SHELL).state is State.RUNNING


def test_stop_settles_every_job_and_nothing_is_left(clone: Clone) -> None:
    done = clone("stop.sh")
    assert done.returncode == 0 and "every job is settled" in done.stdout
    assert Jobs(clone.settings).record("long", SHELL).state is State.ABORTED
    assert supervisor_client.alive(clone.settings) is None
    assert "can't be reached" in clone("run.sh", clone.port, "status").stderr


@pytest.mark.parametrize("words", [("rebuildandrun.sh", "eighty"), ("rebuildandrun.sh", "1", "2"), ("build.sh", "--x")])
def test_what_a_script_does_not_know_is_answered_with_its_usage(clone: Clone, words: tuple[str, ...]) -> None:
    done = clone(*words)
    assert done.returncode == 2 and "usage" in done.stderr


@pytest.mark.parametrize("script", ["rebuildandrun.sh", "build.sh", "test.sh"])
def test_without_a_python_that_fits_a_sentence_comes_and_nothing_is_made(tmp_path: Path, script: str) -> None:
    clone, tools = Clone(tmp_path / "clone"), tmp_path / "bin"
    tools.mkdir()
    for folder in ("/bin", "/usr/bin"):  # a machine as this one, without Python
        for tool in Path(folder).iterdir():
            if not tool.name.startswith("python") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    del clone.environment["PYTHON"]
    clone.environment["PATH"] = str(tools)
    done = clone(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "labwaiter needs a Python from 3.11 to 3.15, and none was found: install one, or name it in PYTHON=…\n"
    )
    assert not (clone.folder / ".venv").exists()


def test_a_named_python_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python"  # as an interpreter of another version answers `fits`
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = Clone(tmp_path / "clone", PYTHON=str(old))("build.sh")
    assert done.returncode == 1 and done.stderr == f"PYTHON={old} is no Python 3.11 to 3.15: name one that is.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes the right to become one")
def test_a_python_that_only_another_user_may_run_is_one_sentence(tmp_path: Path, any_python: str) -> None:
    clone = Clone(tmp_path / "clone", PYTHON=any_python)
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    python = hidden / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (clone.folder / ".venv" / "bin").mkdir(parents=True)
    (clone.folder / ".venv" / "bin" / "python").symlink_to(python)
    (clone.folder / ".venv" / "bin" / "labwaiter").symlink_to(any_python)
    done = clone("stop.sh", user=SOMEBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{clone.folder}/.venv has a Python that user {SOMEBODY} may not run: make a clone of your own, or call this as"
        " its user.\n"
    )
    clone.environment["PYTHON"] = str(python)
    done = clone("build.sh", user=SOMEBODY)
    assert f"PYTHON={python} is no program that user {SOMEBODY} may run" in done.stderr


@pytest.fixture
def any_python(tmp_path: Path) -> str:
    """What everybody may call, and answers as a Python that fits."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0"\n')
    python.chmod(0o755)
    for folder in [tmp_path, *tmp_path.parents][:-2]:
        folder.chmod(folder.stat().st_mode | 0o055)
    return str(python)


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes the right to become one")
@pytest.mark.parametrize("script", ["rebuildandrun.sh", "build.sh", "run.sh", "test.sh"])
def test_another_user_s_venv_is_never_removed_also_not_by_root(tmp_path: Path, any_python: str, script: str) -> None:
    clone = Clone(tmp_path / "clone", PYTHON=any_python)
    theirs = clone.folder / ".venv" / "lib" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    os.chown(clone.folder / ".venv", SOMEBODY, SOMEBODY)
    for user in (0, SOMEBODY + 1):
        done = clone(script, user=user)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"{clone.folder}/.venv is another user's, doesn't fit, and is left alone: make a clone of your own, or"
            " call this as that user.\n"
        )
    assert theirs.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes the right to become one")
def test_a_clone_that_can_t_be_written_is_one_sentence(tmp_path: Path, any_python: str) -> None:
    clone = Clone(tmp_path / "clone", PYTHON=any_python)
    done = clone("rebuildandrun.sh", user=SOMEBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{clone.folder} can't be written by user {SOMEBODY}, so no .venv can be made here: make a clone of your own.\n"
    )


def test_where_no_engine_answers_a_container_can_t_be_had(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", "--docker")
    assert done.returncode == 1 and "no container engine answers" in done.stderr


def test_an_engine_that_does_not_answer_may_run_a_container_of_this_folder(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", engine="auto")
    for name, status in (("docker", 1), ("podman", 0)):  # one whose daemon is down, and one that runs nothing
        (tmp_path / name).write_text(f"#!/bin/sh\n[ $1 = info ] && exit {status}\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    clone.environment["PATH"] = f"{tmp_path}:{clone.environment['PATH']}"
    done = clone("stop.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert "docker, which is installed, does not answer" in done.stderr and "podman" not in done.stderr
    clone.environment["ENGINE"] = "podman"
    assert "Nothing was ever started here" in clone("stop.sh").stdout


def test_a_path_that_cd_searches_leads_no_script_astray(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", CDPATH=f".:{tmp_path}")
    for script in ("stop.sh", "build.sh"):
        command = ["bash", f"clone/{script}", "--help"]
        done = subprocess.run(command, cwd=tmp_path, env=clone.environment, capture_output=True, text=True)
        assert "No such file" not in done.stderr, (script, done.stderr)
