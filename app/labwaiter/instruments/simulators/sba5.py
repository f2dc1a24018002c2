"""A PP Systems SBA-5 CO2 analyser: it speaks at its own pace, and echoes what it is told.

From its manual (version 1.06): 19200 baud; a one-character command acts at once, a longer one at its
carriage return; a command is answered by its echo and OK, each a line. Lines that it sends by itself, some a second:
``M zero-count count ppm temperature humidity humidity-temperature mbar detector source status``, while it
warms up ``W,temperature``, while it zeroes ``Z,n of 25``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .base import Simulator

INTERVAL = 1.0  # s between two of its lines
AIR = 420.0  # ppm outside
RANGE = 5000.0  # ppm that it can measure: left alone for a night it shows no more
SINGLE = "MZ!@?"
ZERO_STEPS = 25


class Sba5(Simulator):
    """In a chamber whose CO2 rises, and falls while `ventilated()` is true."""

    terminator = b"\r"

    def __init__(self, *args: object, warm: bool = True, interval: float = INTERVAL, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.interval = interval
        self.temperature = 55.0 if warm else 43.0  # °C of its cell; it measures at 55
        self.ppm = AIR
        self.rise = 2.0  # ppm/s of what breathes in the chamber
        self.ventilated: Callable[[], bool] = lambda: False
        self.streams = True  # ! and @ turn it off and on
        self.disturbed = 0  # so many of its own lines arrive damaged
        self._due = interval
        self._zeroing = 0

    def receive(self, data: bytes) -> None:
        """Single characters act at once, where no longer command is being typed."""
        for byte in data:
            letter = chr(byte)
            if not self._in and letter in SINGLE:
                self._single(letter)
            elif letter != "\n":
                super().receive(bytes([byte]))

    def _single(self, letter: str) -> None:
        self.note(f"command {letter}")
        self.say(letter)
        self.say("OK")
        if letter == "M":
            self.say(self._measured())
        elif letter == "Z":
            self._zeroing = ZERO_STEPS
        elif letter in "!@":
            self.streams = letter == "@"
        else:
            self.say("SBA-5 CO2 Version 1.06")
            self.say("Zpup=1 Zdir=0")

    def line(self, text: str) -> None:
        """A longer command: echoed and accepted."""
        if text:
            self.note(f"command {text}")
            self.say(text)
            self.say("OK")

    def due(self) -> float:
        """Seconds of its time until its next line."""
        return self._due

    def tick(self, seconds: float) -> None:
        """The chamber breathes, the cell warms, a line is due."""
        if self.ventilated():
            self.ppm = AIR + (self.ppm - AIR) * math.exp(-seconds / 8.0)
        else:
            self.ppm = min(RANGE, self.ppm + self.rise * seconds)
        self.temperature += (55.0 - self.temperature) * (1 - math.exp(-seconds / 20.0))
        self._due -= seconds
        if self._due <= 0:
            self._due += self.interval
            if self._zeroing:
                self._zeroing -= 1
                self.say(f"Z,{ZERO_STEPS - self._zeroing} of {ZERO_STEPS}")
            elif self.temperature < 54.0:
                self.say(f"W,{self.temperature:.1f}")
            elif self.streams:
                self.say(self._measured())

    def _measured(self) -> str:
        if self.disturbed:
            self.disturbed -= 1
            return "M 50885 4809@ 42"
        ppm = self.random.gauss(self.ppm, 0.4)
        return f"M 50885 48094 {ppm:.2f} {self.temperature:.1f} 0.0 0.0 1013 55.0 55.0 00"

    def is_safe(self) -> bool:
        """It moves and heats nothing that could do harm."""
        return True
