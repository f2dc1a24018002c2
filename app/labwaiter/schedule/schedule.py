"""schedule.toml: executions that start at their times (`scheduler` starts them).

    [schedules.air]
    service = "Ventilation"
    cron = "0 * * * *"            # minute hour day month weekday, by the clock of
    zone = "Europe/Berlin"        # this zone; without this line, of this machine (`times`)
    inputs = { cycles = 3 }
    note = "the chamber, each hour"

    [schedules.calibration]
    service = "Sweep"
    every = "90 min"              # s, min, h or d; counted from 1970, so 60 min is each full hour

A time becomes a serviceID, schedule-air-2026-11-25T21:00:00Z, so that of several schedulers one starts it. A run that
would overlap its predecessor is skipped. What was missed while no scheduler ran is not made up for.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..catalogue.catalogue import Catalogue
from ..errors import Misconfigured, ServiceError, UnknownServiceID
from ..model.caller import Caller
from ..model.record import Record
from ..settings import read_text
from ..verbs import Jobs
from . import times

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
LONGEST = 3650 * 86400  # s
_KEYS = ("service", "every", "cron", "zone", "inputs", "note")
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Schedule:
    """One table of schedule.toml."""

    name: str
    service: str
    every: int | None = None  # s
    cron: str | None = None
    zone: str = ""  # of cron's clock; "": this machine's
    inputs: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def times(self) -> str:
        """When, as it is written."""
        return f"{self.cron} {self.zone}".rstrip() if self.cron else f"every {self.every} s"

    def service_id(self, tick: datetime) -> str:
        """Of its run at that time."""
        return f"schedule-{self.name}-{tick.astimezone(UTC).strftime(_STAMP)}"

    def last(self, jobs: Jobs, caller: Caller) -> Record | None:
        """Its last run that there is. Raises Unavailable."""
        run_id = re.compile(rf"schedule-{re.escape(self.name)}-\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        for run in sorted((r for name in jobs.records.names() if run_id.fullmatch(r := unquote(name))), reverse=True):
            with contextlib.suppress(UnknownServiceID):  # only its tombstone is left
                return jobs.record(run, caller)
        return None


def load(file: Path, catalogue: Catalogue) -> list[Schedule]:
    """What a file says.

    Raises:
        Misconfigured: there is none, or a mistake in it, in a sentence with its line.
    """
    try:
        text = read_text(file)
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise Misconfigured(f"There is no {file.name}: SCHEDULE names the file that says what starts when.") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file.name} is no TOML: {error}.") from error
    strange = [key for key in tables if key != "schedules"]
    if strange or not isinstance(tables.get("schedules", {}), dict):
        raise Misconfigured(f"{file.name}: write [schedules.NAME], not “{(strange or ['schedules'])[0]}”.")
    schedules = []
    for name, table in tables.get("schedules", {}).items():
        try:
            schedules.append(_schedule(name, table, catalogue))
        except (ValueError, ServiceError) as error:
            head = re.compile(rf"\s*\[\s*schedules\.[\"']?{re.escape(name)}[\"']?\s*\]")
            lines = [number for number, line in enumerate(text.split("\n"), 1) if head.match(line)]
            where = f", line {lines[0]}" if lines else ""
            mistake = error.message if isinstance(error, ServiceError) else str(error)
            raise Misconfigured(f"{file.name}{where}: {name}: {mistake}") from error
    return schedules


def _schedule(name: str, table: Any, catalogue: Catalogue) -> Schedule:
    """One table; a ValueError's text says what is wrong."""
    if not isinstance(table, dict) or not re.fullmatch(r"[A-Za-z0-9][\w-]{0,40}", name):
        raise ValueError("write [schedules.NAME]; a name is letters, digits, _ and -.")
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"“{key}” is not known; there are: {', '.join(_KEYS)}.")
    every, cron, zone, inputs = table.get("every"), table.get("cron"), table.get("zone"), table.get("inputs", {})
    if (every is None) == (cron is None):
        raise ValueError('say either every = "60 min" or cron = "0 * * * *".')
    if zone is not None and not isinstance(zone, str):
        raise ValueError('zone is a name like "Europe/Berlin".')
    if zone is not None and cron is None:
        raise ValueError("zone goes with cron; every is counted in UTC.")
    if zone is not None:
        times.named_zone(zone)
    seconds = None
    if every is not None:
        span = _SPAN.fullmatch(str(every).strip())
        exactly = float(span[1]) * _UNITS[span[2]] if span else 0.0
        if not 1 <= exactly <= LONGEST:
            raise ValueError(
                'every is a time like "60 min": a number with s, min, h or d, from one second to ten years.'
            )
        seconds = round(exactly)
    else:
        try:
            # R and H are random to croniter: another time at each look
            if not isinstance(cron, str) or len(cron.split()) != 5 or re.search(r"(?<![A-Z])[HR](?![A-Z])", cron, re.I):
                raise ValueError
            times.following(cron, "UTC", datetime.now(UTC))
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                'cron has five fields that name a time, minute hour day month weekday: cron = "0 * * * *".'
            ) from error
    if not isinstance(inputs, dict):
        raise ValueError("inputs is a table: { name = value }.")
    service = catalogue.get(str(table.get("service", "")))
    service.accept(inputs)
    return Schedule(name, service.name, seconds, cron, zone or "", inputs, str(table.get("note", "")))
