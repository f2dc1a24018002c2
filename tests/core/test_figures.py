"""Figures: counted in plain numbers, added in a file, never taken back."""

import json
import threading
from pathlib import Path

import pytest

from labwaiter.layout import Layout
from labwaiter.model.record import State
from labwaiter.store import figures
from labwaiter.store.figures import OTHERS, WORDS_MAX, Durations, WebFigures, added, count, without
from labwaiter.supervisor.figures import SupervisorFigures
from labwaiter.system import flock


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / ".labwaiter").mkdir()
    return Layout(tmp_path)


def test_a_duration_is_counted_under_the_first_bound_that_it_does_not_pass() -> None:
    durations = Durations((0.001, 0.01))
    for ns in (0, 1_000_000, 1_000_001, 10_000_000, 10_000_001):
        durations.note(ns)
    assert durations.figures() == {"under": {"0.001": 2, "0.01": 2, "+Inf": 1}, "seconds": pytest.approx(0.022000002)}


def test_what_two_workers_counted_is_their_sum_whatever_words_each_had(layout: Layout) -> None:
    one, other = WebFigures(layout), WebFigures(layout)
    one.polls.note(2_000)
    one.fault("Unavailable", "ManagerAway")
    other.polls.note(3_000)
    other.calls["start"].note(4_000_000)
    for _ in range(3):  # told again and again, each is counted once
        one.tell()
        other.tell()
    one.fault("Unavailable", "ManagerAway")
    one.tell()
    told = figures.read(layout.web_figures)
    assert told["calls"]["status"] == {"under": {"5e-05": 2}, "seconds": pytest.approx(5e-6)}
    assert told["calls"]["start"]["under"] == {"0.005": 1} and told["faults"] == {"Unavailable": {"ManagerAway": 2}}


def test_workers_that_tell_at_the_same_time_lose_nothing(layout: Layout) -> None:
    workers = [WebFigures(layout) for _ in range(4)]

    def work(worker: WebFigures) -> None:
        for _ in range(50):
            worker.fault("Unavailable", "Unavailable")
            worker.tell_if_possible()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.tell()
    assert figures.read(layout.web_figures)["faults"] == {"Unavailable": {"Unavailable": 200}}


def test_what_can_not_be_told_now_is_told_later(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WebFigures(layout)
    worker.fault("Unavailable", "Unavailable")
    monkeypatch.setattr(figures, "TURN_SECONDS", 0.0)
    with open(layout.figures_lock, "w") as held:
        flock.lock(held.fileno())
        with pytest.raises(BlockingIOError):
            worker.tell()
    layout.folder.rename(layout.folder.with_name("away"))
    worker.tell_if_possible()
    layout.folder.with_name("away").rename(layout.folder)
    worker.fault("Unavailable", "Unavailable")
    worker.tell()
    assert figures.read(layout.web_figures)["faults"] == {"Unavailable": {"Unavailable": 2}}


DEEP = '{"a":' * 50 + "1" + "}" * 50


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"a": "x"}', '{"a": NaN}', '{"a": -1}', '{"a": true}', '{"a": null}', DEEP]
)
def test_a_damaged_file_is_counted_from_0_again(layout: Layout, text: str) -> None:
    layout.web_figures.write_text(text)
    assert figures.read(layout.web_figures) == {}
    worker = WebFigures(layout)
    worker.fault("Unavailable", "Unavailable")
    worker.tell()
    assert json.loads(layout.web_figures.read_text()) == {"faults": {"Unavailable": {"Unavailable": 1}}}


def test_what_is_damaged_takes_nothing_else_with_it(layout: Layout) -> None:
    layout.web_figures.write_text('{"a": NaN, "b": {"c": 1, "d": -1, "e": "x"}, "f": 1e300, "g": {"h": []}}')
    assert figures.read(layout.web_figures) == {"b": {"c": 1}}


def test_a_figure_of_another_shape_than_ours_does_no_harm() -> None:
    assert added({"a": {"b": 1}, "c": 2}, {"a": 5, "c": {"d": 1}}) == {"a": {"b": 1}, "c": {"d": 1}}
    assert without({"a": {"b": 3, "c": 1}, "d": 2}, {"a": {"b": 1, "c": 1}, "d": 2}) == {"a": {"b": 2}}


def test_a_supervisor_puts_nothing_in_the_place_of_what_it_can_not_read(layout: Layout) -> None:
    def tell(supervisor: SupervisorFigures, now: float) -> None:
        supervisor.tell(now, lambda: ["Waiter"], lambda: {"queued": {"place": 2}})

    before = SupervisorFigures(layout)
    before.ended("Waiter", State.COMPLETED)
    before.stopped("abort", 0.5)
    tell(before, 100.0)
    aside = layout.supervisor_figures.with_name("aside")
    layout.supervisor_figures.rename(aside)
    layout.supervisor_figures.mkdir()  # as a disk that can't be read just now
    one = SupervisorFigures(layout)
    one.ended("Waiter", State.COMPLETED)
    with pytest.raises(OSError):
        tell(one, 200.0)
    one.tell_at_last(200.0)
    layout.supervisor_figures.rmdir()
    aside.rename(layout.supervisor_figures)
    tell(one, 200.5)
    told = figures.read(layout.supervisor_figures)
    assert told["counted"]["ended"] == {"Waiter": {"completed": 2}} and told["at"] == 200.5
    assert told["counted"]["stops"] == {"abort": {"under": {"0.5": 1}, "seconds": 0.5}}
    assert (told["running"], told["queued"]) == ({"Waiter": 1}, {"place": 2})
    one.ended("Waiter", State.FAILED)
    tell(one, 201.0)  # it was told a moment ago
    assert figures.read(layout.supervisor_figures) == told
    tell(one, 201.5)
    assert figures.read(layout.supervisor_figures)["counted"]["ended"] == {"Waiter": {"completed": 2, "failed": 1}}
    tell(one, 205.0)
    tell(one, 206.5)  # nothing is new, but that it lives
    assert figures.read(layout.supervisor_figures)["at"] == 206.5


def test_words_have_a_bound() -> None:
    counted: figures.Figures = {}
    for number in range(3 * WORDS_MAX):
        count(counted, f"service {number}", "failed")
    assert len(counted) == WORDS_MAX + 1 and counted[OTHERS] == {"failed": 2 * WORDS_MAX}
    count(counted, "service 0", "failed")
    assert counted["service 0"] == {"failed": 2}
