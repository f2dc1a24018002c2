"""A 3-D printer with Marlin firmware: G-code is streamed line by line, each acknowledged by ok.

Sources: marlinfw.org/docs/gcode (M105, M110, M155, …) and "Host responses"; the checksum is the XOR of all
bytes before the *.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..gcode import Machine
from ..instrument import Instrument, Reading
from ..line import InstrumentError, Lost, Silent

_TEMPERATURES = re.compile(r"(T|B):\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)")
RESENDS_MAX = 10  # of one line


class MarlinPrinter(Instrument):
    """Streams G-code with line numbers and checksums, and keeps its temperatures with their age."""

    line_settings = {"baudrate": 115200, "dtr": False}  # a rising DTR resets the board in the middle of a print
    timeout = 5.0
    busy_timeout = 30.0  # s without any sign of life while something takes long
    may_resume = False  # a board that was lost has forgotten where it was

    machine = Machine()  # what it can take

    _number = 0
    _hotend: Reading | None = None
    _bed: Reading | None = None
    _targets: tuple[float, float] = (0.0, 0.0)

    def __init__(self, port: str, *, machine: dict[str, Any] | None = None, name: str = "", **more: Any) -> None:
        """As `Instrument`.

        Args:
            machine: the limits of this very printer, as `gcode.Machine` has them.
        """
        self.machine = Machine.of(name or type(self).__name__, machine or {})
        super().__init__(port, name=name, **more)

    def begin(self) -> None:
        """Identify it, and begin to count its lines anew."""
        self.line.drop()
        self._number = 0
        self.identify()
        self.send("M110 N0", number=0)

    def identify(self) -> str:
        """Its answer to M115. Raises WrongDevice."""
        from ..line import WrongDevice

        said = " ".join(self._plain("M115"))
        if "Marlin" not in said:
            raise WrongDevice(f"{self.name}: expected a device that answers M115 with Marlin, got “{said[:80]}”.")
        return said

    # -- streaming ----------------------------------------------------------------------------

    def send(self, command: str, number: int | None = None) -> list[str]:
        """Send a line with number and checksum, again if it asks for that, and wait for its ok.

        Returns:
            What it said in between.

        Raises:
            Silent, Lost, InstrumentError: it halted, or wants a line again and again.
        """
        number = self._number + 1 if number is None else number
        body = f"N{number} {command}"
        sum_ = 0
        for byte in body.encode():
            sum_ ^= byte
        said: list[str] = []
        for _ in range(RESENDS_MAX):
            self.line.write(f"{body}*{sum_}\n".encode())
            answers, again = self._until_ok(command)
            said += answers
            if again is None or again == number + 1:
                self._number = number
                return said
            if again != number:
                raise InstrumentError(f"{self.name} asks for line {again}, but {number} is the last one that was sent.")
        raise InstrumentError(f"{self.name} asks for line {number} ({command}) again and again: the line is disturbed.")

    def _plain(self, command: str) -> list[str]:
        self.line.write((command + "\n").encode())
        return self._until_ok(command)[0]

    def _until_ok(self, command: str) -> tuple[list[str], int | None]:
        """What it said before its ok, and the line that it wants again."""
        said: list[str] = []
        again: int | None = None
        until = time.monotonic() + self.timeout
        asked = False
        while True:
            got = self.line.read_line(max(0.0, until - time.monotonic()))
            if got is None:
                if not asked:
                    # an ok may have been lost: whoever is alive answers this; numbered lines stay as they are
                    asked = True
                    self.line.write(b"M105\n")
                    until = time.monotonic() + self.timeout
                    continue
                raise Silent(f"{self.name} did not say ok to {command} within {2 * self.timeout:g} s.")
            text = got.decode("utf-8", "replace").strip()
            self._hear(text)
            if text == "ok" or text.startswith("ok "):
                return said, again
            if found := re.match(r"(?:Resend|rs)[: ]\s*N?(\d+)", text):
                again = int(found[1])
            elif "kill() called" in text or text.startswith("Error:Printer halted"):
                raise Lost(f"{self.name} has halted: {text[:80]}")
            elif text:
                said.append(text)
            # whatever it says, it lives: heating and long moves may take their time
            until = time.monotonic() + self.busy_timeout

    def _hear(self, text: str) -> None:
        targets = list(self._targets)
        for which, value, target in _TEMPERATURES.findall(text):
            measured = Reading(float(value), "°C")
            if which == "T":
                self._hotend, targets[0] = measured, float(target)
            else:
                self._bed, targets[1] = measured, float(target)
        self._targets = (targets[0], targets[1])

    def stream(self, lines: Iterable[str], each: Callable[[int], None] = lambda number: None) -> None:
        """Send many lines; `each` is called with the number of those that are acknowledged."""
        for number, line in enumerate(lines, 1):
            self.send(line)
            each(number)

    # -- asking -------------------------------------------------------------------------------

    def ask_temperatures(self) -> None:
        """Have fresh temperatures."""
        self._persist(lambda: self._plain("M105"))

    @property
    def hotend(self) -> Reading:
        """The hotend's last temperature in °C, with its age."""
        if self._hotend is None:
            self.ask_temperatures()
        if self._hotend is None:
            raise Silent(f"{self.name} tells no temperature of its hotend.")
        return self._hotend

    @property
    def bed(self) -> Reading:
        """The bed's last temperature in °C, with its age."""
        if self._bed is None:
            self.ask_temperatures()
        return self._bed if self._bed is not None else Reading(float("nan"), "°C")

    @property
    def targets(self) -> tuple[float, float]:
        """What hotend and bed are heated to in °C; 0 is off. As last told."""
        return self._targets

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Drop what is planned, heaters and fan off, motors off."""
        self.line.drop()
        for command in ("M410", "M104 S0", "M140 S0", "M107", "M84"):
            self._plain(command)

    def is_safe(self) -> bool:
        """It says that no heater has a target."""
        self._plain("M105")
        return self._targets == (0.0, 0.0)
