"""Faults on a line, at the driver: on real ptys, with simulators that misbehave on command."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labwaiter.instruments import Garbled, InstrumentError, Lost, Overflow, Reading, Silent, WrongDevice
from labwaiter.instruments.drivers import RelayBoard, SourceMeter
from labwaiter.instruments.simulators import Relays, Smu
from labwaiter.instruments.simulators.host import Host


@pytest.fixture
def smu(host: Host, port: Path) -> Smu:
    simulator = Smu(seed=1)
    host.plug(port, simulator)
    return simulator


class Hasty(SourceMeter):
    """Does not wait long."""

    timeout = 0.4


def later(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# -- unplugged ----------------------------------------------------------------------------------


def test_work_goes_on_when_it_is_plugged_in_again(host: Host, port: Path, smu: Smu, tmp_path: Path) -> None:
    transcript = tmp_path / "smu.line.txt"
    meter = SourceMeter(str(port), name="smu", transcript=transcript)
    meter.volts = 5
    meter.output(True)
    host.unplug(port)
    back = later(lambda: host.plug(port, smu))
    assert meter.volts == 5  # what asks is what waits
    back.join()
    said = transcript.read_text()
    assert said.count("> *IDN?") == 2 and "-- lost" in said  # who answers was asked again
    meter.close()


def test_one_that_does_not_come_back_is_named(host: Host, port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port), name="smu", reconnect=0.5)
    host.unplug(port)
    with pytest.raises(Lost, match=r"smu was lost and did not come back within 0.5 s. smu: its port is not there"):
        _ = meter.volts


def test_another_device_that_is_plugged_in_meanwhile_is_not_driven(host: Host, port: Path, smu: Smu) -> None:
    meter = Hasty(str(port), name="smu")
    host.unplug(port)
    other = Relays(seed=1)
    host.plug(port, other)
    with pytest.raises(WrongDevice, match="smu: expected a device that answers .* got “ERR”"):
        _ = meter.volts
    with pytest.raises(WrongDevice):
        meter.volts = 7
    assert other.happened == []


def test_one_that_was_switched_off_meanwhile_is_not_measured_with(host: Host, port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port), name="smu")
    meter.volts = 5
    meter.output(True)
    host.unplug(port)
    host.plug(port, Smu(seed=1))  # as after its power was cut: 0 V, output off
    with pytest.raises(Lost, match="smu is back, but its volts is 0.0 instead of 5: was it switched off?"):
        _ = meter.current


def test_an_output_that_is_off_when_it_is_back_is_noticed(host: Host, port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port), name="smu")
    meter.output(True)
    host.unplug(port)
    smu.on = False
    host.plug(port, smu)
    with pytest.raises(Lost, match="its output is off"):
        _ = meter.current


def test_relays_that_fell_off_meanwhile_are_noticed(host: Host, port: Path) -> None:
    host.plug(port, Relays(seed=1))
    board = RelayBoard(str(port), name="relays")
    board.switch(3, True)
    host.unplug(port)
    host.plug(port, Relays(seed=1))
    with pytest.raises(Lost, match="its relays aren't as they were"):
        board.states()


def test_a_driver_of_seven_bits_and_parity_finds_its_simulator_again(host: Host, port: Path, smu: Smu) -> None:
    class Old(SourceMeter):
        line_settings = {"baudrate": 4800, "bytesize": 7, "parity": "E"}

    for _ in range(3):
        meter = Old(str(port), name="smu")
        assert meter.volts == 0
        meter.close()


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "error", "words"),
    [
        ("silent", Silent, r"smu did not answer SOUR:VOLT\? within 0.4 s"),
        ("garbage", Garbled, r"smu: asked SOUR:VOLT\?, it answered “.*”, which is no volts"),
        ("drip", Silent, r"did not answer SOUR:VOLT\? within 0.4 s; it only sent “"),
        ("flood", Garbled, "sends without end and without a line's end"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(
    port: Path, smu: Smu, mood: str, error: type[Exception], words: str
) -> None:
    meter = Hasty(str(port), name="smu")
    if mood == "flood":
        meter.__dict__["timeout"] = 60.0  # it ends by its length, not by the clock
    smu.moods.add(mood)
    with pytest.raises(error, match=words):
        _ = meter.volts


def test_a_late_answer_is_not_taken_for_the_next_question_s(port: Path, smu: Smu) -> None:
    meter = Hasty(str(port), name="smu")
    meter.volts = 5
    smu.moods.add("late")
    smu.lateness = 0.6
    with pytest.raises(Silent):
        _ = meter.volts
    smu.moods.clear()
    assert meter.compliance == pytest.approx(0.1)  # and not 5
    assert meter.volts == 5


def test_a_late_identity_is_not_taken_for_the_next_answer(port: Path, smu: Smu) -> None:
    meter = Hasty(str(port), name="smu")
    smu.moods.add("late")
    smu.lateness = 0.6
    with pytest.raises(Silent):
        meter.ask("*IDN?")
    smu.moods.clear()
    assert meter.ask("OUTP?") == "0"


def test_what_lay_in_the_line_before_is_dropped(host: Host, port: Path) -> None:
    chatty = Smu(seed=1)
    chatty.say("1.234E+0")  # half a minute old: somebody else had asked
    chatty.say("noise")
    host.plug(port, chatty)
    meter = SourceMeter(str(port), name="smu")
    assert meter.volts == 0
    meter.close()


def test_an_overflow_is_no_measurement(port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port), name="smu")
    smu.current = lambda: -9.9e37  # type: ignore[method-assign]
    smu.random.gauss = lambda mean, _: mean  # type: ignore[method-assign]
    with pytest.raises(Overflow, match=r"smu: its current is out of its range: asked READ\?, it answered “.*-9.9"):
        _ = meter.current


def test_a_reading_knows_its_unit_and_its_age(port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port))
    amps = meter.current
    assert isinstance(amps, Reading) and amps.unit == "A" and 0 <= amps.age < 60


# -- what is set --------------------------------------------------------------------------------


@pytest.mark.parametrize("volts", [211, -1e9, float("nan"), float("inf"), "5", True, None, [1]])
def test_what_is_over_a_limit_is_never_sent(port: Path, smu: Smu, volts: object) -> None:
    meter = SourceMeter(str(port), name="smu")
    with pytest.raises(InstrumentError, match="smu: volts must be a number from -210 to 210 V, not "):
        meter.volts = volts  # type: ignore[assignment]
    assert meter.ask("*IDN?") and smu.happened == []


def test_the_limits_hold_for_numpy_s_numbers(port: Path, smu: Smu) -> None:
    numpy = pytest.importorskip("numpy")
    meter = SourceMeter(str(port), name="smu")
    with pytest.raises(InstrumentError, match="not 900"):
        meter.volts = numpy.int64(900)
    meter.volts = numpy.float32(4)
    assert meter.volts == 4


def test_an_attribute_that_it_does_not_have_is_refused(port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port))
    with pytest.raises(AttributeError, match="SourceMeter has no vlots; what can be set: volts, compliance"):
        meter.vlots = 3
    with pytest.raises(InstrumentError, match="current can only be read"):
        meter.current = 3.0


def test_its_error_queue_is_told(port: Path, smu: Smu) -> None:
    meter = SourceMeter(str(port), name="smu")
    meter.tell("SOUR:VLOT 3")
    with pytest.raises(InstrumentError, match='smu reports the error -113,"Undefined header"'):
        meter.output(True)


# -- how it is used -----------------------------------------------------------------------------


def test_what_check_raises_ends_any_wait(port: Path, smu: Smu) -> None:
    class Stop(BaseException):
        pass

    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stop

    meter = SourceMeter(str(port), check=check)
    meter.__dict__["timeout"] = 3600.0
    smu.moods.add("silent")
    setting = later(stop.set)
    with pytest.raises(Stop):
        _ = meter.volts
    setting.join()


def test_the_transcript_is_bounded_and_has_the_end(
    port: Path, smu: Smu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwaiter.instruments.line.TRANSCRIPT_MAX", 2000)
    transcript = tmp_path / "smu.line.txt"
    meter = SourceMeter(str(port), transcript=transcript)
    for number in range(100):
        meter.volts = number
    before = tmp_path / "smu.line.before.txt"
    assert transcript.stat().st_size <= 2100 and before.stat().st_size <= 2100
    assert "SOUR:VOLT 99" in before.read_text() + transcript.read_text()
