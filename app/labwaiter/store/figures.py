"""Figures: what the processes of a deployment count for its metrics, each told in a file for whoever is asked.

Figures are numbers by words: ``{"faults": {"Unavailable": 3}}``. Two of one shape are added number by number, so a
counter is never lost with the process that counted: each web worker adds what is new of its own to one file
(``.labwaiter/web.figures``), and the supervisor goes on from what its own says (``.labwaiter/supervisor.figures``).
Nothing that was told is taken back: what a worker has not told yet when it is killed, of one second, was in no scrape.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from ..layout import Layout
from ..system import flock
from .files import open_ours, read_record, write_whole

Figures = dict[str, Any]  # numbers, or figures again, by words
LARGEST = 1_000_000  # bytes of a file of figures
DEEPEST = 6  # words to a number
WORDS_MAX = 200  # of one kind: services come and go with their files, and a label has a bound
OTHERS = "others"  # what counts together beyond that
TURN_SECONDS = 0.5  # that a worker waits for its turn; then it tries it again with what it counts next
# upper bounds of durations, s: of calls, which a poll answers in microseconds, and of what takes as long as work does
CALL_BOUNDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
WORK_BOUNDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
CALLS = ("start", "status", "abort", "notify", "json")  # `contract.Operation.method` of every operation, and JSON's


class Durations:
    """How many durations were under which bound, and their sum.

    No lock is held: where CPython has one of its own it lets nobody in between reading an int of a list and writing it
    back, and without one a duration might be lost, but none is taken back. A poll pays for this.
    """

    __slots__ = ("_bounds", "_bounds_ns", "_counts", "_sum_ns")

    def __init__(self, bounds: Iterable[float]) -> None:
        """
        Args:
            bounds: s, rising.
        """
        self._bounds = tuple(bounds)
        self._bounds_ns = [round(bound * 1e9) for bound in self._bounds]
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum_ns = 0

    def note(self, ns: int) -> None:
        """One more, in nanoseconds."""
        self._counts[bisect_left(self._bounds_ns, ns)] += 1
        self._sum_ns += ns

    def figures(self) -> Figures:
        """``{"under": {bound in s: how many above the bound before it}, "seconds": their sum}``; {} without any."""
        counts = list(self._counts)
        if not any(counts):
            return {}
        names = [*map(str, self._bounds), "+Inf"]
        under = {name: count for name, count in zip(names, counts, strict=True) if count}
        return {"under": under, "seconds": self._sum_ns / 1e9}


def added(one: Figures, other: Figures) -> Figures:
    """The sum of two, number by number; what only one of them has, as it is."""
    total = dict(one)
    for word, figure in other.items():
        before = total.get(word)
        if isinstance(figure, dict):
            total[word] = added(before if isinstance(before, dict) else {}, figure)
        elif isinstance(before, dict):
            continue  # of another shape: damaged, or of a release to come
        else:
            total[word] = (before or 0) + figure
    return total


def without(one: Figures, other: Figures) -> Figures:
    """What `one` has beyond `other`, an earlier one of itself; {} where that is nothing."""
    left: Figures = {}
    for word, figure in one.items():
        before = other.get(word)
        if isinstance(figure, dict):
            figure = without(figure, before or {})
        else:
            figure -= before or 0
        if figure:
            left[word] = figure
    return left


def count(figures: Figures, *words: str, by: float = 1) -> None:
    """Count one more under these words, in place; a word too many of its kind counts as OTHERS."""
    for word in words[:-1]:
        figures = figures.setdefault(_bounded(figures, word), {})
    last = _bounded(figures, words[-1])
    figures[last] = figures.get(last, 0) + by


def _bounded(figures: Figures, word: str) -> str:
    return word if word in figures or len(figures) < WORDS_MAX else OTHERS


def read(path: str | os.PathLike[str]) -> Figures:
    """The figures of a file; {} without one. What is damaged of them is left out: it is counted from 0 again.

    Raises:
        OSError: it is there and can't be read now.
    """
    text = read_record(os.fspath(path), LARGEST)
    try:
        return _figures_in(json.loads(text or b"{}"), DEEPEST)
    except (ValueError, RecursionError):
        return {}


def _figures_in(content: object, deepest: int) -> Figures:
    figures: Figures = {}
    for word, figure in content.items() if isinstance(content, dict) and deepest else ():
        if isinstance(figure, dict):
            if within := _figures_in(figure, deepest - 1):
                figures[word] = within
        elif isinstance(figure, int | float) and not isinstance(figure, bool) and 0 <= figure < 1e18:  # and no NaN
            figures[word] = figure
    return figures


def write(path: str | os.PathLike[str], figures: Figures) -> None:
    """Put figures into a file, whole. Raises OSError."""
    write_whole(os.fspath(path), json.dumps(figures).encode())


class WebFigures:
    """What one web worker counts: how long its calls took, and its faults. Thread-safe."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.calls = {call: Durations(CALL_BOUNDS) for call in CALLS}
        self.polls = self.calls["status"]
        self._faults: Figures = {}
        self._told: Figures = {}  # of this worker's, what the file has already
        self._turn, self._tells = threading.Lock(), threading.Lock()

    def fault(self, code: str, reason: str) -> None:
        """A call was answered by a fault."""
        with self._turn:
            count(self._faults, code, reason)

    def own(self) -> Figures:
        """All that this worker has counted."""
        calls = {call: told for call, durations in self.calls.items() if (told := durations.figures())}
        with self._turn:
            faults = {code: dict(reasons) for code, reasons in self._faults.items()}
        return {"calls": calls, "faults": faults}

    def tell(self) -> None:
        """Add what is new to the deployment's file.

        Raises:
            OSError: that can't be done now (no folder yet, a full disk, another one is at it): nothing is lost by that.
        """
        with self._tells:
            own = self.own()
            new = without(own, self._told)
            if not new:
                return
            lock = open_ours(self._layout.figures_lock, os.O_RDONLY)
            try:
                flock.lock(lock, TURN_SECONDS)
                write(self._layout.web_figures, added(read(self._layout.web_figures), new))
            finally:
                os.close(lock)
            self._told = own

    def tell_if_possible(self) -> None:
        """As `tell`, where what can't be told now is told later."""
        with contextlib.suppress(OSError):
            self.tell()
