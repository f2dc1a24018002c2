"""A simulated device: bytes in, bytes out, and time in between. No threads: a host feeds it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import time
from pathlib import Path

RECORD_MAX = 1_000_000  # bytes of a record; then a new one is begun, and the one before it stays as ….1
REMEMBERED = 10_000  # entries of it that are kept in memory


class Simulator:
    """One device.

    `moods` are the faults that it can be told to have: "silent" (hears, says nothing), "garbage" (says noise),
    "late" (answers after `lateness` s), "drip" (a byte every 0.4 s), "flood" (sends without end, and no line's end),
    and what a kind adds.
    """

    period = 0.02  # s between two ticks
    terminator = b"\n"

    def __init__(self, record: Path | None = None, seed: int | None = None, speed: float = 1.0) -> None:
        """
        Args:
            record: a file for its record.
            speed: makes its time pass faster than ours.
        """
        self.speed = speed
        self.random = random.Random(seed)
        self.moods: set[str] = set()
        self.lateness = 3.0  # s
        self.happened: list[tuple[float, str]] = []  # its record: Unix time in s, what
        self._file = record
        self._in = b""
        self._out: list[tuple[float, bytes]] = []  # when it may leave, what
        self.clock = 0.0  # s since it was switched on
        self._owed = 0.0  # s that have passed but aren't a whole period yet

    # -- for a host ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes come in; each whole line is obeyed."""
        self._in += data
        while True:
            line, end, rest = self._in.partition(self.terminator)
            if not end:
                return
            self._in = rest
            self.line(line.decode("utf-8", "replace").strip())

    def advance(self, seconds: float) -> None:
        """Time passes, in steps of `period`; where nothing is due for longer, in one stride."""
        self._owed += seconds * self.speed
        while self._owed >= self.period:
            step = max(self.period, min(self._owed, self.due()))
            self._owed -= step
            self.clock += step
            self.tick(step)

    def wait(self) -> float:
        """How many of our seconds a host may leave it alone, unless it is spoken to."""
        return max(0.0, min(self.due(), *(when - self.clock for when, _ in self._out[:1]), math.inf)) / self.speed

    def take(self) -> bytes:
        """What leaves the device now."""
        if "flood" in self.moods:
            return b"U" * 2048
        out = b""
        while self._out and self._out[0][0] <= self.clock:
            when, data = self._out.pop(0)
            if "drip" in self.moods and len(data) > 1:
                self._out.insert(0, (self.clock + 0.4, data[1:]))
                return out + data[:1]
            out += data
        return out

    # -- for a kind ---------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Obey a line, without its terminator."""
        raise NotImplementedError

    def tick(self, seconds: float) -> None:
        """So many seconds of its time have passed."""

    def due(self) -> float:
        """Seconds of its time until it does something by itself; infinite for one that only answers."""
        return math.inf

    def say(self, text: str) -> None:
        """Send a line to whoever has it open, as its moods let it."""
        if "silent" in self.moods:
            return
        data = (text + "\r\n").encode()
        if "garbage" in self.moods:
            data = bytes(self.random.randrange(33, 127) for _ in range(12)) + b"\r\n"
        self._out.append((self.clock + (self.lateness if "late" in self.moods else 0.0), data))

    def note(self, event: str) -> None:
        """Write down what happened to it."""
        self.happened.append((time.time(), event))
        del self.happened[:-REMEMBERED]
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a full disk is nothing to a device
            with open(self._file, "a", encoding="utf-8") as out:
                out.write(json.dumps([time.time(), event], ensure_ascii=False) + "\n")
                size = out.tell()
            if size > RECORD_MAX:
                os.replace(self._file, f"{self._file}.1")

    def is_safe(self) -> bool:
        """Whether it could be left alone now: the truth, not what it says."""
        raise NotImplementedError
