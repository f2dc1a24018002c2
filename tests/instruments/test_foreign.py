"""From lab.toml alone: other libraries' drivers, other kinds of ports, and a simulator that isn't ours."""

from __future__ import annotations

import os
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import Oven, leases
from here import ROOT
from lab import Lab, eventually
from labwaiter.instruments.simulators import Simulator
from labwaiter.instruments.simulators.host import Host
from labwaiter.model.record import State
from labwaiter.store.leases import Held
from terminal import terminal_server

SERVICES = """
from typing import Annotated, Any
from labwaiter import Driver, Job, Outputs, service
from labwaiter.instruments.drivers import SourceMeter

class Result(Outputs):
    amps: float

@service("Foreign", namespace="http://samples.example/", limit=60)
def startForeign(job: Job, meter: Annotated[Any, Driver("pymeasure.instruments.keithley:Keithley2400")]) -> Result:
    assert "MODEL 2400" in meter.id
    meter.source_voltage = 1.5
    meter.enable_source()
    job.progress(0.5, "energised")
    while not (job.data / "go").exists():
        job.sleep(0.02)
    return Result(amps=float(meter.ask(":READ?").split(",")[1]))

@service("Ours", namespace="http://samples.example/", limit=60)
def startOurs(job: Job, meter: SourceMeter) -> Result:
    meter.volts = 1.5
    meter.output(True)
    return Result(amps=meter.current)
"""
SAFETY = """
def off(meter):
    meter.disable_source()
    return not meter.source_enabled
"""


class Bench:
    """A plain SCPI instrument of nobody's: it keeps what it is told, and measures 1 kΩ."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.heard: list[str] = []

    def answer(self, text: str) -> str | None:
        self.heard.append(text)
        command, _, value = text.strip().upper().lstrip(":").partition(" ")
        command = command.replace("OUTPUT", "OUTP").replace("SOURCE", "SOUR").replace("VOLTAGE", "VOLT")
        command = command.removesuffix(":LEV")
        if command == "*IDN?":
            return "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C33"
        if command == "SYST:ERR?":
            return '0,"No error"'
        if command == "READ?":
            volts = float(self.kept.get("SOUR:VOLT", 0)) if self.on else 0.0
            return f"{volts:E},{volts / 1000:E},+9.91E37,+1.0E3,+2.1E4"
        if command.endswith("?"):
            return self.kept.get(command[:-1], "0")
        self.kept[command] = {"ON": "1", "OFF": "0"}.get(value, value)
        return None

    @property
    def on(self) -> bool:
        return self.kept.get("OUTP") == "1"


class OnPty(Simulator):
    """That instrument on a pty."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench

    def line(self, text: str) -> None:
        if (said := self.bench.answer(text)) is not None:
            self.say(said)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def rfc2217(pty: str) -> Iterator[str]:
    with terminal_server(pty) as url:
        yield url


@pytest.fixture
def pty(tmp_path: Path, bench: Bench) -> Iterator[str]:
    host = Host()
    yield str(host.plug(tmp_path / "ttyUSB7", OnPty(bench)))
    host.close()


@pytest.fixture
def tcp(bench: Bench) -> Iterator[str]:
    class Served(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                if (said := bench.answer(line.decode())) is not None:
                    self.wfile.write(f"{said}\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"socket://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def lab_with(make_lab: Callable[..., Lab], tmp_path: Path) -> Callable[..., Lab]:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "foreign.py").write_text(SERVICES)
    (folder / "_my_safety.py").write_text(SAFETY)

    def make(driver: str, port: str, more: str = "") -> Lab:
        toml = tmp_path / "lab.toml"
        toml.write_text(f'[instruments.smu]\ndriver = "{driver}"\nport = "{port}"\nsafe_seconds = 30\n{more}\n')
        lab = make_lab(services_folder=folder, LAB=str(toml))
        lab.supervise()
        return lab

    return make


KEITHLEY = "pymeasure.instruments.keithley:Keithley2400"
OURS = "labwaiter.instruments.drivers:SourceMeter"


def has_numpy(pid: int) -> bool:
    """Whether it has imported it; pymeasure does."""
    return "numpy" in Path(f"/proc/{pid}/maps").read_text()


def energised(lab: Lab) -> int:
    pid = lab.running("one")
    eventually(lambda: lab.status_progress("one").stage == "energised" or not lab.record("one").active)
    assert lab.record("one").active, lab.record("one").why
    return pid


@pytest.mark.parametrize("kind", ["pty", "tcp"])
def test_a_driver_of_pymeasure_works_from_lab_toml_alone(
    lab_with: Callable[..., Lab], bench: Bench, kind: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("pymeasure")
    lab = lab_with(KEITHLEY, request.getfixturevalue(kind), 'safe = "_my_safety:off"')
    lab.start("Foreign", "one")
    runner = energised(lab)
    eventually(lambda: bench.on)
    assert (
        has_numpy(lab.working("one"))
        and not has_numpy(runner)
        and not has_numpy(lab.supervisor)
        and not has_numpy(lab.fork_server)
    )
    (lab.folder("one") / "data" / "go").touch()
    record = lab.ended("one")
    assert record.outputs == {"amps": pytest.approx(1.5e-3)}, record.why
    assert not bench.on and leases(lab).all() == {}
    assert "smu: made safe and read back" in lab.file("one", "log.txt")


def test_a_foreign_driver_is_made_safe_after_its_job_was_killed(
    lab_with: Callable[..., Lab], bench: Bench, pty: str
) -> None:
    pytest.importorskip("pymeasure")
    lab = lab_with(KEITHLEY, pty, 'safe = "_my_safety:off"')
    lab.start("Foreign", "one")
    os.kill(energised(lab), 9)
    assert lab.ended("one").state is State.FAILED
    assert not bench.on and leases(lab).all() == {}


def test_nothing_to_do_is_taken_at_its_word(lab_with: Callable[..., Lab], bench: Bench, pty: str) -> None:
    pytest.importorskip("pymeasure")
    lab = lab_with(KEITHLEY, pty, 'safe = "nothing to do"')
    lab.start("Foreign", "one")
    energised(lab)
    (lab.folder("one") / "data" / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    assert bench.on and leases(lab).all() == {}


def test_a_safe_function_that_is_not_there_leaves_it_unsafe(
    lab_with: Callable[..., Lab], bench: Bench, pty: str
) -> None:
    pytest.importorskip("pymeasure")
    lab = lab_with(KEITHLEY, pty, 'safe = "_my_safety:on"')
    lab.start("Foreign", "one")
    energised(lab)
    (lab.folder("one") / "data" / "go").touch()
    lab.ended("one")
    lease = leases(lab).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "“_my_safety:on” can't be had" in lease.why


@pytest.mark.parametrize("kind", ["tcp", "spy", "rfc2217"])
def test_our_driver_works_behind_other_ports(
    lab_with: Callable[..., Lab], bench: Bench, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.txt"
    port = request.getfixturevalue("pty" if kind == "spy" else kind)
    if kind == "spy":
        port = f"spy://{port}?file={seen}"
    lab = lab_with(OURS, port)
    lab.start("Ours", "one")
    record = lab.ended("one")
    assert record.outputs == {"amps": pytest.approx(1.5e-3)}, record.why
    assert not bench.on and leases(lab).all() == {}
    assert kind != "spy" or "OUTP" in seen.read_text()


def test_a_socket_that_nobody_serves_is_told(lab_with: Callable[..., Lab]) -> None:
    lab = lab_with(OURS, "socket://127.0.0.1:1", "reconnect = 0")
    lab.start("Ours", "one")
    assert "smu: its port can't be opened: Connection refused." in lab.ended("one").why


def test_a_library_that_is_not_installed_is_told(lab_with: Callable[..., Lab], pty: str) -> None:
    lab = lab_with("a_library_that_nobody_has:Meter", pty, 'safe = "nothing to do"')
    source = lab.settings.services / "foreign.py"
    source.write_text(source.read_text().replace(KEITHLEY, "a_library_that_nobody_has:Meter"))
    lab.start("Foreign", "one")
    assert "“a_library_that_nobody_has:Meter” can't be had" in lab.ended("one").why


def test_a_driver_of_one_s_own_beside_the_services_works(
    lab_with: Callable[..., Lab], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = (ROOT / "docs" / "instruments.md").read_text()
    code = next(one for one in re.findall(r"```python\n(.*?)```", page, re.S) if "class Oven" in one)
    (tmp_path / "own" / "_oven.py").write_text(code)
    (tmp_path / "own" / "baking.py").write_text(
        "from _oven import Oven\n"
        "from labwaiter import Job, Outputs, service\n"
        "class Baked(Outputs):\n    reached: float\n"
        "@service('Bake', namespace='http://samples.example/')\n"
        "def startBake(job: Job, oven: Oven, target: float = 80) -> Baked:\n"
        "    oven.setpoint = target\n"
        "    return Baked(reached=oven.temperature)\n"
    )
    oven, host = Oven(), Host()
    request.addfinalizer(host.close)
    lab = lab_with("_oven:Oven", str(host.plug(tmp_path / "port", oven)), 'safe = "itself"')
    lab.start("Bake", "one")
    record = lab.ended("one")
    assert record.outputs == {"reached": 21.5}, record.why
    assert oven.setpoint == 80 and oven.is_safe() and leases(lab).all() == {}
    lab.start("Bake", "two", target=301.0)
    assert "smu: setpoint must be a number from 20 to 300 °C, not 301" in lab.ended("two").why
