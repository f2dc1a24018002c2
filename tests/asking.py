"""As a page that is open: it asks each second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def each_second(ask: Callable[[T], object], of: tuple[T, ...], refused: type[Exception]) -> Iterator[None]:
    """Meanwhile ask of each of these once a second, whether it is refused or not."""
    over = Event()

    def work() -> None:
        while not over.wait(1.0):
            for each in of:
                with suppress(refused):
                    ask(each)

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
