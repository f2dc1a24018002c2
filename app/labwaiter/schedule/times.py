"""When a cron schedule's time comes next, also where the clock is changed (croniter knows the fields and the zones).

What has fixed hours runs once at each: not again in an hour that comes twice, and as soon as the clock goes on where
it is left out. What runs every so many minutes or hours (an hour field that begins with *) never pauses longer than it
says.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from croniter import croniter

from ..errors import Misconfigured

LOCALTIME = "/etc/localtime"


def zone_of(name: str) -> tzinfo:
    """A time zone by its name; this machine's for "".

    Raises:
        ValueError: there is none of this name.
        Misconfigured: nor of the name that this machine's environment has.
    """
    if name:
        return named_zone(name)
    of_environment = os.environ.get("TZ", "").removeprefix(":")
    try:
        if of_environment and not of_environment.startswith("/"):
            return named_zone(of_environment)
        with open(of_environment or LOCALTIME, "rb") as file:
            return ZoneInfo.from_file(file)
    except FileNotFoundError:
        if not of_environment:
            return UTC  # as the C library has it
    except (OSError, ValueError):
        pass
    mistake = f"{LOCALTIME} can't be read as a time zone"
    if of_environment:
        mistake = f"TZ={of_environment} names no time zone"
    raise Misconfigured(f'{mistake}: write one into the schedule, like zone = "Europe/Berlin".')


def named_zone(name: str) -> ZoneInfo:
    """A time zone by its name. Raises ValueError: there is none, in a sentence."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # KeyError: ZoneInfoNotFoundError
        raise ValueError(f"“{name}” is no time zone that this machine knows.") from error


def following(cron: str, zone: str, after: datetime) -> datetime:
    """The first time after `after` (aware), in UTC. Raises what croniter raises, and `zone_of`."""
    place = zone_of(zone)
    return (_repeated if _repeats(cron) else _fixed)(cron, place, after.astimezone(place)).astimezone(UTC)


def _repeats(cron: str) -> bool:
    """Whether it runs every so many minutes or hours: `0 */24 * * *` doesn't, it has one hour."""
    hours = croniter.expand(cron)[0][1]
    return cron.split()[1].startswith("*") and (hours == ["*"] or len(hours) > 1)


def _fixed(cron: str, place: tzinfo, after: datetime) -> datetime:
    steps = croniter(cron, after)
    while True:
        moment: datetime = steps.get_next(datetime)
        if not moment.fold:  # croniter gives both of a time that comes twice
            return moment


def _repeated(cron: str, place: tzinfo, after: datetime) -> datetime:
    """By the clock as it goes now; if it is changed before that, by whichever of the two clocks comes first."""
    before = _clock(after)
    steps = croniter(cron, after.astimezone(before))
    by_old: datetime = steps.get_next(datetime).astimezone(place)
    now = _clock(by_old)
    if now.utcoffset(None) == before.utcoffset(None):
        return by_old
    on_new = croniter(cron, after.astimezone(now))
    while True:
        by_new: datetime = on_new.get_next(datetime).astimezone(place)
        if by_new.utcoffset() == now.utcoffset(None):
            break
    # what begins anew another day is no pause of this one's
    pause = by_old.astimezone(UTC) - croniter(cron, by_old.astimezone(before)).get_prev(datetime).astimezone(UTC)
    return by_new if pause >= timedelta(days=1) else min(by_old, by_new, key=lambda time: time.astimezone(UTC))


def _clock(moment: datetime) -> timezone:
    """A clock that never changes, as it goes at that moment."""
    offset = moment.utcoffset()
    assert offset is not None
    return timezone(offset)
