"""Reading a program's progress from what it prints."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from ..model.program import is_percent

PRINTED_MAX = 100_000  # bytes that are kept of what a program printed: its last
_LINE_MAX = 4096  # bytes: of a longer line only its end is looked at
# bytes of a line that isn't finished that are looked at with each piece that comes: a pattern may take the square
# of their number
_UNFINISHED_MAX = 512
_CURSOR = re.compile(rb"\x1b\[[0-9;?]*[A-HJKSTf]")  # a terminal's, which goes elsewhere or wipes what was printed
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_CUT = re.compile(rb"^[\w.,%]*")  # what a cut may have left of a number or a word
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?\s*")
_THOUSANDS = re.compile(r"\s*[1-9]\d{0,2}(?:,\d{3})+\s*")

Say = Callable[[float | None, str], None]  # fraction, stage


class Talking(Protocol):
    """A program, as far as its words are concerned."""

    @property
    def progress(self) -> Sequence[str]:
        """Patterns."""

    @property
    def stages(self) -> Sequence[str]:
        """What it prints as it goes from stage to stage."""


class Listener:
    """Hears what a program prints, and says its progress where a line tells it, also one that isn't finished."""

    def __init__(self, program: Talking, say: Say) -> None:
        self._patterns = [re.compile(pattern) for pattern in program.progress]
        self._stages = program.stages
        self._say = say
        self._part = b""  # of the line that isn't finished: its last
        self._part_news: tuple[float | None, str] | None = None  # what that has told so far
        self._at = 0  # the stage, from 0
        self._fraction: float | None = None  # of the whole, or of the stage where there are stages
        self._stage = ""
        self._printed = bytearray()

    @property
    def printed(self) -> str:
        """The last of what it printed."""
        return self._printed[-PRINTED_MAX:].decode("utf-8", "replace")

    def hear(self, printed: bytes) -> None:
        """Take the next piece of what was printed."""
        self._printed += printed
        if len(self._printed) > 2 * PRINTED_MAX:
            del self._printed[:-PRINTED_MAX]
        if not self._patterns and not self._stages:
            return
        *lines, part = _lines(self._part + printed)
        news = None  # the last of several: who looks sees only that
        for line in lines:
            if line and self._read(_end_of(line, _LINE_MAX), finished=True) and self._position() != self._part_news:
                news = self._position()
            self._part_news = None
        self._part = _end_of(part, _LINE_MAX)
        if self._read(_end_of(part, _UNFINISHED_MAX), finished=False) and self._position() != self._part_news:
            news = self._part_news = self._position()
        if news is not None:
            self._say(*news)

    def _position(self) -> tuple[float | None, str]:
        if not self._stages:
            return self._fraction, self._stage
        return (self._at + min(1.0, self._fraction or 0.0)) / len(self._stages), self._stage

    def _read(self, printed: bytes, finished: bool) -> bool:
        """Whether a line tells something; if so it is kept."""
        line = (_COLOUR.sub(b"", printed) if b"\x1b" in printed else printed).decode("utf-8", "replace")
        has_news = False
        for number, text in enumerate(self._stages):
            if text in line:
                self._at, self._fraction, self._stage, has_news = number, None, text, True
        for pattern in self._patterns:
            last = None
            for match in pattern.finditer(line):
                # what ends where the line does for now may be the half of a number or of a word
                if match[0] and (finished or match.end() < len(line) or not line[-1].isalnum()):
                    last = match
            if last is not None:
                fraction = _fraction(last)
                self._fraction = self._fraction if fraction is None else fraction
                if stage := last.groupdict().get("stage"):
                    self._stage = stage.strip()
                has_news = True
        return has_news


def _lines(printed: bytes) -> list[bytes]:
    """What was printed, cut where something is printed anew: also a progress bar does that, in one way or another."""
    if b"\x1b" in printed:
        printed = _CURSOR.sub(b"\n", printed)
    return printed.replace(b"\r", b"\n").replace(b"\b", b"\n").split(b"\n")


def _end_of(line: bytes, size: int) -> bytes:
    """The last bytes of a line; where its beginning is missing, a NUL stands for that, and no word is half."""
    return line if len(line) <= size else b"\0" + _CUT.sub(b"", line[-size:], count=1)


def _fraction(match: re.Match[str]) -> float | None:
    """What the groups of a match say, as 0…1; None where they say no number."""
    groups = match.groupdict()
    if is_percent(match.re):
        return _number(_numeral(match, 1), 100.0)
    if "percent" in groups:
        return _number(_numeral(match, "percent"), 100.0)
    if "fraction" in groups:
        return _number(_numeral(match, "fraction"))
    if "n" not in groups:
        return None
    counts = [_numeral(match, "i"), _numeral(match, "n")]
    if all(_THOUSANDS.fullmatch(text) for text in counts if "," in text):
        counts = [text.replace(",", "") for text in counts]  # 900 of 1,200
    i, n = (_number(text) for text in counts)
    return i / n if i is not None and n else None


def _numeral(match: re.Match[str], group: int | str) -> str:
    """What a group holds, with the rest of the number that it is in: the 5 of "37,5 %" is 37,5."""
    if match[group] is None:
        return ""
    line, (begin, end) = match.string, match.span(group)
    if line[begin : begin + 1].isdigit() and (before := re.search(r"\d+[.,]$", line[max(0, begin - 20) : begin])):
        begin -= len(before[0])
    if line[end - 1 : end].isdigit() and (after := re.match(r"[.,]\d+", line[end : end + 20])):
        end += len(after[0])
    return line[begin:end]


def _number(text: str, whole: float = 1.0) -> float | None:
    """A number with a point or a comma, of `whole`; None for what is none."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text.replace(",", "."))
    return number / whole if math.isfinite(number) else None
