"""Hosts that know each other by name alone, each by its own /etc/hosts: callers, a face, a worker, Redis, sentinels."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network, may

from callers import envelope
from fleetlab import REDIS, Machine, RedisServer, end, fleet_environment
from here import ROOT
from lab import Lab, eventually
from sentinels import Sentinels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(REDIS is None or not may(), reason="needs redis-server, and root for network namespaces"),
]
CALL = """
import sys, urllib.request
address, body = sys.argv[1:]
headers = {"Content-Type": "text/xml; charset=utf-8"}
try:
    request = urllib.request.Request(address, body.encode() or None, headers)
    print(urllib.request.urlopen(request, timeout=15).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


class Hosts:
    """The hosts store (Redis), web (a face) and bench (a worker), and what runs on them."""

    def __init__(self, folder: Path, services: Path) -> None:
        self.folder, self.services, self.net = folder, services, Network()
        self.at = {name: self.net.add(name) for name in ("store", "web", "bench")}
        self.toml = folder / "lab.toml"
        self.toml.write_text("[machines.bench]\n")
        self.labs: list[Lab] = []
        self.machine: Machine | None = None
        self.web: subprocess.Popen[bytes] | None = None

    def know(self, host: str, *others: str) -> None:
        """That host knows these by name: store.lab, web.lab, …"""
        self.net.hosts_file(host, **{f"{other}__lab": self.at[other] for other in others})

    def start_worker(self, url: str) -> Machine:
        self.labs.append(Lab(self.folder / "bench" / "jobs", self.services))
        self.machine = Machine(self.labs[-1], "bench", url, self.toml, before=self.net.inside("bench"))
        self.machine.start()
        return self.machine

    def start_web(self, url: str) -> None:
        self.labs.append(Lab(self.folder / "web" / "jobs", self.services))
        environment = self.labs[-1].environment | fleet_environment(url, "web", self.toml) | {"HOST": "web.lab"}
        command = [*self.net.inside("web"), sys.executable, "-m", "labwaiter", "serve", "--port", "8080"]
        with open(self.folder / "web.log", "ab") as log:
            self.web = subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=log, stderr=log, cwd=ROOT)
        eventually(lambda: "definitions" in self.call("Echo?wsdl"), 60, every=0.3)

    def call(self, path: str, body: str = "") -> str:
        """The answer to a caller on the host bench, who knows the web side by its name."""
        address = f"http://web.lab:8080/sintef/docker_services/{path}"
        done = subprocess.run(
            [*self.net.inside("bench"), sys.executable, "-c", CALL, address, body], capture_output=True, text=True
        )
        return done.stdout

    def completed(self, service_id: str) -> bool:
        body = envelope("getServiceStatus", serviceID=service_id, sessionToken="t")
        return "COMPLETED</" in self.call("Echo", body)

    def start(self, service_id: str) -> bool:
        body = envelope("startEcho", serviceID=service_id, sessionToken="t", text="x")
        said = self.call("Echo", body)
        return "startEchoResponse" in said

    def close(self) -> None:
        if self.machine is not None:
            self.machine.stop()
        if self.web is not None:
            end(self.web)
        for lab in self.labs:
            lab.close()
        self.net.close()


@pytest.fixture
def hosts(tmp_path: Path, services: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path, services)
    yield made
    made.close()


def test_a_face_and_a_worker_find_the_master_by_the_sentinels_names(hosts: Hosts, tmp_path: Path) -> None:
    for host in hosts.at:
        hosts.know(host, "store", "web")
    inside = hosts.net.inside("store")
    sentinels = Sentinels(tmp_path / "redis", (hosts.at["store"],) * 3, "store.lab", (inside,) * 3)
    try:
        assert "store.lab:" in sentinels.url and hosts.at["store"] not in sentinels.url
        hosts.start_worker(sentinels.url)
        hosts.start_web(sentinels.url)
        wsdl = hosts.call("Echo?wsdl")
        assert re.search(r'location="([^"]*)"', wsdl)[1].startswith("http://web.lab:8080/")  # type: ignore[index]
        assert hosts.start("one")
        eventually(lambda: hosts.completed("one"), 60, every=0.3)
        put_back = sentinels.fail_over("killed")
        eventually(lambda: hosts.start("two"), 60, every=0.5)
        eventually(lambda: hosts.completed("two"), 60, every=0.3)
        put_back()
        assert hosts.completed("one")
    finally:
        sentinels.close()


def test_a_name_that_a_host_does_not_know_is_told_and_found_once_it_is_written_down(
    hosts: Hosts, tmp_path: Path
) -> None:
    hosts.know("store")
    hosts.know("web", "store", "web")
    hosts.know("bench", "web")  # its Redis' name is missing
    redis = RedisServer(tmp_path / "redis", host=hosts.at["store"], before=hosts.net.inside("store"))
    url = redis.url.replace(hosts.at["store"], "store.lab")
    try:
        machine = hosts.start_worker(url)
        eventually(lambda: "has no address here: look at its spelling and at /etc/hosts" in machine.log.read_text())
        hosts.start_web(url)
        assert hosts.start("one")  # it waits for its machine
        assert not hosts.completed("one")
        hosts.know("bench", "web", "store")
        eventually(lambda: hosts.completed("one"), 60, every=0.3)
    finally:
        redis.close()
