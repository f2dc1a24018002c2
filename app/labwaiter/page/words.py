"""Numbers, times and states in the words of a status page."""

from __future__ import annotations

import math
import time
from typing import Any

from ..parameter import text_of
from ..record import State, View

CUT = {"stage": 200, "values": 20, "messages": 10, "message": 300, "log_lines": 25, "log_line": 400}
_ENOUGH = 0.02  # of the work: before, an estimate of the rest is a guess


def cut(text: str, most: int) -> str:
    """`text`, at most `most` characters of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def span(seconds: float) -> str:
    """A time span: 45 s, 3 min 5 s, 90 min as 1 h 30 min, 3 d."""
    whole = int(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def size(count: int) -> str:
    """A number of bytes as people read it: 312 B, 4.2 kB, 1.3 MB."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def clock(unix_seconds: float) -> str:
    """A time of day in UTC, for a log's reader: 2026-11-24 11:30:05 UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_seconds))


def number(value: Any) -> str:
    """A value as an operator reads it: six digits are enough."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "—"
    return text_of(value)


def estimate(view: View) -> str:
    """What remains, if the work goes on as it went; "" where that can't be said."""
    record, fraction = view.record, view.progress.fraction
    if record.state is not State.RUNNING or record.stopping or record.started is None:
        return ""
    if fraction is None or not _ENOUGH <= fraction < 1:
        return ""
    return span((view.now - record.started) * (1 - fraction) / fraction)


def headline(view: View, percent: int | None) -> str:
    """The state in plain words."""
    record = view.record
    if record.stopping:
        return "Being stopped"
    if record.state is State.QUEUED:
        return "Waiting" if view.place is None else f"Waiting at place {view.place}"
    if record.state is State.RUNNING:
        return "Running" if percent is None else f"{percent} %"
    return {State.COMPLETED: "Completed", State.FAILED: "Failed", State.ABORTED: "Aborted"}[record.state]


def last_lines(log: str) -> str:
    """The end of a log, bounded in lines and in their length."""
    lines = log.rstrip().splitlines()[-CUT["log_lines"] :]
    return "\n".join(cut(line, CUT["log_line"]) for line in lines)
