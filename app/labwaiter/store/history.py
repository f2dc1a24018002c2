"""What monitored instruments said, in SQLite: for some days each reading, then means, lowest and highest of a minute,
then of an hour. Written by the monitor alone, read by whoever shows it.

``.labwaiter/history/history.db`` in WAL mode: readers don't wait for the writer, nor it for them. A damaged file is put
aside, and a new one begun.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ..layout import Layout
from .events import make
from .files import rights_in

log = logging.getLogger("labwaiter.monitor")
T = TypeVar("T")
FILE = "history.db"
RAW_SECONDS = 2 * 86400.0  # that each reading is kept
MINUTES_SECONDS = 40 * 86400.0  # that means of a minute are kept; those of an hour until HISTORY_DAYS
SETTLED = 120.0  # s after which nothing more is expected of a minute
BUSY = 2.0  # s that a lock is waited for
MINUTE, HOUR = 60_000, 3_600_000  # ms
POINTS = 600  # of one series, at most
_TABLES = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, instrument TEXT NOT NULL, reading TEXT NOT NULL,
    unit TEXT NOT NULL, UNIQUE (instrument, reading));
CREATE TABLE IF NOT EXISTS raw (series INTEGER, at INTEGER, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minutes (series INTEGER, at INTEGER, n INTEGER, mean REAL, low REAL, high REAL,
    PRIMARY KEY (series, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hours (series INTEGER, at INTEGER, n INTEGER, mean REAL, low REAL, high REAL,
    PRIMARY KEY (series, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last (instrument TEXT, reading TEXT, at REAL, value TEXT, unit TEXT, why TEXT, place INTEGER,
    PRIMARY KEY (instrument, reading)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS beyond (instrument TEXT, reading TEXT, side TEXT, untold TEXT,
    PRIMARY KEY (instrument, reading)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class LastReading:
    """What an instrument said last of one thing."""

    reading: str
    at: float  # Unix time, s
    value: Any = None  # a number, a text or a switch; None: it could not be read
    unit: str = ""
    why: str = ""  # why it could not be read
    beyond: str = ""  # "low" or "high": the limit that it has passed


@dataclass(frozen=True)
class Point:
    """What a reading was within one step of time."""

    at: float  # Unix time (s) at which that begins
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """One reading over a time."""

    reading: str
    unit: str
    points: tuple[Point, ...]  # oldest first; a step in which nothing was read has none


class HistoryWriter:
    """The monitor's side. No disk and no damage ends it: what can't be written is lost, and the log has it."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.history
        self._path = layout.history / FILE
        self._database: sqlite3.Connection | None = None
        self._series: dict[tuple[str, str], tuple[int, str]] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._until = 0  # ms: all raw readings before are in `minutes`
        self._logged = -math.inf  # monotonic s, when the log was last told that nothing can be written

    # -- writing ------------------------------------------------------------------------------

    def add(self, instrument: str, at: float, readings: dict[str, dict[str, Any]]) -> None:
        """Keep a round of readings (`at`: Unix time, s), as `PanelReader.read` has them."""

        def work(database: sqlite3.Connection) -> None:
            when = int(at * 1000)
            for place, (name, read) in enumerate(readings.items()):
                value, unit = read.get("value"), str(read.get("unit") or "")
                text = None if value is None else json.dumps(value)
                database.execute(
                    "INSERT OR REPLACE INTO last VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (instrument, name, float(read.get("at") or at), text, unit, str(read.get("why") or ""), place),
                )
                number = _number(value)
                if number is not None:
                    series = self._series_of(database, instrument, name, unit)
                    database.execute("INSERT OR REPLACE INTO raw VALUES (?, ?, ?)", (series, when, number))
            if when < self._until:  # a clock was set back
                self._until = when // MINUTE * MINUTE
            marks = ",".join("?" * len(readings))
            gone = f"DELETE FROM last WHERE instrument = ? AND reading NOT IN ({marks})"
            database.execute(gone, (instrument, *readings))

        self._do(work)

    def failed(self, instrument: str, at: float, why: str) -> None:
        """None of its readings can be had now, and why."""

        def work(database: sqlite3.Connection) -> None:
            changed = database.execute(
                "UPDATE last SET value = NULL, why = ?, at = ? WHERE instrument = ?", (why, at, instrument)
            )
            if not changed.rowcount:
                database.execute("INSERT OR REPLACE INTO last VALUES (?, '', ?, NULL, '', ?, 0)", (instrument, at, why))

        self._do(work)

    def note_beyond(self, instrument: str, reading: str, side: str, untold: dict[str, Any] | None = None) -> None:
        """Note which limit a reading has passed; "" for none.

        Args:
            untold: the event of that, as long as it isn't told.
        """

        def work(database: sqlite3.Connection) -> None:
            if side or untold:
                event = untold and json.dumps(untold)
                database.execute(
                    "INSERT OR REPLACE INTO beyond VALUES (?, ?, ?, ?)", (instrument, reading, side, event)
                )
            else:
                database.execute("DELETE FROM beyond WHERE instrument = ? AND reading = ?", (instrument, reading))

        self._do(work)

    def beyond(self) -> tuple[dict[tuple[str, str], str], list[bytes]]:
        """Instrument and reading → the limit that it has passed, by what was noted last; and the events not told."""
        rows = self._do(
            lambda database: database.execute("SELECT instrument, reading, side, untold FROM beyond").fetchall()
        )
        known = {(instrument, reading): side for instrument, reading, side, _ in rows or () if side}
        return known, [untold.encode() for _, _, _, untold in rows or () if untold]

    def commit(self) -> None:
        """Have on the disk what was added."""
        self._do(lambda database: database.commit())

    def thin(self, now: float, keep_seconds: float) -> None:
        """Make means of what is old, and let go what is too old (`now`: Unix time, s)."""

        def work(database: sqlite3.Connection) -> None:
            ids = [row[0] for row in database.execute("SELECT id FROM series")]
            until = int((now - SETTLED) * 1000) // MINUTE * MINUTE
            begin, self._until = self._until, max(self._until, until)
            hours_begin = begin // HOUR * HOUR
            for series in ids:
                database.execute(
                    "INSERT OR REPLACE INTO minutes SELECT series, at / ?2 * ?2, count(*), avg(value), min(value),"
                    " max(value) FROM raw WHERE series = ?1 AND at >= ?3 AND at < ?4 GROUP BY at / ?2",
                    (series, MINUTE, begin, self._until),
                )
                database.execute(
                    "INSERT OR REPLACE INTO hours SELECT series, at / ?2 * ?2, sum(n), sum(mean * n) / sum(n),"
                    " min(low), max(high) FROM minutes WHERE series = ?1 AND at >= ?3 AND at < ?4 GROUP BY at / ?2",
                    (series, HOUR, hours_begin, self._until),
                )
                for table, keep in (("raw", RAW_SECONDS), ("minutes", MINUTES_SECONDS), ("hours", keep_seconds)):
                    before = int((now - min(keep, keep_seconds)) * 1000)
                    before = before if table == "raw" else before // HOUR * HOUR  # an hour has its minutes, or none
                    database.execute(f"DELETE FROM {table} WHERE series = ? AND at < ?", (series, before))
            database.execute("INSERT OR REPLACE INTO marks VALUES ('minutes', ?)", (self._until,))
            database.commit()

        self._do(work)

    def close(self) -> None:
        """Commit, and let the file go."""
        if self._database is not None:
            self.commit()
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    # -- the file -----------------------------------------------------------------------------

    def _series_of(self, database: sqlite3.Connection, instrument: str, name: str, unit: str) -> int:
        known = self._series.get((instrument, name))
        if known is None or known[1] != unit:
            database.execute(
                "INSERT INTO series (instrument, reading, unit) VALUES (?, ?, ?)"
                " ON CONFLICT (instrument, reading) DO UPDATE SET unit = excluded.unit",
                (instrument, name, unit),
            )
            (number,) = database.execute(
                "SELECT id FROM series WHERE instrument = ? AND reading = ?", (instrument, name)
            ).fetchone()
            known = self._series[instrument, name] = number, unit
        return known[0]

    def _do(self, work: Any) -> Any:
        """What `work` gives; None where the disk refuses, or its file was damaged."""
        try:
            if self._database is None:
                self._database = self._open()
            return work(self._database)
        except sqlite3.OperationalError as error:  # it is full, can't be written, or is locked for long
            self._refused(error)
        except sqlite3.DatabaseError as error:
            self._put_aside(error)
        except OSError as error:
            self._refused(error)
        return None

    def _open(self) -> sqlite3.Connection:
        make(self._folder)
        if not self._path.exists():
            self._make()
        database = sqlite3.connect(self._path, timeout=BUSY, isolation_level="DEFERRED")
        try:
            database.execute("PRAGMA synchronous = NORMAL")
            row = database.execute("SELECT value FROM marks WHERE name = 'minutes'").fetchone()
        except BaseException:
            database.close()
            raise
        self._series.clear()
        self._until = row[0] if row else 0
        return database

    def _make(self) -> None:
        """A new one is there as a whole, or not at all."""
        beside = self._path.with_name(f".{FILE}")
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{beside}{ending}")
        with contextlib.closing(sqlite3.connect(beside)) as database:
            os.chmod(beside, rights_in(self._folder) & 0o666)  # its two companions get the same
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_TABLES)
        os.rename(beside, self._path)

    def _refused(self, error: Exception) -> None:
        if time.monotonic() - self._logged > 60:
            self._logged = time.monotonic()
            log.warning("readings can't be kept now (%s); what comes meanwhile is lost", error)
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.rollback()
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _put_aside(self, error: Exception) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        aside = self._path.with_name(f"damaged-{time.strftime('%Y%m%d-%H%M%S')}.db")
        log.error("the history of readings is damaged (%s): it is put aside as %s, and begun anew", error, aside)
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.rename(f"{self._path}{ending}", f"{aside}{ending}")


def _number(value: Any) -> float | None:
    """A value as a trend has it; None for what is none."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return float(value)
    return None


class History:
    """The readers' side. What can't be read now is as if nothing had been kept."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.history / FILE

    def revision(self) -> int:
        """Differs once something was added."""
        stamps = []
        for ending in ("", "-wal"):
            with contextlib.suppress(OSError):
                status = os.stat(f"{self._path}{ending}")
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return hash(tuple(stamps))

    def last(self) -> dict[str, tuple[LastReading, ...]]:
        """Instrument → what it said last, in its driver's order."""
        found: dict[str, list[LastReading]] = {}
        with self._reading() as database:
            if database is not None:
                rows = database.execute(
                    "SELECT last.instrument, last.reading, at, value, unit, why, coalesce(side, '') FROM last"
                    " LEFT JOIN beyond ON beyond.instrument = last.instrument AND beyond.reading = last.reading"
                    " ORDER BY last.instrument, place"
                )
                for instrument, reading, at, value, unit, why, side in rows:
                    known = None if value is None else json.loads(value)
                    found.setdefault(instrument, []).append(LastReading(reading, at, known, unit, why, side))
        return {instrument: tuple(readings) for instrument, readings in found.items()}

    def series(self, instrument: str, since: float, until: float, points: int = POINTS) -> tuple[float, list[Series]]:
        """The readings of an instrument over a time, at most so many points each.

        Args:
            since, until: Unix times, s.

        Returns:
            The step between two points, s; and the readings of which there is something.
        """
        step = _step((until - since) / points)
        with self._reading() as database:
            if database is None:
                return step / 1000, []
            return step / 1000, self._series(database, instrument, int(since * 1000), int(until * 1000), step)

    def trends(self, seconds: float = 3600.0, points: int = 60) -> dict[str, list[Series]]:
        """Instrument → its readings over the last so many seconds."""
        now = time.time()
        step = _step(seconds / points)
        with self._reading() as database:
            if database is None:
                return {}
            names = [row[0] for row in database.execute("SELECT DISTINCT instrument FROM series")]
            begin, end = int((now - seconds) * 1000), int((now + 60) * 1000)
            return {name: self._series(database, name, begin, end, step) for name in names}

    @staticmethod
    def _series(database: sqlite3.Connection, instrument: str, since: int, until: int, step: int) -> list[Series]:
        row = database.execute("SELECT value FROM marks WHERE name = 'minutes'").fetchone()
        now, meant = int(time.time() * 1000), row[0] if row else 0
        minutes_from = (now - int(MINUTES_SECONDS * 1000)) // HOUR * HOUR + HOUR
        if step >= HOUR:  # from here on minutes are read, and from there on each reading
            minutes, raw = max(minutes_from, meant // HOUR * HOUR), meant
        elif step >= MINUTE:
            minutes, raw = minutes_from, meant
        else:
            minutes, raw = minutes_from, min(meant, now - int((RAW_SECONDS - 60) * 1000))
        found = []
        rows = database.execute("SELECT id, reading, unit FROM series WHERE instrument = ? ORDER BY id", (instrument,))
        for number, reading, unit in rows.fetchall():
            points = database.execute(
                "SELECT at / :step * :step AS t, sum(mean * n) / sum(n), min(low), max(high) FROM ("
                " SELECT at, 1 AS n, value AS mean, value AS low, value AS high FROM raw"
                "  WHERE series = :series AND at >= max(:since, :raw) AND at < :until UNION ALL"
                " SELECT at, n, mean, low, high FROM minutes"
                "  WHERE series = :series AND at >= max(:since, :minutes) AND at < min(:until, :raw) UNION ALL"
                " SELECT at, n, mean, low, high FROM hours"
                "  WHERE series = :series AND at >= :since AND at < min(:until, :minutes)"
                ") GROUP BY t ORDER BY t",
                {"step": step, "series": number, "since": since, "until": until, "raw": raw, "minutes": minutes},
            )
            told = tuple(Point(at / 1000, mean, low, high) for at, mean, low, high in points)
            if told:
                found.append(Series(reading, unit, told))
        return found

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """The file; None where there is none, or it can't be read."""
        database: sqlite3.Connection | None = None
        try:
            if self._path.exists():
                database = sqlite3.connect(f"file:{quote(os.fspath(self._path))}?mode=ro", uri=True, timeout=BUSY)
            yield database
        except sqlite3.Error as error:
            log.warning("the history of readings can't be read now (%s)", error)
            raise HistoryUnreadable(str(error)) from error
        finally:
            if database is not None:
                database.close()


class HistoryUnreadable(Exception):
    """The history can't be read now."""


def _step(seconds: float) -> int:
    """The step between two points that is at least so many s, as people count: ms."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    return 1000 * next((step for step in steps if step >= seconds), 86400 * math.ceil(seconds / 86400))


__all__ = ["FILE", "History", "HistoryUnreadable", "HistoryWriter", "LastReading", "Path", "Point", "Series"]
