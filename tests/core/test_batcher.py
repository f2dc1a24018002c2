"""Questions of many threads, asked in one go: each after it came, each with its own answer or refusal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab import PATIENCE, eventually
from labwaiter.fleet.batcher import Batcher


class Store:
    """Answers by the question and the number of the go, once it may."""

    def __init__(self) -> None:
        self.goes: list[list[str]] = []
        self.may = threading.Semaphore(0)
        self.fails = False
        self.batcher: Batcher[str, str] = Batcher(self.ask)
        self.pool = ThreadPoolExecutor(20)

    def ask(self, questions: Sequence[str]) -> list[str | Exception]:
        self.goes.append([*questions])
        number = len(self.goes)
        assert self.may.acquire(timeout=PATIENCE)
        if self.fails:
            raise TimeoutError("no answer")
        return [ValueError(question) if question == "odd" else f"{question} {number}" for question in questions]

    def asked(self, question: str) -> Future[str]:
        """A question of a thread of its own, once it waits."""
        count = len(self.batcher._waiting) + len(self.goes)
        future = self.pool.submit(self.batcher.of, question)
        eventually(lambda: len(self.batcher._waiting) + len(self.goes) > count)
        return future


def test_who_comes_while_another_is_asked_for_shares_the_next_go() -> None:
    store = Store()
    first = store.asked("a")
    others = [store.asked(question) for question in ("b", "c", "a", "d")]
    store.may.release(2)
    # the second "a" came after the first was sent: it may be another by now
    assert first.result(PATIENCE) == "a 1"
    assert [other.result(PATIENCE) for other in others] == ["b 2", "c 2", "a 2", "d 2"]
    assert store.goes == [["a"], ["b", "c", "a", "d"]]
    store.may.release()
    assert store.batcher.of("e") == "e 3"


def test_what_can_not_be_answered_is_refused_to_who_asked_it_alone() -> None:
    store = Store()
    first = store.asked("a")
    odd, other = store.asked("odd"), store.asked("b")
    store.may.release(2)
    assert (first.result(PATIENCE), other.result(PATIENCE)) == ("a 1", "b 2")
    with pytest.raises(ValueError, match="odd"):
        odd.result(PATIENCE)
    store.may.release()
    with pytest.raises(ValueError, match="odd"):
        store.batcher.of("odd")


def test_where_nothing_is_answered_nobody_waits_a_second_time() -> None:
    store = Store()
    store.fails = True
    waiting = [store.asked(question) for question in ("a", "b", "c")]
    store.may.release()
    for future in waiting:
        with pytest.raises(TimeoutError):
            future.result(PATIENCE)
    assert store.goes == [["a"]]
    store.fails = False
    store.may.release()
    assert store.batcher.of("a") == "a 2"


def test_many_threads_get_each_its_own_answer() -> None:
    store = Store()
    store.may.release(10_000)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(store.batcher.of, [str(number) for number in range(2000)]))
    assert [answer.split()[0] for answer in answers] == [str(number) for number in range(2000)]
    assert sum(len(go) for go in store.goes) == 2000 and not store.batcher._is_busy
