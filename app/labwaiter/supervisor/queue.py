"""Who is next: in the order of their starts, as far as the limits let them."""

from __future__ import annotations

import bisect
import contextlib
import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ..store.folder import Folder
from .running_job import Rules

NOTICE_EVERY = 0.1  # s between two writes of queue.json


@dataclass(frozen=True, order=True)
class Waiting:
    """A queued job."""

    created: float  # Unix time of its start, s
    name: str
    service: str
    instruments: tuple[str, ...] = ()
    rules: Rules = field(default=Rules(), compare=False)


class Queue:
    """The queued jobs of this folder."""

    def __init__(self, max_running: int) -> None:
        self.max_running = max_running
        self._waiting: list[Waiting] = []
        self._names: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, one: Waiting) -> None:
        """Queue a job at its place; nothing if it's there."""
        if one.name not in self._names:
            bisect.insort(self._waiting, one)
            self._names[one.name] = one

    def remove(self, name: str) -> None:
        """It waits no longer."""
        one = self._names.pop(name, None)
        if one is not None:
            del self._waiting[bisect.bisect_left(self._waiting, one)]

    def names(self) -> list[str]:
        """The queued jobs, first come first."""
        return [one.name for one in self._waiting]

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """What those need that need instruments."""
        return {one.name: one.instruments for one in self._waiting if one.instruments}

    def full(self, running: Iterable[str]) -> dict[str, int]:
        """The services of which as many run as may at a time, and more wait."""
        counts = Counter(running)
        limits = {one.service: one.rules.at_once for one in self._waiting}
        return {name: most for name, most in limits.items() if most is not None and counts[name] >= most}

    def next(
        self,
        running: Iterable[str],
        taken: Collection[str] = (),
        shut: Collection[str] = (),
    ) -> Waiting | None:
        """The first job that may run now; None if none may.

        A job gets all of its instruments or waits, so nobody waits in a circle; and those that come
        after it don't take one that it waits for, so nobody waits for ever. Only where it waits for a
        person do they go first: its place is the same when that is over.

        Args:
            running: the services of the running jobs.
            taken: the instruments that a job has; its end frees them.
            shut: those that only a person frees: unsafe or reserved ones.
        """
        spoken_for = set(taken)
        counts = Counter(running)
        if counts.total() >= self.max_running:
            return None
        for one in self._waiting:
            if not set(shut).isdisjoint(one.instruments):
                continue
            free = spoken_for.isdisjoint(one.instruments)
            if free and (one.rules.at_once is None or counts[one.service] < one.rules.at_once):
                return one
            spoken_for.update(one.instruments)
        return None


class QueueSnapshot:
    """queue.json: who waits at which place, for the pages of those who wait."""

    def __init__(self, store: Folder, max_running: int) -> None:
        self._store, self._max_running = store, max_running
        self._posted: tuple[int, list[str], dict[str, int]] | None = None  # needs follow from the names
        self._at = -NOTICE_EVERY  # boot clock, s
        self.due = math.inf  # when a held back one is to be posted, boot clock, s

    def post(self, now: float, running: Collection[str], queue: Queue) -> None:
        """Write it if it differs from the last one, and not too often (`now`: boot clock, s).

        Args:
            running: the services of the running jobs.
        """
        content = (len(running), queue.names(), queue.full(running))
        self.due = math.inf
        if content == self._posted:
            return
        if now < self._at + NOTICE_EVERY:
            self.due = self._at + NOTICE_EVERY
            return
        self._at = now
        with contextlib.suppress(OSError):
            self._store.write_queue(content[0], self._max_running, content[1], queue.needs, content[2])
            self._posted = content
