"""Ventilation: the fan's relay and the analyser together; the chamber is the simulator's."""

from __future__ import annotations

import pytest

from labwaiter.errors import InvalidParameter, UnknownInstrument
from labwaiter.instruments.simulators import Relays, Sba5
from labwaiter.testing import Lab


@pytest.fixture
def board(lab: Lab) -> Relays:
    """The relay board, whose first relay's fan ventilates the analyser's chamber."""
    relays, analyser = lab.simulators["relays"], lab.simulators["co2"]
    assert isinstance(relays, Relays) and isinstance(analyser, Sba5)
    analyser.ppm, analyser.rise, analyser.interval = 900.0, 40.0, 0.05
    return relays


def test_each_cycle_s_slope_is_that_of_the_chamber_and_the_fan_is_off_at_the_end(lab: Lab, board: Relays) -> None:
    aired = lab.run("Ventilation", fan=1, cycles=2, ventilate=1, measure=2)
    slopes = [float(word) for word in aired.outputs["slopes"].split()]
    assert len(slopes) == 2 and slopes == pytest.approx([40, 40], rel=0.2)
    assert aired.outputs["meanSlope"] == pytest.approx(sum(slopes) / 2, abs=0.01)
    assert 420 < aired.outputs["finalConcentration"] < 1100
    assert aired.outputs["trace"] == f"{aired.service_id}/record.csv"
    assert [what for _, what in board.happened] == ["relay 1 on", "relay 1 off"] * 2
    assert list(aired.rows[0]) == ["time / s", "co2 / ppm", "fan", "cycle", "slope / ppm/s"]
    assert {row["fan"] for row in aired.rows if row["co2 / ppm"]} == {"1", "0"}
    told = [float(row["slope / ppm/s"]) for row in aired.rows if row["slope / ppm/s"]]
    assert told == pytest.approx(slopes, abs=0.01)


def test_however_it_ends_no_relay_stays_on(lab: Lab, board: Relays) -> None:
    endings = lab.endings("Ventilation", fan=1, cycles=1, ventilate=2, measure=2)
    endings.assert_safe()
    assert all(ending.live == ("relays",) for ending in endings if ending.struck)


def test_a_silent_analyser_fails_it_and_no_relay_stays_on(lab: Lab, board: Relays) -> None:
    aired = lab.start("Ventilation", fan=1, ventilate=600)
    aired.wait_for("ventilating")
    assert board.closed[0]
    lab.simulators["co2"].moods.add("silent")
    aired.join()
    assert aired.failed and "co2" in str(aired.error) and board.is_safe()


def test_a_welded_relay_is_told_and_held_until_somebody_has_looked(lab: Lab, board: Relays) -> None:
    aired = lab.start("Ventilation", fan=1, ventilate=2)
    aired.wait_for("ventilating")
    board.stuck.add(1)
    aired.join()
    assert any("welded" in what for _, what in board.happened)
    assert aired.error == "relays: relay 1 does not switch off. Afterwards relays could not be made safe."
    with pytest.raises(AssertionError, match="relays may not be left alone, by its own record: .*relay 1 is welded"):
        aired.assert_safe()


def test_a_caller_s_mistakes_are_told_before_anything_moves(lab: Lab, board: Relays) -> None:
    with pytest.raises(InvalidParameter, match="The input fan must be between 1 and 8, not “9”."):
        lab.start("Ventilation", fan="9")
    with pytest.raises(InvalidParameter):
        lab.start("Ventilation", cycles="0")
    with pytest.raises(InvalidParameter, match="The input ventilate must be between 1 and 3600 s, not “0.5”."):
        lab.start("Ventilation", ventilate="0.5")
    with pytest.raises(UnknownInstrument, match="those that fit: relays"):
        lab.start("Ventilation", relays="co2")
    with pytest.raises(UnknownInstrument):
        lab.start("Ventilation", analyser="nose")
    assert lab.executions() == [] and board.happened == []
