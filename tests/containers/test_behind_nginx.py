"""What `labwaiter export compose` writes, as it is: two deployments behind one nginx, http and https."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import zeep

from engine import CONTEXT, call_client, docker
from here import ROOT
from lab import eventually
from labwaiter.testing.ports import free_port
from operators import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# stands in where nginx's own image can't be pulled: Debian's nginx
NGINX = """FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
CMD ["nginx", "-g", "daemon off;"]
"""


class Composed:
    """What compose.yaml starts."""

    def __init__(self, folder: Path) -> None:
        self.project = f"lwtest{os.getpid()}"
        self.http, self.https = free_port(), free_port()
        exported = Operator({**os.environ, "LABWAITER_DEPLOYMENT": str(ROOT)})(
            "export", "compose", str(folder / "deploy")
        )
        assert exported.returncode == 0, exported.stderr
        self.file = folder / "deploy" / "compose.yaml"
        conf = folder / "deploy" / "nginx.conf"
        conf.write_text(conf.read_text().replace("#tls ", ""))
        self.certificate = folder / "deploy" / "tls" / "lab.crt"
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        key = ["-keyout", str(self.certificate.with_suffix(".key")), "-out", str(self.certificate)]
        subprocess.run(["openssl", *words.split(), *key], check=True, capture_output=True)
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        self.command = ["docker", "compose"] if plugin else ["docker-compose"]

    def __call__(self, *words: str) -> str:
        environment = {**os.environ, "PORT": str(self.http), "TLS_PORT": str(self.https)}
        command = [*self.command, "-f", str(self.file), "-p", self.project, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str, secure: bool = False) -> str:
        trust = ssl.create_default_context(cafile=str(self.certificate))
        at = f"https://localhost:{self.https}{path}" if secure else f"http://localhost:{self.http}{path}"
        with urllib.request.urlopen(at, timeout=10, context=trust if secure else None) as answer:
            return str(answer.read().decode())

    def works(self) -> bool:
        try:
            return '"ok"' in self.get(f"{CONTEXT}/health") and '"ok"' in self.get("/lab2/health")
        except OSError:
            return False


@pytest.fixture(scope="module")
def composed(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if shutil.which("docker-compose") is None and docker("compose", "version", check=False).returncode:
        pytest.skip("no docker compose: apt-get install docker-compose")
    if docker("image", "inspect", "nginx:stable", check=False).returncode:
        subprocess.run(["docker", "build", "-q", "-t", "nginx:stable", "-"], input=NGINX, text=True, check=True)
    one = Composed(tmp_path_factory.mktemp("compose"))
    try:
        one("up", "-d", "--no-build")
        eventually(one.works, 90)
        yield one
    finally:
        one("down", "-v", "-t", "5")


@pytest.mark.parametrize("prefix", [CONTEXT, "/lab2"], ids=["prefix kept", "prefix stripped"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https at the proxy"])
def test_the_address_in_the_wsdl_is_the_one_that_callers_reach(composed: Composed, prefix: str, secure: bool) -> None:
    at = f"https://localhost:{composed.https}" if secure else f"http://localhost:{composed.http}"
    for path in ("/waiter/Waiter", "/Waiter"):
        assert f'location="{at}{prefix}{path}"' in composed.get(f"{prefix}{path}?wsdl", secure)


@pytest.mark.parametrize("prefix", [CONTEXT, "/lab2"])
def test_zeep_and_the_test_client_run_a_waiter_through_nginx(composed: Composed, prefix: str, tmp_path: Path) -> None:
    wsdl = f"http://localhost:{composed.http}{prefix}/waiter/Waiter?wsdl"
    service = zeep.Client(wsdl).service
    who = {"serviceID": "through nginx", "sessionToken": "t"}
    service.startWaiter(**who, secondsToWait=1)
    assert (
        eventually(lambda: (r := service.getServiceStatus(**who)).status_base64 == "COMPLETED" and r).result
        == "FINISHED"
    )
    said = call_client(tmp_path, "--url", wsdl, "watch", "--every", "0.5", "secondsToWait=1")
    assert "result = FINISHED" in said


def test_a_call_that_is_too_large_gets_soap_and_not_the_proxy_s_page(composed: Composed) -> None:
    request = urllib.request.Request(
        f"http://localhost:{composed.http}{CONTEXT}/waiter/Waiter",
        data=b"<" + b"x" * 10_600_000,
        headers={"Content-Type": "text/xml"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert b"ServiceFault" in caught.value.read()


def test_a_web_container_that_is_replaced_kills_no_job(composed: Composed) -> None:
    service = zeep.Client(f"http://localhost:{composed.http}{CONTEXT}/waiter/Waiter?wsdl").service
    who = {"serviceID": "long", "sessionToken": "t"}
    service.startWaiter(**who, secondsToWait=600)
    supervisor = composed("ps", "-q", "waiter-supervisor").strip()
    show = ["exec", supervisor, "labwaiter", "jobs", "show", "long", "--json"]
    eventually(lambda: '"state": "running"' in docker(*show, check=False).stdout)
    before = composed("ps", "-q", "waiter-web").strip()
    composed("up", "-d", "--no-build", "--no-deps", "--force-recreate", "waiter-web")
    assert composed("ps", "-q", "waiter-web").strip() != before
    eventually(composed.works, 60)
    assert '"state": "running"' in docker(*show).stdout
    assert "<html" in composed.get(f"{CONTEXT}/") and len(service.getServiceStatus(**who).status_base64) > 100
    assert service.abortService(**who) is True
    assert '"state": "aborted"' in docker(*show).stdout


def test_stopping_it_all_settles_the_jobs_of_both(composed: Composed) -> None:
    for prefix in (CONTEXT, "/lab2"):
        service = zeep.Client(f"http://localhost:{composed.http}{prefix}/waiter/Waiter?wsdl").service
        service.startWaiter(serviceID="last", sessionToken="t", secondsToWait=600)
    composed("stop")
    for name in ("waiter-supervisor", "waiter-web", "lab2"):
        assert docker("inspect", "-f", "{{.State.ExitCode}}", composed("ps", "-q", name).strip()).stdout == "0\n", name
    composed("start")
    eventually(composed.works, 90)
    for name in ("waiter-supervisor", "lab2"):
        show = docker("exec", composed("ps", "-q", name).strip(), "labwaiter", "jobs", "show", "last", "--json").stdout
        assert '"state": "aborted"' in show and "this deployment was stopped" in show
