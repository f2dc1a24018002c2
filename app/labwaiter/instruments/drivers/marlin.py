"""A 3-D printer with Marlin firmware: G-code is streamed line by line, each acknowledged by ok.

Sources: marlinfw.org/docs/gcode (M105, M110, M155, …) and Marlin's own queue.cpp, which say:
a line is ``N12 G1 X5*47``, the checksum the XOR of all bytes before the ``*``; one that is damaged or out of turn
is answered by ``Error:…`` and ``Resend: 12``, with an ``ok`` after that in older versions only. Answers come in the
order of the lines, and M105's is the only one that reads ``ok T:…``: so M105 is asked wherever it isn't certain
which ok is whose, and what comes before its answer is settled. M108 (stop waiting for a temperature) and M410 (drop
the moves) are obeyed as they come in, even while the board is busy, but without a line number only.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterable
from functools import reduce
from operator import xor
from typing import Any

from ..gcode import Machine
from ..instrument import Instrument
from ..line import InstrumentError, Lost, Silent, WrongDevice
from ..quantity import Reading, clean

_TEMPERATURES = re.compile(r"(?<![A-Z@])(T\d*|B|C):\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)")
_RESEND = re.compile(r"(?:Resend|rs)[: ]\s*N?(\d+)")
_OK = re.compile(r"ok(?:\s+N(\d+))?(?:\s|$)(.*)")  # "ok", "ok N12 P15 B3", "ok T:208.1 /210.0 …"
_OF_THE_LINE = ("checksum", "line number", "last line")  # errors that a Resend follows
RESENDS_MAX = 10  # for one line
KEPT = 50  # lines that can be sent again


class MarlinPrinter(Instrument):
    """Streams G-code with line numbers and checksums, and keeps its temperatures with their age."""

    line_settings = {"baudrate": 115200, "dtr": False}  # a rising DTR resets many boards in the middle of a print
    timeout = 3.0
    busy_timeout = 30.0  # s without any sign of life while something takes long
    boot_seconds = 10.0  # opening the line may have reset the board
    may_resume = False  # a board that was lost has forgotten where it was
    machine = Machine()  # what it can take

    _number = 0
    _probes = 0  # so many M105 are asked and not answered
    _unsure = 0  # so many lines in turn had no ok of their own
    _restarts = False  # whether it may say "start" now
    _halts = False  # whether it is halted if it doesn't listen
    _hotend: Reading | None = None
    _bed: Reading | None = None
    _targets: dict[str, float] = {}

    # -- beginning ----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End its waiting and its moves, so that it listens again. If it doesn't, it gets the emergency stop."""
        self._halts = True
        self.line.write(b"\nM108\nM410\n", urgent=True)  # the first line's end is that of a line cut short

    def __init__(self, port: str, *, machine: dict[str, Any] | None = None, name: str = "", **more: Any) -> None:
        """As `Instrument`.

        Args:
            machine: the limits of this very printer, as `gcode.Machine` has them.
        """
        self.machine = Machine.of(name or type(self).__name__, machine or {})
        super().__init__(port, name=name, **more)

    def begin(self) -> None:
        """Wait until it has booted, identify it, and begin to count its lines anew."""
        self._restarts = True
        try:
            self.line.drop()
            self._settle(self.boot_seconds)
            self.identify()
            self._count_anew()
        finally:
            self._restarts = self._halts = False

    def identify(self) -> str:
        """Its answer to M115. Raises WrongDevice."""
        self.line.write(b"M115\n")
        said = " ".join(self._until_ok("M115", None)[0])
        if "FIRMWARE_NAME" not in said or "Marlin" not in said:
            raise WrongDevice(f"{self.name}: expected a device that answers M115 with Marlin, got “{clean(said)}”.")
        return said

    def _count_anew(self) -> None:
        self._sent: dict[int, str] = {}
        self._number = -1
        self.send("M110 N0")

    def _settle(self, seconds: float) -> None:
        """Ask M105 until it answers: what was said before is settled then. Raises Silent, WrongDevice."""
        try:
            self._ask_m105(seconds)
        except BaseException as error:
            if self._halts and not isinstance(error, WrongDevice):
                with contextlib.suppress(InstrumentError):
                    self.line.write(b"\nM112\n", urgent=True)
            raise

    def _ask_m105(self, seconds: float) -> None:
        until, said, heard = time.monotonic() + seconds, "", False
        while not heard and (now := time.monotonic()) < until:
            self._probe()
            turn = min(until, now + self.timeout)
            while (text := self._line(turn)) is not None:
                self._hear(text)
                found = _OK.match(text)
                if found and "T:" in found[2]:
                    heard = True
                    if self._answered():
                        return
                    turn = time.monotonic() + 2 * self.timeout  # for the answers that are still owed
                said = text or said
        if heard:
            self._probes = 0  # one of them, or its answer, was lost
            return
        silent = f"{self.name} did not answer M105 within {seconds:g} s"
        if not said:
            raise Silent(f"{silent}: is it switched on? After an emergency stop it must be reset.")
        if re.search("busy|W:|Marlin|^ok|^echo|^Resend|^Error|^T:|^start", said):
            raise Silent(f"{silent}; it said “{clean(said)}”.")
        raise WrongDevice(f"{self.name}: expected a printer with Marlin that answers M105 by ok, got “{clean(said)}”.")

    def _probe(self) -> None:
        self.line.write(b"\nM105\n")
        self._probes += 1

    def _answered(self) -> bool:
        """An M105 was answered: whether it was the last one that had been asked, and not a late answer to another."""
        self._probes = max(0, self._probes - 1)
        return self._probes == 0

    # -- streaming ----------------------------------------------------------------------------

    def send(self, command: str) -> list[str]:
        """Send a line with number and checksum, again if it asks for that, and wait for its ok.

        However long it is busy it is waited for, as long as it says so: what ends that is the job's limit or stall.

        Returns:
            What it said in between.

        Raises:
            Silent, Lost, InstrumentError: it halted, restarted, reports an error, or wants a line again and again.
        """
        self._number += 1
        self._sent[self._number] = command
        self._sent.pop(self._number - KEPT, None)
        number, said, resends = self._number, list[str](), 0
        while True:
            command = self._sent[number]
            body = f"N{number} {command}"
            self.line.write(f"{body}*{reduce(xor, body.encode())}\n".encode())
            self._probes += command.startswith("M105")
            answers, again, lost = self._until_ok(command, number)
            said += answers
            if again is None:
                number += 1
            else:
                resends += 1
                self._settle(3 * self.timeout)  # whether or not an ok follows a Resend
                number = again if self._number else 0  # M110 itself is sent again, whatever it counted before
            if number == self._number + 1:
                if not lost:
                    self._unsure = 0
                    return said
                self._unsure += 1
                if self._unsure > RESENDS_MAX:
                    raise Silent(f"{self.name} says ok to nothing any more.")
                return said + self.send("M105")  # was it the ok that was lost, or the line? Then it asks for that now
            if number not in self._sent:
                raise Lost(f"{self.name} asks for line {number}, which was over long ago: did it restart?")
            if resends >= RESENDS_MAX:
                asks = f"{self.name} asks for line {number} ({command})"
                raise InstrumentError(f"{asks} again and again: the line is disturbed.")

    def _until_ok(self, command: str, number: int | None) -> tuple[list[str], int | None, bool]:
        """What it said before its ok, the line that it wants again instead, and whether no ok came."""
        said: list[str] = []
        is_m105, own, heard = command.startswith("M105"), False, 0
        began = time.monotonic()
        ask_at, silent_at, asked, most = began + self.timeout, began + 3 * self.timeout, 0, 2
        while True:
            now = time.monotonic()
            if now >= silent_at and heard and (asked or is_m105):
                self._probes = 0  # one of them, or its answer, was lost
                return said, None, True
            if now >= silent_at:
                raise Silent(f"{self.name} did not say ok to {command} within {now - began:.0f} s.")
            if now >= ask_at and asked < most:
                # the ok may be lost, or the line: M105's answer tells that neither comes any more
                asked += 1
                self._probe()
                ask_at = now + self.timeout
            text = self._line(min(silent_at, ask_at) if asked < most else silent_at)
            if text is None:
                continue
            self._hear(text)
            if found := _OK.match(text):
                if "T:" in found[2]:
                    heard += 1
                    if self._answered() and (asked or is_m105):
                        return said, None, heard <= asked if is_m105 else not own
                    silent_at = time.monotonic() + 2 * self.timeout  # for the answers that are still owed
                elif not (found[1] and number is not None and int(found[1]) != number):
                    own = True
                    if not (asked or is_m105):
                        return said, None, False
                # while M105 is asked its answer is what counts, so that none is left over for the next line
            elif found := _RESEND.match(text):
                self._probes = max(0, self._probes - is_m105)
                return said, int(found[1]), False
            elif "busy:" in text or "W:" in text or (command.startswith(("M109", "M190")) and "T:" in text):
                most = 1  # what it is busy with may take its time; one question waits in its queue meanwhile
                silent_at = time.monotonic() + self.busy_timeout
                if not asked:
                    ask_at = min(silent_at, max(began + self.busy_timeout, ask_at))
            elif text:
                said.append(text)

    def _hear(self, text: str) -> None:
        """Note what it tells by itself. Raises InstrumentError where it can't go on."""
        for which, value, target in _TEMPERATURES.findall(text):
            measured = Reading(float(value), "°C")
            self._targets = {**self._targets, which: float(target)}
            if which == "T":
                self._hotend = measured
            elif which == "B":
                self._bed = measured
        if self._restarts:
            return
        if text == "start":
            raise Lost(f"{self.name} has restarted in the middle of the work: was it reset, or its power cut?")
        if "kill()" in text or "halted" in text:
            raise Lost(f"{self.name} has halted and must be reset: {clean(text)}")
        if text.startswith("Error:") and not any(words in text.lower() for words in _OF_THE_LINE):
            raise InstrumentError(f"{self.name} reports an error: {clean(text.removeprefix('Error:'))}")

    def stream(self, lines: Iterable[str]) -> None:
        """Send many lines, each once the one before it is acknowledged."""
        for line in lines:
            self.send(line)

    # -- asking -------------------------------------------------------------------------------

    def ask_temperatures(self) -> None:
        """Have fresh temperatures."""
        self._targets = {}
        self._settle(3 * self.timeout)

    @property
    def hotend(self) -> Reading:
        """The hotend's last temperature in °C, with its age; nan where it tells none."""
        return self._temperature("_hotend")

    @property
    def bed(self) -> Reading:
        """The bed's last temperature in °C, with its age; nan where it has no heated bed."""
        return self._temperature("_bed")

    def _temperature(self, which: str) -> Reading:
        if getattr(self, which) is None:
            self.ask_temperatures()
        found: Reading | None = getattr(self, which)
        return Reading(math.nan, "°C") if found is None else found

    @property
    def targets(self) -> tuple[float, float]:
        """What hotend and bed are heated to in °C; 0 is off. As last told."""
        return self._targets.get("T", 0.0), self._targets.get("B", 0.0)

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Drop what is planned, heaters and fan off, motors off. It may still be hot then, but cools down.

        A board that can't be brought to listen gets the emergency stop, M112. It must be reset after that, and can't
        be asked any more, so it is not called safe.
        """
        self._restarts = True  # it is welcome to
        try:
            self.interrupt()
            self._settle(2 * self.timeout)
            self._halts = False
            self._count_anew()
            hotends = sorted(which for which in self._targets if re.fullmatch(r"T\d+", which))
            chamber = ["M141 S0"] if "C" in self._targets else []
            self.stream([*(f"M104 {which} S0" for which in hotends), "M104 S0", "M140 S0", *chamber, "M107", "M84"])
        finally:
            self._restarts = self._halts = False

    def is_safe(self) -> bool:
        """Asked anew, it tells the targets of its heaters, and all are 0. How hot it still is doesn't matter."""
        self.ask_temperatures()
        return bool(self._targets) and not any(self._targets.values())
