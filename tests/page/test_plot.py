"""The plot of what a job records."""

from __future__ import annotations

import pytest

from labwaiter.runner.plot import picture, time_unit


@pytest.mark.parametrize(
    ("last", "unit"), [(0.0, "s"), (170.0, "s"), (200.0, "min"), (20_000.0, "h"), (86_400.0 * 4, "d")]
)
def test_a_long_run_is_not_drawn_in_seconds(last: float, unit: str) -> None:
    each, name = time_unit(last)
    assert name == unit and last / each < 200


@pytest.mark.parametrize("points", [[], [(0.07, 21.0)], [(float(n), n % 7.0) for n in range(5000)]])
def test_a_plot_is_drawn_from_the_first_point_to_a_day(points: list[tuple[float, float]]) -> None:
    drawn = picture({"hotend": points, "bed": points, "fan": points}, {"hotend": "°C", "bed": "°C"}, "time")
    assert drawn.startswith(b"\x89PNG") and len(drawn) < 200_000
