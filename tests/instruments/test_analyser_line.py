"""The analyser speaks at its own pace: what is old, damaged or not there yet is no measurement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import eventually
from labwaiter.instruments import Garbled, InstrumentError, Silent, WrongDevice
from labwaiter.instruments.drivers import CO2Analyser
from labwaiter.instruments.simulators import Sba5, Smu
from labwaiter.instruments.simulators.host import Host


class Hasty(CO2Analyser):
    """Does not wait long."""

    timeout, stale = 0.5, 1.0


@pytest.fixture
def sim(host: Host, port: Path) -> Sba5:
    simulator = Sba5(seed=1, interval=0.05)
    host.plug(port, simulator)
    return simulator


@pytest.fixture
def analyser(sim: Sba5, port: Path) -> Iterator[Hasty]:
    one = Hasty(str(port), name="co2")
    yield one
    one.close()


def test_it_measures_with_unit_and_age(analyser: Hasty) -> None:
    co2 = analyser.co2
    assert 400 < co2 < 600 and co2.unit == "ppm" and co2.age < 60
    assert analyser.pressure == 1013 and analyser.pressure.unit == "mbar"


def test_what_lay_in_the_line_for_long_is_not_taken_for_fresh(sim: Sba5, analyser: Hasty) -> None:
    _ = analyser.co2
    before = sim.clock
    eventually(lambda: sim.clock > before + 0.5)
    sim.moods.add("silent")  # its last lines lie in the line; nobody knows how old they are
    eventually(lambda: time.monotonic() - analyser._looked > 1.6)
    with pytest.raises(Silent):
        _ = analyser.co2


def test_a_damaged_line_is_passed_over(sim: Sba5, analyser: Hasty) -> None:
    sim.disturbed = 3
    for _ in range(5):
        assert 400 < analyser.co2 < 600
        analyser._co2 = None
    assert sim.disturbed == 0


@pytest.mark.parametrize("line", ["M 50885 480", "M 50885", "M 50885 48094 4", "M 50885 4809@ 42", "M", "MM 1 2 3.0"])
def test_a_line_that_is_cut_short_is_no_measurement(analyser: Hasty, line: str) -> None:
    _ = analyser.co2
    before = analyser._co2
    analyser._hear(line)
    assert analyser._co2 is before


def test_nothing_but_damaged_lines_is_told(sim: Sba5, analyser: Hasty) -> None:
    sim.disturbed = 10_000
    sim._measured = lambda: "M 50885 48094 4x0.2 55.0"  # type: ignore[method-assign]
    eventually(lambda: time.monotonic() - analyser._looked > 1.6)
    with pytest.raises(Garbled, match="co2 sent “M 50885 48094 4x0.2 55.0”, which is no measurement"):
        _ = analyser.co2


def test_lines_that_were_shortened_have_a_co2_and_no_pressure(sim: Sba5, analyser: Hasty) -> None:
    sim._measured = lambda: "M 421.5 55.0"  # type: ignore[method-assign]
    eventually(lambda: analyser.co2 == 421.5)
    with pytest.raises(InstrumentError, match="shortened lines, without its pressure"):
        _ = analyser.pressure


def test_where_it_sends_seldom_it_is_asked(sim: Sba5, analyser: Hasty) -> None:
    sim.streams = False
    eventually(lambda: time.monotonic() - analyser._looked > 1.6)
    assert 400 < analyser.co2 < 600
    assert sim.happened[-1][1] == "command M"


def test_while_it_zeroes_itself_that_is_waited_for(sim: Sba5, analyser: Hasty) -> None:
    analyser.zero()
    eventually(lambda: time.monotonic() - analyser._looked > 1.6)
    assert 400 < analyser.co2 < 600
    sim._zeroing = 10_000
    analyser.__class__.zero_seconds = 1.0
    eventually(lambda: time.monotonic() - analyser._looked > 1.6)
    with pytest.raises(InstrumentError, match="co2 zeroes itself without an end"):
        _ = analyser.co2


def test_one_that_warms_up_says_so(host: Host, port: Path) -> None:
    host.plug(port, Sba5(seed=1, interval=0.05, warm=False))
    with pytest.raises(InstrumentError, match="co2 is warming up: its cell has 4.* °C of 55 °C"):
        _ = Hasty(str(port), name="co2").co2


def test_a_command_that_is_not_acknowledged_is_told(sim: Sba5, analyser: Hasty) -> None:
    sim.moods.add("garbage")
    with pytest.raises(Silent, match="co2 did not acknowledge Z within 0.5 s; it said “"):
        analyser.zero()


def test_another_device_is_no_analyser(host: Host, port: Path) -> None:
    host.plug(port, Smu(seed=1))
    with pytest.raises((WrongDevice, Silent), match="co2"):
        Hasty(str(port), name="co2")


def test_it_goes_on_after_it_was_unplugged(host: Host, sim: Sba5, analyser: Hasty) -> None:
    _ = analyser.co2
    host.unplug(Path(analyser.line.url))
    host.plug(Path(analyser.line.url), sim)
    eventually(lambda: 400 < analyser.co2 < 600 and [what for _, what in sim.happened].count("command ?") == 2)
