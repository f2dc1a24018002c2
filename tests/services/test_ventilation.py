"""Ventilation: the fan's relay and the analyser together; the chamber is the simulator's."""

from __future__ import annotations

import csv
import os
import signal

import pytest

from benchlab import Plugged
from callers import Caller, envelope
from lab import Lab, eventually
from labwaiter.instruments.simulators import Relays, Sba5
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

NS = "http://labwaiter.example/ventilation/"


@pytest.fixture
def board(bench: Plugged) -> Relays:
    """The relay board, whose third relay's fan ventilates the analyser's chamber."""
    relays, analyser = bench.simulators["relays"], bench.simulators["analyser"]
    assert isinstance(relays, Relays) and isinstance(analyser, Sba5)
    analyser.ventilated = lambda: relays.closed[2]
    analyser.ppm, analyser.rise = 900.0, 40.0
    return relays


def test_each_cycle_s_slope_is_that_of_the_chamber_and_the_fan_is_off_at_the_end(
    shop: Lab, bench: Plugged, board: Relays
) -> None:
    shop.start("Ventilation", "one", fan=3, cycles=2, ventilate=1, measure=2)
    record = shop.ended("one")
    assert record.outputs is not None, record.why
    slopes = [float(word) for word in record.outputs["slopes"].split()]
    assert len(slopes) == 2 and slopes == pytest.approx([40, 40], rel=0.2)
    assert record.outputs["meanSlope"] == pytest.approx(sum(slopes) / 2, abs=0.01)
    assert 420 < record.outputs["finalConcentration"] < 1100 and record.outputs["trace"] == "one/record.csv"
    assert [what for _, what in board.happened] == ["relay 3 on", "relay 3 off"] * 2
    with open(shop.folder("one") / "data" / "record.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["time / s", "co2 / ppm", "fan", "cycle", "slope / ppm/s"]
    assert {row[2] for row in rows if row[1]} == {"1", "0"}
    assert [float(row[4]) for row in rows if row[4]] == pytest.approx(slopes, abs=0.01)


@pytest.mark.parametrize("ending", ["abort", "kill -9", "a silent analyser", "a welded relay"])
def test_however_it_ends_no_relay_stays_on(shop: Lab, bench: Plugged, board: Relays, ending: str) -> None:
    shop.start("Ventilation", "one", fan=3, ventilate=2 if ending == "a welded relay" else 600)
    eventually(lambda: "ventilating" in shop.status_progress("one").stage)
    assert board.closed[2]
    if ending == "abort":
        assert shop.jobs.abort(shop.services["Ventilation"], "one", SHELL, wait=20) is True
    elif ending == "kill -9":
        os.kill(shop.running("one"), signal.SIGKILL)
    elif ending == "a silent analyser":
        bench.simulators["analyser"].moods.add("silent")
    else:
        board.stuck.add(3)
        shop.jobs.wait("one", 60, SHELL)
        assert any("welded" in what for _, what in board.happened)
        unsafe = " Afterwards relays could not be made safe."
        assert shop.ended("one").why == f"relays: relay 3 does not switch off.{unsafe}"
        return
    shop.jobs.wait("one", 60, SHELL)  # silence has its time-outs
    record = shop.ended("one")
    assert record.state is (State.ABORTED if ending == "abort" else State.FAILED) and board.is_safe()
    if ending == "a silent analyser":
        assert "analyser" in record.why


def test_a_caller_s_mistakes_are_told_before_anything_moves(shop: Lab, bench: Plugged, board: Relays) -> None:
    caller = Caller(shop)

    def start(**texts: str) -> tuple[str, str]:
        body = envelope("startVentilation", ns=NS, serviceID="one", sessionToken="t", **texts)
        reply = caller("/Ventilation", body)
        return reply["errorCode"], reply["description"]

    assert start(fan="9") == ("InvalidParameter", "The input fan must be between 1 and 8, not “9”.")
    assert start(cycles="0")[0] == "InvalidParameter"
    assert start(ventilate="0.5") == (
        "InvalidParameter",
        "The input ventilate must be between 1 and 3600 s, not “0.5”.",
    )
    code, words = start(relays="analyser")
    assert code == "UnknownInstrument" and "those that fit: relays" in words
    assert start(analyser="nose")[0] == "UnknownInstrument"
    assert list(shop.jobs.list(SHELL)) == [] and board.happened == []
