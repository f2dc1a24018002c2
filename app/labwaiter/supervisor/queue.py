"""Who is next: in the order of their starts, as far as the limits let them."""

from __future__ import annotations

import bisect
import contextlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ..store.folder import Folder
from .running_job import Rules

SNAPSHOT_EVERY = 0.1  # s between two writes of queue.json


@dataclass(frozen=True, order=True)
class Waiting:
    """A queued job."""

    created: float  # Unix time of its start, s
    name: str
    service: str
    instruments: tuple[str, ...] = ()
    rules: Rules = field(default=Rules(), compare=False)


def next_to_run(
    waiting: Iterable[Waiting],
    max_running: int,
    running: Iterable[str],
    taken: Collection[str] = (),
    shut: Collection[str] = (),
) -> Waiting | None:
    """The first job that may run now; None if none may.

    A job gets all of its instruments or waits, so nobody waits in a circle; and those that come
    after it don't take one that it waits for, so nobody waits for ever. Only where it waits for a
    person do they go first: its place is the same when that is over.

    Args:
        waiting: the queued jobs, first come first.
        max_running: how many jobs may run at a time.
        running: the services of the running jobs.
        taken: the instruments that a job has; its end frees them.
        shut: those that only a person frees: unsafe or reserved ones.
    """
    counts = Counter(running)
    if counts.total() >= max_running:
        return None
    spoken_for, shut = set(taken), set(shut)
    for job in waiting:
        if not shut.isdisjoint(job.instruments):
            continue
        free = spoken_for.isdisjoint(job.instruments)
        if free and (job.rules.at_once is None or counts[job.service] < job.rules.at_once):
            return job
        spoken_for.update(job.instruments)
    return None


def waiting_for(
    waiting: Iterable[Waiting],
    max_running: int,
    running: Iterable[str],
    taken: Collection[str] = (),
    shut: Collection[str] = (),
) -> dict[str, int]:
    """How many of the queued jobs wait for what: the same as `next_to_run` goes by, with the same arguments.

    ``person``: an instrument that only a person frees; ``instrument``: one that another execution has, or waits for
    first; ``service``: as many of theirs run as may; ``place``: as many run as may at all; ``turn``: nothing but that
    they are let in.
    """
    counts, wait = Counter(running), Counter[str]()
    spoken_for, shut = set(taken), set(shut)
    for job in waiting:
        if not shut.isdisjoint(job.instruments):
            wait["person"] += 1
            continue
        if not spoken_for.isdisjoint(job.instruments):
            wait["instrument"] += 1
        elif job.rules.at_once is not None and counts[job.service] >= job.rules.at_once:
            wait["service"] += 1
        else:
            wait["place" if counts.total() >= max_running else "turn"] += 1
        spoken_for.update(job.instruments)
    return dict(wait)


def full_services(waiting: Iterable[Waiting], running: Iterable[str]) -> dict[str, int]:
    """The services of which as many run as may at a time, and more wait: how many may.

    Args:
        running: the services of the running jobs.
    """
    counts = Counter(running)
    limits = {job.service: job.rules.at_once for job in waiting}
    return {name: at_once for name, at_once in limits.items() if at_once is not None and counts[name] >= at_once}


class Queue:
    """The queued jobs of this folder, first come first."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._by_name: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def add(self, job: Waiting) -> None:
        """Queue a job at its place; nothing if it's there."""
        if job.name not in self._by_name:
            bisect.insort(self._waiting, job)
            self._by_name[job.name] = job

    def remove(self, name: str) -> Waiting | None:
        """It waits no longer: what waited; None where it didn't."""
        job = self._by_name.pop(name, None)
        if job is not None:
            del self._waiting[bisect.bisect_left(self._waiting, job)]
        return job

    @property
    def names(self) -> list[str]:
        """The queued jobs, first come first."""
        return [job.name for job in self._waiting]

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The instruments that they need, of those that need any."""
        return {job.name: job.instruments for job in self._waiting if job.instruments}


class QueueSnapshot:
    """queue.json: who waits at which place, for the pages of those who wait."""

    def __init__(self, store: Folder, max_running: int) -> None:
        self._store, self._max_running = store, max_running
        self._last: tuple[int, list[str], dict[str, int]] | None = None  # needs follow from the names
        self._written_at = -SNAPSHOT_EVERY  # boot clock, s
        self.due = math.inf  # when a held back one is to be written, boot clock, s

    def write(self, now: float, running: Collection[str], queue: Queue) -> None:
        """Write it if it differs from the last one, and not too often (`now`: boot clock, s).

        Args:
            running: the services of the running jobs.
        """
        content = (len(running), queue.names, full_services(queue, running))
        self.due = math.inf
        if content == self._last:
            return
        if now < self._written_at + SNAPSHOT_EVERY:
            self.due = self._written_at + SNAPSHOT_EVERY
            return
        self._written_at = now
        with contextlib.suppress(OSError):
            self._store.write_queue(content[0], self._max_running, content[1], queue.needs, content[2])
            self._last = content
