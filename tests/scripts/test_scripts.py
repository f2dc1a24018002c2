"""The scripts as a new user types them, in a folder that nobody has used before."""

from collections.abc import Iterator

import pytest

from clone import Clone
from labwaiter import __version__
from labwaiter.jobs import Jobs, link
from labwaiter.record import State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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
    for words in (
        wsdl,
        f"labwaiter {__version__}",
        str(clone.folder / "waiter_logs"),
        "Every sessionToken is accepted",
    ):
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


def test_where_no_engine_answers_a_container_can_t_be_had(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", "--docker")
    assert done.returncode == 1 and "no container engine answers" in done.stderr
