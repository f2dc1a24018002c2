"""A drill: another Redis becomes the master again and again, under starts, polls and aborts.

After it every execution is accounted for: what was accepted has run once and ended as its caller was told, and what was
aborted before it began has not run. FAILOVERS and EVERY (s) make it longer:

    FAILOVERS=10 EVERY=60 pytest -s tests/fleet/test_failovers.py -m slow
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetlab import Fleet
from labwaiter.errors import JobAborted, JobFailed, Unavailable, UnknownServiceID
from labwaiter.model.caller import SHELL
from sentinels import Sentinels

FAILOVERS, EVERY = int(os.environ.get("FAILOVERS", "3")), float(os.environ.get("EVERY", "15"))
CALLERS = 6
MINUTES = 3.0  # that one execution may take, failovers and all
pytestmark = [pytest.mark.slow, pytest.mark.timeout(int(FAILOVERS * EVERY + 420))]


class Caller(threading.Thread):
    """A workflow manager: starts, polls and sometimes aborts, one after the other; asks again what is unavailable."""

    def __init__(self, number: int, fleet: Fleet, register: Path, over: threading.Event) -> None:
        super().__init__(name=f"caller{number}", daemon=True)
        self.fleet, self.register, self.over = fleet, register, over
        self.jobs = fleet.face(f"face{number}")
        self.service = fleet.services["Tally"]
        self.random = random.Random(number)
        self.ends: dict[str, str] = {}  # serviceID → how it ended, as this caller was told
        self.counts: Counter[str] = Counter()
        self.waited = 0.0  # s, the longest that one call was unavailable
        self.wrong: list[str] = []

    def run(self) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            try:
                self.one(f"{self.name}-{number}", stop=self.random.random() < 0.25)
            except Exception as error:  # a caller that dies would hide what it was told
                self.wrong.append(f"{self.name}-{number}: {type(error).__name__}: {error}")

    def until(self, what: str, call: Callable[[], object]) -> object:
        """Its answer, asked again while it is unavailable."""
        begun = time.monotonic()
        while True:
            self.counts[what] += 1
            try:
                answer = call()
                self.waited = max(self.waited, time.monotonic() - begun)
                return answer
            except Unavailable:
                self.counts["unavailable"] += 1
                assert time.monotonic() - begun < 60 * MINUTES, f"{what} was unavailable for {MINUTES:g} min"
                time.sleep(0.3)

    def one(self, name: str, stop: bool) -> None:
        """One execution, from its start to its end."""
        given = {"register": str(self.register), "seconds": self.random.choice((0.2, 1.0, 3.0))}
        self.until("starts", lambda: self.jobs.start(self.service, name, given, SHELL))
        until = time.monotonic() + 60 * MINUTES
        if stop:
            time.sleep(self.random.random())
            while not self.until("aborts", lambda: self.jobs.abort(self.service, name, SHELL)):
                assert time.monotonic() < until, "abort was never true"
        while True:
            assert time.monotonic() < until, "it never ended"
            try:
                status = self.until("polls", lambda: self.jobs.status(self.service, name, SHELL))
                if status.completed:  # type: ignore[attr-defined]
                    assert status.outputs == {"result": name}  # type: ignore[attr-defined]
                    self.ends[name] = "completed"
                    return
                if stop and not status.view.record.active:  # type: ignore[attr-defined]
                    self.ends[name] = str(status.view.record.state)  # type: ignore[attr-defined]
                    return
            except (JobFailed, JobAborted, UnknownServiceID) as error:
                self.ends[name] = type(error).__name__
                return
            time.sleep(0.3)


def test_every_execution_is_accounted_for_and_none_runs_twice(make_fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    sentinels, register, over = Sentinels(tmp_path / "redis"), tmp_path / "register", threading.Event()
    try:
        fleet = make_fleet("north", "south", server=sentinels)
        fleet.start()
        callers = [Caller(number, fleet, register, over) for number in range(CALLERS)]
        for one in callers:
            one.start()
        begun, ways = time.monotonic(), itertools.cycle(("killed", "asked", "hung"))
        took: list[float] = []
        for number in range(FAILOVERS):
            time.sleep(max(0.0, begun + (number + 0.5) * EVERY - time.monotonic()))
            at = time.monotonic()
            put_back = sentinels.fail_over(next(ways))
            took.append(time.monotonic() - at)
            time.sleep(EVERY / 4)
            put_back()
            sentinels.whole()
        over.set()
        for one in callers:
            one.join(60 * MINUTES + 60)
        assert not any(one.is_alive() for one in callers)
        assert [text for one in callers for text in one.wrong] == []
        ends = {name: end for one in callers for name, end in one.ends.items()}
        runs = Counter(register.read_text().split())
        counts = sum((one.counts for one in callers), Counter[str]())
        twice = [name for name, count in runs.items() if count > 1]
        lost = [name for name, end in ends.items() if end == "completed" and not runs[name]]
        row = (
            FAILOVERS,
            f"{EVERY:g} s",
            len(ends),
            counts["starts"],
            counts["polls"],
            counts["aborts"],
            counts["unavailable"],
            f"{max(took):.1f} s",
            f"{max(one.waited for one in callers):.1f} s",
            Counter(ends.values())["completed"],
            sum(end != "completed" for end in ends.values()),
            len(lost),
            len(twice),
        )
        print("|", " | ".join(str(one) for one in row), "|")
        print(Counter(ends.values()))
        assert twice == [] and lost == [] and set(runs) <= set(ends)
        assert set(ends.values()) <= {"completed", "aborted", "JobAborted"}, ends
        late = fleet.face("late")  # it knows nothing but what Redis tells
        for name, end in ends.items():
            homes = [lab for lab in fleet.labs.values() if name in set(lab.store.names())]
            state = "completed" if end == "completed" else "aborted"
            assert [lab.jobs.record(name, SHELL).state for lab in homes] in ([state], [] if not runs[name] else [state])
            assert late.record(name, SHELL).state == state
    finally:
        over.set()
        sentinels.go_on()
        for machine in fleet.machines.values():
            machine.stop()
        sentinels.close()
