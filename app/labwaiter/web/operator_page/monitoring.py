"""What monitored instruments said: on their cards, over an hour, a day, a month; and the events."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from typing import Any

from flask import Flask, Response, request

from ...errors import InvalidParameter, Misconfigured, Unavailable
from ...page.words import cut, in_url, printable, quantity
from ...store.events import Event, Kind
from ...store.history import LastReading, Series
from ...verbs.monitoring import CSV_POINTS, SPANS, HistoryTold, csv_of
from ..wording import language, told
from . import PAGES, Face
from .executions import stamp

WIDTH, HEIGHT = 100, 24  # of a small trend, in its own units
LEAST = 0.02  # of a value: what moves by less looks still, however little there is else
ON_CARD = 4  # readings; an instrument's own page has all
EVENTS_SHOWN, EVENTS_OVERVIEW = 200, 5
GAP = 3  # points that are missing where a trend is interrupted
TONES = {Kind.LIMIT: "waits", Kind.BACK: "good", Kind.UNSAFE: "bad", Kind.FAILED: "bad", Kind.WAITS: "waits"}


def of_all(face: Face) -> dict[str, list[dict[str, Any]]]:
    """Instrument → what its card says of each of its readings."""
    monitoring = face.monitoring
    try:
        last, trends = monitoring.last(face.caller), monitoring.trends(face.caller)
    except Unavailable:  # the cards have much else to tell; the instrument's own page says so
        return {}
    now = time.time()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, readings in last.items():
        series = {each.reading: each for each in trends.get(name, ())}
        found[name] = [_row(one, series.get(one.reading), now) for one in readings]
    return found


def _row(one: LastReading, series: Series | None, now: float) -> dict[str, Any]:
    words, unit = quantity(one.value, one.unit, language()) if one.value is not None else ("–", "")
    row = {
        "reading": cut(printable(one.reading), 60),
        "words": cut(printable(f"{words} {unit}".strip()), 60),
        "at": one.at,
        "why": cut(printable(told(one.why)[0]), 200),
        "beyond": one.beyond,
        "trend": "",
    }
    if series is not None and len(series.points) > 1:
        low, high = min(p.low for p in series.points), max(p.high for p in series.points)
        row["trend"] = _path([(p.at, p.mean) for p in series.points], now)
        row["from"], row["to"] = (" ".join(quantity(value, series.unit, language())).strip() for value in (low, high))
    return row


def _path(points: list[tuple[float, float]], end: float) -> str:
    """A line through these points, as SVG has it; interrupted where nothing was read."""
    low, high = min(value for _, value in points), max(value for _, value in points)
    room = max(high - low, LEAST * max(abs(low), abs(high))) or 1.0
    middle, begin = (low + high) / 2, points[0][0]
    step = min(b[0] - a[0] for a, b in zip(points, points[1:], strict=False))
    words, before = [], -1e300
    for at, value in points:
        x = WIDTH * (at - begin) / max(end - begin, step)
        y = HEIGHT / 2 - (HEIGHT - 2) * (value - middle) / room
        words.append(f"{'M' if at - before > GAP * step else 'L'}{min(x, WIDTH):.1f} {y:.1f}")
        before = at
    return "".join(words)


def event_row(event: Event) -> dict[str, Any]:
    """An event, as it is shown."""
    return {
        "at": event.at,
        "tone": TONES[event.kind],
        "kind": str(event.kind),
        "text": cut(printable(event.text), 500),
        "instrument": cut(printable(event.instrument), 80),
        "execution": in_url(event.service_id) if event.service_id else "",
    }


def last_events(face: Face, most: int = EVENTS_OVERVIEW, instrument: str = "") -> list[dict[str, Any]]:
    """The last events that this caller may see."""
    return [event_row(event) for event in face.monitoring.events(face.caller, most, instrument=instrument)]


def monitored_stamp(face: Face) -> str | None:
    """Of the executions, the instruments, and of what was monitored."""
    seen = stamp(face)
    instruments = seen and face.live.stamp("instruments", face.instruments.revision)
    return seen and f"{seen} {instruments} {face.live.stamp('monitoring', face.monitoring.revision)}"


def span_asked() -> str:
    """Which time is looked at."""
    span = request.args.get("span", "hour")
    return span if span in SPANS else "hour"


def is_monitored(face: Face, name: str) -> bool:
    """Whether it is; not while lab.toml has a mistake."""
    try:
        return face.monitoring.is_monitored(name)
    except Misconfigured:
        return False


def add(app: Flask, face: Face) -> None:
    """Add the page of events, and what trends are made of, to the application."""

    @app.get(PAGES + "events")
    def events() -> Response:
        return face.page(
            "events.html.j2", lambda: {"events": last_events(face, EVENTS_SHOWN)}, lambda: monitored_stamp(face)
        )

    @app.get(PAGES + "trend")
    def trend() -> Response:
        try:
            columns = _columns(_asked(face))
        except Unavailable as error:  # its machine isn't heard of: the plot's place tells it
            words, lang = told(error.message)
            columns = {"names": [], "columns": [], "why": words, "lang": lang}
        answer = Response(json.dumps(columns), content_type="application/json")
        answer.add_etag()
        answer.make_conditional(request)
        return answer

    @app.get(PAGES + "history.csv")
    def history_csv() -> Response:
        history = _asked(face, CSV_POINTS)
        answer = Response(csv_of(history), content_type="text/csv; charset=utf-8")
        name = f"{history.instrument}-{time.strftime('%Y%m%d-%H%M', time.localtime(history.until))}-{span_asked()}.csv"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


def _asked(face: Face, points: int = 600) -> HistoryTold:
    name, now = request.args.get("name", ""), time.time()
    if not name:
        raise InvalidParameter("Name an instrument.")
    return face.monitoring.history(name, face.caller, now - SPANS[span_asked()], now, points)


def _gaps(times: list[float]) -> list[float]:
    """A time in each gap in which nothing was read: a line that has no value there is interrupted."""
    steps = [after - before for before, after in itertools.pairwise(times)]
    usual = statistics.median(steps) if steps else 0.0
    return [before + usual for before, step in zip(times, steps, strict=False) if step > (GAP + 1) * usual]


def _columns(told: HistoryTold) -> dict[str, Any]:
    """A column for the times, and one for each reading, with its lowest and highest, as page.js draws them.

    The first and the last time are those that were asked for: the plot is as wide, however little was read.
    """
    ends = [math.floor(each / told.step) * told.step for each in (told.since, told.until)] if told.series else []
    read = sorted({point.at for series in told.series for point in series.points})
    times = sorted({*ends, *read, *_gaps(read)})
    names, columns, lows, highs = ["time"], [list[float | None](times)], list[Any](), list[Any]()
    for series in told.series:
        points = {point.at: point for point in series.points}
        names.append(f"{series.reading} / {series.unit}" if series.unit else series.reading)
        found = [points.get(at) for at in times]
        columns.append([None if point is None else point.mean for point in found])
        lows.append([None if point is None else point.low for point in found])
        highs.append([None if point is None else point.high for point in found])
    return {"names": names, "columns": columns, "low": lows, "high": highs}
