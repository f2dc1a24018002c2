"""The scripts as a new user types them where a container engine answers: the tutorial's story in containers."""

from __future__ import annotations

import os
import socket
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
    wsdl = f"http://127.0.0.1:{clone.port}/sintef/docker_services/waiter/Waiter?wsdl"
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


def test_all_speak_of_the_published_port_and_a_second_start_stays_there(clone: Clone) -> None:
    at = f"http://127.0.0.1:{clone.port}/sintef/docker_services"
    for words in ("services", "health"):
        assert at in docker("exec", NAME, "labwaiter", words).stdout
    assert f"wsdl URL is {at}/waiter/Waiter?wsdl" in clone("run.sh", "start", "secondsToWait=0").stdout
    done = clone("rebuildandrun.sh", "--force")
    assert done.returncode == 0, done.stderr
    assert f"at {at}/\n" in done.stdout
    assert docker("port", NAME, "80").stdout.strip() == f"127.0.0.1:{clone.port}"


def test_a_mistake_in_env_or_a_port_that_is_taken_leaves_the_old_container_there(clone: Clone) -> None:
    before = docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", NAME).stdout
    env = clone.folder / "env"
    text = env.read_text()
    env.write_text(text + 'PORT = "8080"\n')
    for script in (("rebuildandrun.sh", "--force"), ("rebuildandrun.sh", clone.port, "--force")):
        done = clone(*script)
        number = len(text.splitlines()) + 1
        assert done.returncode == 2 and done.stderr.endswith(
            f"env, line {number}: write PORT=…, without blanks around the =.\n"
        )
    assert docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", NAME).stdout == before
    env.write_text(text)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = clone("rebuildandrun.sh", str(other.getsockname()[1]), "--force")
    assert done.returncode == 1 and f"The container {NAME} can't be started: " in done.stderr
    assert done.stderr.endswith("What ran before runs again.\n")
    assert before.split()[0] in docker("inspect", "-f", "{{.Id}}", NAME).stdout
    assert docker("port", NAME, "80").stdout.strip() == f"127.0.0.1:{clone.port}"


def test_a_container_that_ends_at_once_is_told_at_once_and_the_old_one_is_back(clone: Clone) -> None:
    before = docker("inspect", "-f", "{{.Id}}", NAME).stdout
    main = clone.folder / "app" / "labwaiter" / "cli" / "up.py"
    text = main.read_text()
    main.write_text(
        text.replace(
            "    settings = chosen(terminal.of_lab(settings_module.load()), host=host, port=port)\n",
            "    from labwaiter.errors import Misconfigured\n\n    raise Misconfigured('Not today.')\n",
        )
    )
    done = clone("rebuildandrun.sh", "--force")
    main.write_text(text)
    assert done.returncode == 1 and "Error: Not today.\n" in done.stderr
    assert "ended as soon as it had begun" in done.stderr  # it isn't waited for
    assert docker("inspect", "-f", "{{.Id}}", NAME).stdout == before
    assert clone("rebuildandrun.sh", "--force").returncode == 0


def test_what_is_set_in_env_or_the_environment_holds_for_service_and_client(clone: Clone) -> None:
    clone.environment["CONTEXT_ROOT"] = "/elsewhere"
    done = clone("rebuildandrun.sh", "--force")
    del clone.environment["CONTEXT_ROOT"]
    assert f"http://127.0.0.1:{clone.port}/elsewhere/waiter/Waiter?wsdl" in done.stdout, done.stderr
    assert (
        f"http://127.0.0.1:{clone.port}/elsewhere/waiter/Waiter?wsdl"
        in clone("run.sh", "start", "secondsToWait=0").stdout
    )
    assert clone("rebuildandrun.sh", "--force").returncode == 0


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
