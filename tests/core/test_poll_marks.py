"""That somebody polls is told to the executions' machines, without a poll that waits for it."""

from __future__ import annotations

import queue
import threading

import pytest

from lab import PATIENCE
from labwaiter.fleet import poll_marks
from labwaiter.fleet.poll_marks import PollMarks


def test_a_mark_is_told_once_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_marks, "POLLED_EVERY", 1e9)
    told: queue.Queue[tuple[str, list[str]]] = queue.Queue()
    marks = PollMarks(lambda machine, names: told.put((machine, names)))
    for _ in range(3):
        marks.mark("bench", "one")
    assert told.get(timeout=PATIENCE) == ("bench", ["one"])
    marks.mark("bench", "one")
    marks.mark("south", "two")
    assert told.get(timeout=PATIENCE) == ("south", ["two"])


def test_while_there_is_no_thread_for_it_a_poll_goes_on_and_the_next_one_tries_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: queue.Queue[tuple[str, list[str]]] = queue.Queue()
    marks = PollMarks(lambda machine, names: told.put((machine, names)))

    def want(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", want)
        marks.mark("bench", "one")
    marks.mark("bench", "one")
    assert told.get(timeout=PATIENCE) == ("bench", ["one"])
