"""A 3-D printer with Marlin firmware: G-code in lines, answered by ok; heaters that take their time; moves, too.

From Marlin 2's documentation: ``N12 G1 X5*47`` with line number and checksum (XOR of all before the *);
a wrong one is answered by Error:, Resend: n and, in older versions, ok; ``echo:busy: processing`` while
something takes long; M105 and M155 tell temperatures as ``T:208.1 /210.0 B:59.8 /60.0``.

From its queue.cpp: four lines are in its queue at most, the one that it obeys among them (BUFSIZE); what comes then
stays unread in the port's buffer, of 128 bytes (RX_BUFFER_SIZE). M108, M112 and M410 without a line number act when
they are *read*, so only while there is room in the queue, where they take a place, too. With EMERGENCY_PARSER, which is
off by default, they act as their bytes come in. A line that is damaged or out of turn takes no place, and flushes what
is unread.
"""

from __future__ import annotations

import math
import re
from collections import deque

from .base import Simulator
from .heater import Heater

BUFFER = 16  # moves that are planned ahead
QUEUE = 4  # lines, with the one that is obeyed
UNREAD = 128  # bytes
HEAT_TOLD = 1.0  # s between two temperatures while it waits for one
EARLY = ("M108", "M112", "M410")
PANEL = {"M0", "M1", "M600"}  # these wait for somebody
OTHERS = {"", "G17", "G21", "M108", "M110", "M112", "M117", "M118", "M201", "M203", "M204", "M205", "M220", "M221"}
OTHERS |= {"M300", "M410", "M73"}
LIMITS = {"hotend": 275.0, "bed": 120.0}  # °C: above, the firmware refuses


class Marlin(Simulator):
    """The printer.

    Its own moods: "busy" (no wait ends, and it says so for ever), "hung" (the same, and M108 and M410 change nothing),
    "advanced" (ok tells the line and the room).
    """

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.firmware = "FIRMWARE_NAME:Marlin 2.1.2 (simulated) MACHINE_TYPE:Labwaiter Sim EXTRUDER_COUNT:1"
        self.hotend, self.bed = Heater(8.0, 0.012), Heater(2.0, 0.008)
        self.position = {"X": 0.0, "Y": 0.0, "Z": 0.0, "E": 0.0}
        self.fan = 0
        self.motors = False
        self.killed = False
        self.layers: list[float] = []  # the heights at which something was extruded
        self.extruded = 0.0  # mm of filament
        self.lost_ok = 0  # so many oks are swallowed
        self.lost_lines = 0  # so many lines never arrive
        self.corrupt = 0  # so many lines arrive with a wrong letter
        self.ok_after_resend = True  # as it was before Marlin 2.0.9
        self.emergency_parser = False
        self.keepalive = 2.0  # s between two "busy"; 0: it is quiet while it is busy
        self._queue: deque[tuple[int | None, str]] = deque()  # the first one is being obeyed
        self._at: int | None = None  # the number of the line that it obeys
        self._relative = {"XYZ": False, "E": False}
        self._feed = 1500.0  # mm/min
        self._moves: deque[float] = deque()  # seconds that each planned move takes
        self._last_line = 0
        self._waiting: str | None = None  # "hotend", "bed", "moves", "room", "dwell" or "user": then ok comes
        self._dwell = 0.0  # s
        self._unread: deque[str] = deque()
        self._busy = 0.0
        self._report, self._reported = 0.0, 0.0
        self.say("start")
        self.say("echo:Marlin 2.1.2")

    # -- time ---------------------------------------------------------------------------------

    def due(self) -> float:
        """Small steps while it heats, reports or is waited for."""
        at_work = self._waiting or self._report or self.hotend.target or self.bed.target
        return self.period if at_work else math.inf

    def tick(self, seconds: float) -> None:
        """Heat, move, report, and say ok to what was waited for."""
        for heater in (self.hotend, self.bed):
            heater.tick(seconds)
        left = seconds
        while self._moves and left > 0:
            done = min(left, self._moves[0])
            self._moves[0] -= done
            left -= done
            if self._moves[0] <= 1e-9:
                self._moves.popleft()
        if self.killed:
            return
        if self._report:
            self._reported += seconds
            if self._reported >= self._report:
                self._reported = 0.0
                self.say(" " + self._temperatures())
        if self._waiting:
            self._busy += seconds
            if self._waiting == "dwell" and not self._moves:
                self._dwell -= left
            if self._reached() and not self.moods & {"busy", "hung"}:
                self._go_on()
                return
            heats = self._waiting in ("hotend", "bed") and not self.moods & {"busy", "hung"}
            every = HEAT_TOLD if heats else self.keepalive
            if every and self._busy >= every:
                self._busy = 0.0
                user = "paused for user" if self._waiting == "user" else "processing"
                self.say(self._temperatures() + " W:?" if heats else f"echo:busy: {user}")

    def press(self) -> None:
        """Somebody presses the button at its panel, if that is what it waits for."""
        if self._waiting == "user":
            self._go_on()

    def _go_on(self) -> None:
        """What was waited for is over."""
        self._waiting = None
        self._ok()
        self._queue.popleft()
        self._work()

    def _work(self) -> None:
        """Read what there is room for, and obey it, one line after the other."""
        while True:
            while self._unread and len(self._queue) < QUEUE:  # one that was killed has none
                self._read(self._unread.popleft())
            if not self._queue or self._waiting:
                return
            self._at, command = self._queue[0]
            self._busy = 0.0
            self._obey(command)
            if not self._blocked():
                self._queue.popleft()

    def _blocked(self) -> bool:
        """Whether the line that it obeys isn't over."""
        return bool(self._waiting)

    def _reached(self) -> bool:
        return {
            "hotend": self.hotend.reached,
            "bed": self.bed.reached,
            "moves": not self._moves,
            "room": len(self._moves) < BUFFER,
            "dwell": not self._moves and self._dwell <= 0,
            "user": False,
        }[self._waiting or "moves"]

    # -- lines --------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """A line comes in."""
        if self.killed or not text:
            return
        if self.lost_lines and text.startswith("N"):
            self.lost_lines -= 1
            self.note(f"a line was lost: {text}")
            return
        if self.corrupt and text.startswith("N"):
            self.corrupt -= 1
            text = text.replace(" ", "!", 1)
        if self.emergency_parser and text in EARLY:
            self._early(text)
        if sum(len(line) + 1 for line in self._unread) + len(text) < UNREAD:
            self._unread.append(text)
        else:
            self.note(f"its port's buffer ran over: {text}")
        self._work()

    def _read(self, text: str) -> None:
        """A line is read into the queue, or refused, as the firmware does."""
        if text in EARLY and not self.emergency_parser:
            self._early(text)
            if self.killed:
                return
        body, star, checksum = text.partition("*")
        numbered = re.match(r"N(\d+)\s*(.*)", body)
        if numbered:
            number, command = int(numbered[1]), numbered[2].strip()
            right = 0
            for byte in body.encode():
                right ^= byte
            if not star or not checksum.strip().isdigit() or int(checksum) != right:
                self.note(f"checksum wrong in line {number}")
                self._resend(f"checksum mismatch, Last Line: {self._last_line}")
                return
            if command.startswith("M110"):
                self._last_line = number
            elif number != self._last_line + 1:
                self._resend(f"Line Number is not Last Line Number+1, Last Line: {self._last_line}")
                return
            self._last_line = number
        else:
            command = body.strip()
        self._queue.append((int(numbered[1]) if numbered else None, command))

    def _early(self, code: str) -> None:
        """M112 halts it, M108 ends the wait for a temperature or for somebody, M410 drops the moves."""
        if code == "M112":
            self._stop()
        if self.killed or "hung" in self.moods:
            return
        if code == "M410":
            self._moves.clear()
            self.note("moves dropped")
        if self._waiting in (("moves", "room") if code == "M410" else ("hotend", "bed", "user")):
            self.note("no longer waiting")
            self._waiting = None  # its ok comes now; then what waits in the queue has its turn
            self._ok()
            self._queue.popleft()

    def restart(self, banner: str = "start") -> None:
        """As after a reset: it has forgotten all, and its heaters are off. Without a banner nobody hears it."""
        self.note("restarted")
        self.hotend.target = self.bed.target = 0.0
        self.killed = self.motors = False
        self._moves.clear()
        self._queue.clear()
        self._unread.clear()
        self._waiting, self._last_line, self._in, self._report = None, 0, b"", 0.0
        self._relative = {"XYZ": False, "E": False}
        if banner:
            self._out.append((self.clock, banner.encode("latin-1") + b"\r\n"))

    def _resend(self, why: str) -> None:
        self._unread.clear()
        self.say(f"Error:{why}")
        self.say(f"Resend: {self._last_line + 1}")
        if self.ok_after_resend:
            self._ok()

    def _ok(self, more: str = "") -> None:
        if self.lost_ok:
            self.lost_ok -= 1
            self.note("an ok was lost")
            return
        if "advanced" in self.moods and not more and self._at is not None:
            more = f"N{self._at} P{BUFFER - len(self._moves)} B3"
        self.say("ok" + (" " + more if more else ""))

    def _obey(self, command: str) -> None:
        words = command.split(";")[0].upper().split()
        code = words[0] if words else ""
        if code in ("M0", "M1", "M117", "M118"):
            words = []  # a text
        values: dict[str, float] = {}
        for word in words[1:]:
            try:
                values[word[0]] = float(word[1:] or 0)
            except ValueError:
                self.say(f'echo:Unknown command: "{command}"')
                self._ok()
                return
        known = {"M104": self.hotend, "M109": self.hotend, "M140": self.bed, "M190": self.bed}
        if code in ("G0", "G1"):
            self._move(values)
            return
        if code in known:
            name = "hotend" if known[code] is self.hotend else "bed"
            target = values.get("S", values.get("R", 0.0))
            known[code].target = min(target, LIMITS[name])
            self.note(f"{name} to {known[code].target:g} °C")
            if code in ("M109", "M190") and target > 0:
                self._waiting = name
                return
        elif code == "M105":
            self._ok(self._temperatures())
            return
        elif code == "M115":
            self.say(self.firmware)
            self.say("Cap:AUTOREPORT_TEMP:1")
            self.say(f"Cap:EMERGENCY_PARSER:{int(self.emergency_parser)}")
            self.say("Cap:HOST_ACTION_COMMANDS:1")
        elif code == "M114":
            self.say(" ".join(f"{axis}:{value:.2f}" for axis, value in self.position.items()))
        elif code == "G28":
            self.motors = True
            self.position.update(X=0.0, Y=0.0, Z=0.0)
            self._moves.append(2.0)
            self.note("homed")
            self._waiting = "moves"
            return
        elif code == "G4":
            self._waiting, self._dwell = "dwell", values.get("P", 0.0) / 1000 + values.get("S", 0.0)
            return
        elif code in PANEL:
            self._waiting = "user"
            self.note("waits for somebody")
            if code == "M600":
                self.say("//action:paused")
            return
        elif code == "M113":
            self.keepalive = values.get("S", self.keepalive)
        elif code == "M400":
            self._waiting = "moves"
            return
        elif code in ("G90", "G91", "M82", "M83"):
            both = code.startswith("G")
            self._relative["E" if not both else "XYZ"] = code in ("G91", "M83")
            if both:
                self._relative["E"] = code == "G91"
        elif code == "G92":
            self.position.update({axis: v for axis, v in values.items() if axis in self.position})
        elif code in ("M84", "M18"):
            self.motors = False
            self.note("motors off")
        elif code == "M106":
            self.fan = int(values.get("S", 255))
        elif code == "M107":
            self.fan = 0
        elif code == "M155":
            self._report = values.get("S", 0.0)
        elif code not in OTHERS:
            self.say(f'echo:Unknown command: "{command}"')
        self._ok()

    def _move(self, values: dict[str, float]) -> None:
        self._feed = values.get("F", self._feed)
        before = dict(self.position)
        for axis in ("X", "Y", "Z", "E"):
            if axis in values:
                relative = self._relative["E" if axis == "E" else "XYZ"]
                self.position[axis] = values[axis] + (before[axis] if relative else 0.0)
        travelled = math.dist([before[a] for a in "XYZ"], [self.position[a] for a in "XYZ"])
        pushed = self.position["E"] - before["E"]
        if pushed > 0 and travelled > 0:
            if self.hotend.temperature < 170:
                self.say("echo: cold extrusion prevented")
                self.note("cold extrusion prevented")
            else:
                self.extruded += pushed
                height = round(self.position["Z"], 3)
                if not self.layers or self.layers[-1] != height:
                    self.layers.append(height)
                    self.note(f"layer at {height:g} mm")
        self.motors = True
        self._moves.append((travelled or abs(pushed)) / max(self._feed, 1.0) * 60)
        if len(self._moves) >= BUFFER:
            self._waiting = "room"
        else:
            self._ok()

    def _temperatures(self) -> str:
        def shown(heater: Heater) -> str:
            return f"{self.random.gauss(heater.temperature, 0.05):.2f} /{heater.target:.2f}"

        return f"T:{shown(self.hotend)} B:{shown(self.bed)} @:0 B@:0"

    def _stop(self) -> None:
        self.motors = False
        self.hotend.target = self.bed.target = 0.0
        self._moves.clear()
        self._queue.clear()
        self._unread.clear()
        self._waiting, self.killed = None, True
        self.note("emergency stop")
        self.say("Error:Printer halted. kill() called!")

    def is_safe(self) -> bool:
        """No heater has a target, the motors are off, nothing moves."""
        return self.hotend.target == 0 and self.bed.target == 0 and not self.motors and not self._moves
