"""Whose answer is it? Devices that acknowledge settings, or speak unasked, at drivers in the documents' own style."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwaiter.instruments import (
    Garbled,
    Instrument,
    InstrumentError,
    Lost,
    NotANumber,
    Overflow,
    control,
    number,
    reading,
)
from labwaiter.instruments.simulators import Simulator
from labwaiter.instruments.simulators.host import Host
from labwaiter.testing import Wires

HELLO = (b"*IDN?\n", b"ACME,PSU,1\r\n")


class Supply(Simulator):
    """A power supply that answers each setting, as many do, and whose output may refuse to go off."""

    def __init__(self, acknowledgement: str | None = "0", delay: float = 0.02) -> None:
        super().__init__(seed=1)
        self.acknowledgement, self.delay = acknowledgement, delay
        self.volts, self.on, self.welded = 0.0, True, False
        self.alarm = ""  # said once, before the next answer
        self.heard: list[str] = []
        self.answers = {"CURR?": "0.025"}

    def line(self, text: str) -> None:
        self.heard.append(text)
        word, _, value = text.partition(" ")
        if word == "VOLT":
            self.volts = float(value)
        elif word == "OUTP":
            self.on = self.welded or value == "1"
        told = {"*IDN?": "ACME,PSU,1", "VOLT?": f"{self.volts:.3f}", "OUTP?": f"{int(self.on)}", **self.answers}
        if self.alarm:
            self.say(self.alarm)
            self.alarm = ""
        if word.endswith("?"):
            self.say(told[word])
        elif self.acknowledgement is not None:
            self._out.append((self.clock + self.delay, (self.acknowledgement + "\r\n").encode()))

    def due(self) -> float:
        return self.period

    def is_safe(self) -> bool:
        return not self.on


class Driver(Instrument):
    """In the documents' own style."""

    identity: object = ("*IDN?", "ACME,PSU")
    timeout = 0.5
    volts = control("VOLT?", "VOLT {:.3f}", float, "V")
    current = reading("CURR?", float, "A")
    count = reading("CURR?", int)

    def make_safe(self) -> None:
        self.tell("OUTP 0")

    def is_safe(self) -> bool:
        return self.ask("OUTP?") == "0"


class Nameless(Driver):
    identity = None


class Acknowledged(Driver):
    acknowledgement = "0"
    unasked = "OVP ALARM.*"


@pytest.mark.parametrize("driver", [Driver, Nameless])
@pytest.mark.parametrize("acknowledgement", ["0", "", "OK", None])
@pytest.mark.parametrize("delay", [0.02, 0.3])
def test_an_acknowledgement_is_not_taken_for_the_next_answer(
    host: Host, port: Path, driver: type[Driver], acknowledgement: str | None, delay: float
) -> None:
    host.plug(port, Supply(acknowledgement, delay))
    supply = driver(str(port), name="supply")
    for volts in (3.0, 4.0, 5.0):
        supply.volts = volts
        assert supply.current == 0.025
        assert supply.volts == volts


@pytest.mark.parametrize("driver", [Driver, Nameless, Acknowledged])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.2])
def test_an_output_that_refuses_to_go_off_is_never_called_safe(
    host: Host, port: Path, driver: type[Driver], delay: float
) -> None:
    device = Supply("0", delay)
    device.welded = True
    host.plug(port, device)
    supply = driver(str(port), name="supply")
    supply.make_safe()
    supply.tell("OUTP 0")
    assert supply.confirmed_safe() is False
    device.welded = False
    supply.make_safe()
    assert supply.confirmed_safe() is True and device.is_safe()
    supply.close()
    with pytest.raises(InstrumentError, match="says that it is not"), driver(str(port), name="again"):
        device.on = device.welded = True


def test_what_it_says_unasked_is_dropped_before_a_question_and_stands_in_the_transcript(
    host: Host, port: Path, tmp_path: Path
) -> None:
    device = Supply(None)
    host.plug(port, device)
    supply = Driver(str(port), name="supply", transcript=tmp_path / "line.txt")
    device.say("OVP ALARM")
    supply.pause(0.1)  # it has arrived by then
    assert supply.current == 0.025
    assert "x OVP ALARM" in (tmp_path / "line.txt").read_text()


def test_after_an_answer_that_made_no_sense_the_next_ones_are_not_shifted(host: Host, port: Path) -> None:
    device = Supply(None)
    host.plug(port, device)
    supply = Driver(str(port), name="supply")
    device.alarm = "OVP ALARM"
    with pytest.raises(Garbled, match="OVP ALARM"):
        _ = supply.current
    supply.volts = 7
    assert [supply.volts, supply.current, supply.volts] == [7, 0.025, 7]


def test_declared_lines_are_events_wherever_they_come(host: Host, port: Path) -> None:
    device = Supply("0")
    host.plug(port, device)
    supply = Acknowledged(str(port), name="supply")
    device.alarm = "OVP ALARM 1"
    assert supply.current == 0.025
    device.alarm = "OVP ALARM 2"
    supply.volts = 2
    device.say("OVP ALARM 3")
    supply.pause(0.1)
    assert supply.volts == 2
    assert [text for _, text in supply.events] == ["OVP ALARM 1", "OVP ALARM 2", "OVP ALARM 3"]


def test_an_acknowledgement_that_is_another_is_told(wire: Wires) -> None:
    refused = [HELLO, (b"VOLT 3.000\n", b"ERR -222\r\n"), HELLO, (b"CURR?\n", b"0.025\r\n")]
    supply = Acknowledged(wire(refused), name="supply")
    with pytest.raises(Garbled, match="supply: told VOLT 3.000, it answered “ERR -222” instead of 0"):
        supply.volts = 3
    assert supply.current == 0.025


def test_a_setting_can_name_its_own_acknowledgement(wire: Wires) -> None:
    class Own(Driver):
        acknowledgement = False
        limit = control("VOLT?", "VOLT {:.1f}", float, acknowledgement="0")

    known = [HELLO, (b"VOLT 3.0\n", b"0\r\n"), (b"VOLT 4\n", b"0\r\n"), (b"VOLT?\n", b"4.000\r\n")]
    supply = Own(wire(known), name="supply")  # nothing is asked in between
    supply.limit = 3
    supply.tell("VOLT 4", acknowledgement=r"\d")
    assert supply.limit == 4


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), ("+1.500000E-03", 0.0015), ("-5", -5), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("+ 1", None)]
    + [(text, None) for text in ("1_000", "0x10", "٣", "1,5", "1.5 V", "", "--", "1e", "nanometre")],
)
def test_a_number_is_what_devices_write_for_one(wire: Wires, text: str, value: float | None) -> None:
    supply = Driver(wire([HELLO, (b"CURR?\n", f"{text}\r\n".encode())]), name="supply")
    if value is None:
        with pytest.raises(Garbled, match="supply: asked CURR.*, which is no current"):
            _ = supply.current
    else:
        assert supply.current == value


@pytest.mark.parametrize(
    ("text", "error"),
    [("9.9E37", Overflow), ("+9.900000E+37", Overflow), ("-9.9E+37", Overflow), ("INF", Overflow), ("-inf", Overflow)]
    + [("9.91E+37", NotANumber), ("+9.910000E+37", NotANumber), ("NAN", NotANumber), ("1e400", Overflow)],
)
def test_sentinels_are_no_data(wire: Wires, text: str, error: type[InstrumentError]) -> None:
    supply = Driver(wire([HELLO, (b"CURR?\n", f"{text}\r\n".encode())]), name="supply")
    with pytest.raises(error, match="supply: its current (is out of its range|has no value): asked CURR"):
        _ = supply.current
    with pytest.raises(error):
        number(text)


def test_a_whole_number_is_one(wire: Wires) -> None:
    supply = Driver(wire([HELLO, (b"CURR?\n", b"+12\r\n"), (b"CURR?\n", b"1_2\r\n")]), name="supply")
    assert supply.count == 12
    with pytest.raises(Garbled):
        _ = supply.count


# -- after a line was lost and is back ----------------------------------------------------------


@pytest.mark.parametrize(
    ("volts", "now", "fine"),
    [(0.0034, None, True), (5, None, True), (5, 4.98, True), (5, 0.0, False), (0.0034, 0.0, False)],
)
def test_what_was_sent_is_what_is_compared(host: Host, port: Path, volts: float, now: float | None, fine: bool) -> None:
    device = Supply("0")
    host.plug(port, device)
    supply = Acknowledged(str(port), name="supply")
    supply.volts = volts
    host.unplug(port)
    if now is not None:
        device.volts = now
    host.plug(port, device)
    if fine:
        assert supply.current == 0.025
    else:
        with pytest.raises(Lost, match="its volts is 0.0 instead of"):
            _ = supply.current


def test_nothing_more_is_said_to_a_device_that_is_another(host: Host, port: Path) -> None:
    host.plug(port, Supply("0"))
    supply = Acknowledged(str(port), name="supply")
    host.unplug(port)
    other = Supply("0")
    other.answers["*IDN?"] = "ACME,LASER,1"
    host.plug(port, other)
    for _ in range(3):
        with pytest.raises(InstrumentError, match="expected a device that answers"):
            _ = supply.current
        with pytest.raises(InstrumentError, match="expected a device that answers"):
            supply.make_safe()
    assert other.heard == ["*IDN?"]
