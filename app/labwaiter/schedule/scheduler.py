"""Starts what schedule.toml says: RQ's cron knows when, and the start goes through the verbs as any other does."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rq.cron import CronJob, CronScheduler
from rq.exceptions import SchedulerNotFound
from rq.utils import now

from ..catalogue.catalogue import WatchedCatalogue
from ..errors import ClientError, ServiceError, UnknownServiceID
from ..fleet import redis_faults
from ..fleet.fleet_store import ScheduleNote
from ..fleet.lab_redis import LabRedis
from ..fleet.redis_faults import FAULTS
from ..model.caller import Caller, administrator
from ..model.record import Record
from ..model.sentences import N_
from ..settings import Settings
from ..store.files import read_bounded, read_record, write_whole
from ..verbs import Jobs
from ..verbs.as_data import of_record
from ..verbs.permission import Action, permit
from . import times
from .schedule import Schedule

log = logging.getLogger(__name__)
CALLER = administrator("schedule", face="schedule")
NOTES_MAX = 1_000_000  # bytes
AGAIN_SECONDS = 5.0  # until what could not be started is tried again, within its time


class Scheduled(CronJob):
    """The times of a schedule. RQ's are its own to enqueue: these are started by `Scheduler`."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        super().__init__("labwaiter", func_name=schedule.service, interval=schedule.every, cron=schedule.cron)
        self.name = schedule.name
        self.next_enqueue_time = self.get_next_enqueue_time()

    def get_next_enqueue_time(self) -> datetime:
        """RQ counts from its own start, and leaves out what comes twice: here every scheduler has the same."""
        before = self.latest_enqueue_time or now()
        if self.cron:
            return times.following(self.cron, self.schedule.zone, before)
        assert self.interval
        number = int(before.timestamp() // self.interval)
        return datetime.fromtimestamp((number + 1) * self.interval, UTC)

    def should_run(self) -> bool:
        """Whether its time has come: never at once because it has not run yet."""
        return now() >= self.next

    @property
    def next(self) -> datetime:
        """Its next time, or the one that has come."""
        assert self.next_enqueue_time is not None
        return self.next_enqueue_time

    def due(self) -> datetime:
        """The last of its times that has come."""
        while True:
            tick = self.next
            self.set_enqueue_time(tick)
            if self.next > now():
                self.next_enqueue_time = tick
                return tick


class Notes:
    """What is known of a schedule besides its runs: in Redis, or where there is none, in the jobs folder."""

    def __init__(self, settings: Settings) -> None:
        self.store = LabRedis(settings) if settings.redis_url else None
        self._file = settings.layout.schedules

    def read(self, name: str) -> ScheduleNote:
        """Of one schedule. Raises what Redis raises."""
        if self.store is not None:
            return self.store.schedule_note(name)
        try:
            return ScheduleNote.of(json.loads(read_bounded(self._file, NOTES_MAX) or b"{}").get(name))
        except (ValueError, TypeError, AttributeError):
            return ScheduleNote()

    def write(self, name: str, note: ScheduleNote) -> None:
        """Raises what Redis raises."""
        if self.store is not None:
            self.store.note_schedule(name, note)
            return
        text = read_record(self._file, NOTES_MAX)  # one that can't be read now is not written anew
        notes = dict(json.loads(text)) if text else {}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file, json.dumps(notes | {name: note.fields}).encode())


class Scheduler:
    """Starts what is due, until stopped."""

    def __init__(self, settings: Settings, jobs: Jobs, offered: WatchedCatalogue, schedules: list[Schedule]) -> None:
        self.settings, self.jobs, self.offered = settings, jobs, offered
        self.scheduled = [Scheduled(schedule) for schedule in schedules]
        self.notes = Notes(settings)
        self.stopping = threading.Event()
        self._started: dict[str, str] = {}  # the last serviceID of each
        self._logged: dict[str, str] = {}  # what was logged last of each
        self._shown: CronScheduler | None = None
        if self.notes.store is not None:  # RQ's own tools see it there
            self._shown = CronScheduler(
                self.notes.store.connection, "WARNING", f"{settings.machine}-{time.time_ns():x}"
            )
            self._shown.get_jobs().extend(self.scheduled)
            self._shown.config_file = settings.schedule.name

    def run(self) -> None:
        """Start what is due, at its time, until `stopping` is set."""
        is_registered = False
        while not self.stopping.is_set():
            left = [self._look(scheduled) for scheduled in self.scheduled]
            if self._shown is not None:
                try:
                    if not is_registered:
                        self._shown.register_birth()
                    is_registered = True
                    self._shown.heartbeat()
                    self._shown.save()
                except FAULTS as error:
                    log.debug("Redis is away: %s", redis_faults.of(error).mend)
            self.stopping.wait(min([30.0, *left]))
        if self._shown is not None:
            with contextlib.suppress(SchedulerNotFound, *FAULTS):  # a Redis that was emptied knows nothing of it
                self._shown.register_death()

    def _look(self, scheduled: Scheduled) -> float:
        """Start it if it is due: seconds until it wants to be looked at again."""
        if scheduled.should_run():
            tick = scheduled.due()
            try:
                self._start(scheduled.schedule, tick)
            except (ServiceError, *FAULTS) as error:
                why = error.message if isinstance(error, ServiceError) else redis_faults.of(error).mend
                self._log(scheduled.schedule, f"{scheduled.schedule.service_id(tick)} was not started: {why}")
                if not isinstance(error, ClientError):
                    return AGAIN_SECONDS
            except Exception:
                log.exception("%s: %s could not be started", scheduled.name, scheduled.schedule.service_id(tick))
            scheduled.set_enqueue_time(tick)
        return max(0.0, (scheduled.next - now()).total_seconds())

    def _start(self, schedule: Schedule, tick: datetime) -> None:
        service_id = schedule.service_id(tick)
        last, ours = schedule.last(self.jobs, CALLER), self._started.get(schedule.name, "")
        if last is None or last.request.service_id < ours:  # a Redis that was just emptied has yet to be told of it
            with contextlib.suppress(UnknownServiceID):
                last = self.jobs.record(ours, CALLER) if ours else last
        if last is not None and last.request.service_id >= service_id:
            return  # another scheduler was faster
        if last is not None and last.active:
            note, why = self.notes.read(schedule.name), N_(f"{last.request.service_id} had not ended")
            if note.at != tick.timestamp():  # else another scheduler has noted it already
                self.notes.write(schedule.name, ScheduleNote(note.skipped + 1, why, tick.timestamp()))
            self._log(schedule, f"{service_id} is skipped: {why}")
            return
        address = self.settings.public_url + self.settings.context_root if self.settings.public_url else ""
        service = self.offered.now(schedule.service).get(schedule.service)
        self.jobs.start(service, service_id, schedule.inputs, replace(CALLER, public_url=address))
        self._started[schedule.name] = service_id
        self.notes.write(schedule.name, ScheduleNote())
        self._log(schedule, f"{service_id} is started")

    def _log(self, schedule: Schedule, message: str) -> None:
        """Once, until there is something else to say of it."""
        if self._logged.get(schedule.name) != message:
            self._logged[schedule.name] = message
            log.info("%s", message)


@dataclass(frozen=True)
class Row:
    """How a schedule stands."""

    schedule: Schedule
    next: float  # Unix time, s
    last: Record | None
    skipped: int  # since the last run
    why: str

    def as_data(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {
            "name": self.schedule.name,
            "service": self.schedule.service,
            "times": self.schedule.times,
            "inputs": self.schedule.inputs,
            "next": self.next,
            "last": of_record(self.last) if self.last else None,
            "skipped": self.skipped,
            "why": self.why,
        }


def standing(settings: Settings, jobs: Jobs, schedules: list[Schedule], caller: Caller) -> list[Row]:
    """How each schedule stands. Raises what Redis raises, Unavailable, NotPermitted."""
    permit(caller, Action.LIST_SCHEDULES)
    notes, rows = Notes(settings), []
    for schedule in schedules:
        note = notes.read(schedule.name)
        next_at = Scheduled(schedule).next.timestamp()
        rows.append(Row(schedule, next_at, schedule.last(jobs, caller), note.skipped, note.why))
    return rows
