"""What Prometheus is told of a deployment: figures of its processes, and what is seen when it asks.

Nothing here is of one execution, user or project, and every label has few values: services and instruments are those of
this deployment, all else are words of the code. What can't be read is left out, and told as that
(`labwaiter_part_readable`): a scrape fails for nobody.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from .. import __version__
from ..catalogue.catalogue import WatchedCatalogue
from ..errors import ClientError, ServiceError
from ..model.record import ENDED
from ..settings import Settings
from ..store import figures, supervisor_client
from ..store.figures import CALL_BOUNDS, CALLS, WORK_BOUNDS, Figures, WebFigures
from ..store.leases import Held
from ..system.process import boot_clock
from ..verbs import Jobs
from ..verbs.instruments import FREE, MISSING, OUT, STOPPED, Instruments

log = logging.getLogger("labwaiter.web")
STATES = (FREE, *map(str, Held), MISSING, OUT, STOPPED)
WAITS = ("person", "owner", "instrument", "service", "place", "turn")  # `supervisor.queue.waiting_for`
STOPS = ("abort", "limit", "stall", "size", "abandoned", "shutdown")  # `model.record.Stopping.reason`
Samples = Iterator[tuple[str, tuple[str, ...], Any]]  # metric, its labels' values, and what it is: a number, or figures


@dataclass(frozen=True)
class Description:
    """A metric, as docs/operating.md has it."""

    kind: str  # "counter", "gauge", "histogram"
    labels: tuple[str, ...]
    unit: str
    meaning: str
    bounds: tuple[float, ...] = ()  # of a histogram's buckets


TABLE = {
    "labwaiter_info": Description("gauge", ("version",), "1", "always 1: the release that answers"),
    "labwaiter_supervised": Description("gauge", (), "0, 1", "whether a supervisor lives here"),
    "labwaiter_supervisor_age_seconds": Description(
        "gauge", (), "s", "since it told its figures: 5 s while it is idle"
    ),
    "labwaiter_supervisor_lag_seconds": Description(
        "histogram", (), "s", "how late its loop, due twice a second, came round", WORK_BOUNDS
    ),
    "labwaiter_executions_begun_total": Description("counter", ("service",), "executions", "that began to run"),
    "labwaiter_executions_ended_total": Description(
        "counter", ("service", "end"), "executions", "that completed, failed or were aborted"
    ),
    "labwaiter_executions_running": Description(
        "gauge", ("service",), "executions", "that run; absent without a supervisor"
    ),
    "labwaiter_executions_queued": Description(
        "gauge",
        ("reason",),
        "executions",
        "that wait for a person (their instrument is unsafe, reserved, stopped or out of service),"
        " for their owner's others to end"
        " (MAX_RUNNING_PER_PROJECT, …_USER), for an instrument in use, for their service (at_once),"
        " for a place (MAX_RUNNING), or just for their turn; absent without a supervisor",
    ),
    "labwaiter_queue_oldest_seconds": Description(
        "gauge",
        (),
        "s",
        "for which the first of the queue has waited; 0 with nobody in it; absent without a supervisor",
    ),
    "labwaiter_queue_seconds": Description("histogram", (), "s", "from an execution's start to its begin", WORK_BOUNDS),
    "labwaiter_stop_seconds": Description(
        "histogram", ("reason",), "s", "from the word to stop until all is gone and cleared up", WORK_BOUNDS
    ),
    "labwaiter_make_safe_seconds": Description(
        "histogram", (), "s", "clearing up after an execution with instruments, until they are safe", WORK_BOUNDS
    ),
    "labwaiter_call_seconds": Description(
        "histogram",
        ("call",),
        "s",
        "calls that were carried out: SOAP's start, status, abort, notify; json: all by JSON, unless they waited",
        CALL_BOUNDS,
    ),
    "labwaiter_faults_total": Description(
        "counter", ("code", "reason"), "calls", "that got a fault: its errorCode, and what of that it was"
    ),
    "labwaiter_instrument_state": Description(
        "gauge", ("instrument", "state"), "0, 1", f"1 for the state that it is in: {', '.join(STATES)}"
    ),
    "labwaiter_disk_free_bytes": Description(
        "gauge", (), "bytes", "free to the deployment, where its jobs folder lies"
    ),
    "labwaiter_disk_size_bytes": Description("gauge", (), "bytes", "of that disk"),
    "labwaiter_redis_answers": Description("gauge", (), "0, 1", "over Redis: whether it did, just now"),
    "labwaiter_redis_broken": Description(
        "gauge", (), "0, 1", "over Redis: 1 where the worker that was scraped saw it hang, and doesn't ask it"
    ),
    "labwaiter_machine_age_seconds": Description(
        "gauge", ("machine",), "s", "over Redis: since each was last heard of: so old is what is told of it"
    ),
    "labwaiter_part_readable": Description("gauge", ("part",), "0, 1", "0 where that part of these can't be read now"),
}


class Metrics:
    """The metrics of one deployment, as one of its web workers tells them."""

    def __init__(self, settings: Settings, offered: WatchedCatalogue, jobs: Jobs, own: WebFigures) -> None:
        """
        Args:
            own: what this worker counts.
        """
        self._settings, self._offered, self._jobs, self._own = settings, offered, jobs, own
        self._instruments = Instruments(settings)
        self._parts: dict[str, Callable[[], Samples]] = {
            "supervisor": self._supervisor,
            "calls": self._calls,
            "instruments": self._instrument_states,
            "disk": self._disk,
        }
        if settings.redis_url:
            self._parts["redis"] = self._redis

    def text(self, accept: str) -> tuple[bytes, str]:
        """All of them, in the format that an Accept header asks for, and its Content-Type."""
        encode, kind = choose_encoder(accept)
        return encode(self), kind  # all that it wants of a registry is `collect`

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client has it."""
        samples: dict[str, list[tuple[tuple[str, ...], Any]]] = {name: [] for name in TABLE}
        samples["labwaiter_info"].append(((__version__,), 1))
        for part, look in self._parts.items():
            try:
                found = list(look())
            except Exception:  # of a scrape nobody else is to know anything
                log.exception("the metrics' part %s can't be read", part)
                found = []
                samples["labwaiter_part_readable"].append(((part,), 0))
            else:
                samples["labwaiter_part_readable"].append(((part,), 1))
            for name, labels, value in found:
                # a file's name may be no text
                samples[name].append((tuple(label.encode("utf-8", "replace").decode() for label in labels), value))
        for name, described in TABLE.items():
            yield _family(name, described, samples[name])

    # -- parts ----------------------------------------------------------------------------------

    def _supervisor(self) -> Samples:
        told = figures.read(self._settings.layout.supervisor_figures)
        if not told and self._settings.redis_url:
            return  # a face alone has none
        lives = supervisor_client.alive(self._settings) is not None
        services = self._offered.last().services
        counted = _at(told, "counted")
        yield "labwaiter_supervised", (), int(lives)
        if isinstance(at := told.get("at"), int | float):
            yield "labwaiter_supervisor_age_seconds", (), max(0.0, boot_clock() - at)
        yield "labwaiter_supervisor_lag_seconds", (), _at(counted, "lag")
        yield "labwaiter_queue_seconds", (), _at(counted, "queue")
        yield "labwaiter_make_safe_seconds", (), _at(counted, "safe")
        stops = _at(counted, "stops")
        for reason in dict.fromkeys([*STOPS, *stops]):
            yield "labwaiter_stop_seconds", (reason,), _at(stops, reason)
        # who counts from 0 sees the first one, too
        for service, number in _numbers(_at(counted, "begun"), services):
            yield "labwaiter_executions_begun_total", (service,), number
        ended = _at(counted, "ended")
        for service in dict.fromkeys([*services, *ended]):
            for end, number in _numbers(_at(ended, service), sorted(ENDED)):
                yield "labwaiter_executions_ended_total", (service, end), number
        if lives:  # what one that is dead said last is no longer so
            for service, number in _numbers(_at(told, "running"), services):
                yield "labwaiter_executions_running", (service,), number
            for reason, number in _numbers(_at(told, "queued"), WAITS):
                yield "labwaiter_executions_queued", (reason,), number
            oldest = told.get("oldest")
            waited = time.time() - oldest if isinstance(oldest, int | float) else 0.0
            yield "labwaiter_queue_oldest_seconds", (), max(0.0, waited)

    def _calls(self) -> Samples:
        self._own.tell_if_possible()
        # never of this worker's memory: what the others' scrapes don't know would be taken back by them
        told = figures.read(self._settings.layout.web_figures)
        for call in CALLS:
            yield "labwaiter_call_seconds", (call,), _at(told, "calls", call)
        faults = _at(told, "faults")
        known = {(error.code, error.__name__) for error in _all_errors(ServiceError)}
        counted = {(code, reason) for code in faults for reason in _at(faults, code)}
        for code, reason in sorted(known | counted):
            yield "labwaiter_faults_total", (code, reason), _at(faults, code).get(reason, 0)

    def _instrument_states(self) -> Samples:
        for instrument, state in self._instruments.states().items():
            for word in STATES:
                yield "labwaiter_instrument_state", (instrument, word), int(word == state)

    def _disk(self) -> Samples:
        folder = self._settings.jobs_folder  # which a face may not have yet
        disk = os.statvfs(next(place for place in (folder, *folder.parents) if place.exists()))
        yield "labwaiter_disk_free_bytes", (), disk.f_bavail * disk.f_frsize
        yield "labwaiter_disk_size_bytes", (), disk.f_blocks * disk.f_frsize

    def _redis(self) -> Samples:
        from ..fleet.redis_store import RedisStore

        assert isinstance(self._jobs.records, RedisStore)
        mirror = self._jobs.records.mirror()
        yield "labwaiter_redis_answers", (), int(mirror.answers)
        yield "labwaiter_redis_broken", (), int(mirror.is_broken)
        for machine, age in mirror.ages.items():
            yield "labwaiter_machine_age_seconds", (machine,), age


def _family(name: str, described: Description, samples: list[tuple[tuple[str, ...], Any]]) -> Metric:
    if described.kind == "histogram":
        histogram = HistogramMetricFamily(name, described.meaning, labels=described.labels)
        for labels, durations in samples:
            histogram.add_metric(
                labels, _buckets(_at(durations, "under"), described.bounds), durations.get("seconds", 0)
            )
        return histogram
    family: Any = (CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily)(
        name, described.meaning, labels=described.labels
    )
    for labels, number in samples:
        family.add_metric(labels, number)
    return family  # type: ignore[no-any-return]


def _buckets(under: Figures, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    """How many were at most each bound; of bounds that another release had, too."""
    counts: list[tuple[float, float]] = []
    for bound, number in under.items():
        with contextlib.suppress(ValueError):
            counts.append((float(bound), number))
    return [(_written(bound), sum(number for at, number in counts if at <= bound)) for bound in (*bounds, math.inf)]


def _written(bound: float) -> str:
    written: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return written


def _at(content: Figures, *words: str) -> Figures:
    """The figures under these words; {} where there are none."""
    for word in words:
        found = content.get(word)
        content = found if isinstance(found, dict) else {}
    return content


def _numbers(content: Figures, words: Any) -> Iterator[tuple[str, float]]:
    """The numbers by their words: 0 for those of `words` that have none."""
    for word in dict.fromkeys([*map(str, words), *content]):
        number = content.get(word, 0)
        if isinstance(number, int | float):
            yield word, number


def _all_errors(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Every kind of fault that a call can be answered by."""
    for error in base.__subclasses__():
        if error is not ClientError and error.__module__ == ServiceError.__module__:
            yield error
        yield from _all_errors(error)
