"""Tells the machines which of their executions were asked for: in a thread, so that no poll waits for it.

What comes within a moment is told together. Where Redis is away, the next poll of an execution marks it anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .redis_faults import FAULTS

log = logging.getLogger(__name__)
POLLED_EVERY = 1.0  # s between two marks of one execution: its machine looks as often
POLLED_MAX = 10_000  # executions
TOGETHER = 0.05  # s


class PollMarks:
    """The marks of one web worker."""

    def __init__(self, tell: Callable[[str, list[str]], object]) -> None:
        """
        Args:
            tell: tells a machine the names of executions.
        """
        self._tell = tell
        self._marked: dict[str, float] = {}  # when an execution was marked last, monotonic s
        self._to_tell: dict[str, set[str]] = {}  # names by machine; replaced whole
        self._turn = threading.Lock()
        self._are_there = threading.Event()
        self._thread: threading.Thread | None = None

    def mark(self, machine: str, name: str) -> None:
        """Have a machine told that somebody has asked for an execution, once a second at most."""
        now = time.monotonic()
        if now - self._marked.get(name, -POLLED_EVERY) < POLLED_EVERY:
            return
        with self._turn:
            if len(self._marked) >= POLLED_MAX:
                self._marked.clear()
            self._marked[name] = now
            self._to_tell.setdefault(machine, set()).add(name)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="poll marks", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no process for it just now: the next poll tries it again
                    self._marked.pop(name)
                    return
                self._thread = thread
        self._are_there.set()

    def _run(self) -> None:
        while self._are_there.wait():
            self._are_there.clear()
            with self._turn:
                to_tell, self._to_tell = self._to_tell, {}
            for machine, names in to_tell.items():
                try:
                    self._tell(machine, sorted(names))
                except FAULTS:
                    self._forget(names)
                except Exception:
                    log.exception("%s could not be told whom somebody asked for", machine)
                    self._forget(names)
            time.sleep(TOGETHER)

    def _forget(self, names: set[str]) -> None:
        with self._turn:
            for name in names:
                self._marked.pop(name, None)
