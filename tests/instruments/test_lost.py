"""A line that fails under a running job: its work goes on, or it fails with a sentence and the instrument is unsafe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchlab import Plugged, bench_lab, energised, leases, let_go
from lab import PATIENCE, Lab, eventually
from labwaiter.instruments.simulators import Relays
from labwaiter.model.record import State
from labwaiter.store.leases import Held


def shell(lab: Lab, word: str, name: str) -> subprocess.CompletedProcess[str]:
    """As an operator does."""
    command = [sys.executable, "-m", "labwaiter", "instruments", word, name]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


def test_work_goes_on_when_its_instrument_is_plugged_in_again(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    simulator = bench.host.unplug(bench.folder / "smu")
    lines = using.folder("one") / "data" / "smu.line.txt"
    eventually(lambda: "-- lost" in lines.read_text())
    bench.host.plug(bench.folder / "smu", simulator)
    eventually(lambda: lines.read_text().count("> *IDN?") == 2)
    (using.folder("one") / "data" / "go").touch()
    assert using.ended("one").state is State.COMPLETED
    assert simulator.is_safe() and leases(using).all() == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("smu", "smu was lost and did not come back within 0.5 s"),
        ("relays", "relays was lost and did not come back within 0.5 s"),
        ("analyser", "analyser was lost and did not come back within 0.5 s"),
        ("printer", "printer was lost: its line has gone. Is it unplugged, or switched off?"),
    ],
)
def test_one_that_stays_away_fails_the_job_and_waits_for_an_operator(
    using: Lab, bench: Plugged, name: str, why: str
) -> None:
    bench.write(**{name: "reconnect = 0.5"})
    using.start("Uses", "one", device=name)
    energised(using, "one")
    simulator = bench.host.unplug(bench.folder / name)
    record = using.ended("one")
    assert record.state is State.FAILED and why in record.why
    lease = leases(using).of(name)
    assert lease is not None and lease.how is Held.UNSAFE and "its port is not there" in lease.why
    assert str(bench.folder) not in record.why + lease.why  # a path is nobody's business
    assert shell(using, "safe", name).returncode == 3
    bench.host.plug(bench.folder / name, simulator)
    assert shell(using, "safe", name).stdout == f"{name}: made safe and read back.\n"
    assert simulator.is_safe() and leases(using).all() == {}


def test_another_device_in_its_place_fails_the_job_and_is_left_alone(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    bench.host.unplug(bench.folder / "smu")
    other = Relays(seed=1)
    other.closed[0] = True
    bench.host.plug(bench.folder / "smu", other)
    record = using.ended("one")
    assert record.state is State.FAILED
    assert "smu: expected a device that answers *IDN?" in record.why and "ERR" in record.why
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE
    assert other.happened == [] and other.closed[0]


def test_a_printer_that_restarts_fails_its_job_and_is_made_safe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="printer")
    energised(using, "one")
    bench.simulators["printer"].restart()  # type: ignore[attr-defined]
    record = using.ended("one")
    assert record.state is State.FAILED and "printer has restarted in the middle of the work" in record.why
    assert bench.simulators["printer"].is_safe() and leases(using).all() == {}


def test_a_printer_that_hears_and_says_nothing_is_stopped_and_not_called_safe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="printer")
    pid = energised(using, "one")
    bench.simulators["printer"].moods.add("silent")
    os.kill(pid, signal.SIGKILL)
    assert using.ended("one").state is State.FAILED
    lease = leases(using).of("printer")
    assert lease is not None and lease.how is Held.UNSAFE and "printer" in lease.why
    assert bench.simulators["printer"].is_safe()
    assert bench.simulators["printer"].happened[-1][1] == "emergency stop"


def test_a_device_that_another_deployment_holds_fails_the_job_with_a_sentence(
    using: Lab, bench: Plugged, tmp_path: Path
) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    other = bench_lab(tmp_path / "others", bench)
    try:
        other.supervise()
        other.start("Uses", "two", device="smu")
        record = other.ended("two")
        assert record.state is State.FAILED
        assert "smu: its device is held by another execution, or by another deployment on this machine" in record.why
        assert not bench.simulators["smu"].is_safe()  # the one that holds it was not disturbed
        assert leases(other).all() == {}  # it never had it, so it is no worse for it
        let_go(using, "one")
        using.ended("one")
        other.start("Uses", "three", device="smu")
        energised(other, "three")
        let_go(other, "three")
        assert other.ended("three").state is State.COMPLETED
    finally:
        other.close()


def test_what_a_job_could_not_even_open_is_as_it_was(using: Lab, bench: Plugged) -> None:
    gone = bench.host.unplug(bench.folder / "smu")
    relays = bench.count("relays")
    using.start("UsesTwo", "one", first="smu", second="relays")
    assert "smu: its port is not there" in using.ended("one").why
    assert leases(using).all() == {}
    assert bench.count("relays") == relays  # nor was the other one touched, whose turn had not come
    bench.host.plug(bench.folder / "smu", gone)
    using.start("UsesTwo", "two", first="smu", second="relays")
    energised(using, "two")
    let_go(using, "two")
    assert using.ended("two").state is State.COMPLETED


@pytest.mark.parametrize("options", ["{ machine = { hotend = 300 } }", "{ machin = {} }"])
def test_a_wrong_option_in_lab_toml_is_told_and_leaves_the_instrument_free(
    using: Lab, bench: Plugged, options: str
) -> None:
    bench.write(printer=f"options = {options}")
    checked = shell(using, "check", "printer")
    assert checked.returncode == 3 and "lab.toml" in checked.stdout and "machin" in checked.stdout
    using.start("Uses", "one", device="printer")
    why = using.ended("one").why
    assert why.startswith("printer: ") and "lab.toml" in why and "machin" in why and "safe" not in why
    assert leases(using).all() == {} and bench.simulators["printer"].happened == []
