"""Who is next: owners take turns; each one's jobs go in the order of their starts, as far as the limits let them."""

from __future__ import annotations

import bisect
import contextlib
import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ..model.record import NOBODY, Owner
from ..settings import Settings
from ..store.folder import Folder
from .running_job import Rules

SNAPSHOT_EVERY = 0.1  # s between two writes of queue.json
OWNERS_MAX = 10_000  # of whom is remembered when they had their last turn


@dataclass(frozen=True, order=True)
class Waiting:
    """A queued job."""

    created: float  # Unix time of its start, s
    name: str
    service: str
    instruments: tuple[str, ...] = ()
    rules: Rules = field(default=Rules(), compare=False)
    owner: Owner = field(default=NOBODY, compare=False)

    @property
    def line(self) -> tuple[object, ...]:
        """All that is asked when it is decided who may run: of those that have the same, the first is next."""
        return self.owner, self.service, self.rules.at_once, self.instruments


@dataclass(frozen=True)
class MostRunning:
    """How many jobs may run at a time."""

    all: int
    per_project: int | None = None
    per_user: int | None = None

    @classmethod
    def of(cls, settings: Settings, watched: int) -> MostRunning:
        """As the settings say; `watched`: how many the supervisor can watch."""
        return cls(watched, settings.max_running_per_project, settings.max_running_per_user)


class Turns:
    """Whose turn it is: of projects the one whose last turn is longest ago; of its users likewise."""

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[tuple[str, ...], int] = {}  # the oldest first

    def of(self, owner: Owner) -> tuple[int, int]:
        """The less, the earlier is its turn."""
        return self._last.get(owner.of_project, 0), self._last.get(owner, 0)

    def took(self, owner: Owner) -> None:
        """A job of this owner begins."""
        self.count += 1
        for key in (owner.of_project, owner):
            self._last.pop(key, None)
            self._last[key] = self.count
        while len(self._last) > OWNERS_MAX:
            del self._last[next(iter(self._last))]


class Running:
    """How many jobs run: of each service, project and user."""

    def __init__(self, jobs: Iterable[tuple[str, Owner]], most: MostRunning) -> None:
        """
        Args:
            jobs: service and owner of each.
        """
        jobs = list(jobs)
        self.all, self._most = len(jobs), most
        self.services = Counter(service for service, _ in jobs)
        limited = most.per_project is not None or most.per_user is not None
        owners = [owner for _, owner in jobs if owner.is_known] if limited else []
        self._projects = Counter(owner.of_project for owner in owners)
        self._users = Counter(owner.of_user for owner in owners)

    def full(self, owner: Owner) -> list[tuple[str, str, str, int]]:
        """Which limits of an owner's are reached: "project" or "user", its authority, its name, how many may run."""
        most, reached = self._most, []
        if owner.is_known and most.per_project is not None and self._projects[owner.of_project] >= most.per_project:
            reached.append(("project", *owner.of_project, most.per_project))
        if owner.is_known and most.per_user is not None and self._users[owner.of_user] >= most.per_user:
            reached.append(("user", *owner.of_user, most.per_user))
        return reached


def next_to_run(
    waiting: Iterable[Waiting],
    most: MostRunning,
    running: Iterable[tuple[str, Owner]],
    taken: Collection[str] = (),
    shut: Collection[str] = (),
    turns: Turns | None = None,
) -> Waiting | None:
    """The job that is next of those that may run now; None if none may.

    Of those that may, it is one of the owner whose turn it is. A job gets all of its instruments or waits, so nobody
    waits in a circle; and those that were started after it don't take one that it waits for, whoever's they are, so
    nobody waits for ever. Only where it waits for a person, or for jobs of its own owner to end, do they go first: its
    place is the same when that is over.

    Args:
        waiting: the queued jobs, first come first; of those of one line the first will do.
        most: how many jobs may run at a time.
        running: service and owner of each running job.
        taken: the instruments that a job has; its end frees them.
        shut: those that only a person frees: unsafe or reserved ones.
        turns: of the owners; unless given, none has had one.
    """
    counts, turns = Running(running, most), turns or Turns()
    if counts.all >= most.all:
        return None
    spoken_for, shut = set(taken), set(shut)
    next_one: Waiting | None = None
    for job in waiting:
        if not shut.isdisjoint(job.instruments) or counts.full(job.owner):
            continue
        free = spoken_for.isdisjoint(job.instruments)
        spoken_for.update(job.instruments)
        if not free or (job.rules.at_once is not None and counts.services[job.service] >= job.rules.at_once):
            continue
        if next_one is None or turns.of(job.owner) < turns.of(next_one.owner):
            next_one = job
    return next_one


def waiting_for(
    waiting: Iterable[Waiting],
    most: MostRunning,
    running: Iterable[tuple[str, Owner]],
    taken: Collection[str] = (),
    shut: Collection[str] = (),
) -> dict[str, int]:
    """How many of the queued jobs wait for what: the same as `next_to_run` goes by, with the same arguments.

    ``person``: an instrument that only a person frees; ``owner``: as many of their project or user run as may;
    ``instrument``: one that another execution has, or waits for first; ``service``: as many of theirs run as may;
    ``place``: as many run as may at all; ``turn``: nothing but that they are let in.
    """
    counts, wait = Running(running, most), Counter[str]()
    spoken_for, shut = set(taken), set(shut)
    for job in waiting:
        if not shut.isdisjoint(job.instruments):
            wait["person"] += 1
            continue
        if counts.full(job.owner):
            wait["owner"] += 1
            continue
        if not spoken_for.isdisjoint(job.instruments):
            wait["instrument"] += 1
        elif job.rules.at_once is not None and counts.services[job.service] >= job.rules.at_once:
            wait["service"] += 1
        else:
            wait["place" if counts.all >= most.all else "turn"] += 1
        spoken_for.update(job.instruments)
    return dict(wait)


def full_services(waiting: Iterable[Waiting], running: Running) -> dict[str, int]:
    """The services of which as many run as may at a time, and more wait: how many may."""
    limits = {job.service: job.rules.at_once for job in waiting}
    counts = running.services
    return {name: at_once for name, at_once in limits.items() if at_once is not None and counts[name] >= at_once}


class Queue:
    """The queued jobs of this folder, first come first.

    Attributes:
        turns: of their owners.
        changes: how often it has changed.
    """

    def __init__(self) -> None:
        self.turns, self.changes = Turns(), 0
        self._waiting: list[Waiting] = []
        self._by_name: dict[str, Waiting] = {}
        self._lines: dict[tuple[object, ...], list[Waiting]] = {}

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
            bisect.insort(self._lines.setdefault(job.line, []), job)
            self._by_name[job.name] = job
            self.changes += 1

    def remove(self, name: str) -> Waiting | None:
        """It waits no longer: what waited; None where it didn't."""
        job = self._by_name.pop(name, None)
        if job is None:
            return None
        self.changes += 1
        line = self._lines[job.line]
        for jobs in (self._waiting, line):
            del jobs[bisect.bisect_left(jobs, job)]
        if not line:
            del self._lines[job.line]
        return job

    def begins(self, job: Waiting) -> None:
        """It waits no longer, and its owner has had a turn."""
        self.remove(job.name)
        self.turns.took(job.owner)

    @property
    def heads(self) -> list[Waiting]:
        """Of each line the first, first come first: nobody else can be next."""
        return sorted((line[0] for line in self._lines.values()), key=lambda job: (job.created, job.name))

    @property
    def names_in_turn(self) -> list[str]:
        """The queued jobs in the order in which they would begin if any of them may."""
        if len({line[0].owner for line in self._lines.values()}) <= 1:
            return self.names
        jobs: dict[Owner, list[Waiting]] = {}  # the last first
        for job in reversed(self._waiting):
            jobs.setdefault(job.owner, []).append(job)
        # whose turn it is comes first: by the last turn, then as the first job that waits came
        users: dict[tuple[str, str], list[tuple[int, float, str, Owner]]] = {}
        for owner, own in jobs.items():
            entry = (self.turns.of(owner)[1], own[-1].created, own[-1].name, owner)
            heapq.heappush(users.setdefault(owner.of_project, []), entry)
        projects = [(self.turns.of(heap[0][-1])[0], *heap[0][1:]) for heap in users.values()]
        heapq.heapify(projects)
        names, turn = [], self.turns.count
        while projects:
            heap, turn = users[heapq.heappop(projects)[-1].of_project], turn + 1
            owner = heap[0][-1]
            own = jobs[owner]
            names.append(own.pop().name)
            if own:
                heapq.heapreplace(heap, (turn, own[-1].created, own[-1].name, owner))
            else:
                heapq.heappop(heap)
            if heap:
                heapq.heappush(projects, (turn, *heap[0][1:]))
        return names

    @property
    def names(self) -> list[str]:
        """The queued jobs, first come first."""
        return [job.name for job in self._waiting]

    @property
    def needs_any(self) -> bool:
        """Whether any of them needs an instrument."""
        return any(line[0].instruments for line in self._lines.values())

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """The instruments that they need, of those that need any."""
        return {job.name: job.instruments for job in self._waiting if job.instruments}


class QueueSnapshot:
    """queue.json: who waits at which place, for the pages of those who wait."""

    def __init__(self, store: Folder, most: MostRunning) -> None:
        self._store, self._most = store, most
        self._last: tuple[object, ...] | None = None
        self._written_at = -SNAPSHOT_EVERY  # boot clock, s
        self.due = math.inf  # when a held back one is to be written, boot clock, s

    def write(self, now: float, jobs: Iterable[tuple[str, Owner]], queue: Queue) -> None:
        """Write it if it differs from the last one, and not too often (`now`: boot clock, s).

        Args:
            jobs: service and owner of each running job.
        """
        running, heads = Running(jobs, self._most), queue.heads
        full = full_services(heads, running)
        owners = sorted({limit for job in heads for limit in running.full(job.owner)})
        content = (running.all, queue.changes, queue.turns.count, full, owners)
        self.due = math.inf
        if content == self._last:
            return
        if now < self._written_at + SNAPSHOT_EVERY:
            self.due = self._written_at + SNAPSHOT_EVERY
            return
        self._written_at = now
        with contextlib.suppress(OSError):
            self._store.write_queue(running.all, self._most.all, queue.names_in_turn, queue.needs, full, owners)
            self._last = content
