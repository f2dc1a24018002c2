"""What our drivers say on the line, word for word as the devices' manuals have it."""

from __future__ import annotations

import pytest

from labwaiter.instruments import InstrumentError
from labwaiter.instruments.drivers import RelayBoard, SourceMeter
from labwaiter.testing import Wires

METER = [
    (b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 2400,1,C30\n"),
    (b"FORM:ELEM VOLT,CURR\n", None),
    (b"*CLS\n", None),
]
BOARD = [(b"ID\n", b"RELAY8 V2.1\r\n")]


def test_a_source_meter_is_set_switched_on_measured_and_switched_off(wire: Wires) -> None:
    one = SourceMeter(
        wire(
            [
                *METER,
                (b"SENS:CURR:PROT 0.010000000\n", None),
                (b"SOUR:VOLT -1.500000\n", None),
                (b"OUTP ON\n", None),
                (b"SYST:ERR?\n", b'0,"No error"\n'),
                (b"READ?\n", b"-1.500012E+00,-1.500340E-03\n"),
                (b"SENS:CURR:PROT:TRIP?\n", b"0\n"),
                (b"OUTP OFF\n", None),
                (b"SOUR:VOLT 0\n", None),
                (b"OUTP?\n", b"0\n"),
                (b"OUTP?\n", b"0\n"),
            ]
        )
    )
    with one as meter:
        meter.compliance = 0.01
        meter.volts = -1.5
        meter.output(True)
        assert meter.current == pytest.approx(-0.00150034)
        assert not meter.tripped


def test_one_that_reports_an_error_is_told(wire: Wires) -> None:
    meter = SourceMeter(
        wire([*METER, (b"OUTP ON\n", None), (b"SYST:ERR?\n", b'+802,"Output blocked by interlock"\n')]), name="meter"
    )
    with pytest.raises(InstrumentError, match='meter reports the error \\+802,"Output blocked by interlock"'):
        meter.output(True)


def test_a_relay_is_switched_and_asked_and_all_are_off_at_the_end(wire: Wires) -> None:
    one = RelayBoard(
        wire(
            [
                *BOARD,
                (b"ON 3\n", b"OK\r\n"),
                (b"STATE\n", b"00100000\r\n"),
                (b"ALL OFF\n", b"OK\r\n"),
                (b"STATE\n", b"00000000\r\n"),
                (b"STATE\n", b"00000000\r\n"),
            ]
        )
    )
    with one as board:
        board.switch(3, True)


def test_what_a_sweep_and_its_instrument_said_once_is_said_again(wire: Wires) -> None:
    """Recorded by `labwaiter instruments record` of a Sweep from -1 to 1 V with 3 points."""
    meter = SourceMeter(wire("sweep.wire.txt"))
    meter.compliance = 0.1
    meter.volts = -1.0
    meter.output(True)
    measured = []
    for volts in (-1.0, 0.0, 1.0):
        meter.volts = volts
        measured.append(float(meter.current))
        assert not meter.tripped
    meter.output(False)
    meter.make_safe()
    assert measured == pytest.approx([-0.001, 0, 0.001], abs=2e-6)
