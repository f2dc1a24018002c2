"""Drills: a lab on four hosts with cables between them, something breaks in the middle of the work, and is mended.

After each: every execution has completed, none was run twice, every instrument is safe and free.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from network import Network, may

from callers import envelope
from fleetlab import REDIS, Machine, RedisServer, end, fleet_environment
from lab import SAMPLES, Lab, eventually
from labwaiter.instruments.simulators import Smu
from labwaiter.instruments.simulators.host import Host
from labwaiter.store.leases import Leases

SKEW = Path(__file__).with_name("skew.c")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(REDIS is None or not may(), reason="needs redis-server, and root for network namespaces"),
]


class Drill:
    """Web, two machines with an instrument each, and Redis; each on a host of its own."""

    def __init__(self, folder: Path, skew: dict[str, str]) -> None:
        self.folder, self.register = folder, folder / "register"
        self.log: list[tuple[float, str]] = []
        self.net = Network()
        self.redis = RedisServer(folder / "redis", host=self.net.local)
        services = folder / "services"
        services.mkdir()
        shutil.copy(SAMPLES / "drills.py", services)
        self.host = Host()
        self.meters = {name: Smu(seed=1) for name in ("north", "south")}
        toml = folder / "lab.toml"
        tables = []
        for name, meter in self.meters.items():
            self.host.plug(folder / f"port_{name}", meter)
            tables.append(
                f'[machines.{name}]\n[instruments.smu_{name}]\nmachine = "{name}"\nport = "{folder / f"port_{name}"}"\n'
                'driver = "labwaiter.instruments.drivers:SourceMeter"\n'
            )
        toml.write_text("\n".join(tables))
        self.labs = {name: Lab(folder / name / "jobs", services) for name in self.meters}
        self.machines: dict[str, Machine] = {}
        for name, lab in self.labs.items():
            self.net.add(name)
            lab.environment |= skew
            self.machines[name] = Machine(lab, name, self.redis.url, toml, before=self.net.inside(name))
            self.machines[name].start()
        self.web_at = self.net.add("web")
        face = Lab(folder / "web" / "jobs", services)
        self.face = face.environment | fleet_environment(self.redis.url, "web", toml) | {"HOST": self.web_at}
        self.web: subprocess.Popen[bytes]
        self.start_web()
        for name in self.machines:
            eventually(lambda name=name: self.redis.client.hget(f"lab:machine:{name}", "seen"))

    def note(self, what: str) -> None:
        """Into the drill's record."""
        self.log.append((round(time.time(), 2), what))

    def start_web(self) -> None:
        """The web side, on its host."""
        command = [*self.net.inside("web"), sys.executable, "-m", "labwaiter", "serve", "--port", "8080"]
        with open(self.folder / "web.log", "ab") as log:
            self.web = subprocess.Popen([*command, "--workers", "1"], env=self.face, stdout=log, stderr=log)
        eventually(lambda: self.call("Tally", "getServiceStatus", serviceID="nobody") is not None)

    def call(self, service: str, operation: str, **texts: str) -> str | None:
        """The answer to a SOAP call as text; None where none came."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            line = http.client.HTTPConnection(self.web_at, 8080, timeout=15)
            path = f"/sintef/docker_services/{service}"
            body = envelope(operation, **{"sessionToken": "t", **texts})
            line.request("POST", path, body, {"Content-Type": "text/xml; charset=utf-8"})
            return line.getresponse().read().decode()
        return None

    def start(self, service_id: str, seconds: float = 1.0) -> bool:
        """Start it as a workflow manager does, which tries again later where it gets no good answer."""
        given = {"serviceID": service_id, "register": str(self.register), "seconds": str(seconds)}
        home = service_id.partition("-")[0]
        if home in self.meters:
            said = self.call("Sourced", "startSourced", **given, device=f"smu_{home}")
        else:
            said = self.call("Tally", "startTally", **given)
        good = said is not None and "<faultcode>" not in said
        if not good:
            self.note(f"start of {service_id} is refused or not answered")
        return good

    def status(self, service_id: str) -> str:
        """COMPLETED, a fault's code, or "" while it goes on or nothing is known."""
        service = "Sourced" if service_id.partition("-")[0] in self.meters else "Tally"
        said = self.call(service, "getServiceStatus", serviceID=service_id) or ""
        if "COMPLETED</" in said:
            return "COMPLETED"
        if "UnknownServiceID" in said or "JobFailed" in said or "JobAborted" in said:
            return said.partition("errorCode>")[2].partition("<")[0]
        return ""

    def close(self) -> None:
        """End it all."""
        for machine in self.machines.values():
            machine.stop()
        for lab in self.labs.values():
            lab.close()
        end(self.web)
        self.host.close()
        self.redis.close()
        self.net.close()


Broken = Callable[[Drill], Callable[[], None]]  # breaks something; the result mends it


def cut(*hosts: str) -> Broken:
    def breaks(drill: Drill) -> Callable[[], None]:
        for host in hosts:
            drill.net.cut(host)

        def mends() -> None:
            for host in hosts:
                drill.net.mend(host)

        return mends

    return breaks


def kill_web(drill: Drill) -> Callable[[], None]:
    children = Path(f"/proc/{drill.web.pid}/task/{drill.web.pid}/children").read_text().split()
    for pid in (drill.web.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    drill.web.wait()
    return drill.start_web


def kill_worker(drill: Drill) -> Callable[[], None]:
    machine = drill.machines["north"]
    assert machine.process is not None
    machine.process.kill()
    machine.process.wait()
    return lambda: machine.start() and None


def kill_supervisor(drill: Drill) -> Callable[[], None]:
    os.kill(drill.labs["north"].supervisor, signal.SIGKILL)
    return lambda: None


def kill_redis(drill: Drill) -> Callable[[], None]:
    drill.redis.kill()
    return drill.redis.start  # with nothing in it


def empty_redis(drill: Drill) -> Callable[[], None]:
    drill.redis.client.flushall()
    return lambda: None


def slow_redis(drill: Drill) -> Callable[[], None]:
    drill.redis.client.client_pause(4000)
    return lambda: None


def full_redis(drill: Drill) -> Callable[[], None]:
    drill.redis.client.config_set("maxmemory", "1mb")
    return lambda: drill.redis.client.config_set("maxmemory", "0")


def nothing(drill: Drill) -> Callable[[], None]:
    return lambda: None


DRILLS: dict[str, Broken] = {
    "the way to a machine is cut": cut("north"),
    "the way to the web is cut": cut("web"),
    "all ways are cut": cut("north", "south", "web"),
    "web killed": kill_web,
    "worker killed": kill_worker,
    "supervisor killed": kill_supervisor,
    "Redis killed and restarted empty": kill_redis,
    "Redis flushed": empty_redis,
    "slow Redis": slow_redis,
    "full Redis": full_redis,
    "clocks a minute ahead": nothing,
}


@pytest.fixture
def make_drill(tmp_path: Path) -> Iterator[Callable[..., Drill]]:
    made: list[Drill] = []

    def make(**skew: str) -> Drill:
        made.append(Drill(tmp_path, skew))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("what", list(DRILLS))
def test_nothing_is_lost_run_twice_or_left_on(make_drill: Callable[..., Drill], tmp_path: Path, what: str) -> None:
    skew = {}
    if what.startswith("clocks"):
        if shutil.which("gcc") is None:
            pytest.skip("gcc is not installed")
        library = tmp_path / "skew.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SKEW, "-ldl"], check=True)
        skew = {"LD_PRELOAD": str(library), "SKEW_SECONDS": "60"}
        told = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"], env=os.environ | skew, stdout=-1
        )
        assert float(told.stdout) > time.time() + 50
    drill = make_drill(**skew)
    early = [f"{home}-{n}" for home in ("north", "south", "any") for n in range(3)]
    for name in early:
        assert drill.start(name, seconds=2.0)
    eventually(lambda: drill.register.exists() and len(drill.register.read_text().splitlines()) >= 4)
    drill.note(f"{what}: begins")
    mend = DRILLS[what](drill)
    late = [f"{home}-late" for home in ("north", "south", "any")]
    waiting = [name for name in late if not drill.start(name)]
    mend()
    drill.note(f"{what}: mended")
    eventually(lambda: not [name for name in waiting if not drill.start(name)], 60, every=0.5)
    ends: dict[str, str] = {}

    def all_ended() -> bool:
        for name in set(early + late) - set(ends):
            if end := drill.status(name):
                ends[name] = end
                drill.note(f"{name}: {end}")
        return len(ends) == len(early + late)

    try:
        eventually(all_ended, 90, every=0.3)
        assert ends == dict.fromkeys(early + late, "COMPLETED")
        runs = Counter(drill.register.read_text().split())
        assert runs == Counter(early + late), "each was run once"
        drill.note("each was run once")
        for name, lab in drill.labs.items():
            leases = Leases(lab.settings.jobs_folder)
            eventually(lambda leases=leases: leases.all() == {})
            assert drill.meters[name].is_safe()
        drill.note("every instrument is safe and free")
    finally:
        (drill.folder / "record.json").write_text(json.dumps(drill.log, indent=1))
        print(*(f"{when:.2f} {text}" for when, text in drill.log), sep="\n")
