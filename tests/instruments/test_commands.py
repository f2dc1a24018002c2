"""`labwaiter instruments`: what a lab operator sees and does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchlab import Plugged
from lab import PATIENCE, Lab, eventually
from labwaiter.store.leases import Held, Lease, Leases


@pytest.fixture
def shell(make_lab: Callable[..., Lab], bench: Plugged) -> Callable[..., subprocess.CompletedProcess[str]]:
    lab = make_lab(LAB=str(bench.toml))
    lab.store.make()

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "labwaiter", *words]
        return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)

    call.lab = lab  # type: ignore[attr-defined]
    return call


Shell = Callable[..., subprocess.CompletedProcess[str]]


def test_check_says_who_answers_and_what_is_wrong_with_the_others(shell: Shell, bench: Plugged) -> None:
    bench.host.unplug(bench.folder / "relays")
    bench.simulators["smu"].identity = "ACME,TOASTER,1"  # type: ignore[attr-defined]
    bench.simulators["printer"].moods.add("silent")
    done = shell("instruments", "check")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert "is not there: is it plugged in" in said["relays"]
    assert "expected a device that answers *IDN?" in said["smu"] and "TOASTER" in said["smu"]
    assert "did not answer M105" in said["printer"] and str(bench.folder / "printer") in said["printer"]
    assert said["analyser"].startswith("answers: SBA-5")
    assert "lab.toml has no instrument oven" in shell("instruments", "check", "oven").stderr


@pytest.mark.parametrize(
    ("power", "why"),
    [
        ("relays.8", ""),
        ("relays.99", "its power is relays.99, but relays has relays 1 to 8"),
        ("relays.0", "its power is relays.0, but relays has relays 1 to 8"),
        ("analyser.1", "its power is a relay of analyser, whose driver has no switch(number, on)"),
    ],
)
def test_check_says_that_a_relay_could_cut_nothing_off(shell: Shell, bench: Plugged, power: str, why: str) -> None:
    text = bench.toml.read_text()
    bench.toml.write_text(text.replace("[instruments.smu]", f'[instruments.smu]\npower = "{power}"'))
    done = shell("instruments", "check", "smu")
    assert (done.returncode == 3) is bool(why)
    assert done.stdout.startswith(f"smu: answers, but could not be cut off: {why}" if why else "smu: answers: ")


def test_busy_says_by_whom(shell: Shell, bench: Plugged) -> None:
    import serial

    with serial.Serial(str(bench.folder / "smu"), exclusive=True):
        done = shell("instruments", "check", "smu", "--json")
        told = json.loads(done.stdout)[0]
        assert done.returncode == 3 and told["ok"] is False and f"(process {os.getpid()})" in told["said"]
        assert f"(process {os.getpid()})" in shell("instruments", "safe", "smu").stderr
    assert json.loads(shell("instruments", "safe", "smu", "--json").stdout)["safe"] is True


def test_a_name_that_is_none_touches_no_file(shell: Shell) -> None:
    for words in (("reserve", "../smu"), ("reserve", "../smu", "--free"), ("safe", "../smu"), ("check", "../smu")):
        done = shell("instruments", *words)
        assert done.returncode == 2 and "lab.toml has no instrument ../smu; there are: smu, relays" in done.stderr
    leases = shell.lab.root / ".labwaiter" / "leases"  # type: ignore[attr-defined]
    assert not leases.exists() or not [one for one in leases.iterdir() if one.suffix == ".json"]


def test_an_instrument_that_is_asked_by_hand_is_given_to_no_job_meanwhile(shell: Shell, bench: Plugged) -> None:
    lab: Lab = shell.lab  # type: ignore[attr-defined]
    bench.simulators["smu"].moods.add("silent")
    command = [sys.executable, "-m", "labwaiter", "instruments", "safe", "smu"]
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        leases = Leases(lab.settings.jobs_folder)
        assert eventually(lambda: leases.of("smu")).how is Held.RESERVED  # type: ignore[union-attr]
        bench.simulators["smu"].moods.clear()
        assert asking.wait(PATIENCE) == 0
    assert leases.of("smu") is None


def test_a_reserved_instrument_is_passed_by(shell: Shell) -> None:
    assert "is reserved until" in shell("instruments", "reserve", "smu", "--by", "Ada").stdout
    told = json.loads(shell("instruments", "list", "--json").stdout)
    assert [one["state"] for one in told if one["name"] == "smu"] == ["reserved"]
    assert "reserved by Ada until" in shell("instruments", "list").stdout
    assert shell("instruments", "reserve", "smu", "--free").stdout.startswith("smu is free.")


def test_an_operator_frees_what_was_unsafe_once_it_is_safe(shell: Shell, bench: Plugged) -> None:
    leases = Leases(shell.lab.settings.jobs_folder)  # type: ignore[attr-defined]
    leases.write(Lease("smu", Held.UNSAFE, "one", "It was silent."))
    assert "smu is unsafe: It was silent." in shell("instruments", "list").stdout
    bench.simulators["smu"].moods.add("silent")
    done = shell("instruments", "safe", "smu")
    assert done.returncode == 3 and "smu is not safe" in done.stderr and leases.of("smu") is not None
    bench.simulators["smu"].moods.clear()
    bench.simulators["smu"].on = True  # type: ignore[attr-defined]
    assert shell("instruments", "safe", "smu").stdout == "smu: made safe and read back.\n"
    assert bench.simulators["smu"].is_safe() and leases.of("smu") is None


def test_simulators_are_served_on_ptys_for_other_programs(shell: Shell, bench: Plugged) -> None:
    import serial

    bench.toml.write_text(
        '[instruments.meter]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'
    )
    lab: Lab = shell.lab  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "labwaiter", "instruments", "simulate"]
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = lab.root / ".labwaiter" / "sim" / "meter"
            eventually(port.exists)
            with serial.Serial(str(port), timeout=5) as line:
                line.write(b"*IDN?\n")
                assert b"SIM-SMU" in line.readline()
            assert "answers: LABWAITER" in shell("instruments", "check").stdout
        finally:
            process.terminate()


def test_ports_are_told_or_that_there_are_none(shell: Shell) -> None:
    assert shell("ports").returncode == 0


def test_several_are_made_safe_in_one_call(shell: Shell, bench: Plugged) -> None:
    leases = Leases(shell.lab.settings.jobs_folder)  # type: ignore[attr-defined]
    for name in ("smu", "relays"):
        leases.write(Lease(name, Held.UNSAFE, "one", "It was silent."))
    bench.simulators["smu"].moods.add("silent")
    done = shell("instruments", "safe", "smu", "relays", "analyser")
    assert done.returncode == 3 and "\nsmu is not safe: " in done.stderr
    assert done.stdout == "relays: made safe and read back.\nanalyser: made safe and read back.\n"
    assert set(leases.all()) == {"smu"}
    bench.simulators["smu"].moods.clear()
    told = json.loads(shell("instruments", "safe", "relays", "smu", "--json").stdout)
    assert [(one["name"], one["safe"]) for one in told] == [("relays", True), ("smu", True)]
    assert leases.all() == {}


def test_stop_names_what_is_not_safe(shell: Shell) -> None:
    leases = Leases(shell.lab.settings.jobs_folder)  # type: ignore[attr-defined]
    leases.write(Lease("smu", Held.UNSAFE, "one", "It was silent."))
    leases.write(Lease("relays", Held.UNSAFE, "one", "It is welded."))
    leases.write(Lease("analyser", Held.RESERVED, why="Ada"))
    done = shell("stop")
    assert "relays is unsafe: It is welded. `labwaiter instruments safe relays` tries again." in done.stderr
    assert "smu is unsafe: It was silent." in done.stderr and "analyser" not in done.stderr


def test_a_device_under_two_names_has_one_holder(shell: Shell, bench: Plugged) -> None:
    text = bench.toml.read_text()
    bench.toml.write_text(
        text + text[text.index("[instruments.smu]") : text.index("[instruments.relays]")].replace("smu]", "bath]")
    )
    leases = Leases(shell.lab.settings.jobs_folder)  # type: ignore[attr-defined]
    leases.write(Lease("smu", Held.UNSAFE, "one", "It was silent."))
    done = shell("instruments", "reserve", "bath")
    assert done.returncode and "bath can't be reserved now: smu, the same device, is unsafe" in done.stderr


@pytest.mark.parametrize(("answers", "words"), [(True, "answers: LABWAITER,SIM-SMU"), (False, "did not answer *IDN?")])
def test_check_asks_a_foreign_device(shell: Shell, bench: Plugged, answers: bool, words: str) -> None:
    pytest.importorskip("pymeasure")
    bench.toml.write_text(
        '[instruments.smu]\ndriver = "pymeasure.instruments.keithley:Keithley2400"\n'
        f'port = "{bench.folder / "smu"}"\nsafe = "nothing to do"\noptions = {{ timeout = 0.5 }}\n'
    )
    if not answers:
        bench.simulators["smu"].moods.add("silent")
    done = shell("instruments", "check", "smu")
    assert (done.returncode == 0) is answers and words in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("power", ["", 'power = "relays.3"\n'])
def test_a_driver_that_is_not_there_is_told_before_anything_is_begun(shell: Shell, bench: Plugged, power: str) -> None:
    """But for one that a relay can cut off: that is done, whatever becomes of its driver."""
    bench.write(smu=f'safe = "itself"\n{power}')
    bench.toml.write_text(bench.toml.read_text().replace("labwaiter.instruments.drivers:SourceMeter", "_absent:Meter"))
    why = "“_absent:Meter” can't be had: No module named '_absent'."
    assert shell("instruments", "check", "smu").stdout == f"smu: {why}\n"
    leases = Leases(shell.lab.settings.jobs_folder)  # type: ignore[attr-defined]
    leases.write(Lease("smu", Held.UNSAFE, "one", "It was silent."))
    done = shell("instruments", "safe", "analyser", "smu")
    assert "analyser: made safe and read back.\n" in done.stdout
    if power:
        assert done.returncode == 0 and "smu: cut off by relay 3 of relays, because: " in done.stdout
    else:
        assert done.returncode == 3 and done.stderr.endswith(f"\nsmu is not safe: {why}\n")
    assert set(leases.all()) == (set() if power else {"smu"})


def test_check_outlives_what_a_driver_does_to_its_process(shell: Shell, bench: Plugged, tmp_path: Path) -> None:
    shell.lab.environment["SERVICES"] = str(tmp_path)  # type: ignore[attr-defined]
    (tmp_path / "_odd.py").write_text(
        "import os\n\ndef loud(port):\n    print('ready')\n\ndef wrong(port):\n    raise KeyError('port')\n\n"
        "def dying(port):\n    os._exit(7)\n"
    )
    bench.toml.write_text(
        "".join(
            f'[instruments.{name}]\ndriver = "_odd:{name}"\nport = "/dev/null"\nsafe = "nothing to do"\n'
            for name in ("wrong", "dying", "loud")
        )
    )
    done = shell("instruments", "check", "--json")
    told = {one["name"]: (one["ok"], one["said"]) for one in json.loads(done.stdout)}
    assert done.returncode == 3 and "ready" in done.stderr
    assert told["loud"] == (True, "can be opened; its driver knows no question, so nobody knows whether it answers")
    assert told["wrong"][0] is False and "'port'" in told["wrong"][1]
    assert told["dying"] == (False, "the program that asks it broke; see above")
