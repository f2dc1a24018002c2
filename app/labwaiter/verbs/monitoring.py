"""The verbs of who looks at what is monitored: readings, their history, events. They read files alone."""

from __future__ import annotations

import csv
import io
import re
import time
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidParameter, Unavailable
from ..lab import labfile
from ..model.caller import Caller
from ..model.record import Request
from ..model.sentences import moment, plain
from ..settings import Settings
from ..store.events import Event, Events
from ..store.history import POINTS, History, HistoryUnreadable, LastReading, Series
from ..system.logs import utc
from .instruments import Instruments
from .permission import Action, may, permit

SPANS = {"hour": 3600.0, "day": 86400.0, "month": 30 * 86400.0}  # s
POINTS_MAX = 20_000
CSV_POINTS = 10_000
EVENTS_MAX = 1000
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class HistoryTold:
    """What an instrument said over a time."""

    instrument: str
    since: float  # Unix times, s
    until: float
    step: float  # s between two points
    series: tuple[Series, ...]


class Monitoring:
    """What instruments of this machine said, and what happened. Cheap to make."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._history, self._events = History(settings.layout), Events(settings.layout)
        self._instruments = Instruments(settings)

    # -- readings -----------------------------------------------------------------------------

    def revision(self) -> str:
        """Differs once there is something new to be told."""
        return f"{self._history.revision()} {self._events.stamp()}"

    def last(self, caller: Caller) -> dict[str, tuple[LastReading, ...]]:
        """Instrument → what it said last; those alone of which something is kept. Raises Unavailable."""
        permit(caller, Action.LIST_INSTRUMENTS)
        try:
            return self._history.last()
        except HistoryUnreadable as error:
            raise _unreadable(error) from error

    def trends(self, caller: Caller) -> dict[str, list[Series]]:
        """Instrument → its readings over the last hour, in 60 points at most. Raises Unavailable."""
        permit(caller, Action.LIST_INSTRUMENTS)
        try:
            return self._history.trends()
        except HistoryUnreadable as error:
            raise _unreadable(error) from error

    def history(
        self, name: str, caller: Caller, since: float, until: float | None = None, points: int = POINTS
    ) -> HistoryTold:
        """What an instrument said from `since` until `until` (Unix times, s; now unless given), in so many points.

        Raises:
            UnknownInstrument: it isn't here.
            InvalidParameter: these are no times, or too many points.
            Unavailable: what is kept can't be read now.
        """
        permit(caller, Action.LIST_INSTRUMENTS, name)
        self._instruments.entry(self._instruments.lab(), name)
        until = self._judged(since, until, points)
        try:
            step, series = self._history.series(name, since, until, points)
        except HistoryUnreadable as error:
            raise _unreadable(error) from error
        return HistoryTold(name, since, until, step, tuple(series))

    @staticmethod
    def _judged(since: float, until: float | None, points: int) -> float:
        """Until when (Unix time, s) a history goes that is asked for. Raises InvalidParameter."""
        now = time.time()
        until = now if until is None else until
        if since >= now:
            raise InvalidParameter(f"Nothing is known of the time from {moment(since)} on: that is still to come.")
        if not 0 <= since < until <= 1e11:
            raise InvalidParameter("The time must begin before it ends; both are Unix times in s.")
        if not 1 <= points <= POINTS_MAX:
            raise InvalidParameter(f"A history has 1 to {POINTS_MAX} points of each reading, not {points}.")
        return until

    def is_monitored(self, name: str) -> bool:
        """Whether lab.toml has it read while nobody uses it."""
        entry = labfile.load(self._settings.lab).entries.get(name)
        return entry is not None and entry.monitor_every_s is not None

    # -- events -------------------------------------------------------------------------------

    def events(self, caller: Caller, most: int = 50, since: float = 0.0, instrument: str = "") -> list[Event]:
        """The last events, the newest first: those of instruments, and of executions that the caller may see.

        Args:
            since: Unix time, s.
            instrument: only those of this one; "" for all.
        """
        permit(caller, Action.LIST_INSTRUMENTS)

        def is_told(event: Event) -> bool:
            if event.at < since or (instrument and event.instrument != instrument):
                return False
            if event.instrument:
                return True
            authority, project, user = event.owner
            execution = Request(event.service_id, event.service, {}, user=user, project=project, authority=authority)
            return may(caller, Action.SEE, execution)

        return self._events.newest(min(most, EVENTS_MAX), is_told)


def _unreadable(error: Exception) -> Unavailable:
    return Unavailable(f"What the instruments said can't be read now ({error}); try again in a moment.")


def since_of(text: str, now: float) -> float:
    """The Unix time (s) that a text means: “2h”, “3d”, “90min” ago; hour, day, month; or “2026-11-30”, “… 14:30”.

    Raises:
        InvalidParameter: it means none.
    """
    words = text.strip()
    if words in SPANS:
        return now - SPANS[words]
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", words)
    if ago is not None:
        return max(0.0, now - float(ago[1]) * _UNITS[ago[2]])
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        try:
            return max(0.0, time.mktime(time.strptime(words, form)))
        except (ValueError, OverflowError):
            continue
    raise InvalidParameter(
        f"“{plain(text, 40)}” is no time: write 90min, 2h or 3d for so long ago, or a day and hour: 2026-11-30 14:30."
    )


def of_history(told: HistoryTold) -> dict[str, Any]:
    """A history, as JSON has it. Of each point: Unix time (s), mean, lowest, highest."""
    return {
        "name": told.instrument,
        "since": told.since,
        "until": told.until,
        "step": told.step,
        "readings": [
            {
                "reading": series.reading,
                "unit": series.unit,
                "points": [[point.at, point.mean, point.low, point.high] for point in series.points],
            }
            for series in told.series
        ],
    }


def of_last(readings: tuple[LastReading, ...]) -> list[dict[str, Any]]:
    """What an instrument said last, as JSON has it."""
    return [vars(reading) for reading in readings if reading.reading or reading.why]


def csv_of(told: HistoryTold) -> str:
    """A history for a spreadsheet: a row for each point of time, a column for each reading (RFC 4180).

    Where a point stands for several readings, their lowest and highest stand beside the mean.
    """
    columns: list[tuple[str, dict[float, float]]] = []
    for series in told.series:
        title = f"{series.reading} / {series.unit}" if series.unit else series.reading
        columns.append((title, {point.at: point.mean for point in series.points}))
        if any(point.low != point.high for point in series.points):
            columns.append((f"{title} lowest", {point.at: point.low for point in series.points}))
            columns.append((f"{title} highest", {point.at: point.high for point in series.points}))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["time", "unix time / s", *(title for title, _ in columns)])
    for at in sorted({at for _, values in columns for at in values}):
        row = [f"{values[at]:.12g}" if at in values else "" for _, values in columns]
        writer.writerow([utc(at), f"{at:.3f}", *row])
    return out.getvalue()
