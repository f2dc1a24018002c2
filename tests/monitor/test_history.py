"""What is kept of readings: each for a while, then means; by several readers at once, on any disk."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import pytest

from labwaiter.lab.lab import Limit
from labwaiter.layout import Layout
from labwaiter.store import history
from labwaiter.store.history import History, HistoryWriter

DAY = 86400.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "jobs" / ".labwaiter").mkdir(parents=True)
    return Layout(tmp_path / "jobs")


def write(layout: Layout, times: list[float], value: float = 20.0) -> HistoryWriter:
    writer = HistoryWriter(layout)
    for number, at in enumerate(times):
        writer.add("oven", at, {"temperature": {"value": value + number % 2, "unit": "°C", "at": at}})
    writer.commit()
    return writer


def count(layout: Layout, table: str) -> int:
    with sqlite3.connect(layout.history / history.FILE) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_each_reading_of_an_hour_is_told_as_it_was(layout: Layout) -> None:
    now = time.time()
    write(layout, [now - 40, now - 30, now - 20])
    step, (series,) = History(layout).series("oven", now - 100, now, 100)
    assert step == 1 and (series.reading, series.unit) == ("temperature", "°C")
    assert [point.mean for point in series.points] == [20, 21, 20]
    (last,) = History(layout).last()["oven"]
    assert (last.value, last.unit, last.at) == (20.0, "°C", pytest.approx(now - 20, abs=0.01))


def test_old_readings_are_thinned_and_older_ones_let_go(layout: Layout) -> None:
    now = time.time()
    times = [now - age + second for age in (500 * DAY, 100 * DAY, 10 * DAY, 3600) for second in range(0, 600, 10)]
    writer = write(layout, sorted(times))
    writer.thin(now, 400 * DAY)
    assert count(layout, "raw") == 60, "each reading of the last two days is there"
    assert 18 <= count(layout, "minutes") <= 24, "a minute's mean of forty days"
    assert 2 <= count(layout, "hours") <= 6, "an hour's mean of four hundred days, and nothing older"
    looks = History(layout)
    for age in (100 * DAY, 10 * DAY, 3600):
        _, (series,) = looks.series("oven", now - age - 3600, now - age + 3600, 10)
        mean = sum(point.mean for point in series.points) / len(series.points)
        assert mean == pytest.approx(20.5, abs=0.2)
        assert {(point.low, point.high) for point in series.points} == {(20.0, 21.0)}
    assert looks.series("oven", now - 500 * DAY - 3600, now - 499 * DAY, 10)[1] == []


@pytest.mark.parametrize("points", [10, 100, 1000, 20_000])
def test_however_coarse_the_steps_are_nothing_is_told_twice(layout: Layout, points: int) -> None:
    now = time.time()
    writer = write(layout, [now - 7200 + 10 * number for number in range(720)])
    writer.thin(now - 3600, 400 * DAY)  # some have means by now, and some not
    step, (series,) = History(layout).series("oven", now - 7200, now, points)
    starts = [point.at for point in series.points]
    assert starts == sorted(set(starts)) and len(starts) <= min(points + 1, 720)
    assert all(later - before >= step - 0.001 for before, later in itertools.pairwise(starts))


def _read(layout: Layout, seconds: float) -> None:
    looks, until = History(layout), time.monotonic() + seconds
    while time.monotonic() < until:
        assert looks.last()["oven"]
        looks.series("oven", 0, 1e11, 100)


def test_several_look_while_it_is_written(layout: Layout) -> None:
    writer = write(layout, [time.time()])
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=_read, args=(layout, 2.0)) for _ in range(3)]
    for reader in readers:
        reader.start()
    written = 0
    while any(reader.is_alive() for reader in readers):
        writer.add("oven", time.time(), {"temperature": {"value": written, "unit": "°C"}})
        writer.commit()
        written += 1
    assert [reader.exitcode for reader in readers] == [0, 0, 0] and written
    assert History(layout).last()["oven"][0].value == written - 1


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + 5000 * b"\xff"])
def test_a_damaged_file_is_put_aside_and_a_new_one_begun(
    layout: Layout, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(layout, [time.time()]).close()
    (layout.history / history.FILE).write_bytes(damage)
    writer = HistoryWriter(layout)
    for _ in range(2):
        writer.add("oven", time.time(), {"temperature": {"value": 1.0, "unit": "°C"}})
        writer.commit()
    assert "the history of readings is damaged" in caplog.text
    (aside,) = layout.history.glob("damaged-*.db")
    assert aside.read_bytes() == damage
    assert History(layout).last()["oven"][0].value == 1.0


def test_a_disk_that_refuses_ends_nothing_and_is_tried_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = write(layout, [time.time()])
    writer.close()
    full = sqlite3.connect(layout.history / history.FILE)
    full.execute("BEGIN EXCLUSIVE")  # nobody else writes now
    monkeypatch.setattr(history, "BUSY", 0.05)
    for number in range(3):
        writer.add("oven", time.time(), {"temperature": {"value": number, "unit": "°C"}})
        writer.commit()
    assert caplog.text.count("readings can't be kept now") == 1
    full.rollback()
    writer.add("oven", time.time(), {"temperature": {"value": 7.0, "unit": "°C"}})
    writer.commit()
    assert History(layout).last()["oven"][0].value == 7.0


def test_what_cannot_be_read_any_more_says_why(layout: Layout) -> None:
    writer = write(layout, [time.time()])
    writer.failed("oven", time.time(), "oven was lost.")
    writer.failed("other", time.time(), "other: its port is not there.")
    writer.commit()
    last = History(layout).last()
    assert [(one.value, one.why) for one in last["oven"]] == [(None, "oven was lost.")]
    assert last["other"][0].why == "other: its port is not there."
    writer.add("other", time.time(), {"text": {"value": "1, 3", "unit": ""}, "on": {"value": True, "unit": ""}})
    writer.commit()
    assert [(one.reading, one.value) for one in History(layout).last()["other"]] == [("text", "1, 3"), ("on", True)]
    assert [series.reading for series in History(layout).series("other", 0, 1e11)[1]] == ["on"]


def test_a_clock_that_is_set_back_loses_nothing(layout: Layout) -> None:
    now = time.time()
    writer = write(layout, [now - 600])
    writer.thin(now, 400 * DAY)
    writer.add("oven", now - 3000, {"temperature": {"value": 5.0, "unit": "°C"}})
    writer.thin(now, 400 * DAY)
    _, (series,) = History(layout).series("oven", now - 4000, now, 10)
    assert [point.mean for point in series.points] == [5.0, 20.0]


def test_no_other_user_may_read_it_than_the_folders_rights_say(layout: Layout) -> None:
    os.chmod(layout.folder, 0o750)
    writer = write(layout, [time.time()])
    assert {path.stat().st_mode & 0o777 for path in layout.history.glob("history.db*")} == {0o640}
    writer.close()


@pytest.mark.parametrize(
    ("value", "before", "beyond"),
    [
        (81, "", "high"),
        (80, "", ""),
        (79.5, "high", "high"),
        (79, "high", ""),
        (14, "", "low"),
        (15.5, "low", "low"),
        (16, "low", ""),
        (10, "high", "low"),
    ],
)
def test_a_limit_is_passed_once_until_the_reading_has_come_back(value: float, before: str, beyond: str) -> None:
    limit = Limit(15, 80, hysteresis=1)
    assert limit.beyond(value, before) == beyond
