"""A 3-D printer with Marlin firmware: G-code is streamed line by line, each acknowledged by ok.

Sources: marlinfw.org/docs/gcode (M105, M110, M155, …) and Marlin's own queue.cpp, which say:
a line is ``N12 G1 X5*47``, the checksum the XOR of all bytes before the ``*``; one that is damaged or out of turn
is answered by ``Error:…`` and ``Resend: 12``, with an ``ok`` after that in older versions only. Answers come in the
order of the lines, and M105's is the only one that reads ``ok T:…``: so M105 is asked wherever it isn't certain
which ok is whose, and what comes before its answer is settled.

M108 (stop waiting for a temperature), M410 (drop the moves) and M112 (emergency stop) are obeyed when they are *read*,
without a line number only, and a busy board reads while there is room in its queue of four, in which what it is busy
with has a place. So no more than two places are ever taken by a line that may keep it busy: its own, and one M105's.
A line that was sent already takes none, and is answered at once by a Resend for the next one: that is how a quiet
board is asked whether it lives, and whether it has got the line.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import deque
from collections.abc import Iterable
from functools import reduce
from operator import xor
from typing import Annotated, Any

from ...model.parameter import Range
from ..errors import InstrumentError, Lost, NotOpened, Silent, WrongDevice
from ..gcode import Machine
from ..instrument import Instrument
from ..quantity import Reading, action, clean

_TEMPERATURES = re.compile(r"(?<![A-Z@])(T\d*|B|C):\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)")
_RESEND = re.compile(r"(?:Resend|rs)[: ]\s*N?(\d+)")
_OK = re.compile(r"ok(?:\s+N(\d+))?(?:\s|$)(.*)")  # "ok", "ok N12 P15 B3", "ok T:208.1 /210.0 …"
_OF_THE_LINE = ("checksum", "line number", "last line", "expected line")  # errors that a Resend follows
_LAST_LINE = re.compile(r"last line:?\s*(\d+)", re.IGNORECASE)
# what boards say when they have booted, whatever stands before it: "start", "echo:start", "\xf8\x80start"
_BANNER = re.compile(
    r"(?:^|[^a-z ])start$|^(?:echo:)?\s*(?:PowerUp|Marlin[ -]\S*\d|(?:External|Brown out|Watchdog|Software) Reset)"
    r"|PlannerBufferBytes|Free Memory:",
    re.IGNORECASE,
)
_MARLIN = re.compile(r"busy|W:|Marlin|^ok|^echo|^Resend|^Error|^T:|start$")
_ACTION = re.compile(r"//\s*action:\s*(.+)")
_CODE = re.compile(r"[GMT]\d+(?:\.\d+)?")
_HEATS = {"M104": "T", "M109": "T", "M140": "B", "M190": "B"}
_SLOW = {"G28", "G29", "G80", "M109", "M190", "M191", "M400"}  # they take long, and some boards say nothing meanwhile
_DRAINS = {"G4", "G28", "G29", "G80", "M400"}  # their ok comes once all moves before them are done
_PANEL = {"M0", "M1", "M25", "M125", "M226", "M600", "M601", "M701", "M702"}  # they wait for somebody, or may
RESENDS_MAX = 10  # for one line
KEPT = 3  # lines that can be sent again: all before them were acknowledged
SLOW_SECONDS = 300.0  # that such a one may take without a word
NOTES = 50
PLANNED = 64  # moves that a board plans ahead, at most


class MarlinPrinter(Instrument):
    """Streams G-code with line numbers and checksums, and keeps its temperatures with their age."""

    line_settings = {"baudrate": 115200, "dtr": False}  # a rising DTR resets many boards in the middle of a print
    timeout = 3.0
    busy_timeout = 30.0  # s without any sign of life while something takes long
    boot_seconds = 10.0  # opening the line may have reset the board
    may_resume = False  # a board that was lost has forgotten where it was
    machine = Machine()  # what it can take
    on_cancel = "end"  # what a print does when its printer says so: "end", or "hold" until somebody resumes it
    on_runout = "hold"

    actions: deque[str]  # what it has asked its host for: "pause", "cancel", "out_of_filament T0"; oldest first
    notes: deque[str]  # its other notices, the last ones: "Unknown command: …"

    _number = 0
    _probes = 0  # so many M105 are asked and not answered
    _restarts = False  # whether it may say "start" now
    _busy_until = 0.0  # monotonic s: so long what was sent takes, by what is known
    _hotend: Reading | None = None
    _bed: Reading | None = None
    _targets: dict[str, float] = {}

    # -- beginning ----------------------------------------------------------------------------

    def __init__(
        self,
        port: str,
        *,
        machine: dict[str, Any] | None = None,
        on_cancel: str | None = None,
        on_runout: str | None = None,
        name: str = "",
        **more: Any,
    ) -> None:
        """As `Instrument`.

        Args:
            machine: the limits of this very printer, as `gcode.Machine` has them.
            on_cancel: "end" or "hold": what becomes of a print that is cancelled at the printer.
            on_runout: "end" or "hold": what becomes of one whose filament has run out.
        """
        name = name or type(self).__name__
        for option, value in (("on_cancel", on_cancel), ("on_runout", on_runout)):
            if value not in (None, "end", "hold"):
                raise NotOpened(f"{name}: lab.toml's {option} is “end” or “hold”, not “{value}”.")
            if value is not None:
                self.__dict__[option] = value
        self.__dict__.update(machine=Machine.of(name, machine or {}), actions=deque(), notes=deque(maxlen=NOTES))
        self.__dict__["boot_seconds"] = max(self.boot_seconds, more.get("settle") or 0.0)
        self._wanted: dict[str, float] = {}  # what the heaters were set to, °C
        self._sent: dict[int, str] = {}
        self._lasting: deque[float] = deque(maxlen=PLANNED)  # s that the last lines take
        self._interrupted = False
        super().__init__(port, name=name, **more)

    def interrupt(self) -> None:
        """End its waiting, so that it listens again. `_wake` does the rest."""
        self._interrupted = True
        self.line.write(b"\nM108\n", urgent=True)  # the first line's end is that of a line cut short

    def begin(self) -> None:
        """Wait until it has booted, identify it, and begin to count its lines anew."""
        self._restarts = True
        try:
            if self._interrupted:
                self._wake(self.boot_seconds)
            else:
                self.line.drop()
                self._settle(self.boot_seconds)
            self.identify()
            self._count_anew()
        finally:
            self._restarts = False

    def identify(self) -> str:
        """Its answer to M115. Raises WrongDevice."""
        self.line.write(b"M115\n")
        answer = " ".join(self._until_ok("M115", None)[0])
        if "FIRMWARE_NAME" not in answer or "Marlin" not in answer:
            raise WrongDevice(f"{self.name}: expected a device that answers M115 with Marlin, got “{clean(answer)}”.")
        self.identified_as = answer
        return answer

    def _count_anew(self) -> None:
        self._sent, self._wanted = {}, {}
        self._number = -1
        self.send("M110 N0")

    def _wake(self, seconds: float) -> None:
        """After `interrupt`: have it listen, and answer M105 within so many seconds. One that doesn't gets M112.

        That is its emergency stop, and it gets it too where whoever wants it safe has no more time to wait.
        """
        self._interrupted = False
        try:
            self._listens()
            self._settle(seconds)
        except WrongDevice:
            raise
        except BaseException:
            with contextlib.suppress(InstrumentError):
                self.line.write(b"\nM112\n", urgent=True)
            raise

    def _listens(self) -> None:
        """Drop its moves, and wait for an ok. Raises Silent, WrongDevice.

        Nothing else is sent, so that M112 finds room in its queue. M410 only to one that said that it is busy, or ok:
        of one that says nothing nobody knows how many places are taken.
        """
        now = time.monotonic()
        until, last, dropped = now + self.boot_seconds, "", False
        # of one that boots when its line is opened M108 was lost; its queue is empty then
        retry_at = [now + self.settle] if self.settle else []
        while True:
            text = self._line(min([until, *retry_at]))
            if text is None:
                if not retry_at:
                    break
                retry_at = []
                until = max(until, time.monotonic() + self.timeout)
                if not dropped:
                    self.line.write(b"\nM108\n", urgent=True)
                continue
            self._hear(text)
            last = text or last
            if _BANNER.search(text) or (self.greeting is not None and re.search(self.greeting, text)):
                return  # it has just booted: nothing is on
            ok = _OK.match(text) is not None
            if ok and dropped:
                return
            if not dropped and (ok or "busy:" in text or "W:" in text):
                self.line.write(b"M410\n", urgent=True)
                dropped = True
        if last and not _MARLIN.search(last):
            raise WrongDevice(
                f"{self.name}: expected a printer with Marlin, got “{clean(last)}”."
                " If it says that when it boots, it is its greeting: say so in lab.toml."
            )
        state = f"it said “{clean(last)}”" if last else "is it switched on?"
        raise Silent(
            f"{self.name} did not listen for {self.boot_seconds:g} s ({state}), so it was sent the emergency stop,"
            " M112: it must be reset now."
        )

    def _settle(self, seconds: float) -> None:
        """Ask M105 until it answers: what was said before is settled then. Raises Silent, WrongDevice.

        It is asked twice at most, and again after it has booted, so that there is room in its queue.
        """
        now = time.monotonic()
        until, last, answered = now + seconds, "", False
        asks = [now, max(now + self.timeout, now + seconds - self.timeout)]
        while (now := time.monotonic()) < until:
            if asks and now >= asks[0]:
                del asks[0]
                self._probe()
            text = self._line(min([until, *asks[:1]]))
            if text is None:
                continue
            self._hear(text)
            last = text or last
            if _BANNER.search(text) and self._restarts:
                self._probes, asks = 0, [time.monotonic(), *asks[-1:]]
            ok = _OK.match(text)
            if ok and "T:" in ok[2]:
                answered = True
                if self._answered():
                    return
                until, asks = time.monotonic() + 2 * self.timeout, []  # for the answers that are still owed
        if answered:
            self._probes = 0  # one of them, or its answer, was lost
            return
        silent = f"{self.name} did not answer M105 within {seconds:g} s"
        if not last:
            raise Silent(f"{silent}: is it switched on? After an emergency stop it must be reset.")
        if _MARLIN.search(last):
            raise Silent(f"{silent}; it said “{clean(last)}”.")
        raise WrongDevice(f"{self.name}: expected a printer with Marlin that answers M105 by ok, got “{clean(last)}”.")

    def _probe(self) -> None:
        self.line.write(b"\nM105\n")
        self._probes += 1

    def _answered(self) -> bool:
        """An M105 was answered: whether it was the last one that had been asked, and not a late answer to another."""
        self._probes = max(0, self._probes - 1)
        return self._probes == 0

    # -- streaming ----------------------------------------------------------------------------

    def send(self, command: str, seconds: float = 0.0) -> list[str]:
        """Send a line with number and checksum, again if it asks for that, and wait for its ok.

        However long it is busy it is waited for, as long as it lives: what ends that is the job's limit or stall.

        Args:
            seconds: that it takes, where that is known: so long it may be quiet.

        Returns:
            What else it sent in between, line by line.

        Raises:
            Silent, Lost, InstrumentError: it halted, restarted, reports an error, or wants a line again and again.
        """
        self._number += 1
        number, replies, resends = self._number, list[str](), 0
        self._sent[number] = command
        self._sent.pop(number - KEPT, None)
        code = _code(command)
        heats, target = _HEATS.get(code, ""), _target(command)
        if self.machine.listed(command):
            self._wanted.clear()  # nobody knows here what it does
        self._wanted.pop(heats, None)  # it may tell the new one before it says ok
        self._lasting.append(max(seconds, _dwell(command)))
        self._busy_until = max(time.monotonic(), self._busy_until) + self._lasting[-1]
        at = number
        while at <= number:
            self._send_again(at)
            self._probes += self._sent[at].startswith("M105")
            lines, resend_from = self._until_ok(self._sent[at], at)
            replies += lines
            if resend_from is None:
                at += 1
                continue
            resends += 1
            self._settle(3 * self.timeout)  # whether or not an ok follows a Resend
            at = resend_from if number else 0  # M110 itself is sent again, whatever it counted before
            if at not in self._sent or (at == 1 and number > 1):
                raise Lost(f"{self.name} asks for line {at}, which it had long acknowledged: was it reset?")
            if resends >= RESENDS_MAX:
                asks = f"{self.name} asks for line {at} ({self._sent[at]})"
                raise InstrumentError(f"{asks} again and again: the line is disturbed.")
        if heats and target is not None:
            self._wanted[heats] = target
        if code in _DRAINS:
            self._lasting.clear()
            self._busy_until = 0.0
        elif code in _HEATS:  # it is hot, however long that was expected to take
            self._busy_until -= self._lasting[-1]
            self._lasting[-1] = 0.0
        return replies

    def _send_again(self, number: int) -> None:
        body = f"N{number} {self._sent[number]}"
        self.line.write(f"{body}*{reduce(xor, body.encode())}\n".encode())

    def _until_ok(self, command: str, number: int | None) -> tuple[list[str], int | None]:
        """What it sent before its ok, and the number of the line that it wants again instead.

        A quiet one is asked: by the same line again, which a board that has it refuses, and by M105, after whose answer
        all is settled. That it was asked ends nothing as long as it lives.
        """
        code, is_m105 = _code(command), command.startswith("M105")
        began = heard_at = time.monotonic()
        known = 2 * max(0.0, min(self._busy_until - began, sum(self._lasting)))
        slow = code in _SLOW or code in _PANEL or self.machine.listed(command)
        quiet = math.inf if code in _PANEL else self.busy_timeout + known + SLOW_SECONDS * slow  # s without a word
        ask_at = began + self.timeout + known + self.busy_timeout * slow
        replies, asks, settled = list[str](), 0, 0
        own = received = answered = refused = False
        while True:
            now = time.monotonic()
            if now >= ask_at:
                if asks >= RESENDS_MAX and settled:
                    raise Silent(f"{self.name} says ok to nothing any more.")
                if asks >= 2 and now - heard_at >= quiet:
                    raise Silent(f"{self.name} did not say ok to {command} within {now - began:.0f} s.")
                if answered:
                    self._probes, answered = 0, False  # one of them, or its answer, was lost
                    if own or received or is_m105:
                        return replies, None
                if number is not None and not own:
                    self._send_again(number)
                most = 2 if own or (asks >= 4 and not slow) else 1  # M105, so that there is room for M112
                if self._probes - is_m105 < most and (asks or number is None):
                    self._probe()
                asks += 1
                ask_at = now + (self.timeout if asks < 5 else max(self.timeout, self.busy_timeout / 3))
            text = self._line(ask_at)
            if text is None:
                continue
            heard_at = time.monotonic()
            self._hear(text)
            refused, after = False, refused
            if ok := _OK.match(text):
                if "T:" in ok[2]:
                    answered = True
                    if self._answered() and (asks or is_m105):
                        if own or received or number is None or (is_m105 and asks == 0):
                            return replies, None
                        # neither its ok nor a word that it was there: M105's own line is answered by this, another
                        # one is sent again at once
                        settled, ask_at = settled + 1, heard_at
                        if is_m105:
                            return replies, None
                        answered = False
                    elif asks or is_m105:
                        ask_at = heard_at + 2 * self.timeout  # for the answers that are still owed
                elif not after and not (ok[1] and number is not None and int(ok[1]) != number):
                    own = True
                    if not (asks or is_m105):
                        return replies, None
                    # once it was asked M105's answer is what counts, so that nothing is left over for the next line
                    if not self._probes:
                        self._probe()
                    ask_at = heard_at + self.timeout
            elif resend := _RESEND.match(text):
                if number is None:
                    continue
                if int(resend[1]) != number + 1:
                    self._probes = max(0, self._probes - is_m105)
                    return replies, int(resend[1])
                received, refused, asks = True, True, max(asks, 1)  # it has it: its ok is lost, or it is busy with it
                if not self._probes:
                    self._probe()
                ask_at = heard_at + self.timeout
            elif "busy:" in text or "W:" in text or (code in ("M109", "M190") and "T:" in text):
                ask_at = heard_at + self.busy_timeout  # what it is busy with may take its time
                quiet = max(quiet, 2 * self.busy_timeout)
                if "busy:" in text and "processing" not in text:
                    self._note(text)  # it waits for somebody
            elif text:
                replies.append(text)

    def _hear(self, text: str) -> None:
        """Note what it tells by itself. Raises InstrumentError where it can't go on."""
        for sensor, value, target in _TEMPERATURES.findall(text):
            measured = Reading(float(value), "°C")
            self._targets = {**self._targets, sensor: float(target)}
            if sensor == "T":
                self._hotend = measured
            elif sensor == "B":
                self._bed = measured
            if self._wanted.get(sensor) and not float(target) and not self._restarts:
                heater = "hotend" if sensor == "T" else "bed"
                raise Lost(
                    f"{self.name}: the target of its {heater} fell from {self._wanted[sensor]:g} °C to 0: was it reset,"
                    " or switched off at its panel?"
                )
        if self._restarts:
            return
        if action := _ACTION.match(text):
            self.actions.append(action[1].strip())
        elif _BANNER.search(text):
            raise Lost(f"{self.name} has restarted in the middle of the work: was it reset, or its power cut?")
        elif "kill()" in text or "halted" in text:
            raise Lost(f"{self.name} has halted and must be reset: {clean(text)}")
        elif "cold extrusion prevented" in text:
            raise InstrumentError(f"{self.name} does not extrude, because its hotend is too cold: {clean(text)}.")
        elif text.startswith("Error:"):
            if not any(words in text.lower() for words in _OF_THE_LINE):
                raise InstrumentError(f"{self.name} reports an error: {clean(text.removeprefix('Error:'))}")
            last = _LAST_LINE.search(text)
            if last and self._number > 0 and int(last[1]) < self._number - KEPT:
                raise Lost(f"{self.name} counts its lines from {last[1]} instead of {self._number}: was it reset?")
        elif text.startswith("echo:") and "busy:" not in text:
            self._note(text)

    def _note(self, text: str) -> None:
        words = clean(text.removeprefix("echo:"))
        if not self.notes or self.notes[-1] != words:
            self.notes.append(words)

    def stream(self, lines: Iterable[str]) -> None:
        """Send many lines, each once the one before it is acknowledged."""
        for line in lines:
            self.send(line)

    # -- asking -------------------------------------------------------------------------------

    def ask_temperatures(self) -> None:
        """Ask for all temperatures and targets, and wait for the answer. Raises Silent, WrongDevice."""
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
        temperature: Reading | None = getattr(self, which)
        return Reading(math.nan, "°C") if temperature is None else temperature

    @property
    def targets(self) -> tuple[float, float]:
        """What hotend and bed are heated to in °C; 0 is off. As last told."""
        return self._targets.get("T", 0.0), self._targets.get("B", 0.0)

    @property
    def hotend_target(self) -> Annotated[float, Range(0, None, "°C")]:
        """What the hotend is heated to; 0 is off."""
        return self.targets[0]

    @hotend_target.setter
    def hotend_target(self, celsius: Annotated[float, Range(0, None, "°C")]) -> None:
        self._heat("hotend_target", "M104", celsius)

    @property
    def bed_target(self) -> Annotated[float, Range(0, None, "°C")]:
        """What the bed is heated to; 0 is off."""
        return self.targets[1]

    @bed_target.setter
    def bed_target(self, celsius: Annotated[float, Range(0, None, "°C")]) -> None:
        self._heat("bed_target", "M140", celsius)

    def _heat(self, which: str, code: str, celsius: float) -> None:
        most = self.limits()[which][1]
        if not (math.isfinite(celsius) and 0 <= celsius <= (most or 0.0)):
            raise InstrumentError(f"{self.name}: {which} must be a number from 0 to {most:g} °C, not {celsius:g}.")
        self.send(f"{code} S{celsius:.1f}")
        self.ask_temperatures()

    @action
    def home(self) -> None:
        """Move all axes to their ends: see that nothing is in the way."""
        self.send("G28")

    @action
    def motors_off(self) -> None:
        """Let go of the axes, so that they can be moved by hand."""
        self.send("M84")

    def limits(self) -> dict[str, tuple[float | None, float | None]]:
        """Those of this very printer: `machine` in lab.toml's options."""
        return {"hotend_target": (0.0, self.machine.hotend_max), "bed_target": (0.0, self.machine.bed_max)}

    def prepare_readings(self) -> dict[str, str]:
        """Its temperatures are those that it last told, so it is asked."""
        self.ask_temperatures()
        return {}

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Drop what is planned, heaters and fan off, motors off. It may still be hot then, but cools down.

        A board that can't be brought to listen gets the emergency stop, M112. It must be reset after that, and can't
        be asked any more, so it is not called safe.
        """
        self._restarts = True  # it is welcome to
        self._wanted, self._busy_until = {}, 0.0
        try:
            self.interrupt()
            self._wake(3 * self.timeout)
            self._count_anew()
            hotends = sorted(sensor for sensor in self._targets if re.fullmatch(r"T\d+", sensor))
            chamber = ["M141 S0"] if "C" in self._targets else []
            self.stream([*(f"M104 {hotend} S0" for hotend in hotends), "M104 S0", "M140 S0", *chamber, "M107", "M84"])
        finally:
            self._restarts = False

    def is_safe(self) -> bool:
        """Asked anew, it tells the targets of its heaters, and all are 0. How hot it still is doesn't matter."""
        self.ask_temperatures()
        return bool(self._targets) and not any(self._targets.values())


def _code(command: str) -> str:
    code = _CODE.match(command)
    return code[0] if code else ""


def _number_of(letter: str, command: str) -> float | None:
    number = re.search(rf"{letter} ?([+-]?(?:\d+\.?\d*|\.\d+))", command)
    return float(number[1]) if number else None


def _target(command: str) -> float | None:
    """What a heater is set to, °C; None where that is another tool's, or nothing is said."""
    if _number_of("T", command):
        return None
    return next((value for value in (_number_of("S", command), _number_of("R", command)) if value is not None), None)


def _dwell(command: str) -> float:
    """The seconds that a G4 takes; 0 for anything else."""
    if _code(command) != "G4":
        return 0.0
    return (_number_of("P", command) or 0.0) / 1000 + (_number_of("S", command) or 0.0)
