"""Sweep measures what stands between the clamps, and says where it could not."""

from __future__ import annotations

import csv

import pytest

from benchlab import Plugged
from callers import Caller, envelope
from lab import Lab
from labwaiter.instruments.simulators import Smu
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

NS = "http://labwaiter.example/sweep/"


def meter(bench: Plugged) -> Smu:
    found = bench.simulators["smu"]
    assert isinstance(found, Smu)
    return found


def rows(lab: Lab) -> list[list[str]]:
    with open(lab.folder("one") / "data" / "record.csv", newline="") as file:
        return list(csv.reader(file))


def test_a_resistor_is_found_with_its_curve_in_units(shop: Lab, bench: Plugged) -> None:
    shop.start("Sweep", "one", startVolts=2, stopVolts=-2, points=11)
    record = shop.ended("one")
    assert record.outputs is not None, record.why
    assert record.outputs["resistance"] == pytest.approx(1000, rel=0.01)
    assert record.outputs["straightness"] > 0.999 and record.outputs["limited"] == 0
    assert record.outputs["curve"] == "one/record.csv"
    head, *measured = rows(shop)
    assert head == ["time / s", "voltage / V", "current / A", "limited"]
    assert [float(row[1]) for row in measured] == pytest.approx([2 - 0.4 * n for n in range(11)])
    assert all(float(row[2]) == pytest.approx(float(row[1]) / 1000, abs=5e-6) for row in measured)
    assert meter(bench).is_safe() and meter(bench).volts == 0
    assert (shop.folder("one") / "data" / "plot.png").stat().st_size > 5000


def test_where_the_compliance_limits_it_the_page_and_the_file_say_so(shop: Lab, bench: Plugged) -> None:
    shop.start("Sweep", "one", startVolts=0, stopVolts=10, points=6, compliance=0.005)
    record = shop.ended("one")
    assert record.outputs is not None, record.why
    assert record.outputs["limited"] == 3 and record.outputs["resistance"] == pytest.approx(1000, rel=0.02)
    assert [row[3] for row in rows(shop)[1:]] == ["0", "0", "0", "1", "1", "1"]
    assert "3 points limited by the compliance of 0.005 A" in shop.status_progress("one").stage


def test_a_diode_is_no_resistor_and_its_straightness_says_so(shop: Lab, bench: Plugged) -> None:
    meter(bench).part = "diode"
    shop.start("Sweep", "one", startVolts=-1, stopVolts=0.9, points=20)
    record = shop.ended("one")
    assert record.outputs is not None, record.why
    assert record.outputs["straightness"] < 0.8


def test_a_short_circuit_fails_with_what_to_do(shop: Lab, bench: Plugged) -> None:
    shop.start("Sweep", "one", startVolts=50, stopVolts=200, points=3, compliance=0.001)
    record = shop.ended("one")
    assert record.state is State.FAILED
    assert "3 of 3 points were limited by the compliance of 0.001 A" in record.why and "Raise it" in record.why
    assert meter(bench).is_safe()


@pytest.mark.parametrize(
    ("texts", "code", "words"),
    [
        ({"startVolts": "211"}, "InvalidParameter", "startVolts must be between -210 and 210 V, not “211"),
        ({"stopVolts": "volts"}, "InvalidParameter", "stopVolts must be a number"),
        ({"points": "1"}, "InvalidParameter", "points must be between 2 and 10000"),
        ({"compliance": "0"}, "InvalidParameter", "compliance must be between 1e-09 and 1.05 A"),
        ({"startVolts": "1", "stopVolts": "1.0"}, "InvalidParameter", "are both 1 V: a curve needs two ends"),
        ({"sourceMeter": "keithley"}, "UnknownInstrument", "names no instrument of this lab: “keithley”"),
        ({"sourceMeter": "relays"}, "UnknownInstrument", "of another kind than sourceMeter needs; those that fit: smu"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_caller_s_mistake_is_told_before_anything_moves(
    shop: Lab, bench: Plugged, texts: dict[str, str], code: str, words: str
) -> None:
    reply = Caller(shop)("/Sweep", envelope("startSweep", ns=NS, serviceID="one", sessionToken="t", **texts))
    assert reply["errorCode"] == code and words in reply["description"]
    assert reply["faultcode"].endswith(f"Client.{code}") and list(shop.jobs.list(SHELL)) == []
    assert meter(bench).happened == []


def test_an_abort_switches_the_output_off(shop: Lab, bench: Plugged) -> None:
    shop.start("Sweep", "one", points=10_000)
    shop.when("one", lambda: shop.status_progress("one").fraction)
    assert shop.jobs.abort(shop.services["Sweep"], "one", SHELL, wait=20) is True
    assert shop.record("one").state is State.ABORTED and meter(bench).is_safe()
