"""What a job records: all of it in a CSV file, and a plot of it, drawn in the job's own process.

The file is readable to its last full line whenever the job is killed: each row is one write. The plot's
points are thinned out as they grow in number, so that a day at ten a second costs no more than an hour.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

from ..jobs.files import write_whole
from ..jobs.names import OURS
from ..record import PLOT

POINTS_MAX = 2000  # of a curve
DRAW_EVERY = 5.0  # s: portals look every 6
STALE = 10.0  # s: an older reading is no measurement of now
FILE = "record.csv"
_LABEL_MAX = 30  # characters beside a panel
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


class Curve:
    """One quantity against another: bounded, with its extremes kept."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._every = 1
        self._held: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Take a point; of each group that stands for one place on the paper the lowest and the highest stay."""
        self._held.append((x, y))
        if len(self._held) < self._every:
            return
        self.points += self._extremes(self._held)
        self._held = []
        if len(self.points) > POINTS_MAX:
            self.points = [p for i in range(0, len(self.points), 4) for p in self._extremes(self.points[i : i + 4])]
            self._every *= 2

    @staticmethod
    def _extremes(group: list[tuple[float, float]]) -> list[tuple[float, float]]:
        if len(group) < 3:
            return list(group)
        known = [p for p in group if not math.isnan(p[1])]
        if not known:
            return group[:1]
        return sorted({min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])})


class Recorder:
    """The CSV file and the plot of one job."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._began = time.monotonic()
        self._names: list[str] = []
        self._out: Any = None
        self._files = 0
        self._against = "time"
        self._shown: tuple[str, ...] = ()
        self._curves: dict[str, Curve] = {}
        self._units: dict[str, str] = {}
        self._turn = threading.Lock()
        self._drawn = threading.Event()
        self._changed = False
        self._thread: threading.Thread | None = None

    def plot(self, names: tuple[str, ...], against: str) -> None:
        """Have these drawn from now on."""
        self._shown, self._against = names, against
        self._curves = {name: Curve() for name in names}

    def record(self, values: dict[str, Any], units: dict[str, str]) -> None:
        """Write a row; a full disk costs the row, not the work."""
        elapsed = time.monotonic() - self._began
        known = {name: _number(value) for name, value in values.items()}
        with contextlib.suppress(OSError):
            self._write({"time": round(elapsed, 4), **known}, {"time": "s", **units})
        if not self._shown:
            return
        with self._turn:
            self._units = {"time": "s", **units}
            x = {"time": elapsed, **known}.get(self._against)
            for name in self._shown:
                y = known.get(name)
                if isinstance(x, (int, float)) and isinstance(y, (int, float)):
                    self._curves[name].add(float(x), float(y))
            self._changed = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw_on, name="plot", daemon=True)
            self._thread.start()

    def _write(self, row: dict[str, Any], units: dict[str, str]) -> None:
        new = [name for name in row if name not in self._names]
        if self._out is None or new:
            # a quantity more: the rows so far stay as they are, those from now on go into a file of their own
            self._names += new
            self._files += 1
            name = FILE if self._files == 1 else FILE.replace(".", f"-{self._files}.")
            self._out = open(self._data / name, "a", encoding="utf-8", newline="", buffering=1)  # noqa: SIM115
            heads = [f"{n} / {units[n]}" if units.get(n) else n for n in self._names]
            self._out.write(_line(heads))
        self._out.write(_line([_text(row.get(name)) for name in self._names]))

    # -- drawing ------------------------------------------------------------------------------

    def _draw_on(self) -> None:
        while not self._drawn.wait(1.0 if not (self._data / PLOT).exists() else DRAW_EVERY):
            self.draw()

    def close(self) -> None:
        """Draw the last of it."""
        self._drawn.set()
        if self._thread is not None:
            self._thread.join()
            self.draw()

    def draw(self) -> None:
        """Draw the plot anew, if something came."""
        with self._turn:
            if not self._changed:
                return
            self._changed = False
            curves = {name: list(curve.points) for name, curve in self._curves.items()}
            units = dict(self._units)
        # its list of fonts takes a second to make: all jobs of a deployment share one
        os.environ.setdefault("MPLCONFIGDIR", os.fspath(self._data.parent.parent / OURS / "matplotlib"))
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        with contextlib.suppress(OSError):
            write_whole(self._data / PLOT, picture(curves, units, self._against))


def picture(curves: dict[str, list[tuple[float, float]]], units: dict[str, str], against: str) -> bytes:
    """A PNG of curves with their axes and units, one panel below the other for each unit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    each = 1.0  # the seconds of a unit of the time's axis
    if against == "time":
        last = max((points[-1][0] for points in curves.values() if points), default=0.0)
        each, units = time_unit(last)[0], {**units, "time": time_unit(last)[1]}
    groups: dict[str, list[str]] = {}
    for name in curves:
        groups.setdefault(units.get(name, ""), []).append(name)
    figure = Figure(figsize=(7.2, 1.2 + 2.4 * len(groups)), dpi=100, layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (unit, names) in zip(panels, groups.items(), strict=True):
        for name in names:
            x, y = [point[0] / each for point in curves[name]], [point[1] for point in curves[name]]
            panel.plot(x, y, marker="." if len(x) < 60 else "", label=name)
        shown = ", ".join(names)
        shown = shown if len(shown) <= _LABEL_MAX else "values"  # the legend names them
        panel.set_ylabel(shown + (f" / {unit}" if unit else ""))
        panel.grid(True, alpha=0.3)
        if len(names) > 1:
            panel.legend(loc="best", fontsize="small")
    if against == "time":
        panels[-1].set_xlim(left=0)
    panels[-1].set_xlabel(against + (f" / {units[against]}" if units.get(against) else ""))
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(out, format="png")
    return out.getvalue()


def time_unit(last: float) -> tuple[float, str]:
    """The unit of a time axis that ends at `last` s: its seconds and its name."""
    return next(((size, word) for size, word in _TIMES if last >= 3 * size), (1.0, "s"))


def _number(value: Any) -> Any:
    """The value, or nothing where a reading is too old to be one of now."""
    age = getattr(value, "age", None)
    return math.nan if isinstance(age, float) and age > STALE else value


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
