"""Sweep measures what stands between the clamps, and says where it could not."""

from __future__ import annotations

from typing import Any

import pytest

from labwaiter.errors import InvalidParameter, UnknownInstrument
from labwaiter.instruments.simulators import Smu
from labwaiter.testing import Lab


@pytest.fixture
def meter(lab: Lab) -> Smu:
    found = lab.simulators["sourcemeter"]
    assert isinstance(found, Smu)
    return found


def test_a_resistor_is_found_with_its_curve_in_units(lab: Lab, meter: Smu) -> None:
    swept = lab.run("Sweep", startVolts=2, stopVolts=-2, points=11)
    assert swept.outputs["resistance"] == pytest.approx(1000, rel=0.01)
    assert swept.outputs["straightness"] > 0.999 and swept.outputs["limited"] == 0
    assert swept.outputs["curve"] == f"{swept.service_id}/record.csv"
    assert list(swept.rows[0]) == ["time / s", "voltage / V", "current / A", "limited"]
    volts = [float(row["voltage / V"]) for row in swept.rows]
    assert volts == pytest.approx([2 - 0.4 * n for n in range(11)])
    assert [float(row["current / A"]) for row in swept.rows] == pytest.approx([v / 1000 for v in volts], abs=5e-6)
    swept.assert_safe()
    assert meter.volts == 0
    assert swept.files["plot.png"].stat().st_size > 5000


def test_where_the_compliance_limits_it_the_page_and_the_file_say_so(lab: Lab) -> None:
    swept = lab.run("Sweep", startVolts=0, stopVolts=10, points=6, compliance=0.005)
    assert swept.outputs["limited"] == 3 and swept.outputs["resistance"] == pytest.approx(1000, rel=0.02)
    assert [row["limited"] for row in swept.rows] == ["0", "0", "0", "1", "1", "1"]
    assert "3 points limited by the compliance of 0.005 A" in swept.stage


def test_a_diode_is_no_resistor_and_its_straightness_says_so(lab: Lab, meter: Smu) -> None:
    meter.part = "diode"
    assert lab.run("Sweep", startVolts=-1, stopVolts=0.9, points=20).outputs["straightness"] < 0.8


def test_a_short_circuit_fails_with_what_to_do(lab: Lab) -> None:
    swept = lab.run("Sweep", startVolts=50, stopVolts=200, points=3, compliance=0.001)
    assert swept.failed and swept.error is not None
    assert "3 of 3 points were limited by the compliance of 0.001 A" in swept.error and "Raise it" in swept.error
    swept.assert_safe()


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"startVolts": "211"}, InvalidParameter, "startVolts must be between -210 and 210 V, not “211"),
        ({"stopVolts": "volts"}, InvalidParameter, "stopVolts must be a number"),
        ({"points": "1"}, InvalidParameter, "points must be between 2 and 10000"),
        ({"compliance": "0"}, InvalidParameter, "compliance must be between 1e-09 and 1.05 A"),
        ({"startVolts": "1", "stopVolts": "1.0"}, InvalidParameter, "are both 1 V: a curve needs two ends"),
        ({"sourceMeter": "keithley"}, UnknownInstrument, "names no instrument of this lab: “keithley”"),
        ({"sourceMeter": "relays"}, UnknownInstrument, "of another kind than sourceMeter needs; .*: sourcemeter"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_caller_s_mistake_is_told_before_anything_moves(
    lab: Lab, meter: Smu, inputs: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        lab.start("Sweep", **inputs)
    assert lab.executions() == [] and meter.happened == []


def test_a_workflow_manager_hears_the_same(lab: Lab, meter: Smu) -> None:
    with pytest.raises(InvalidParameter, match="startVolts must be between -210 and 210 V, not “211"):
        lab.by_soap.start("Sweep", startVolts=211)
    with pytest.raises(UnknownInstrument, match="those that fit: sourcemeter"):
        lab.by_soap.start("Sweep", sourceMeter="relays")
    assert lab.executions() == [] and meter.happened == []
    swept = lab.by_soap.run("Sweep", startVolts=-2, stopVolts=2, points=5)
    assert swept.outputs["resistance"] == pytest.approx(1000, rel=0.01)


def test_however_it_ends_the_output_is_off(lab: Lab) -> None:
    lab.endings("Sweep", points=200).assert_safe()
