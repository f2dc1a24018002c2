"""G-code as a printer's firmware will take it: read line by line, judged against a machine, timed.

Nothing is kept but where the machine stands, so that a file may be as long as it likes. The limits are the
machine's own, as lab.toml tells them. Source: marlinfw.org/docs/gcode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .errors import NotOpened

MOVES, ARCS = {"G0", "G1"}, {"G2", "G3"}
HEATS = {"M104": "hotend", "M109": "hotend", "M140": "bed", "M190": "bed", "M141": "chamber", "M191": "chamber"}
WAITS = {"M109", "M190"}
LEVELS = {"G29", "G80"}  # G80 is Prusa's
# what only looks, tells, cools or tunes, or has somebody come to the printer (M0, M600). Not here: what writes the
# firmware's memory (M500), lifts its guards (M211, M302), switches pins (M42), or moves in ways of its own (G27, G33)
HARMLESS = re.compile(
    r"G(4|10|11|17|21|28|90|91|92)|T0"
    r"|M(0|1|16|17|18|25|73|75|76|77|78|82|83|84|85|92|105|106|107|114|115|117|119|150|200|201|203|204|205|207|208|209"
    r"|220|221|300|400|403|412|413|420|425|486|569|572|593|600|601|701|702|862\.[1-6]|900|906|907)"
)
# what has a text, or words of its own kind, behind it
TEXTS = re.compile(r"(M(?:0|1|16|115|117|486|862\.[1-6]))(?![\d.])(.*)", re.IGNORECASE | re.DOTALL)
LEFT_OUT = {"M110", "M113", "M118", "M155"}  # whoever sends the lines numbers them and has things told; M118 tells him
STOPS = {
    "M108",
    "M112",
    "M410",
    "M999",
}  # what ends a wait, the moves, the machine: whoever sends the lines decides that
LINE_MAX = 65536  # bytes in the file, its comment included
COMMAND_MAX = 90  # characters: Marlin takes 96 with the line's number and checksum (MAX_CMD_SIZE)
AMBIENT = 22.0  # °C
RATE = {"hotend": 2.5, "bed": 0.5}  # °C/s, as small desktop machines heat: for estimates
HOMING, LEVELLING = 10.0, 60.0  # s, likewise

# no blank and no digit fits in two ways: a long line that is none would be tried for ever
_WORD = re.compile(r"([A-Z])(?: ?([+-]?(?:\d+(?:\.\d*)?|\.\d+)))? ?")
_WORDS = re.compile(rf"(?:{_WORD.pattern})+")


@dataclass(frozen=True)
class Machine:
    """What a printer can take: a small desktop machine, unless lab.toml says otherwise."""

    hotend_max: float = 275.0  # °C
    bed_max: float = 120.0  # °C
    chamber_max: float = 0.0  # °C: it has no heated one
    feed_max: float = 30_000.0  # mm/min
    x: tuple[float, float] = (0.0, 220.0)  # mm: from, to
    y: tuple[float, float] = (0.0, 220.0)
    z: tuple[float, float] = (0.0, 250.0)
    commands: tuple[str, ...] = ()  # what its firmware knows besides, and nobody here: sent as they are

    @classmethod
    def of(cls, name: str, options: dict[str, Any]) -> Machine:
        """From lab.toml's options: { machine = { z = [0, 400] } }. Raises NotOpened."""
        known = {field.name for field in fields(cls)}
        for key, value in options.items():
            if key == "commands":
                right = isinstance(value, (list, tuple)) and all(
                    isinstance(command, str) and command for command in value
                )
            elif key in ("x", "y", "z"):
                right = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))
            else:
                right = key in known and _is_number(value)
            if not right:
                raise NotOpened(
                    f"{name}: lab.toml's machine has {', '.join(sorted(known))}, where x, y and z are two numbers, from"
                    f" and to in mm, commands is a list of texts, and the others are one number; not {key} = {value}."
                )
        limits: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in options.items()}
        if "commands" in limits:
            limits["commands"] = tuple(_listed(name, command) for command in limits["commands"])
        return cls(**limits)

    def listed(self, text: str) -> bool:
        """Whether lab.toml lists a line's command, the only one of its firmware."""
        words = text.upper().split()
        return bool(words) and words[0] in self.commands


def _listed(name: str, command: str) -> str:
    """One of lab.toml's commands in capitals. Raises NotOpened where listing it would undo what is judged here."""
    text = command.upper()
    number = re.fullmatch(r"([A-Z])0*(\d+)", text)
    code = f"{number[1]}{number[2]}" if number else text
    if not re.fullmatch(r"[A-Z][A-Z0-9_.]*", text):
        why = "is no command's name: write it alone, as in G34 or START_PRINT"
    elif code in STOPS:
        why = "is not for a file: a print is paused, ended and stopped by messages and aborts"
    elif _known(code) or code == "G20":
        why = "is known here, and judged or followed as it is: leave it out"
    else:
        return text
    raise NotOpened(f"{name}: lab.toml's machine lists {command!r} among its commands, which {why}.")


def _known(code: str) -> bool:
    """Whether a command is judged or followed here, or left out on purpose."""
    return bool(HARMLESS.fullmatch(code)) or any(code in known for known in (MOVES, ARCS, HEATS, LEVELS, LEFT_OUT))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


class BadLine(ValueError):
    """A line that the machine must not get."""

    def __init__(self, number: int, text: str, why: str) -> None:
        self.number, self.text, self.why = number, text, why
        super().__init__(f"line {number}, “{text}”: {why}" if number else why)


@dataclass(frozen=True, slots=True)
class Step:
    """A line that may be sent."""

    number: int  # in the file, from 1
    command: str
    seconds: float  # that it takes, about
    layer: int  # from 1; 0 before the first
    heats: str = ""  # "hotend" or "bed" if it waits for that


class GCode:
    """One pass over a file, and where the machine stands after the line that was last given."""

    def __init__(self, file: Path, machine: Machine) -> None:
        self.file, self.machine = file, machine
        self.at = {"X": 0.0, "Y": 0.0, "Z": 0.0}  # mm, as the machine's own scale has it
        self.homed = self.relative = self.relative_e = False
        self.feed = 1500.0  # mm/min, as Marlin begins
        self.layer, self.filament = 0, 0.0  # mm
        self._shift = {"X": 0.0, "Y": 0.0, "Z": 0.0}  # what G92 has added
        self._e = 0.0
        self._height = math.nan
        self._warm = {"hotend": AMBIENT, "bed": AMBIENT}

    def __iter__(self) -> Iterator[Step]:
        """Its lines without comments, numbers and checksums. Raises BadLine at the first that is refused."""
        empty = True
        for number, raw in self._lines():
            try:
                command, seconds, heats = self._judge(raw)
            except ValueError as error:
                text = raw.decode("ascii", "replace").strip()
                raise BadLine(number, "".join(c if c.isprintable() else "�" for c in text[:60]), str(error)) from None
            if command:
                empty = False
                yield Step(number, command, seconds, self.layer, heats)
        if empty:
            raise BadLine(0, "", "there is no command in it")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with open(self.file, "rb") as source:
            number = 0
            while raw := source.readline(LINE_MAX + 1):
                number += 1
                if len(raw) > LINE_MAX:
                    raise BadLine(number, raw[:60].decode("ascii", "replace"), f"it is longer than {LINE_MAX} bytes")
                yield number, raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw

    # -- a line -------------------------------------------------------------------------------

    def _judge(self, raw: bytes) -> tuple[str, float, str]:
        """What is sent, the seconds that it takes, what it heats and waits for. Raises ValueError with the reason."""
        text = _unnumbered(raw.partition(b";")[0].decode("ascii", "replace").strip())
        with_text = TEXTS.match(text)
        if self.machine.listed(text) or with_text:  # as it is, without what would end the line, or a display can't show
            command = f"{with_text[1].upper()} {with_text[2].strip()}" if with_text else text
            return re.sub(r"[^ -)+-~]", "?", command.strip())[:COMMAND_MAX], 0.0, ""
        if re.match(r"@|M118(?!\d)", text, re.IGNORECASE):  # to a host: "@" is OctoPrint's
            return "", 0.0, ""
        if "�" in text or not text.replace("\t", " ").isprintable():
            raise ValueError("it is malformed: no text")
        text = " ".join(re.sub(r"\([^()]*\)", " ", text).upper().split())
        if not text:
            return "", 0.0, ""
        if len(text) > 2 * COMMAND_MAX:
            raise ValueError(f"it is longer than the {COMMAND_MAX} characters that a firmware takes")
        if re.fullmatch(r"T(-?\d+|[?XC])( .*)?", text) and not re.match(r"T0*( |$)", text):
            raise ValueError("it changes the tool, which nobody follows here: slice it for one extruder")
        if not _WORDS.fullmatch(text):
            raise ValueError("it is malformed")
        (letter, digits), *words = _WORD.findall(text)
        code = f"{letter}{int(digits)}" if digits.isdigit() else letter + digits
        if code == "G20":
            raise ValueError("it switches to inches, which many firmwares leave out: slice it in millimetres")
        if not _known(code):
            raise ValueError("its command is not known here; lab.toml's machine can list it among its commands")
        if any(letter in "GM" for letter, _ in words) or len(dict(words)) < len(words):
            raise ValueError("it is malformed: it has two commands, or a letter twice")
        command = " ".join([code, *(letter + number for letter, number in words)])
        if len(command) > COMMAND_MAX:
            raise ValueError(f"it is longer than the {COMMAND_MAX} characters that a firmware takes")
        if code in LEFT_OUT:
            return "", 0.0, ""
        values = {letter: float(number) if number else None for letter, number in words}
        return (command, *self._obey(code, values))

    def _obey(self, code: str, values: dict[str, float | None]) -> tuple[float, str]:
        """Where the machine stands then, the seconds until it does, and what it waits for."""
        numbers = {letter: value for letter, value in values.items() if value is not None}
        if code in MOVES or code in ARCS:
            return self._move(code, values, numbers), ""
        if code in HEATS:
            return self._heat(code, HEATS[code], numbers)
        if code in ("G90", "G91"):  # in Marlin these count for the extruder, too
            self.relative = self.relative_e = code == "G91"
        elif code in ("M82", "M83"):
            self.relative_e = code == "M83"
        elif code == "G92":
            self._e = numbers.get("E", self._e)  # one that names nothing changes nothing, in Marlin
            for axis in self.at:
                if axis in numbers:
                    self._shift[axis] = self.at[axis] - numbers[axis]
        elif code == "G28":
            for axis in [a for a in self.at if a in values] or list(self.at):
                self.at[axis] = self._shift[axis] = 0.0
            self.homed = True
            return HOMING, ""
        elif code in LEVELS:
            return LEVELLING, ""
        elif code == "G4":
            return numbers.get("P", 0.0) / 1000 + numbers.get("S", 0.0), ""
        elif code == "M92" and set(values) - {"E"}:
            raise ValueError("it changes how far the machine moves: only the extruder's steps may be changed")
        elif code == "M106" and not 0 <= numbers.get("S", 0.0) <= 255:
            raise ValueError("a fan's speed is from 0 to 255")
        return 0.0, ""

    def _heat(self, code: str, heater: str, numbers: dict[str, float]) -> tuple[float, str]:
        target = max(numbers.get("S", 0.0), numbers.get("R", 0.0))
        most: float = getattr(self.machine, f"{heater}_max")
        if target > most or min(numbers.get("S", 0.0), numbers.get("R", 0.0)) < 0:
            raise ValueError(f"the {heater} takes 0 to {most:g} °C")
        if code not in WAITS or not target:
            return 0.0, ""
        seconds = abs(target - self._warm[heater]) / RATE[heater]
        self._warm[heater] = target
        return seconds, heater

    def _move(self, code: str, values: dict[str, float | None], numbers: dict[str, float]) -> float:
        arc = code in ARCS
        for letter, value in values.items():
            if letter not in ("XYZEFIJ" if arc else "XYZEF"):
                hint = ": write arcs with I and J" if letter == "R" else ""
                raise ValueError(f"a move here has no {letter}{hint}")
            if value is None:
                raise ValueError(f"it is malformed: its {letter} has no number")
        if "F" in numbers:
            if not 0 < numbers["F"] <= self.machine.feed_max:
                raise ValueError(f"the machine moves at up to {self.machine.feed_max:g} mm/min")
            self.feed = numbers["F"]
        before, self.at = (
            self.at,
            {
                axis: (numbers[axis] + (was if self.relative else self._shift[axis])) if axis in numbers else was
                for axis, was in self.at.items()
            },
        )
        length, reached = math.hypot(self.at["X"] - before["X"], self.at["Y"] - before["Y"]), [self.at]
        if arc:
            length, reached = _arc(before, self.at, numbers, clockwise=code == "G2")
        for point in reached:
            self._within(point)
        pushed = numbers.get("E", 0.0 if self.relative_e else self._e) - (0.0 if self.relative_e else self._e)
        self._e += pushed
        self.filament += pushed
        if pushed > 0 and length > 0 and round(self.at["Z"], 3) != self._height:
            self._height = round(self.at["Z"], 3)
            self.layer += 1
        return (math.hypot(length, self.at["Z"] - before["Z"]) or abs(pushed)) / self.feed * 60

    def _within(self, point: dict[str, float]) -> None:
        for axis, value in point.items():
            low, high = getattr(self.machine, axis.lower())
            if not low - 1e-6 <= value <= high + 1e-6:
                raise ValueError(f"it moves to {axis} {value:g} mm, and the machine has {low:g} to {high:g} mm")


def _unnumbered(text: str) -> str:
    """A line without the number and the checksum that a host has given it. Raises ValueError where the sum is wrong."""
    number = re.match(r"[Nn]\s*\d+\s*", text)
    if number is None:
        return text
    body, star, checksum = text.rpartition("*")
    if not star:
        return text[number.end() :]
    right = 0
    for byte in body.encode("ascii", "replace"):
        right ^= byte
    if checksum.strip() != str(right):
        raise ValueError("its checksum is wrong")
    return body[number.end() :].strip()


def _arc(
    begin: dict[str, float], end: dict[str, float], numbers: dict[str, float], clockwise: bool
) -> tuple[float, list[dict[str, float]]]:
    """The length of an arc in mm, and its outermost points. Raises ValueError where it has no centre."""
    x, y = begin["X"] + numbers.get("I", 0.0), begin["Y"] + numbers.get("J", 0.0)
    radius = math.hypot(begin["X"] - x, begin["Y"] - y)
    if radius == 0:
        raise ValueError("an arc needs its centre: I and J")
    first = math.atan2(begin["Y"] - y, begin["X"] - x)
    turn = (math.atan2(end["Y"] - y, end["X"] - x) - first) * (-1 if clockwise else 1) % math.tau
    turn = turn or math.tau  # back to where it began is a full circle
    points = [end]
    for quarter in range(4):
        if (quarter * math.pi / 2 - first) * (-1 if clockwise else 1) % math.tau <= turn:
            beyond = {
                "X": x + radius * round(math.cos(quarter * math.pi / 2)),
                "Y": y + radius * round(math.sin(quarter * math.pi / 2)),
            }
            points.append({**end, **beyond})
    return radius * turn, points
