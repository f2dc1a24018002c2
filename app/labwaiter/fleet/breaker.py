"""A circuit breaker around a face's store: who has seen that it hangs does not wait for it again, for some seconds.

A store hangs that takes a call and doesn't answer it in time; one that refuses, or can't be reached, says so at once
and is asked each time. After those seconds one caller tries whether it answers, and the others are refused until that
is known. Each store has a breaker of its own; a worker, which waits for nobody, has none.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from . import redis_faults
from .fleet_store import FleetStore

HUNG_SECONDS = 3.0  # that a store which hangs isn't asked


def guarded(store: FleetStore) -> FleetStore:
    """The store, behind a breaker of its own."""
    return cast(FleetStore, Breaker(store))


def is_open(store: FleetStore) -> bool:
    """Whether that store has such a breaker, and isn't asked just now."""
    return isinstance(store, Breaker) and store.is_open


class Breaker:
    """Every method of a `FleetStore`, refused as long as that hangs: it raises then what a call in vain raises."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store
        self._hung_at: float | None = None  # monotonic s: when it was last seen to hang; None: it answers
        self._turn = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the store was last seen to hang, and it isn't known to answer again."""
        return self._hung_at is not None

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        return functools.partial(self._call, attribute) if callable(attribute) else attribute

    @contextlib.contextmanager
    def endings(self, name: str) -> Iterator[Callable[[float], object]]:
        """As the store's: what asks there is the context's beginning."""
        with contextlib.ExitStack() as stack:
            yield self._call(lambda: stack.enter_context(self._store.endings(name)))

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._hung_at is not None:
            self._try()
        return self._noting(method, *args, **kwargs)

    def _try(self) -> None:
        """Return once it answers again. Raises redis_faults.Hangs: it does not, as far as is known."""
        with self._turn:
            if self._hung_at is None:
                return
            if time.monotonic() - self._hung_at < HUNG_SECONDS:
                raise redis_faults.Hangs("it did not answer just now")
            self._hung_at = time.monotonic()  # the others need not wait for this one's try
        try:
            self._noting(self._store.ping)
        except redis_faults.FAULTS as error:
            if redis_faults.hangs(error):
                raise
        self._hung_at = None

    def _noting(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except redis_faults.FAULTS as error:
            if redis_faults.hangs(error):
                self._hung_at = time.monotonic()
            raise
