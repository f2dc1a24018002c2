"""Printer: a G-code file on a 3-D printer with Marlin firmware, heaters and motors off however it ends."""

import re
from pathlib import Path
from typing import Annotated

from labwaiter import InvalidParameter, Job, JobFailed, Outputs, Suffix, Unit, service
from labwaiter.instruments.drivers import MarlinPrinter
from labwaiter.instruments.drivers.marlin import BED_MAX, HOTEND_MAX

KNOWN = re.compile(
    r"(G(0|1|2|3|4|20|21|28|29|90|91|92)|M(17|18|73|82|83|84|104|105|106|107|109|114|117|140|155|190|201|203|204|205|220|221|400)|T0)$"
)
WORD = re.compile(r"[A-Z](-?\d*\.?\d+)?$")
LOOK_EVERY = 2.0  # s between two looks at the temperatures
LONGEST = 5_000_000  # lines


class Printed(Outputs):
    lines: Annotated[int, Unit("lines")]
    filament: Annotated[float, Unit("mm")]


@service("Printer", namespace="http://labwaiter.example/printer/", limit=86400, stall=600, grace=10)
def startPrint(job: Job, printer: MarlinPrinter, gcode: Annotated[Path, Suffix(".gcode", ".gco", ".g")]) -> Printed:
    """Print a G-code file. Messages: PAUSE, RESUME, STOP."""
    commands, filament = judged(gcode)  # refused as a whole, before anything is sent
    job.units(hotend="°C", bed="°C")
    job.plot("hotend", "bed")
    looked = -LOOK_EVERY
    for number, command in enumerate(commands, 1):
        obey(job, printer)
        printer.send(command)
        if printer.hotend.age > LOOK_EVERY or number == 1:
            printer.ask_temperatures()
        if printer.hotend.taken - looked >= LOOK_EVERY:
            looked = printer.hotend.taken
            job.record(hotend=printer.hotend, bed=printer.bed)
        job.progress(number / len(commands), f"line {number} of {len(commands)}")
    printer.send("M400")
    return Printed(lines=len(commands), filament=filament)


def obey(job: Job, printer: MarlinPrinter) -> None:
    """What messages ask for: while it is paused nothing is sent, and the heaters keep their temperature."""
    paused = False
    while True:
        for message in job.messages():
            word = message.strip().upper()
            if word == "STOP":
                job.reply(message, "stopping")
                raise JobFailed("The print was stopped by a message.")
            if word in ("PAUSE", "RESUME"):
                paused = word == "PAUSE"
                job.reply(message, "paused" if paused else "going on")
            else:
                job.reply(message, "I understand PAUSE, RESUME and STOP")
        if not paused:
            return
        printer.ask_temperatures()
        job.record(hotend=printer.hotend, bed=printer.bed)
        job.sleep(0.5)


def judged(file: Path) -> tuple[list[str], float]:
    """The commands of a G-code file without comments, and its filament in mm.

    Raises:
        InvalidParameter: the first line that is unknown, malformed or over a limit.
    """
    commands, filament, position, relative = [], 0.0, 0.0, False
    with open(file, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split(";")[0].upper().split()
            if not words:
                continue
            if number > LONGEST:
                raise InvalidParameter(f"The G-code has more than {LONGEST} lines.")
            if not KNOWN.match(words[0]):
                raise refused(number, line, "its command is not known here")
            if words[0] != "M117" and not all(WORD.match(word) for word in words[1:]):
                raise refused(number, line, "it is malformed")
            values = {word[0]: float(word[1:] or 0) for word in words[1:]} if words[0] != "M117" else {}
            heat = {"M104": HOTEND_MAX, "M109": HOTEND_MAX, "M140": BED_MAX, "M190": BED_MAX}.get(words[0])
            if heat is not None and max(values.get("S", 0), values.get("R", 0)) > heat:
                raise refused(number, line, f"it heats above {heat:g} °C")
            if words[0] in ("M82", "M83"):
                relative = words[0] == "M83"
            elif words[0] == "G92" and "E" in values:
                position = values["E"]
            elif "E" in values and words[0] in ("G0", "G1", "G2", "G3"):
                filament += values["E"] if relative else values["E"] - position
                position = values["E"] if not relative else position
            commands.append(" ".join(words))
    if not commands:
        raise InvalidParameter("The G-code has no command in it.")
    return commands, round(filament, 2)


def refused(number: int, line: str, why: str) -> InvalidParameter:
    """The sentence about one line."""
    return InvalidParameter(f"The G-code is refused: line {number}, “{line.strip()[:60]}”: {why}. Nothing was sent.")
