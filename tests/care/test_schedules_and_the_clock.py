"""A schedule's times where the clock is changed: in spring, in autumn, and in a zone that changes by half an hour."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from labwaiter.catalogue import catalogue
from labwaiter.errors import Misconfigured
from labwaiter.schedule import times
from labwaiter.schedule.schedule import load
from operators import Operator

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"
# zone, cron, from (local), then what comes: local times, with "'" for the second of two of that name
TABLE = [
    # Berlin in autumn: at 3:00 it is 2:00 again
    (BERLIN, "*/15 * * * *", "2026-10-25 02:20", "02:30 02:45 02:00' 02:15' 02:30' 02:45' 03:00 03:15"),
    (BERLIN, "0 * * * *", "2026-10-25 00:30", "01:00 02:00 02:00' 03:00 04:00"),
    (BERLIN, "30 2 * * *", "2026-10-24 12:00", "02:30 02:30 02:30"),
    (BERLIN, "5,35 2 * * *", "2026-10-24 12:00", "02:05 02:35 02:05 02:35"),
    (BERLIN, "30 1-3 * * *", "2026-10-25 00:00", "01:30 02:30 03:30 01:30"),
    (BERLIN, "0 3 * * *", "2026-10-24 12:00", "03:00 03:00"),
    (BERLIN, "0 0,6,12,18 * * *", "2026-10-24 17:00", "18:00 00:00 06:00 12:00"),
    (BERLIN, "0 */2 * * *", "2026-10-24 23:00", "00:00 02:00 02:00' 04:00 06:00"),
    (BERLIN, "0 */3 * * *", "2026-10-24 23:00", "00:00 02:00' 03:00 06:00"),
    (BERLIN, "0 */24 * * *", "2026-10-24 12:00", "00:00 00:00"),
    (BERLIN, "0 * * * 1", "2026-10-25 00:30", "00:00 01:00"),
    (BERLIN, "0 12 * * *", "2026-10-24 11:00", "12:00 12:00 12:00"),
    # in spring: at 2:00 it is 3:00
    (BERLIN, "*/15 * * * *", "2026-03-29 01:20", "01:30 01:45 03:00 03:15 03:30"),
    (BERLIN, "0 * * * *", "2026-03-29 00:30", "01:00 03:00 04:00"),
    (BERLIN, "30 2 * * *", "2026-03-28 12:00", "03:00 02:30 02:30"),
    (BERLIN, "5,35 2 * * *", "2026-03-28 12:00", "03:00 02:05 02:35"),
    (BERLIN, "30 1-3 * * *", "2026-03-29 00:00", "01:30 03:00 03:30 01:30"),
    (BERLIN, "0 3 * * *", "2026-03-28 12:00", "03:00 03:00"),
    (BERLIN, "0 */2 * * *", "2026-03-28 23:00", "00:00 03:00 04:00 06:00"),
    (BERLIN, "0 */3 * * *", "2026-03-28 23:00", "00:00 03:00 06:00"),
    # Lord Howe in autumn, in April: at 2:00 it is 1:30 again
    (LORD_HOWE, "*/15 * * * *", "2026-04-05 01:20", "01:30 01:45 01:30' 01:45' 02:00 02:15"),
    (LORD_HOWE, "0 * * * *", "2026-04-05 00:30", "01:00 01:30' 02:00 03:00"),
    (LORD_HOWE, "45 1 * * *", "2026-04-04 12:00", "01:45 01:45"),
    (LORD_HOWE, "0 2 * * *", "2026-04-04 12:00", "02:00 02:00"),
    # in spring, in October: at 2:00 it is 2:30
    (LORD_HOWE, "*/15 * * * *", "2026-10-04 01:20", "01:30 01:45 02:30 02:45 03:00"),
    (LORD_HOWE, "0 * * * *", "2026-10-04 00:30", "01:00 02:30 03:00 04:00"),
    (LORD_HOWE, "15 2 * * *", "2026-10-03 12:00", "02:30 02:15"),
    (LORD_HOWE, "0 2,3 * * *", "2026-10-03 12:00", "02:30 03:00 02:00"),
]


def written(moment: datetime) -> str:
    return f"{moment:%H:%M}" + ("'" if moment.fold else "")


@pytest.mark.parametrize(("zone", "cron", "begin", "comes"), TABLE)
def test_what_comes_when_the_clock_is_changed(zone: str, cron: str, begin: str, comes: str) -> None:
    moment, place, found = datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(zone)), ZoneInfo(zone), []
    for _ in comes.split():
        later = times.following(cron, zone, moment)
        assert later > moment.astimezone(UTC)
        found.append(later)
        moment = later
    assert " ".join(written(one.astimezone(place)) for one in found) == comes


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE])
@pytest.mark.parametrize(("cron", "minutes"), [("0 * * * *", 60), ("30 */6 * * *", 360)])
def test_what_repeats_never_pauses_longer_than_it_says(zone: str, cron: str, minutes: int) -> None:
    moment, ticks = datetime(2026, 1, 1, tzinfo=UTC), []
    while moment.year == 2026:
        moment = times.following(cron, zone, moment)
        ticks.append(moment)
    pauses = {later - before for before, later in zip(ticks, ticks[1:], strict=False)}
    assert max(pauses) == timedelta(minutes=minutes)


def test_a_fixed_hour_runs_once_on_each_day_of_the_year() -> None:
    moment, days = datetime(2025, 12, 31, 12, tzinfo=UTC), []
    for _ in range(365):
        moment = times.following("30 2 * * *", BERLIN, moment)
        days.append(moment.astimezone(ZoneInfo(BERLIN)).date())
    assert len(set(days)) == 365


def test_a_scheduler_that_begins_in_the_repeated_hour_has_the_same_times_as_the_others() -> None:
    place = ZoneInfo(BERLIN)
    second = datetime(2026, 10, 25, 2, 20, tzinfo=place, fold=1)
    assert written(times.following("*/15 * * * *", BERLIN, second).astimezone(place)) == "02:30'"
    assert times.following("30 2 * * *", BERLIN, second).astimezone(place).day == 26  # today's was an hour ago


def test_without_a_zone_it_is_the_machine_s_as_tz_or_etc_localtime_says(tmp_path: Path) -> None:
    script = (
        "from datetime import UTC, datetime\nfrom labwaiter.schedule import times\n"
        "print(times.following('30 6 * * *', '', datetime(2026, 7, 1, tzinfo=UTC)).isoformat())"
    )

    def says(zone: str) -> str:
        environment = os.environ | {"TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    assert says(BERLIN) == says(f":{BERLIN}") == "2026-07-01T04:30:00+00:00"
    assert says("Asia/Tokyo") == "2026-07-01T21:30:00+00:00"
    assert "TZ=NOWHERE5 names no time zone" in says("NOWHERE5")


@pytest.mark.parametrize(
    ("zone", "sentence"),
    [
        ('"Europe/Bärlin"', "“Europe/Bärlin” is no time zone that this machine knows"),
        ('"../../etc/passwd"', "is no time zone that this machine knows"),
        ("2", "zone is a name like"),
        ('""', "is no time zone that this machine knows"),
    ],
)
def test_a_zone_that_there_is_not_is_one_sentence(zone: str, sentence: str, services: Path, tmp_path: Path) -> None:
    file = tmp_path / "schedule.toml"
    file.write_text(f'[schedules.a]\nservice = "Bare"\ncron = "0 * * * *"\nzone = {zone}\n')
    with pytest.raises(Misconfigured, match="schedule.toml, line 1: a: ") as caught:
        load(file, catalogue.load(services))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    file.write_text('[schedules.a]\nservice = "Bare"\nevery = "1 h"\nzone = "Europe/Berlin"\n')
    with pytest.raises(Misconfigured, match="zone goes with cron"):
        load(file, catalogue.load(services))


def test_two_schedules_have_a_zone_each_and_the_list_says_which(services: Path, tmp_path: Path) -> None:
    file = tmp_path / "schedule.toml"
    text = "".join(
        f'[schedules.{name}]\nservice = "Bare"\ncron = "30 6 * * *"\nzone = "{zone}"\n'
        for name, zone in (("berlin", BERLIN), ("howe", LORD_HOWE))
    )
    file.write_text(text)
    environment = {"SERVICES": str(services), "SCHEDULE": str(file), "WAITER_LOG_FOLDER": str(tmp_path / "jobs")}
    rows = Operator(os.environ | environment | {"LABWAITER_ENV": os.devnull}).json("schedule", "--list")
    assert [row["times"] for row in rows] == [f"30 6 * * * {BERLIN}", f"30 6 * * * {LORD_HOWE}"]
    for row, zone in zip(rows, (BERLIN, LORD_HOWE), strict=True):
        assert f"{datetime.fromtimestamp(row['next'], ZoneInfo(zone)):%H:%M}" == "06:30"


def test_names_of_months_and_days_are_no_random_fields(services: Path, tmp_path: Path) -> None:
    file = tmp_path / "schedule.toml"
    file.write_text('[schedules.a]\nservice = "Bare"\ncron = "0 2 * MAR,APR THU-FRI"\n')
    assert [one.cron for one in load(file, catalogue.load(services))] == ["0 2 * MAR,APR THU-FRI"]
