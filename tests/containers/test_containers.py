"""The image on a real engine: what an administrator sees of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import CONTEXT, Container, call_client, docker
from lab import eventually
from labwaiter import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Run = Callable[..., Container]


def test_the_test_client_and_zeep_tell_the_tutorial_s_story_to_the_container(run: Run, here: Path) -> None:
    import zeep

    one = run()
    said = call_client(here, "--url", one.wsdl, "watch", "--every", "0.5", "secondsToWait=1")
    assert "result = FINISHED" in said
    assert "<html" in (here / "status.html").read_text()
    assert f"http://127.0.0.1:{one.port}{CONTEXT}/waiter/Waiter" in one.ask("/waiter/Waiter?wsdl").read().decode()
    service = zeep.Client(one.wsdl, settings=zeep.Settings(strict=True)).service
    who = {"serviceID": "z", "sessionToken": "t"}
    assert service.startWaiter(**who, secondsToWait=600).result == "UNSET"
    assert service.abortService(**who) is True


def test_nobody_in_it_is_root_and_pid_1_is_an_init(run: Run) -> None:
    one = run()
    one.start("a job")
    lines = docker("exec", one.name, "ps", "-eo", "pid,uid,comm", "--no-headers").stdout.splitlines()
    assert len(lines) > 6 and {line.split()[1] for line in lines} == {"10001"}
    assert "tini" in next(line for line in lines if line.split()[0] == "1")


def test_the_image_says_what_it_is_and_how_it_is(run: Run) -> None:
    one = run("--health-interval=1s")
    assert one.state('index .Config.Labels "org.opencontainers.image.version"') == __version__
    eventually(lambda: one.state(".State.Health.Status") == "healthy", 60)
    docker("exec", one.name, "pkill", "-STOP", "-f", "granian_server")
    eventually(lambda: one.state(".State.Health.Status") == "unhealthy", 60)


def test_a_stop_settles_the_job_in_time_and_the_volume_keeps_it(run: Run) -> None:
    one = run()
    one.start("long")
    began = time.monotonic()
    docker("stop", "-t", "10", one.name)
    assert one.state(".State.ExitCode") == "0", docker("logs", one.name).stdout  # it wasn't killed
    assert time.monotonic() - began < 12
    after = run()
    found = after.job("long")
    assert found["state"] == "aborted" and "this deployment was stopped" in found["why"]


def test_a_job_that_does_not_listen_is_ended_within_the_stop_time_out(run: Run, tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.mkdir()
    (services / "deaf.py").write_text(
        "from labwaiter import Command, Job, service\n"
        "@service('Waiter', namespace='http://x.example/', grace=60)\n"
        "def startWaiter(job: Job, secondsToWait: int = 1) -> None:\n"
        "    return Command('sh', '-c', 'trap : TERM; while :; do sleep 0.2; done')\n"
    )
    one = run("-v", f"{services}:/services:ro", "-e", "SERVICES=/services", "-e", "STOP_SECONDS=6")
    one.start("deaf")
    docker("stop", "-t", "6", one.name)
    assert one.state(".State.ExitCode") == "0", docker("logs", one.name).stdout
    after = run()
    assert after.job("deaf")["state"] == "aborted"


def test_a_container_that_was_killed_leaves_no_job_running(run: Run) -> None:
    one = run()
    one.start("long")
    docker("kill", "-s", "KILL", one.name)
    docker("start", one.name)
    eventually(one.works, 60)
    found = eventually(lambda: (job := one.job("long"))["state"] != "running" and job)
    assert found["state"] == "failed" and "interrupted" in found["why"]


def test_a_read_only_root_is_enough_room(run: Run) -> None:
    one = run("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    one.start("short", 1)
    eventually(lambda: one.job("short")["state"] == "completed")
    assert docker("exec", one.name, "touch", "/app/x", check=False).returncode != 0


def test_nothing_of_it_can_be_written_but_its_volumes(run: Run) -> None:
    one = run("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # and no /tmp either
    one.start("short", 1)
    eventually(lambda: one.job("short")["state"] == "completed")
    found = "find / -xdev -writable -not -type l 2>/dev/null; find /app /venv /lab.toml /env -not -user root"
    written = docker("exec", one.name, "sh", "-c", found, check=False).stdout.split()
    assert sorted(written) == ["/waiter_files", "/waiter_logs"]


def test_no_secret_is_in_the_image(run: Run) -> None:
    one = run()
    words = ("SECRET", "TOKEN", "PASSW", "KEY", "CREDENTIAL")
    variables = dict(entry.split("=", 1) for entry in json.loads(one.state("json .Config.Env")))
    variables.pop("GPG_KEY", None)  # Python's, by which its release was verified
    assert {name: value for name, value in variables.items() if any(word in name.upper() for word in words)} == {
        "TOKENS": "none",  # whose tokens are good
        "TOKENS_FILE": "/waiter_logs/.tokens.json",
    }
    files = r"tokens.json|links.key|env|\.env|\.netrc|\.pypirc|pip.conf|\.git|id_[a-z0-9]*|.*\.(key|pfx|p12|jks)"
    found = f"find / -xdev -regextype posix-extended -regex '.*/({files})' -not -path '/proc/*' 2>/dev/null"
    assert set(docker("exec", one.name, "sh", "-c", found, check=False).stdout.split()) <= {
        "/usr/bin/env",
        "/env",
        "/app/labwaiter/shipped/lab/env",  # a template
    }
    assert docker("exec", one.name, "cat", "/env").stdout == ""
    keys = "grep -rIlE '^-----BEGIN .*PRIVATE KEY' /app /venv /etc /usr/local /lab.toml 2>/dev/null"
    assert docker("exec", one.name, "sh", "-c", keys, check=False).stdout == ""
    steps = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", "labwaiter").stdout
    assert "://" not in steps.replace("https://www.python.org", "") or "@" not in steps


def test_a_stop_during_a_print_on_a_read_only_root_leaves_the_printer_safe(run: Run) -> None:
    read_only = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
    one = run(*read_only)
    lines = "\n".join(["G28", "M104 S200", "G1 F600", *(f"G1 X{10 + 100 * (n % 2)}" for n in range(1000))])
    docker("exec", one.name, "sh", "-c", f"printf '%s\n' '{lines}' > /waiter_files/part.gcode")
    docker("exec", "-d", one.name, "labwaiter", "run", "Printer", "gcode=part.gcode", "--id", "print")
    record = "/waiter_logs/.labwaiter/sim/marlin.record"  # the simulator's own
    eventually(lambda: "hotend to 200" in docker("exec", one.name, "cat", record, check=False).stdout, 60)
    docker("stop", "-t", "10", one.name)
    assert one.state(".State.ExitCode") == "0", docker("logs", one.name).stdout  # it wasn't killed
    after = run(*read_only)
    happened = docker("exec", after.name, "cat", record).stdout.partition("hotend to 200")[2]
    assert "hotend to 0" in happened and "motors off" in happened.partition("switched on")[0]
    assert after.job("print")["state"] == "aborted"
    assert '"free"' in after.labwaiter("instruments", "list", "--json").stdout
    assert "unsafe" not in after.labwaiter("instruments", "list", "--json").stdout.replace('"why"', "")


def test_a_folder_of_the_host_that_it_can_t_write_is_named_with_its_cure(run: Run, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir(mode=0o755)
    one = run("-v", f"{jobs}:/waiter_logs", works=False, volumes=False)
    eventually(lambda: one.state(".State.Running") == "false", 30)
    assert one.state(".State.ExitCode") == "2"
    assert "chown 10001" in docker("logs", one.name).stderr
    os.chown(jobs, 10001, 10001)
    docker("start", one.name)
    eventually(one.works, 60)


@pytest.mark.parametrize("who", ["labwaiter.supervisor", "granian_server"])
def test_what_dies_in_it_is_started_again_and_the_job_goes_on(run: Run, who: str) -> None:
    one = run()
    one.start("long")
    docker("exec", one.name, "pkill", "-KILL", "-o", "-f", f"python .*{who}")
    eventually(lambda: "is started again" in docker("logs", one.name).stdout + docker("logs", one.name).stderr)
    eventually(one.works, 60)
    assert one.job("long")["state"] == "running"
    assert one.labwaiter("jobs", "abort", "long").returncode == 0
    assert one.job("long")["state"] == "aborted"
