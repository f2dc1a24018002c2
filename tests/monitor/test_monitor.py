"""Instruments that nobody uses are read; whoever wants one has it at once, whatever the monitor is at.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchlab import Plugged, energised, leases, let_go
from lab import PATIENCE, Lab, eventually, gone, wait_gone
from labwaiter.errors import InstrumentInUse
from labwaiter.model.caller import SHELL, Caller, Identity, Role
from labwaiter.model.record import State
from labwaiter.store import supervisor_client
from labwaiter.store.history import History
from labwaiter.store.leases import Held, Lease
from labwaiter.store.readers import Reader
from labwaiter.verbs.control import DirectControl
from labwaiter.verbs.instruments import Instruments

ADA = Caller(Identity("ada", "optics", Role.OPERATOR), face="page")
EVERY = "monitor_every_s = 1"
Make = Callable[..., Lab]


def reader(lab: Lab, name: str) -> Reader:
    """Who reads it, once somebody does."""
    return eventually(lambda: (r := leases(lab).readers.of(name)) and r.process and r)


def readings(lab: Lab, name: str, since: float = 0.0) -> dict[str, object]:
    """What it said last, once that is of later than `since`."""

    def look() -> dict[str, object] | None:
        last = History(lab.settings.layout).last().get(name, ())
        return {one.reading: one.value for one in last if one.at > since} or None

    return eventually(look)


def happened(bench: Plugged, name: str, begun: int = 0) -> list[str]:
    return [what for _, what in list(bench.simulators[name].happened)[begun:]]


def test_what_nobody_uses_is_read_and_a_job_has_it_at_once(monitored: Make, bench: Plugged) -> None:
    lab = monitored(printer=EVERY, smu=EVERY)
    assert readings(lab, "printer")["hotend"] == pytest.approx(21, abs=3)
    assert readings(lab, "smu")["volts"] == 0.0
    assert Instruments(lab.settings).states()["printer"] == "free"
    lab.start("Uses", "one", device="printer")
    energised(lab, "one")
    assert leases(lab).readers.of("printer") is None
    let_go(lab, "one")
    assert lab.ended("one").state is State.COMPLETED
    now = time.time()
    assert readings(lab, "printer", now)["hotend_target"] == 0.0
    assert reader(lab, "smu").process is not None


def test_a_line_stays_open_and_a_clean_yield_needs_no_making_safe(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    one = reader(lab, "smu")
    now = time.time()
    readings(lab, "smu", now + 1)
    assert reader(lab, "smu") == one, "it was opened anew"
    begun = bench.count("smu")
    held = DirectControl(lab.settings).take("smu", ADA, wait=PATIENCE)
    assert held.panel is not None and leases(lab).readers.of("smu") is None
    assert "output off" not in happened(bench, "smu", begun)


def test_what_is_in_hand_is_read_by_its_holder_and_kept_all_the_same(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    control = DirectControl(lab.settings)
    control.take("smu", ADA, wait=PATIENCE)
    control.set("smu", "volts", 3, ADA, wait=PATIENCE)

    def kept() -> bool:
        control.look("smu", ADA)
        return readings(lab, "smu").get("volts") == 3.0

    eventually(kept, every=0.2)
    assert leases(lab).readers.of("smu") is None


HANGS = """
import signal
import time

from labwaiter.instruments import Reading
from labwaiter.instruments.drivers import SourceMeter


class Hangs(SourceMeter):
    @property
    def never(self) -> Reading:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
        while True:
            time.sleep(1)
"""


USES = """
from typing import Annotated, Any

from benches import NS, Result, hold
from labwaiter import Driver, Job, service


@service("UsesIt", namespace=NS)
def startUsesIt(job: Job, device: Annotated[Any, Driver("_hangs:Hangs")]) -> Result:
    return hold(job, "done", device)
"""


@pytest.fixture
def hanging(monitored: Make, bench: Plugged, tmp_path: Path) -> Lab:
    """A lab in which a driver hangs while it is read, and heeds no signal."""
    lab = monitored()
    (tmp_path / "jobs.services" / "_hangs.py").write_text(HANGS)
    (tmp_path / "jobs.services" / "uses.py").write_text(USES)
    bench.write(smu=f'{EVERY}\nsafe = "itself"')
    driver = "labwaiter.instruments.drivers:SourceMeter"
    bench.toml.write_text(bench.toml.read_text().replace(driver, "_hangs:Hangs"))
    one = reader(lab, "smu")
    eventually(lambda: _blocks(one))
    return lab


@pytest.mark.slow
def test_a_driver_that_hangs_keeps_no_job_waiting_and_the_guard_judges(hanging: Lab, bench: Plugged) -> None:
    one, begun = reader(hanging, "smu"), bench.count("smu")
    assert one.process is not None
    hanging.start("UsesIt", "one", device="smu")
    energised(hanging, "one")
    told = happened(bench, "smu", begun)
    assert told.index("output off") < told.index("output on"), told
    assert gone(one.process.pid) and leases(hanging).readers.of("smu") is None
    let_go(hanging, "one")
    assert hanging.ended("one").state is State.COMPLETED


@pytest.mark.slow
def test_stop_waits_for_no_driver_that_hangs(hanging: Lab, bench: Plugged) -> None:
    one, begun, began = reader(hanging, "smu"), bench.count("smu"), time.monotonic()
    assert one.process is not None
    Instruments(hanging.settings).stop(["smu"], ADA)
    assert time.monotonic() - began < 8
    assert gone(one.process.pid)
    eventually(lambda: "output off" in happened(bench, "smu", begun))
    eventually(lambda: leases(hanging).of("smu") is None and leases(hanging).readers.of("smu") is None)


def _blocks(one: Reader) -> bool:
    """Whether it heeds no signal any more."""
    assert one.process is not None
    status = Path(f"/proc/{one.process.pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGUSR1 - 1))


def test_a_reader_that_is_killed_leaves_an_instrument_that_is_made_safe_first(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    one, begun = reader(lab, "smu"), bench.count("smu")
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGKILL)
    eventually(lambda: "output off" in happened(bench, "smu", begun))
    now = time.time()
    assert readings(lab, "smu", now)
    assert reader(lab, "smu") != one


def test_the_monitor_may_die_and_its_readers_let_go(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    one, begun = reader(lab, "smu"), bench.count("smu")
    assert one.process is not None
    monitor = int(Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    wait_gone(one.process.pid)
    now = time.time()
    assert readings(lab, "smu", now)
    assert "output off" not in happened(bench, "smu", begun), "a clean end needs no making safe"


def test_the_supervisor_may_die_and_the_next_one_has_it_read_again(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    one, begun = reader(lab, "smu"), bench.count("smu")
    assert one.process is not None
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(one.process.pid)
    assert lab.supervisor != supervisor
    now = time.time()
    assert readings(lab, "smu", now)
    assert "output off" not in happened(bench, "smu", begun)
    assert supervisor_client.stop(lab.settings, PATIENCE)
    assert leases(lab).readers.all() == [] and "output off" not in happened(bench, "smu", begun)


def test_what_is_unsafe_reserved_stopped_or_out_of_service_is_not_touched(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY, printer=EVERY, relays=EVERY, analyser=EVERY)
    verbs = Instruments(lab.settings)
    for name in ("smu", "printer", "relays", "analyser"):
        reader(lab, name)
    leases(lab).write(Lease("smu", Held.UNSAFE, why="It was silent."))
    verbs.reserve("printer", 600, ADA)
    verbs.take_out("relays", "a new board", ADA)
    assert [result.safe for result in verbs.stop(["analyser"], ADA)] == [True]
    eventually(lambda: not leases(lab).readers.all())
    counts = {name: bench.count(name) for name in ("smu", "printer", "relays")}
    time_of_two_ticks = time.monotonic() + 2
    eventually(lambda: time.monotonic() > time_of_two_ticks)
    assert counts == {name: bench.count(name) for name in counts} and not leases(lab).readers.all()
    lease = leases(lab).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE
    verbs.put_back("relays", ADA)
    reader(lab, "relays")


def test_whoever_asks_who_it_is_or_makes_it_safe_has_the_line(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    verbs = Instruments(lab.settings)
    readings(lab, "smu")
    (answer,) = verbs.check(["smu"], SHELL)
    assert answer.ok, answer
    reader(lab, "smu")
    (result,) = verbs.make_safe(["smu"], SHELL)
    assert result.safe, result
    assert leases(lab).of("smu") is None


def test_one_device_under_two_names_has_one_reader(monitored: Make, bench: Plugged) -> None:
    lab = monitored(smu=EVERY)
    readings(lab, "smu")
    with bench.toml.open("a") as toml:
        toml.write(
            '[instruments.again]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\n'
            f'port = "{bench.folder / "smu"}"\n{EVERY}\n'
        )
    eventually(lambda: set(reader(lab, "smu").names) == {"smu", "again"})
    assert len(leases(lab).readers.all()) == 1
    lab.start("Uses", "one", device="again")
    energised(lab, "one")
    with pytest.raises(InstrumentInUse):
        DirectControl(lab.settings).take("smu", ADA)
    let_go(lab, "one")
    assert lab.ended("one").state is State.COMPLETED
