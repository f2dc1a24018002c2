"""The simulated lab of a deployment: one process whose devices outlive jobs, as real ones do.

What is believed is the devices' own records.
"""

from __future__ import annotations

import inspect
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import serial

from benchlab import DRIVERS, energised, leases
from lab import PATIENCE, SAMPLES, Lab, eventually, gone, wait_gone
from labwaiter.instruments.errors import Lost
from labwaiter.instruments.opening import Opened
from labwaiter.instruments.simulators import KINDS, Simulator
from labwaiter.instruments.simulators.base import RECORD_MAX
from labwaiter.lab import labfile, simulation
from labwaiter.model.record import State
from labwaiter.store import supervisor_client

PORTS = {
    "smu": "sim://smu?seed=1",
    "relays": "sim://relays",
    "printer": "sim://marlin?speed=50",
    "analyser": "sim://sba5?interval=0.05&fan=relays.3&speed=20",
}


def write(file: Path, **ports: str) -> None:
    """A lab.toml with these ports."""
    tables = [
        f'[instruments.{n}]\ndriver = "labwaiter.instruments.drivers:{DRIVERS[n]}"\nport = "{p}"\n'
        for n, p in ports.items()
    ]
    file.write_text("\n".join(tables))


@pytest.fixture
def deploy(make_lab: Callable[..., Lab], tmp_path: Path) -> Callable[..., Lab]:
    """A deployment with simulated instruments; its supervisor is the test's to start."""
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(SAMPLES / "benches.py", folder)
    write(tmp_path / "lab.toml", **PORTS)

    def make(name: str = "jobs") -> Lab:
        lab = make_lab(tmp_path / name, folder, LAB=str(tmp_path / "lab.toml"))
        lab.store.make()
        return lab

    return make


@pytest.fixture
def one(deploy: Callable[..., Lab]) -> Lab:
    """A deployment that runs."""
    lab = deploy()
    lab.supervise()
    return lab


def port(lab: Lab, name: str) -> Path:
    return lab.settings.layout.simulated / name


def pid_of(lab: Lab) -> int:
    """The pid of its simulated lab, once that serves."""
    eventually(lambda: all(simulation.served(port(lab, name)) for name in PORTS))
    return eventually(lambda: simulation.alive(lab.settings.jobs_folder))


def happened(lab: Lab, name: str) -> list[str]:
    """A device's own record."""
    return [json.loads(line)[1] for line in (port(lab, f"{name}.record")).read_text().splitlines()]


def in_order(found: list[str], *words: str) -> bool:
    rest = iter(found)
    return all(any(word == what for what in rest) for word in words)


@pytest.mark.parametrize("how", ["end", "kill"])
@pytest.mark.parametrize(
    ("name", "energised_by", "safe_by"),
    [
        ("smu", "output on", ["output off"]),
        ("relays", "relay 3 on", ["relay 3 off"]),
        ("printer", "hotend to 200 °C", ["hotend to 0 °C", "motors off"]),
    ],
)
def test_the_device_that_a_job_used_is_the_one_that_is_read_back(
    one: Lab, name: str, energised_by: str, safe_by: list[str], how: str
) -> None:
    one.start("Uses", "one", device=name)
    pid = energised(one, "one")
    assert happened(one, name)[-1] not in safe_by
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    (one.folder("one") / "data" / "go").touch()
    assert one.ended("one").state is (State.FAILED if how == "kill" else State.COMPLETED)
    assert in_order(happened(one, name), "switched on", energised_by, *safe_by), happened(one, name)
    assert f"{name}: made safe and read back" in one.file("one", "log.txt")
    assert leases(one).all() == {}
    one.start("Uses", "two", device=name)
    energised(one, "two")
    assert happened(one, name).count("switched on") == 1  # between the jobs nobody switched it off


def test_a_killed_simulated_lab_is_begun_again_and_a_job_finds_its_device_as_after_a_power_cut(one: Lab) -> None:
    before = pid_of(one)
    one.start("Uses", "one", device="smu")
    energised(one, "one")
    os.kill(before, signal.SIGKILL)
    wait_gone(before)
    eventually(lambda: pid_of(one) != before)  # a thread of the dead may hold its lock a moment longer
    record = one.ended("one")
    assert record.state is State.FAILED and "instead of 0.01: was it switched off?" in record.why
    what = happened(one, "smu")
    assert in_order(what, "switched on", "output on", "switched on", "output off"), what
    assert what.count("switched on") == 2 and what.count("output on") == 1, what
    assert "made safe and read back" in one.file("one", "log.txt")


def test_it_outlives_the_supervisor_and_serves_the_next_one(one: Lab) -> None:
    before, ptys = pid_of(one), [os.readlink(port(one, name)) for name in PORTS]
    one.start("Uses", "one", device="smu")
    energised(one, "one")
    supervisor = one.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    os.kill(one.supervisor, signal.SIGHUP)  # and the next one begins anew with other code
    (one.folder("one") / "data" / "go").touch()
    assert one.ended("one").state is State.COMPLETED
    assert pid_of(one) == before and [os.readlink(port(one, name)) for name in PORTS] == ptys
    assert in_order(happened(one, "smu"), "switched on", "output on", "output off")
    assert happened(one, "smu").count("switched on") == 1


def test_it_is_nobodys_zombie_and_holds_nothing_of_the_supervisors(one: Lab) -> None:
    pid = pid_of(one)
    held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [what for what in held if what.startswith("socket:") or "supervisor.lock" in what or "wake" in what]
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    eventually(lambda: not Path(f"/proc/{pid}").exists())  # the supervisor is its parent, and buries it
    again = pid_of(one)
    assert supervisor_client.stop(one.settings, 30)
    assert gone(again)


@pytest.mark.folder_way  # of many machines, a worker's container: tests/containers has it
def test_a_container_that_stops_leaves_none(deploy: Callable[..., Lab]) -> None:
    lab = deploy()
    command = [sys.executable, "-m", "labwaiter", "up", "--only", "supervisor"]
    up = subprocess.Popen(command, env=lab.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        pid = pid_of(lab)
        lab.start("Uses", "one", device="smu")
        energised(lab, "one")
    finally:
        up.terminate()
        assert up.wait(PATIENCE) == 0
    assert gone(pid) and in_order(happened(lab, "smu"), "output on", "output off")
    assert "made safe and read back" in lab.file("one", "log.txt")


def test_a_stop_ends_it_and_leaves_no_link(one: Lab) -> None:
    pid = pid_of(one)
    one.start("Uses", "one", device="smu")
    energised(one, "one")
    assert supervisor_client.stop(one.settings, 30)
    assert gone(pid) and not any(port(one, name).is_symlink() for name in PORTS)
    assert in_order(happened(one, "smu"), "output on", "output off")


def test_a_stop_ends_it_also_when_nobody_else_is_left(one: Lab) -> None:
    pid, ours = pid_of(one), (one.fork_server, one.supervisor)
    for other in ours:
        os.kill(other, signal.SIGSTOP)  # neither may start the other again
    for other in ours:
        os.kill(other, signal.SIGKILL)
        wait_gone(other)
    assert simulation.alive(one.settings.jobs_folder) == pid
    assert supervisor_client.stop(one.settings, 30)
    assert gone(pid)


def test_it_ends_with_its_jobs_folder(one: Lab) -> None:
    pid = pid_of(one)
    shutil.rmtree(one.root, ignore_errors=True)
    wait_gone(pid)


def test_a_link_of_the_dead_is_never_opened(deploy: Callable[..., Lab]) -> None:
    lab = deploy()
    ours, its = pty.openpty()  # somebody else's, who got the dead one's number
    port(lab, "smu").parent.mkdir(parents=True)
    port(lab, "smu").symlink_to(os.ttyname(its))
    command = [sys.executable, "-m", "labwaiter", "instruments", "check", "smu"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.startswith("smu: answers: LABWAITER"), done  # by one in its own process
    with pytest.raises(serial.SerialException, match="simulated lab"):
        serial.serial_for_url(f"sim://{port(lab, 'smu')}")
    lab.supervise()
    pid_of(lab)
    assert os.readlink(port(lab, "smu")) != os.ttyname(its)
    assert not select.select([ours], [], [], 0)[0]
    os.close(ours)
    os.close(its)


def test_two_deployments_have_two_labs(deploy: Callable[..., Lab]) -> None:
    here, there = deploy("here"), deploy("there")
    for lab in (here, there):
        lab.supervise()
    assert pid_of(here) != pid_of(there)
    assert os.readlink(port(here, "smu")) != os.readlink(port(there, "smu"))
    there.start("Uses", "one", device="smu")
    energised(there, "one")
    assert "output on" not in happened(here, "smu")
    assert supervisor_client.stop(here.settings, 30)
    assert pid_of(there)


def test_a_changed_lab_toml_is_followed_but_nothing_is_pulled_from_under_a_job(one: Lab) -> None:
    pid, printers = pid_of(one), os.readlink(port(one, "printer"))
    one.start("Uses", "one", device="smu")
    energised(one, "one")
    write(one.settings.lab, smu="sim://smu?part=diode", printer=PORTS["printer"], relays=PORTS["relays"])
    eventually(lambda: not port(one, "analyser").is_symlink())
    assert happened(one, "smu").count("switched on") == 1
    (one.folder("one") / "data" / "go").touch()
    assert one.ended("one").state is State.COMPLETED
    eventually(lambda: happened(one, "smu").count("switched on") == 2)  # the new one, once the old one is free
    assert os.readlink(port(one, "printer")) == printers
    assert simulation.alive(one.settings.jobs_folder) == pid


def test_a_relay_ventilates_the_analysers_chamber(one: Lab) -> None:
    pid_of(one)
    whole = labfile.load(one.settings.lab)
    board = Opened(whole.entries["relays"], one.settings.jobs_folder)
    analyser = Opened(whole.entries["analyser"], one.settings.jobs_folder)
    try:
        eventually(lambda: analyser.device.co2 > 600)
        board.device.switch(3, True)
        eventually(lambda: analyser.device.co2 < 430)
        board.device.switch(3, False)
        eventually(lambda: analyser.device.co2 > 500)
    finally:
        analyser.close()
        board.close()


def test_without_a_simulated_lab_whoever_waits_for_it_is_told(
    deploy: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = deploy()
    monkeypatch.setattr("labwaiter.instruments.opening.SERVED_WITHIN", 0.05)
    with pytest.raises(Lost, match="smu is a simulated instrument, and the simulated lab .* did not come"):
        Opened(labfile.load(lab.settings.lab).entries["smu"], lab.settings.jobs_folder)


def test_simulate_tells_where_a_deployment_serves_them_already(one: Lab) -> None:
    pid_of(one)
    command = [sys.executable, "-m", "labwaiter", "instruments", "simulate"]
    done = subprocess.run(command, env=one.environment, capture_output=True, text=True, timeout=PATIENCE)
    assert "served already" in done.stdout and f"smu: {port(one, 'smu')}" in done.stdout


def test_a_device_writes_no_endless_record(tmp_path: Path) -> None:
    device: Simulator = KINDS["relays"](tmp_path / "record")
    for _ in range(RECORD_MAX // 40):
        device.receive(b"ON 1\nOFF 1\n")
    assert 0 < sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * RECORD_MAX + 1000
    assert {file.name for file in tmp_path.iterdir()} == {"record", "record.1"}


def test_what_a_sim_url_may_say_is_what_the_simulators_take() -> None:
    base = inspect.signature(Simulator.__init__).parameters.keys() - {"self", "record"}
    assert base == simulation.ALL.keys() and KINDS.keys() == simulation.KINDS.keys()
    for kind, simulator in KINDS.items():
        own = {n for n, p in inspect.signature(simulator.__init__).parameters.items() if p.kind is p.KEYWORD_ONLY}
        assert own == simulation.KINDS[kind].keys() - {"fan"}
