"""Printer: a G-code file on a 3-D printer with Marlin firmware, heaters and motors off however it ends."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from labwaiter import InvalidParameter, Job, JobFailed, Outputs, Suffix, Unit, hours, service
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.gcode import BadLine, GCode, Step

REPORT_EVERY = 2.0  # s between two temperatures, told by the printer itself
LOOK_EVERY = 0.2  # s between two looks for messages
LIFT = 10.0  # mm that the nozzle rises off the part in a pause


class Printed(Outputs):
    lines: Annotated[int, Unit("lines")]
    layers: int
    filament: Annotated[float, Unit("mm")]


@service("Printer", namespace="http://labwaiter.example/printer/", limit=hours(72), stall=600, grace=10)
def startPrint(job: Job, printer: MarlinPrinter, gcode: Annotated[Path, Suffix(".gcode", ".gco", ".g")]) -> Printed:
    """Print a G-code file. Messages: PAUSE, RESUME, STOP."""
    job.units(hotend="°C", hotendTarget="°C", bed="°C", bedTarget="°C")
    printer.ask_temperatures()
    watch = Watch(job, printer)
    whole = watch.whole = judged(job, gcode, printer, watch)  # refused as a whole, before anything is sent
    reader = watch.reader = GCode(gcode, printer.machine)
    job.plot(*watch.curves)
    printer.send(f"M155 S{REPORT_EVERY:g}")
    job.meanwhile = watch.look
    try:
        for step in reader:  # judged again as it goes: nothing is sent that wasn't
            watch.begin(step)
            printer.send(step.command)
            watch.look()
            watch.rest()
    except BadLine as bad:
        raise JobFailed(f"The G-code was changed while it was printed: {bad}.") from None
    if watch.lines < whole.lines:
        raise JobFailed("The G-code was cut off while it was printed.")
    printer.send("M400")
    watch.look(now=True)
    printer.send("M155 S0")
    return Printed(lines=whole.lines, layers=whole.layers, filament=round(whole.filament, 2))


@dataclass(frozen=True)
class Whole:
    """What a file comes to."""

    lines: int
    layers: int
    filament: float  # mm
    seconds: float  # about


def judged(job: Job, file: Path, printer: MarlinPrinter, watch: "Watch") -> Whole:
    """Read all of a file before any of it is sent. Raises InvalidParameter: the first line that may not be sent."""
    reader, lines, seconds = GCode(file, printer.machine), 0, 0.0
    try:
        for step in reader:
            lines, seconds = lines + 1, seconds + step.seconds
            if lines % 5000 == 0:
                job.progress(None, f"reading the G-code, line {step.number}")
                watch.hear()
    except BadLine as bad:
        raise InvalidParameter(f"The G-code is refused: {bad}. Nothing of it was sent.") from None
    return Whole(lines, reader.layer, reader.filament, max(seconds, 1e-3))


class Watch:
    """What goes on beside the sending, also while the printer heats or moves: messages, temperatures, progress."""

    whole: Whole
    reader: GCode

    def __init__(self, job: Job, printer: MarlinPrinter) -> None:
        self.job, self.printer = job, printer
        self.paused = False
        bed = ("bed", "bedTarget") if math.isfinite(printer.bed) else ()  # not all have a heated one
        self.curves = ("hotend", "hotendTarget", *bed)
        self._step = Step(0, "", 0.0, 0)
        self.lines, self._done = 0, 0.0  # lines and s before this step
        self._began, self._warm = 0.0, 0.0  # when the step began, and with what temperature
        self._looked = self._recorded = 0.0

    def begin(self, step: Step) -> None:
        """This line is the next one."""
        self.lines, self._done = self.lines + 1, self._done + self._step.seconds
        self._step, self._began, self._warm = step, time.monotonic(), self._heater(step)[0]

    def look(self, now: bool = False) -> None:
        """Hear messages, record temperatures, say how far it is. Raises JobFailed when it is told to STOP."""
        if not now and time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        self.hear()
        hotend = self.printer.hotend
        if hotend.taken - self._recorded >= 0.9 * REPORT_EVERY:
            self._recorded = hotend.taken
            self.job.record(**self._temperatures())
        self.job.progress((self._done + self._part()) / self.whole.seconds, self._stage())

    def hear(self) -> None:
        """Do what messages say. Raises JobFailed at STOP."""
        for message in self.job.messages():
            word = message.strip().upper()
            if word == "STOP":
                self.job.reply(message, "stopping")
                raise JobFailed("The print was stopped by a message.")
            if word == "PAUSE":
                self.paused = True
                self.job.reply(message, "pausing: what has begun is finished, the temperatures stay")
            elif word == "RESUME":
                self.job.reply(message, "going on" if self.paused else "it is not paused")
                self.paused = False
            else:
                self.job.reply(message, "I understand PAUSE, RESUME and STOP")

    def _temperatures(self) -> dict[str, float]:
        """What heaters have and shall have, as last told: this asks for nothing."""
        told: dict[str, float] = {"hotend": self.printer.hotend, "hotendTarget": self.printer.targets[0]}
        if "bed" in self.curves:
            told |= {"bed": self.printer.bed, "bedTarget": self.printer.targets[1]}
        return told

    def rest(self) -> None:
        """While it is paused: stand still off the part, heated as it is; else ask for temperatures that don't come."""
        if self.printer.hotend.age > 2 * REPORT_EVERY:
            self.printer.ask_temperatures()  # a firmware that doesn't know M155
        if not self.paused:
            return
        height = min(LIFT, self.printer.machine.z[1] - self.reader.at["Z"]) if self.reader.layer else 0.0
        self._raise(height)
        while self.paused:
            self.job.sleep(LOOK_EVERY)
            if self.printer.hotend.age > REPORT_EVERY:
                self.printer.ask_temperatures()
            self.look()
        self._raise(-height)

    def _raise(self, height: float) -> None:
        """Move the nozzle up by so many mm, and leave feed rate and modes as the file has them."""
        if not height:
            return
        modes = ("G91" if self.reader.relative else "G90", "M83" if self.reader.relative_e else "M82")
        for command in ("G91", f"G1 Z{height:.3f} F600", *modes, f"G1 F{self.reader.feed:g}"):
            self.printer.send(command)

    def _heater(self, step: Step) -> tuple[float, float]:
        """Temperature and target of what a step heats, in °C."""
        told = self._temperatures()
        return float(told.get(step.heats, 0.0)), told.get(f"{step.heats}Target", 0.0)

    def _part(self) -> float:
        """The seconds of this step that are over, about: of a heating by its temperature, of a move by the clock."""
        if not self._step.heats:
            return min(time.monotonic() - self._began, self._step.seconds)
        warm, target = self._heater(self._step)
        way = target - self._warm
        return self._step.seconds * (min(1.0, max(0.0, (warm - self._warm) / way)) if way else 0.0)

    def _stage(self) -> str:
        line = f"line {self.lines} of {self.whole.lines}"
        if self.paused:
            return f"paused, {line}"
        if self._step.heats:
            warm, target = self._heater(self._step)
            return f"heating the {self._step.heats}" + (f": {warm:.0f} of {target:.0f} °C, {line}" if target else "")
        if not self._step.layer:
            return f"getting ready, {line}"
        return f"printing, layer {self._step.layer} of {self.whole.layers}, {line}"
