"""The scripts as a new user types them where a container engine answers: the tutorial's story in containers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from clone import Clone
from engine import docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NAME = f"lwtest-scripts-{os.getpid()}"


@pytest.fixture(scope="module")
def clone(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    one = Clone(tmp_path_factory.mktemp("clone"), engine="docker", NAME=NAME)
    yield one
    docker("rm", "-f", NAME, check=False)
    docker("volume", "rm", "-f", f"{NAME}_logs", f"{NAME}_files", check=False)


def job(service_id: str) -> str:
    return docker("exec", NAME, "labwaiter", "jobs", "show", service_id, check=False).stdout


def test_rebuildandrun_builds_runs_and_tries_it_without_a_venv(clone: Clone) -> None:
    done = clone("rebuildandrun.sh", clone.port)
    assert done.returncode == 0, done.stdout + done.stderr
    wsdl = f"http://localhost:{clone.port}/sintef/docker_services/waiter/Waiter?wsdl"
    for words in (f"in the container {NAME}", wsdl, f"volume {NAME}_logs", "Every sessionToken is accepted"):
        assert words in done.stdout
    assert not (clone.folder / ".venv").exists()
    assert docker("port", NAME, "80").stdout.strip() == f"127.0.0.1:{clone.port}"  # HOST, as without containers


def test_the_tutorial_s_words_go_through_the_client_s_container(clone: Clone) -> None:
    assert "UNSET" in clone("run.sh", clone.port, "start").stdout
    assert "status_base64" in clone("run.sh", clone.port, "status").stdout
    assert clone("run.sh", clone.port, "notify", "ABORT").returncode == 0
    watched = clone("run.sh", clone.port, "watch", "--every", "0.5", "--page", "/tmp/page.html")
    assert watched.returncode == 0 and "result = ABORTED" in watched.stdout
    assert clone("run.sh", clone.port, "status", "--id", "nobody's").returncode == 1


def test_a_container_with_running_jobs_is_only_replaced_by_force_and_keeps_their_records(clone: Clone) -> None:
    assert clone("run.sh", clone.port, "start", "--id", "long", "secondsToWait=600").returncode == 0
    refused = clone("rebuildandrun.sh", clone.port)
    assert refused.returncode == 1 and "has 1 running or waiting jobs" in refused.stderr and "--force" in refused.stderr
    assert "running" in job("long") or "queued" in job("long")
    done = clone("rebuildandrun.sh", clone.port, "--force")
    assert done.returncode == 0, done.stderr
    assert "aborted" in job("long")


def test_a_container_that_is_not_this_folder_s_is_left_alone(
    clone: Clone, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Clone(tmp_path_factory.mktemp("other"), engine="docker", NAME=NAME)
    done = other("rebuildandrun.sh", other.port)
    assert done.returncode == 1 and "wasn't started from this folder" in done.stderr
    assert "Nothing was ever started here" in other("stop.sh").stdout
    assert docker("inspect", "-f", "{{.State.Running}}", NAME).stdout.strip() == "true"


def test_stop_settles_the_jobs_and_the_container_is_there_to_look_at(clone: Clone) -> None:
    done = clone("stop.sh")
    assert done.returncode == 0 and "every job is settled" in done.stdout
    assert docker("inspect", "-f", "{{.State.ExitCode}}", NAME).stdout.strip() == "0"
