"""The picture of what a job recorded: bounded curves, and a panel with axes for each unit. Drawn by matplotlib.

matplotlib takes a second and 40 MB to import: only a job that plots does, when its first picture is drawn.
"""

from __future__ import annotations

import io
import math
from typing import Any

from ..model.values import SI

POINTS_MAX = 2000  # of a curve
COLOURS = 32
LABEL_MAX = 30  # characters beside a panel; the legend names more
MARKED_MAX = 60  # points of a curve that are few enough to be marked each
# from how many s on, s in one, its name
SPANS = ((3 * 86400.0, 86400.0, "d"), (3 * 3600.0, 3600.0, "h"), (180.0, 60.0, "min"), (0.0, 1.0, "s"))

Point = tuple[float, float]


class Curve:
    """One quantity against another: bounded, with its extremes and its gaps kept."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._every = 1
        self._held: list[Point] = []

    @property
    def points(self) -> list[Point]:
        """What is drawn, to the newest point."""
        return self._points + _extremes(self._held)

    def add(self, x: float, y: float) -> None:
        """Take a point; NaN is a gap. Of each group that stands for one place on the paper lowest and highest stay."""
        self._held.append((x, y))
        if len(self._held) < self._every:
            return
        self._points += _extremes(self._held)
        self._held = []
        if len(self._points) > POINTS_MAX:
            size = 6  # at most three stay of each: so it is halved
            self._points = [p for i in range(0, len(self._points), size) for p in _extremes(self._points[i : i + size])]
            self._every *= 2


def _extremes(group: list[Point]) -> list[Point]:
    """The lowest, the highest and one gap of a group, in their order."""
    if len(group) < 3:
        return list(group)
    numbers = [n for n, point in enumerate(group) if not math.isnan(point[1])]
    chosen = {next((n for n, point in enumerate(group) if math.isnan(point[1])), -1)} - {-1}
    if numbers:
        chosen |= {min(numbers, key=lambda n: group[n][1]), max(numbers, key=lambda n: group[n][1])}
    return [group[n] for n in sorted(chosen)]


def picture(curves: dict[str, list[Point]], units: dict[str, str], against: str) -> bytes:
    """A PNG of curves with their axes and units, one panel below the other for each unit."""
    import logging  # not before it is needed: see supervisor/fork_server.py

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    curves = {_drawable(name): points for name, points in curves.items()}
    units, against = {_drawable(name): _drawable(unit) for name, unit in units.items()}, _drawable(against)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter
    from PIL import Image  # matplotlib brings it

    scale, unit_x = 1.0, units.get(against, "")
    if against == "time":
        scale, unit_x = time_unit(max((points[-1][0] for points in curves.values() if points), default=0.0))
    groups: dict[str, list[str]] = {}
    for name in curves:
        groups.setdefault(units.get(name, ""), []).append(name)
    figure = Figure(figsize=(7.2, 0.8 + 2.6 * len(groups)), dpi=100, layout="constrained")
    panels: Any = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (unit, names) in zip(panels, groups.items(), strict=True):
        for name in names:
            x, y = [point[0] / scale for point in curves[name]], [point[1] for point in curves[name]]
            panel.plot(x, y, marker="." if len(x) <= MARKED_MAX else "", linewidth=1.2, label=name)
        shown = ", ".join(names)
        panel.set_ylabel(" / ".join(part for part in (shown if len(shown) <= LABEL_MAX else "", unit) if part))
        if unit in SI:
            panel.yaxis.set_major_formatter(EngFormatter(unit))
        panel.grid(True, alpha=0.3)
        if len(names) > 1:
            panel.legend(loc="best", fontsize="small")
    if against == "time":
        panels[-1].set_xlim(left=0)
    if unit_x in SI:
        panels[-1].xaxis.set_major_formatter(EngFormatter(unit_x))
    panels[-1].set_xlabel(against + (f" / {unit_x}" if unit_x else ""))
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    out = io.BytesIO()
    # every poll carries it: with so few colours it is half as large, and looks the same
    drawn.convert("RGB").quantize(COLOURS, method=Image.Quantize.FASTOCTREE).save(out, "png")
    return out.getvalue()


def _drawable(text: str) -> str:
    """A name or a unit as matplotlib can draw it: no bytes that are no text, and a $ is no mathematics."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def time_unit(last: float) -> tuple[float, str]:
    """The unit of a time axis that ends at `last` s: its seconds and its name."""
    return next((size, word) for least, size, word in SPANS if last >= least)
