"""Questions of many threads, asked in one go: who comes while others' are under way shares the next round trip.

Each is asked after it came, so no answer is older than its question. One thread asks for all at a time: threads that
wait for each other here cost less than threads that each wait for Redis, and then for Python's own lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class _Ticket(Generic[Q, A]):
    """A question that waits for its turn or its answer."""

    __slots__ = ("answer", "asks", "over", "question")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.asks = False  # it is its thread that asks
        self.answer: A | Exception | None = None
        self.over = threading.Lock()  # held until it has its answer, or asks
        self.over.acquire()


class Batcher(Generic[Q, A]):
    """Asks for all who wait. Thread-safe."""

    def __init__(self, ask: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        """
        Args:
            ask: gives the answers to several questions, in their order, each of which may be why there is none; what
                it raises all get who wait, also those who came meanwhile.
        """
        self._ask = ask
        self._waiting: list[_Ticket[Q, A]] = []
        self._is_busy = False  # somebody asks
        self._turn = threading.Lock()

    def of(self, question: Q) -> A:
        """The answer to one question. Raises why there is none."""
        ticket: _Ticket[Q, A] = _Ticket(question)
        with self._turn:
            ticket.asks, self._is_busy = not self._is_busy, True
            if not ticket.asks:
                self._waiting.append(ticket)
        if not ticket.asks:
            ticket.over.acquire()
        if ticket.asks:
            self._ask_for_all(ticket)
        if isinstance(ticket.answer, Exception):
            raise ticket.answer
        return ticket.answer  # type: ignore[return-value]

    def _ask_for_all(self, own: _Ticket[Q, A]) -> None:
        """Ask for one and for all who wait; then let the next one ask, and those go who have their answers."""
        with self._turn:
            batch, self._waiting = [own, *self._waiting], []
        try:
            answers = self._ask([ticket.question for ticket in batch])
            for ticket, answer in zip(batch, answers, strict=True):
                ticket.answer = answer
        except Exception as error:
            with self._turn:  # a store that hangs would let those behind these wait as long once more
                batch, self._waiting = [*batch, *self._waiting], []
            for ticket in batch:
                ticket.answer = error
        finally:
            with self._turn:
                next_one = self._waiting.pop(0) if self._waiting else None
                self._is_busy = next_one is not None
            if next_one is not None:
                next_one.asks = True
                next_one.over.release()
            for ticket in batch[1:]:
                ticket.over.release()
