"""HeatPlate computes what physics says, and talks while it does."""

import importlib.util
import math
from typing import Any

import pytest

from here import ROOT
from labwaiter.testing import Lab

spec = importlib.util.spec_from_file_location("heatplate", ROOT / "app" / "services" / "heatplate.py")
assert spec and spec.loader
heat: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(heat)
SIDE, DIFFUSIVITY = 0.2, 1.88e-5


def plate_after(steps: int, edge: float = 100.0) -> Any:
    plate = [[heat.START] * heat.CELLS for _ in range(heat.CELLS)]
    heat.set_edge(plate, edge)
    for _ in range(steps):
        plate = heat.advance(plate)
    return plate


def series(t: float, edge: float = 100.0) -> float:
    """The centre of a square plate after t s: Carslaw & Jaeger, Conduction of Heat in Solids, § 5.6."""
    one = sum(
        4 / math.pi * (-1) ** n / (2 * n + 1) * math.exp(-(((2 * n + 1) * math.pi / SIDE) ** 2) * DIFFUSIVITY * t)
        for n in range(40)
    )
    return edge + (heat.START - edge) * one**2


@pytest.mark.parametrize("steps", [150, 300, 600])
def test_the_centre_warms_as_the_series_solution_says(steps: int) -> None:
    t = steps * heat.longest_step(SIDE, DIFFUSIVITY)
    assert heat.centre(plate_after(steps)) == pytest.approx(series(t), abs=0.5)


def test_nothing_gets_warmer_than_the_warmest_or_colder_than_the_coldest() -> None:
    for steps in (1, 10, 200):
        cells = [cell for row in plate_after(steps, edge=-30.0) for cell in row]
        assert min(cells) >= -30.0 and max(cells) <= heat.START


def test_the_plate_stays_symmetric() -> None:
    plate = plate_after(100)
    for y in range(heat.CELLS):
        assert plate[y] == pytest.approx(plate[y][::-1])
        assert plate[y] == pytest.approx([row[y] for row in plate])


def test_the_centre_has_settled_when_its_settling_time_is_over() -> None:
    steps = 1 + int(heat.settling_time(SIDE, DIFFUSIVITY) / heat.longest_step(SIDE, DIFFUSIVITY))
    assert abs(100 - heat.centre(plate_after(steps))) <= heat.NEAR * 80


@pytest.mark.parametrize(
    ("message", "edge", "words"),
    [
        ("EDGE 300", 300, "300 °C"),
        ("edge 300", 300, "300 °C"),
        ("EDGE 5000", 100, "between"),
        ("EDGE nan", 100, "between"),
        ("EDGE", 100, "between"),
        ("HOW", 100, "20.0 °C"),
        ("dance", 100, "I understand"),
    ],
)
def test_messages_are_obeyed_or_explained(message: str, edge: float, words: str) -> None:
    now, reply = heat.obey(message, 100.0, plate_after(0))
    assert now == edge and words in reply


def test_the_service_shows_its_plate_obeys_and_gives_both_outputs(lab: Lab) -> None:
    one = lab.by_soap.start("HeatPlate", duration=2, side=0.05)
    one.wait_for(lambda: "data:image/svg+xml;base64," in one.page())
    assert one.notify("EDGE 200") in ("the edges have 200 °C now", "1")
    page = one.page()
    assert "centre" in page and "EDGE 200" in page
    assert one.join().outputs["centre"] == pytest.approx(200, abs=10)
    assert one.outputs["settled"] > 0
