"""What `labwaiter export machines` writes, on a real engine: a web machine, a Redis with a password, and a worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import CONTEXT, call_client, docker
from here import ROOT
from lab import eventually
from labwaiter.testing.ports import free_port
from operators import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REDIS_IMAGE = """
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
RUN install -d -o redis -g redis /data
USER redis
"""


class Machines:
    """What the compose file starts."""

    def __init__(self, folder: Path) -> None:
        self.project, self.port = f"lwfleet{os.getpid()}", free_port()
        exported = Operator({**os.environ, "LABWAITER_DEPLOYMENT": str(ROOT)})(
            "export", "machines", str(folder / "machines")
        )
        assert exported.returncode == 0, exported.stderr
        self.file = folder / "machines" / "compose.yaml"
        self.environment = {
            **os.environ,
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "REDIS_IMAGE": "labwaiter-test-redis",
            "REDIS_PUBLISHED": str(free_port()),
            "REDIS_PASSWORD": "sesame",
            "REDIS_SECRET": "sixteen letters and more",
        }
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        self.command = ["docker", "compose"] if plugin else ["docker-compose"]
        self.wsdl = f"http://localhost:{self.port}{CONTEXT}/waiter/Waiter?wsdl"

    def __call__(self, *words: str, check: bool = True, **more: str) -> str:
        command = [*self.command, "-f", str(self.file), "-p", self.project, *words]
        environment = self.environment | more
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def labwaiter(self, service: str, *words: str) -> str:
        return docker("exec", self("ps", "-q", service).strip(), "labwaiter", *words, check=False).stdout

    def works(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{self.port}{CONTEXT}/health", timeout=5) as answer:
                return answer.status == 200 and "takes orders" in self.labwaiter("web", "workers")
        except OSError:
            return False


@pytest.fixture(scope="module")
def machines(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    if shutil.which("docker-compose") is None and docker("compose", "version", check=False).returncode:
        pytest.skip("no docker compose: apt-get install docker-compose")
    command = ["docker", "build", "-q", "-t", "labwaiter-test-redis", "-"]
    subprocess.run(command, input=REDIS_IMAGE, text=True, check=True, capture_output=True)
    one = Machines(tmp_path_factory.mktemp("compose"))
    try:
        one("up", "-d", "--no-build")
        eventually(one.works, 90)
        yield one
    finally:
        one("down", "-v", "-t", "5", check=False)


def test_the_test_client_runs_a_waiter_on_another_machine(machines: Machines, tmp_path: Path) -> None:
    said = call_client(tmp_path, "--url", machines.wsdl, "watch", "--every", "0.5", "--id", "far", "secondsToWait=2")
    assert "result = FINISHED" in said
    lines = [line.split() for line in machines.labwaiter("web", "jobs", "show", "far").splitlines()]
    assert ["machine", "bench"] in lines
    assert json.loads(machines.labwaiter("worker", "jobs", "show", "far", "--json"))["state"] == "completed"


def test_its_redis_is_as_a_lab_needs_it(machines: Machines) -> None:
    said = json.loads(machines.labwaiter("web", "init-db", "--json"))
    assert {one["what"] for one in said if one["grade"] != "ok"} == {"other keys"}, said
    assert "NOAUTH" in docker("exec", machines("ps", "-q", "redis").strip(), "redis-cli", "keys", "*").stdout


def test_an_instrument_s_service_runs_where_the_instrument_is(machines: Machines) -> None:
    done = machines.labwaiter("web", "run", "Sweep", "points=3", "--id", "swept", "--json")
    assert json.loads(done)["state"] == "completed", done


def test_replacing_the_web_side_and_the_redis_touches_no_job(machines: Machines) -> None:
    start = "from labwaiter import Client; Client().start('Waiter', 'long', secondsToWait=600)"
    docker("exec", machines("ps", "-q", "web").strip(), "python", "-c", start)
    eventually(lambda: '"running"' in machines.labwaiter("web", "jobs", "show", "long", "--json"), 60)
    machines("up", "-d", "--no-build", "--no-deps", "--force-recreate", "web", "redis")
    eventually(machines.works, 90)
    eventually(lambda: '"running"' in machines.labwaiter("web", "jobs", "show", "long", "--json"), 60)
    assert docker("exec", machines("ps", "-q", "web").strip(), "labwaiter", "jobs", "abort", "long").returncode == 0


def test_a_worker_that_is_stopped_drains_and_leaves_in_good_order(machines: Machines) -> None:
    # it runs on for longer than looks take
    start = "from labwaiter import Client; Client().start('Waiter', 'short', secondsToWait=40)"
    docker("exec", machines("ps", "-q", "web").strip(), "python", "-c", start)
    eventually(lambda: '"running"' in machines.labwaiter("web", "jobs", "show", "short", "--json"), 60)
    machines("stop", "worker")
    assert docker("inspect", "-f", "{{.State.ExitCode}}", machines("ps", "-aq", "worker").strip()).stdout == "0\n"
    assert '"completed"' in machines.labwaiter("web", "jobs", "show", "short", "--json")
    assert "left" in machines.labwaiter("web", "workers")
