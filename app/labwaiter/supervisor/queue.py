"""Who is next: in the order of their starts, as far as the limits let them."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Waiting:
    """A queued job."""

    created: float  # Unix time of its start, s
    name: str
    service: str


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
            self._names[one.name] = one
            bisect.insort(self._waiting, one)

    def remove(self, name: str) -> None:
        """It waits no longer."""
        one = self._names.pop(name, None)
        if one is not None:
            del self._waiting[bisect.bisect_left(self._waiting, one)]

    def names(self) -> list[str]:
        """The queued jobs, first come first."""
        return [one.name for one in self._waiting]

    def next(self, running: Iterable[str], at_once: dict[str, int | None]) -> Waiting | None:
        """The first job that may run now; None if none may.

        Args:
            running: the services of the running jobs.
            at_once: how many jobs of a service may run at a time.
        """
        counts = Counter(running)
        if counts.total() >= self.max_running:
            return None
        for one in self._waiting:
            most = at_once.get(one.service)
            if most is None or counts[one.service] < most:
                return one
        return None
