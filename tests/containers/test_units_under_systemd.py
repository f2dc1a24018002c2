"""The units of `labwaiter export systemd` under a real systemd, in a container whose PID 1 it is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from clone import Clone
from engine import docker
from lab import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
IMAGE = """
FROM labwaiter
USER root
RUN apt-get update && apt-get install -y --no-install-recommends systemd redis-server && rm -rf /var/lib/apt/lists/*
ENV LABWAITER_DEPLOYMENT=/opt/labwaiter
ENTRYPOINT []
CMD ["/lib/systemd/systemd"]
"""
SET_UP = """
set -e
chmod 755 /opt/labwaiter
cd /opt/labwaiter
rm -rf /app && ln -s /opt/labwaiter/app /app && ln -s /venv .venv
printf '%s\\n' REDIS_URL=redis://127.0.0.1/0 'REDIS_SECRET=sixteen letters and more' MACHINE=bench >> env
cp app/labwaiter/shipped/machines/lab.toml lab.toml
printf '[schedules.w]\\nservice = "Waiter"\\nevery = "1 d"\\n' > schedule.toml
install -d -o labwaiter waiter_logs waiter_files
redis-server --daemonize yes --save '' >/dev/null
.venv/bin/labwaiter export systemd --unit supervisor --unit web --unit worker --unit scheduler
sed -i s/^TimeoutStopSec=60/TimeoutStopSec=3/ systemd/labwaiter-worker.service
cp systemd/* /etc/systemd/system/
systemctl daemon-reload
systemctl enable labwaiter.target
.venv/bin/labwaiter start --systemd
"""


class Booted:
    """A machine with systemd, and a clone in /opt/labwaiter."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *words: str, check: bool = True) -> str:
        done = docker("exec", "-w", "/opt/labwaiter", self.name, *words, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def labwaiter(self, *words: str, check: bool = True) -> str:
        return self(".venv/bin/labwaiter", *words, check=check)

    def job(self, service_id: str) -> Any:
        return json.loads(self.labwaiter("jobs", "show", service_id, "--json"))

    def start_long(self, service_id: str) -> None:
        start = f"from labwaiter import Client; Client().start('Waiter', {service_id!r}, secondsToWait=600)"
        self(".venv/bin/python", "-c", start)
        eventually(lambda: self.job(service_id)["state"] == "running", 60)

    def lives(self, job: str) -> bool:
        """Whether its runner is there, as the machine's own processes say."""
        runner = json.loads(self("cat", f"waiter_logs/{job}/state.json"))["runner"]["pid"]
        return docker("exec", self.name, "kill", "-0", str(runner), check=False).returncode == 0

    def units(self) -> dict[str, str]:
        parts = ("supervisor", "web", "worker", "scheduler")
        return {part: self("systemctl", "is-active", f"labwaiter-{part}", check=False) for part in parts}


@pytest.fixture(scope="module")
def booted(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    command = ["docker", "build", "-q", "-t", "labwaiter-test-systemd", "-"]
    subprocess.run(command, input=IMAGE, text=True, check=True, capture_output=True)
    one = Booted(f"lwtest-systemd-{os.getpid()}")
    rooms = [word for path in ("/run", "/run/lock", "/sys/fs/cgroup") for word in ("--tmpfs", path)]
    try:
        docker("run", "-d", "--name", one.name, "--cap-add", "SYS_ADMIN", "--cgroupns=private", *rooms, command[4])

        def is_up() -> str:
            # it waits until systemd has come up; where it can't, there is nobody to ask
            return docker("exec", one.name, "systemctl", "is-system-running", "--wait", check=False).stdout.strip()

        lives = docker("inspect", "-f", "{{.State.Running}}", one.name).stdout.strip() == "true"
        if not lives or eventually(is_up, 60) not in ("running", "degraded"):
            pytest.skip("systemd does not come up in a container of this engine")
        folder = tmp_path_factory.mktemp("clone")
        Clone(folder)
        docker("cp", f"{folder}/.", f"{one.name}:/opt/labwaiter")
        one("bash", "-c", SET_UP)
        eventually(lambda: "takes orders" in one.labwaiter("workers", check=False), 60)
        yield one
    finally:
        docker("rm", "-f", "-v", one.name, check=False)


def test_start_has_started_everything(booted: Booted) -> None:
    assert set(booted.units().values()) == {"active"}
    booted.labwaiter("run", "Sweep", "points=2", "--id", "swept")
    assert booted.job("swept")["state"] == "completed"


def test_each_job_has_a_control_group_that_outlives_a_killed_supervisor(booted: Booted) -> None:
    if "cgroup.kill" not in booted("ls", "/sys/fs/cgroup/system.slice", check=False):
        pytest.skip("this systemd has no control groups of version 2")
    booted.start_long("grouped")
    runner = json.loads(booted("cat", "waiter_logs/grouped/state.json"))["runner"]["pid"]
    assert "/labwaiter-supervisor.service/job-" in booted("cat", f"/proc/{runner}/cgroup")
    assert booted.job("grouped")["confined"]["cgroup"] is True
    before = booted("systemctl", "show", "-p", "MainPID", "--value", "labwaiter-supervisor")
    booted("kill", "-9", before)

    def has_another() -> bool:
        now = booted("systemctl", "show", "-p", "MainPID", "--value", "labwaiter-supervisor")
        return now not in (before, "0") and booted.units()["supervisor"] == "active"

    eventually(has_another, 60)
    assert booted.lives("grouped") and booted.job("grouped")["state"] == "running"
    booted.labwaiter("jobs", "abort", "grouped")
    assert booted.job("grouped")["state"] == "aborted"
    assert "job-" not in booted("ls", "/sys/fs/cgroup/system.slice/labwaiter-supervisor.service")


def test_restarting_the_web_side_the_schedule_or_the_worker_kills_no_job(booted: Booted) -> None:
    booted.start_long("long")
    booted("systemctl", "restart", "labwaiter-web", "labwaiter-scheduler")
    assert booted.job("long")["state"] == "running"
    booted("systemctl", "stop", "labwaiter-worker")  # it drains, and is killed when that takes too long
    assert booted("systemctl", "show", "-p", "Result", "--value", "labwaiter-worker") == "timeout"
    assert booted.lives("long")
    booted("systemctl", "start", "labwaiter-worker")
    eventually(lambda: "takes orders" in booted.labwaiter("workers", check=False), 60)
    booted("systemctl", "reload", "labwaiter-supervisor")
    assert booted.job("long")["state"] == "running"
    booted.labwaiter("jobs", "abort", "long")


def test_stop_settles_the_jobs_and_tells_their_ends_before_it_returns(booted: Booted) -> None:
    booted.start_long("last")
    assert booted.labwaiter("stop", "--systemd") == "systemd has stopped labwaiter.target."
    assert set(booted.units().values()) <= {"inactive", "failed"}  # failed: a worker that was killed by its time-out
    assert not booted.lives("last")
    ended = booted.job("last")  # as Redis has it
    assert ended["state"] == "aborted" and "this deployment was stopped" in ended["why"]
    assert "left" in booted.labwaiter("workers", check=False)
    booted.labwaiter("start", "--systemd")
    assert set(booted.units().values()) == {"active"}
