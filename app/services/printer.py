"""Printer: a G-code file on a 3-D printer with Marlin firmware, heaters and motors off however it ends."""

import math
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from labwaiter import InvalidParameter, Job, JobFailed, Outputs, Suffix, Unit, hours, service
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.gcode import BadLine, GCode, Step

REPORT_EVERY = 2.0  # s between two temperatures, told by the printer itself
LOOK_EVERY = 0.2  # s between two looks for messages
_RUNOUT = {"filament_runout", "out_of_filament"}
LIFT = 10.0  # mm that the nozzle rises off the part in a pause


class Printed(Outputs):
    lines: Annotated[int, Unit("lines")]
    layers: int
    filament: Annotated[float, Unit("mm")]


@service(
    "Printer",
    namespace="http://labwaiter.example/printer/",
    limit=hours(72),
    stall=600,
    grace=10,
    messages={
        "PAUSE": "The nozzle rises off the part and waits; temperatures stay.",
        "RESUME": "The nozzle comes down, and it goes on.",
        "STOP": "It ends now, and everything is off.",
    },
)
def startPrint(job: Job, printer: MarlinPrinter, gcode: Annotated[Path, Suffix(".gcode", ".gco", ".g")]) -> Printed:
    """Print a G-code file. Messages: PAUSE, RESUME, STOP."""
    job.units(hotend="°C", hotendTarget="°C", bed="°C", bedTarget="°C")
    printer.ask_temperatures()
    watch = Watch(job, printer)
    with copied(job, gcode) as file:
        whole = watch.whole = judged(job, file, printer, watch)  # refused as a whole, before anything is sent
        reader = watch.reader = GCode(file, printer.machine)
        job.plot(*watch.curves)
        printer.send(f"M155 S{REPORT_EVERY:g}")
        job.meanwhile = watch.look
        for step in reader:
            watch.begin(step)
            printer.send(step.command, step.seconds)
            watch.look()
            watch.rest()
    printer.send("M400")
    watch.look(now=True)
    printer.send("M155 S0")
    return Printed(lines=whole.lines, layers=whole.layers, filament=round(whole.filament, 2))


@contextmanager
def copied(job: Job, file: Path) -> Iterator[Path]:
    """The file as it is now, for this job alone: what is printed is what was judged, whoever writes into it meanwhile.

    Raises:
        JobFailed: there is no room for it.
    """
    with tempfile.TemporaryFile(dir=job.folder) as copy:  # without a name: nothing is left of it, however the job ends
        try:
            with open(file, "rb") as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
        except OSError as error:
            raise JobFailed(f"The G-code could not be copied beside the job ({error.strerror}).") from error
        yield Path(f"/proc/self/fd/{copy.fileno()}")


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
        self.paused = ""  # why it is
        self.parked = False  # the printer has moved its nozzle away by itself
        self._notes: dict[str, int] = {}  # what the printer has told besides, and how often
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
        self._heed()
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
                self.paused = "by a message"
                self.job.reply(message, "pausing: what has begun is finished, the temperatures stay")
            elif word == "RESUME":
                self.job.reply(message, "going on" if self.paused else "it is not paused")
                self.paused = ""
            else:
                self.job.reply(message, "I understand PAUSE, RESUME and STOP")

    def _heed(self) -> None:
        """Do what the printer, or somebody at its panel, asks for. Raises JobFailed where that ends the print."""
        while self.printer.notes:
            note = self.printer.notes.popleft()
            self._notes[note] = self._notes.pop(note, 0) + 1
            print(f"The printer says: {note}", flush=True)
        while self.printer.actions:
            action = self.printer.actions.popleft().lower()
            word, *reason = re.split(r"[:\s]+", action)
            pauses, cancels = word in ("pause", "paused"), word in ("cancel", "cancelled")
            # "filament_runout T0", "pause filament_runout 0" (Marlin), "pause: filament_runout", "out_of_filament"
            runs_out = bool(_RUNOUT & {word, *(reason if pauses else ())})
            why = "it was cancelled at the printer" if cancels else "its filament has run out" if runs_out else ""
            ends = self.printer.on_cancel if cancels else self.printer.on_runout
            print(f"The printer asks for: {action}", flush=True)
            if why and ends == "end":
                raise JobFailed(f"The print was ended: {why}.")
            if why:
                self.paused, self.parked = why, self.parked or word == "paused"
            elif pauses:
                self.paused = self.paused or "at the printer"
                self.parked = self.parked or word == "paused"
            elif word in ("resume", "resumed"):
                self.paused, self.parked = "", False
            elif word in ("disconnect", "poweroff", "shutdown"):
                raise JobFailed(f"The print was ended: the printer asks for “{word}”.")

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
        height = 0.0 if self.parked else height
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
        if self._notes:
            note, times = next(reversed(self._notes.items()))
            line += f"; the printer says “{note}”" + (f" ({times} times)" if times > 1 else "")
        if self.paused:
            return f"paused, {line}" if self.paused == "by a message" else f"paused: {self.paused}, {line}"
        if self._step.heats:
            warm, target = self._heater(self._step)
            return f"heating the {self._step.heats}" + (f": {warm:.0f} of {target:.0f} °C, {line}" if target else "")
        if not self._step.layer:
            return f"getting ready, {line}"
        return f"printing, layer {self._step.layer} of {self.whole.layers}, {line}"
