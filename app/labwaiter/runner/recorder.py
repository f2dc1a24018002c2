"""What a job records: all of it in a CSV file, and a plot of it, drawn in the job's own process.

The file is readable to its last full line whenever the job is killed: each row is one write. The plot's
points are thinned out as they grow in number, so that a day at ten a second costs no more than an hour.
"""

from __future__ import annotations

import _thread
import contextlib
import csv
import errno
import gc
import io
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import JobFailed
from ..model.record import NO_PLOTS, PLOT
from ..model.values import Plain, plain
from ..store.files import write_whole
from ..system.process import start_thread
from .plot import Curve, picture

if TYPE_CHECKING:
    import threading

DRAW_EVERY = 5.0  # s: portals look every 6
DRAW_SHARE = 0.05  # of a core that drawing may take: on a slow machine it is done less often
STALE = 10.0  # s: an older reading is no measurement of now
COLUMNS_MAX = 200
FILE = "record.csv"


class Table:
    """A CSV file that rows are appended to; a quantity that comes later gets a column behind the others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heads: dict[str, str] = {}  # name → what stands above its column
        self._out: int | None = None
        self._size = 0  # bytes that are whole rows

    def add(self, row: dict[str, Any], units: dict[str, str]) -> None:
        """Write a row. Raises OSError: nothing of it is in the file then."""
        new = [name for name in row if name not in self._heads][: COLUMNS_MAX - len(self._heads)]
        if new:
            self._widen({name: f"{name} / {units[name]}" if units.get(name) else name for name in new})
            if len(self._heads) == COLUMNS_MAX:
                print(f"{self._path.name} has {COLUMNS_MAX} columns; it takes no more.", file=sys.stderr)
        assert self._out is not None
        line = _line([_text(row.get(name)) for name in self._heads])
        try:
            if os.write(self._out, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._out, self._size)  # half a row would spoil the next one
            raise
        self._size += len(line)

    def _widen(self, new: dict[str, str]) -> None:
        """Put the file in place anew with more columns: a row is a line, and gets so many empty cells behind."""
        beside = self._path.with_name(f".{self._path.name}")
        heads = {**self._heads, **new}
        with open(beside, "wb") as out:
            out.write(_line([_text(head) for head in heads.values()]))
            if self._out is not None:
                with open(self._path, "rb") as rows:
                    rows.readline()
                    for row in rows:
                        out.write(row.removesuffix(b"\n") + b"," * len(new) + b"\n")
            size = out.tell()
        opened = os.open(beside, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.rename(beside, self._path)
        if self._out is not None:
            os.close(self._out)
        self._out, self._size, self._heads = opened, size, heads


class Recorder:
    """The CSV file and the plot of one job."""

    def __init__(
        self, data: Path, failed: Callable[[str], None] = lambda why: None, began: float | None = None
    ) -> None:
        """
        Args:
            failed: is told, by the thread that draws, why it can draw no more.
            began: when its time begins, monotonic s; None: now.
        """
        self._data, self._failed = data, failed
        self._began = time.monotonic() if began is None else began
        self._table = Table(data / FILE)
        self._against = "time"
        self._curves: dict[str, Curve] = {}
        self._units: dict[str, str] = {}
        self._turn = _thread.allocate_lock()
        self._changed = False
        self._thread: threading.Thread | None = None  # that draws
        self._over: threading.Event  # of that thread

    def plot(self, names: tuple[str, ...], against: str) -> None:
        """Have these drawn from now on. Raises JobFailed: there is nothing to draw them with."""
        from importlib.util import find_spec

        if find_spec("matplotlib") is None:
            raise JobFailed(NO_PLOTS)
        with self._turn:
            self._against, self._curves = against, {name: Curve() for name in names}

    def record(self, values: dict[str, Any], units: dict[str, str]) -> None:
        """Write a row; a full disk costs the row, not the work."""
        # the sample's own time stays, whatever is recorded under that name
        values = {"time (recorded)" if name == "time" else name: value for name, value in values.items()}
        row = {"time": round(time.monotonic() - self._began, 4), **values}
        units = {"time": "s", **units}
        with contextlib.suppress(OSError):
            self._table.add(row, units)
        if not self._curves:
            return
        with self._turn:
            self._units = units
            x = _place(row.get(self._against))
            for name, curve in self._curves.items():
                if name in row and x == x:
                    curve.add(x, _place(row[name]))
            self._changed = True
        if self._thread is None:
            import threading  # not before it is needed: see supervisor/fork_server.py

            self._over = threading.Event()
            self._thread = start_thread(self._draw_on, name="plot", daemon=True)

    # -- drawing ------------------------------------------------------------------------------

    def _draw_on(self) -> None:
        try:
            self._draw_until_over()
        except Exception as error:
            traceback.print_exc()
            self._failed(f"The plot can't be drawn: {type(error).__name__}: {error}")

    def _draw_until_over(self) -> None:
        pause = 1.0
        while not self._over.wait(pause):
            first, began = pause < DRAW_EVERY, time.thread_time()
            self.draw()
            # the first one has imported matplotlib, too
            pause = DRAW_EVERY if first else max(DRAW_EVERY, (time.thread_time() - began) / DRAW_SHARE)

    def close(self) -> None:
        """Draw the last of it."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self.draw()

    def draw(self) -> None:
        """Draw the plot anew, if something came."""
        with self._turn:
            if not self._changed:
                return
            self._changed = False
            curves = {name: list(curve.points) for name, curve in self._curves.items()}
            units, against = dict(self._units), self._against
        with contextlib.suppress(OSError):
            write_whole(self._data / PLOT, picture(curves, units, against))
        gc.collect(1)  # a figure is a knot of 5 MB, and ten of them would lie about before Python looks


def current(value: Any, name: str = "") -> Plain | None:
    """A recorded value as it is written down; NaN for a reading that is too old to be one of now.

    Raises:
        TypeError: it is no single value; the message names it.
    """
    if isinstance(value, float):
        age = getattr(value, "age", None)
        if isinstance(age, float) and age > STALE:
            return math.nan
    return None if value is None else plain(value, f"The recorded value {name}".rstrip())


def _place(value: Plain | None) -> float:
    """Where a value stands on an axis; NaN, a gap, for what is no number."""
    try:
        place = math.nan if value is None or isinstance(value, str) else float(value)
    except OverflowError:
        return math.nan
    return place if math.isfinite(place) else math.nan


def _text(value: Plain | None) -> str:
    """A cell: empty for nothing and NaN, 1 and 0 for true and false; a row stays one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, float) else " ".join(str(value).splitlines())


def _line(cells: list[str]) -> bytes:
    """A row in UTF-8; bytes that are none, in a name of a file, are written as \\udcff: all others stay readable."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().encode("utf-8", "backslashreplace")
