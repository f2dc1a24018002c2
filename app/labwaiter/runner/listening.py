"""Reading a program's progress from what it prints."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..program import Program

_LINE_MAX = 4096  # bytes: what is longer is no line of progress
PRINTED_MAX = 100_000  # bytes that are kept of what a program printed: its last
_BREAK = re.compile(rb"[\r\n]+")  # a progress bar begins its line anew with a carriage return

Say = Callable[[float | None, str], None]  # fraction, stage


class Listener:
    """Hears what a program prints, and says its progress where a line tells it."""

    def __init__(self, program: Program, say: Say) -> None:
        self._patterns = [re.compile(pattern) for pattern in program.progress]
        self._stages = program.stages
        self._say = say
        self._part = b""
        self._at = 0  # the stage, from 0
        self._fraction: float | None = None  # of the whole, or of the stage where there are stages
        self._stage = ""
        self._said = b""

    @property
    def printed(self) -> str:
        """The last of what it printed."""
        return self._said.decode("utf-8", "replace")

    def hear(self, printed: bytes) -> None:
        """Take the next piece of what was printed."""
        self._said = (self._said + printed)[-PRINTED_MAX:]
        if not self._patterns and not self._stages:
            return
        *lines, self._part = _BREAK.split(self._part + printed)
        self._part = self._part[-_LINE_MAX:]
        told = False
        for line in lines:
            told = self._read(line[:_LINE_MAX].decode("utf-8", "replace")) or told
        if told:
            self._say(self._whole(), self._stage)

    def _read(self, line: str) -> bool:
        told = False
        for number, text in enumerate(self._stages):
            if text in line:
                self._at, self._fraction, self._stage, told = number, None, text, True
        for pattern in self._patterns:
            if found := pattern.search(line):
                said = {name: text for name, text in found.groupdict().items() if text is not None}
                fraction = _fraction(said)
                self._fraction = self._fraction if fraction is None else fraction
                self._stage = said.get("stage", self._stage).strip()
                told = True
        return told

    def _whole(self) -> float | None:
        if not self._stages:
            return self._fraction
        return (self._at + min(1.0, self._fraction or 0.0)) / len(self._stages)


def _fraction(said: dict[str, str]) -> float | None:
    """What a line's named groups say, as 0…1; None where they say no number."""
    try:
        if "percent" in said:
            return float(said["percent"]) / 100
        if "fraction" in said:
            return float(said["fraction"])
        if "n" in said:
            return float(said["i"]) / float(said["n"])
    except (ValueError, ZeroDivisionError):
        pass
    return None
