"""Which calls this machine has taken: each is done once, however often somebody puts it into Redis.

A call has a number of its own and the time when it was asked for, both signed. What was taken stands in the jobs
folder, not in Redis, which may be other people's. Only the newest are kept; what is older than all of them may have
been taken, and is refused.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import threading
from pathlib import Path

from ..store.files import read_record, write_whole

log = logging.getLogger(__name__)
KEPT = 20_000  # calls
LARGEST = 100_000_000  # bytes of the file


class UsedCalls:
    """The calls that were taken. Thread-safe."""

    def __init__(self, file: Path) -> None:
        """
        Raises:
            OSError: the file can't be read or written.
        """
        self._file, self._fd = file, -1
        self._turn = threading.Lock()
        self._floor = 0.0  # Redis' clock, s: what was asked for until then may have been taken
        self._numbers: set[str] = set()
        self._by_time: list[tuple[float, str]] = []  # a heap, the oldest first
        for line in (read_record(file, LARGEST) or b"").splitlines():
            try:
                at, number = json.loads(line)
                if number is None:
                    self._floor = max(self._floor, float(at))
                else:
                    self._add(float(at), str(number))
            except (ValueError, TypeError):
                log.warning("a line of %s is damaged: a power cut may have torn it", file.name)
        self._rewrite()

    def first(self, number: str | None, at: float | None, only_looks: bool = False) -> bool:
        """Whether a call is taken for the first time; it is noted then. Raises OSError: it can't be noted.

        Args:
            number, at: None for a call of a release before 0.5, that can't be told from one that was taken.
            only_looks: done twice after a power cut it does no harm.
        """
        with self._turn:
            return self._first(number, at, only_looks)

    def _first(self, number: str | None, at: float | None, only_looks: bool) -> bool:
        if number is None or at is None or at <= self._floor or number in self._numbers:
            return False
        line = json.dumps([at, number]).encode() + b"\n"
        if os.write(self._fd, line) != len(line):
            raise OSError("the call could not be noted")
        if not only_looks:
            os.fdatasync(self._fd)
        self._add(at, number)
        self._lines += 1
        if self._lines > 2 * KEPT:
            self._rewrite()
        return True

    def close(self) -> None:
        """No more are taken."""
        os.close(self._fd)

    def _add(self, at: float, number: str) -> None:
        self._numbers.add(number)
        heapq.heappush(self._by_time, (at, number))
        while len(self._by_time) > KEPT:
            oldest, gone = heapq.heappop(self._by_time)
            self._numbers.discard(gone)
            self._floor = max(self._floor, oldest)

    def _rewrite(self) -> None:
        """The file with what is kept alone."""
        lines = [[self._floor, None], *([at, number] for at, number in self._by_time)]
        write_whole(self._file, b"".join(json.dumps(line).encode() + b"\n" for line in lines), durable=True, mode=0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._lines = len(lines)
