"""STOP ends whatever uses an instrument, within 8 s, and nothing begins with it until somebody puts it back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from benchlab import DRIVERS, Plugged, energised, leases, let_go
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.errors import InstrumentInUse, UnknownInstrument
from labwaiter.model.caller import SHELL, Caller, Identity, Role
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.store.audit import Audit
from labwaiter.store.leases import Held, Lease
from labwaiter.verbs.control import DirectControl
from labwaiter.verbs.instruments import Instruments

ADA = Caller(Identity("ada", "optics", Role.OPERATOR), face="page")
ANSWERS = 8.0  # s


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "instruments", *words]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def verbs(using: Lab) -> Instruments:
    return Instruments(using.settings)


def test_the_whole_lab_stops_and_nothing_begins_until_it_is_put_back(
    using: Lab, bench: Plugged, verbs: Instruments
) -> None:
    for name in DRIVERS:
        using.start("Uses", name, device=name)
        energised(using, name)
    using.start("Uses", "next", device="smu")
    began = time.monotonic()
    results = {result.name: result for result in verbs.stop((), ADA)}
    assert time.monotonic() - began < ANSWERS
    assert set(results) == set(DRIVERS)
    for name in DRIVERS:
        assert using.ended(name).state is State.ABORTED
        bench.assert_made_safe(name)
        assert eventually(lambda name=name: leases(using).of(name) is None)  # type: ignore[misc]
    view = eventually(lambda: (v := using.jobs.view("next", SHELL)).holders and v)
    assert "smu is stopped by ada" in render(view, using.services["Uses"])
    with pytest.raises(InstrumentInUse, match="smu can't be taken: it is stopped by ada; an operator puts it back"):
        DirectControl(using.settings).take("smu", ADA)
    was = verbs.put_back("smu", ADA)
    assert was is not None and was.stopped
    energised(using, "next")
    let_go(using, "next")
    assert using.ended("next").state is State.COMPLETED
    acts = [line["event"] for line in Audit(using.store.layout).entries()]
    assert acts.count("STOP") == len(DRIVERS)


def test_it_answers_in_time_where_a_line_says_nothing(using: Lab, bench: Plugged, verbs: Instruments) -> None:
    bench.write(smu="safe_seconds = 30")
    bench.toml.write_text(bench.toml.read_text().replace("safe_seconds = 3\nsafe_seconds = 30", "safe_seconds = 30"))
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    began = time.monotonic()
    (result,) = verbs.stop(["smu"], ADA)
    assert time.monotonic() - began < ANSWERS
    assert not result.safe and "goes on" in result.why
    bench.simulators["smu"].moods.clear()
    assert using.ended("one").state is State.ABORTED
    eventually(lambda: leases(using).of("smu") is None)
    bench.assert_made_safe("smu")


def test_it_needs_neither_a_supervisor_nor_a_right_lab_toml(using: Lab, bench: Plugged, verbs: Instruments) -> None:
    using.start("Uses", "one", device="printer")
    energised(using, "one")
    supervisor, fork_server = using.supervisor, using.fork_server
    os.kill(fork_server, signal.SIGSTOP)
    for one in (supervisor, fork_server):
        os.kill(one, signal.SIGKILL)
        wait_gone(one)
    (result,) = verbs.stop(["printer"], ADA, wait=PATIENCE)
    assert result.safe, result
    bench.assert_made_safe("printer")
    verbs.put_back("printer", ADA)
    using.start("Uses", "two", device="smu")
    energised(using, "two")
    right = bench.toml.read_text()
    bench.toml.write_text(right + "[instruments.smu2]\ndriver = 3\n")
    assert [result.name for result in verbs.stop((), ADA)] == ["smu"]  # what somebody has is known all the same
    assert using.ended("two").state is State.ABORTED
    bench.toml.write_text(right)
    eventually(lambda: bench.simulators["smu"].is_safe() or verbs.make_safe(["smu"], SHELL))


def test_one_that_nobody_uses_is_asked_and_an_unsafe_one_is_freed(
    using: Lab, bench: Plugged, verbs: Instruments
) -> None:
    leases(using).write(Lease("smu", Held.UNSAFE, why="It was silent."))
    begun = bench.count("smu")
    done = shell(using, "stop", "smu")
    assert done.returncode == 0 and "smu: Nobody used it; it was made safe and read back." in done.stdout, done
    assert "output off" in [what for _, what in list(bench.simulators["smu"].happened)[begun:]]
    assert leases(using).of("smu") is None
    assert "stopped by" in shell(using, "list").stdout
    assert "smu is in service. It was stopped by" in shell(using, "back", "smu").stdout
    with pytest.raises(UnknownInstrument, match="no instrument nothing"):
        verbs.stop(["nothing", "smu"], ADA)
    assert (out := verbs.upkeep("smu", ADA).out) is not None and out.stopped  # the other one was stopped all the same


def test_one_device_under_two_names_is_one(using: Lab, bench: Plugged, verbs: Instruments) -> None:
    with bench.toml.open("a") as toml:
        toml.write(
            '[instruments.twin]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\n'
            f'port = "{bench.folder / "smu"}"\n'
        )
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    (result,) = verbs.stop(["twin"], ADA, wait=PATIENCE)
    assert result.name == "twin" and result.safe, result
    assert using.ended("one").state is State.ABORTED
    bench.assert_made_safe("smu")


# -- out of service --------------------------------------------------------------------------------


def test_starts_that_need_one_out_of_service_wait_and_are_told_why(
    using: Lab, bench: Plugged, verbs: Instruments
) -> None:
    assert "printer is out of service: new nozzle" in shell(using, "out", "printer", "new nozzle").stdout
    using.start("Uses", "one", device="printer")
    using.start("Uses", "other", device="smu")
    energised(using, "other")  # it holds up nobody else
    let_go(using, "other")
    view = eventually(lambda: (v := using.jobs.view("one", SHELL)).holders and v)
    assert "printer is out of service: new nozzle" in render(view, using.services["Uses"])
    assert verbs.states()["printer"] == "out of service"
    control = DirectControl(using.settings)
    control.take("printer", ADA, wait=PATIENCE)  # who takes care of it has to try it
    assert control.release("printer", ADA, wait=PATIENCE)
    verbs.note("printer", "0.4 mm, brass", ADA)
    assert "printer is in service. It was out of service: new nozzle" in shell(using, "back", "printer").stdout
    energised(using, "one")
    let_go(using, "one")
    assert using.ended("one").state is State.COMPLETED
    upkeep = verbs.upkeep("printer", ADA)
    assert [one.event for one in upkeep.log] == ["out of service", "note", "back in service"]
    assert eventually(lambda: verbs.upkeep("printer", ADA).use.executions) == 1
    assert upkeep.use.seconds > 0


def test_what_an_instrument_did_wrong_stands_in_its_log(using: Lab, bench: Plugged, verbs: Instruments) -> None:
    bench.simulators["smu"].moods.add("garbage")
    using.start("Uses", "one", device="smu")
    assert using.ended("one").state is State.FAILED
    told = verbs.upkeep("smu", ADA)
    assert told.last_fault is not None and "expected a device" in str(told.last_fault.about["text"]), told
    logged = shell(using, "log", "smu")
    assert "by 1 executions" in logged.stdout and "fault" in logged.stdout, logged
