"""Numbers, times and states in the words of a status page."""

from __future__ import annotations

import math
import re
import time
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..model.parameter import text_of
from ..model.record import Moment, Record, State, View
from ..model.service import Service
from ..model.span import span
from ..model.values import SI

CUT = {
    "stage": 200,
    "inputs": 40,
    "input": 200,
    "values": 20,
    "messages": 10,
    "message": 300,
    "log_lines": 25,
    "log_line": 400,
}
_SURROGATES = re.compile("[\ud800-\udfff]")
_PREFIXES = ("y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y")  # each 1000 times more
_NONE = _PREFIXES.index("")
_ENOUGH = 0.02  # of the work: before, an estimate of the rest is a guess


def cut(text: str, most: int) -> str:
    """`text`, at most `most` characters of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shortened(text: str, most: int) -> str:
    """`text`, at most `most` characters of it: its beginning and its end, where addresses have their file's name."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def printable(text: str) -> str:
    """A text as pages can carry it: what came from the system as bytes that are no UTF-8 has U+FFFD in their place."""
    try:
        text.encode()  # a tenth of a search's time, and nearly all texts are sound
        return text
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)


def in_url(name: str) -> str:
    """A file's name as an address has it: its own bytes, percent-encoded, whatever encoding they are in."""
    try:
        return quote(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no name of this machine's
        return quote(printable(name))


def clock(unix_seconds: float) -> str:
    """A time of day in UTC, for a log's reader: 2026-11-24 11:30:05 UTC."""
    return _clock(math.floor(unix_seconds))


@lru_cache(64)  # the pages of one second all show it
def _clock(unix_seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_seconds))


def number(value: Any) -> str:
    """A value as an operator reads it: six digits are enough."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else "—"
    return text_of(value)


def quantity(value: Any, unit: str) -> tuple[str, str]:
    """A value and its unit as an operator reads them, with a prefix where the plot has one: 0.000117 A are 117 µA."""
    if unit not in SI or isinstance(value, bool) or not isinstance(value, (int, float)):
        return number(value), unit
    if not value or not 1e-300 < abs(value) < 1e300:  # nothing, and what no number of a float's can be divided by
        return number(value), unit
    place = max(0, min(len(_PREFIXES) - 1, math.floor(math.log10(abs(value)) / 3) + _NONE))
    for at in (place, min(place + 1, len(_PREFIXES) - 1)):
        shown = f"{value / 1000.0 ** (at - _NONE):.6g}"
        if abs(float(shown)) < 1000:  # 999.9999 mA are 1 A
            break
    return shown, _PREFIXES[at] + unit


def inputs_of(view: View, service: Service) -> list[tuple[str, str, str]]:
    """What it was started with: name, value and unit; not what was left empty."""
    units = {parameter.name: parameter.unit for parameter in service.inputs}
    rows = []
    for name, value in view.record.request.inputs.items():
        words, unit = quantity(value, units.get(name, ""))
        if value is not None and (line := " ".join(printable(words).split())):
            rows.append((cut(name, 80), shortened(line, CUT["input"]), cut(unit, 20)))
    return rows[: CUT["inputs"]]


def waits_for(view: View) -> str:
    """What keeps a queued execution from beginning: who has what it needs, and for how long."""
    sentences = []
    for holder in view.holders:
        words = holder.words
        if holder.until is not None:
            words += f" for {span(int(holder.until - view.now))} more"
        elif holder.since is not None:
            words += f", for {span(int(view.now - holder.since))} now"
        sentences.append(words)
    return "; ".join([*sentences, *([view.ahead] if view.ahead else [])])


def estimate(record: Record, fraction: float | None, seconds: float) -> str:
    """What remains, if the work goes on as it went; "" where that can't be said.

    Args:
        seconds: for how long it has been running.
    """
    if record.state is not State.RUNNING or record.stopping or record.started is None:
        return ""
    if fraction is None or not _ENOUGH <= fraction < 1:
        return ""
    elapsed = int(seconds)
    return span(int(elapsed * (1 - fraction) / fraction)) if elapsed else ""


def ran(record: Record, moment: Moment) -> float:
    """For how long an execution has run, in s. A wall clock that is set changes nothing while it runs."""
    if moment.ran is not None:
        return moment.ran
    return 0.0 if record.started is None else max(0.0, (record.ended or moment.now) - record.started)


def whole_percent(fraction: float) -> int:
    """How much is done, in whole percent: 100 only at the end. 0.58 are 58, though 100 * 0.58 is a little less."""
    return math.floor(100 * fraction + 1e-9)


def headline(record: Record, place: int | None, percent: int | None) -> str:
    """The state in plain words.

    Args:
        place: in the queue.
    """
    if record.stopping:
        return "Being stopped"
    if record.state is State.QUEUED:
        return "Waiting" if place is None else f"Waiting at place {place}"
    if record.state is State.RUNNING:
        return "Running" if percent is None else f"{percent} %"
    return {State.COMPLETED: "Completed", State.FAILED: "Failed", State.ABORTED: "Aborted"}[record.state]


def last_lines(log: str) -> str:
    """The end of a log, bounded in lines and in their length."""
    lines = log.rstrip().splitlines()[-CUT["log_lines"] :]
    return "\n".join(cut(line, CUT["log_line"]) for line in lines)
