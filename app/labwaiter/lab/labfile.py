"""lab.toml: the instruments of this lab. Read by the supervisor, too, so by the standard library alone.
Each mistake in it is one sentence, with its line.

[instruments.sourcemeter]
driver = "labwaiter.instruments.drivers:SourceMeter"      # module:callable, ours or any library's
port = "/dev/serial/by-id/usb-…"                          # or any URL of pyserial's, or sim://KIND (see simulation)
baudrate = 9600                                           # and bytesize, parity, stopbits, xonxoff, rtscts, dtr, rts
note = "bench 2; ask Ada"
unpolled = 120            # abort when its workflow manager is silent for so many seconds; "continue" is the default
safe_seconds = 20         # to make it safe
reconnect = 10            # seconds in which a lost line must be back
settle = 3                # seconds that it may take to boot when its port is opened
greeting = "Ready"        # a pattern for what it says then
power = "relays.2"        # a relay that cuts it off when it can't be made safe
safe = "my_lab:switch_off"   # for another library's driver: how it is made safe, or "nothing to do"
machine = "bench2"        # on which machine it is, of many
panel = { readings = { current = "A" }, controls = { volts = { low = 0, high = 5, unit = "V" } }, actions = ["reset"] }
monitor_every_s = 10      # its readings are kept so often while nobody uses it

[instruments.sourcemeter.limits]      # of its readings: one that passes its limit is an event
current = { low = 0, high = 0.1, hysteresis = 0.01 }

[machines.bench2]         # with REDIS_URL: each machine that runs `labwaiter worker`
services = ["Sweep"]      # which services it offers; without this line all of them
"""

from __future__ import annotations

import math
import re
import time
import tomllib
from pathlib import Path
from typing import Any

from ..errors import Misconfigured
from ..settings import read_text
from . import simulation
from .lab import ITSELF, InstrumentEntry, Lab, LabMachine, Limit

STEP = 2.0  # s in which file systems count times, at most
_LINE_KEYS = {"baudrate", "bytesize", "parity", "stopbits", "xonxoff", "rtscts", "dtr", "rts"}
_KEYS = _LINE_KEYS | {
    "driver",
    "port",
    "note",
    "unpolled",
    "safe_seconds",
    "reconnect",
    "settle",
    "greeting",
    "power",
    "safe",
    "options",
    "machine",
    "panel",
    "monitor_every_s",
    "limits",
}
MONITOR_EVERY = (1, 86400)  # s
_HYSTERESIS = 0.02  # of what lies between its limits, or of the one that there is


def load(file: Path) -> Lab:
    """The lab that a file describes; an empty one where there is no file.

    Raises:
        Misconfigured: a mistake in it, in a sentence with its line.
    """
    try:
        text = read_text(file)
        document = tomllib.loads(text)
    except FileNotFoundError:
        return Lab({})
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file.name} is no TOML: {error}.") from error
    reader = Reader(file.name, text)
    for key in document:
        if key not in ("instruments", "machines"):
            raise reader.wrong(key, "", f"“{key}” is not known; write [instruments.NAME] or [machines.NAME]")
    tables = {kind: document.get(kind, {}) for kind in ("instruments", "machines")}
    for kind, table in tables.items():
        if not isinstance(table, dict):
            raise reader.wrong(kind, "", f"write [{kind}.NAME]")
    machines = {name: reader.machine(name, table) for name, table in tables["machines"].items()}
    entries = {name: reader.entry(name, table) for name, table in tables["instruments"].items()}
    for name, entry in entries.items():
        if machines and entry.machine not in machines:
            known = ", ".join(machines)
            raise reader.wrong(name, "machine", f'say on which machine it is, machine = "…"; there are: {known}')
        if entry.machine and not machines:
            raise reader.wrong(name, "machine", f"there is no table [machines.{entry.machine}]")
        if entry.power is not None and (entry.power[0] not in entries or entry.power[0] == name):
            raise reader.wrong(name, "power", f"there is no relay board {entry.power[0]} among the instruments")
        if entry.power is not None and entries[entry.power[0]].machine != entry.machine:
            raise reader.wrong(name, "power", f"the relay board {entry.power[0]} is on another machine")
        fan = entry.simulated.fan if entry.simulated else None
        board = entries[fan[0]].simulated if fan and fan[0] in entries else None
        if fan and (board is None or board.kind != "relays"):
            raise reader.wrong(name, "port", f"there is no simulated relay board {fan[0]} (sim://relays) for its fan")
    return Lab(entries, machines)


def mistake(file: Path) -> str:
    """What is wrong with the file, in a sentence for whoever keeps it; "" if nothing is."""
    try:
        load(file)
        return ""
    except Misconfigured as error:
        return str(error)


class WatchedLab:
    """The lab as its file says it, read again whenever that has changed. Thread-safe: what it gives is shared."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: tuple[object, Lab | Misconfigured] | None = None  # as the file was; what it said then

    def now(self) -> Lab | None:
        """The lab; None while the file has a mistake."""
        try:
            return self.load()
        except Misconfigured:
            return None

    def load(self) -> Lab:
        """The lab. Raises Misconfigured, as `load`."""
        looked = time.time()
        try:
            status = self._file.stat()
        except OSError:
            return load(self._file)
        stamp, known = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino), self._known
        if known is not None and known[0] == stamp:
            lab = known[1]
        else:
            try:
                lab = load(self._file)
            except Misconfigured as error:
                lab = error
            if status.st_ctime < looked - STEP:  # else another change may have the same time
                self._known = stamp, lab
        if isinstance(lab, Misconfigured):
            raise Misconfigured(str(lab))
        return lab


class Reader:
    """Reads one file's tables, and says where a mistake is."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.lines = file, text.split("\n")

    def wrong(self, name: str, key: str, problem: str) -> Misconfigured:
        """The mistake in a table, at its key where one is named, as a sentence with its line."""
        at_line, inside = 0, not key
        for number, line in enumerate(self.lines, 1):
            header = re.match(
                rf"\s*\[+\s*((instruments|machines)\.)?[\"']?{re.escape(name)}[\"']?(?P<of>\.\w+)?\s*\]", line
            )
            if header and header["of"] in (None, f".{key}"):
                at_line, inside = number, True
                if not key or header["of"]:
                    break
            elif inside and key and re.match(rf"\s*{re.escape(key)}\s*=", line):
                at_line = number
                break
        where = f", line {at_line}" if at_line else ""
        return Misconfigured(f"{self.file}{where}: {name}: {problem}.")

    def machine(self, name: str, table: Any) -> LabMachine:
        """The machine that a table describes. Raises Misconfigured."""
        if not isinstance(table, dict):
            raise self.wrong(name, "", f"write [machines.{name}]")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
            raise self.wrong(name, "", "a machine's name is letters, digits, dots, _ and -")
        for key in table:
            if key not in ("services", "note"):
                raise self.wrong(name, key, f"“{key}” is not known; there are: note, services")
        services = table.get("services")
        if services is not None and not (isinstance(services, list) and all(isinstance(s, str) for s in services)):
            raise self.wrong(name, "services", 'services is a list of names: ["Sweep", "Printer"]')
        return LabMachine(name, None if services is None else tuple(services), str(table.get("note", "")))

    def _panel(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        """What lab.toml shows of another library's driver. Raises Misconfigured."""
        panel = table.get("panel", {})
        if panel and table["driver"].startswith("labwaiter."):
            raise self.wrong(name, "panel", "its driver says itself what can be read and set; leave panel out")
        if not _is_panel(panel):
            raise self.wrong(
                name,
                "panel",
                'panel is a table: { readings = { current = "A" }, controls = { volts = { low = 0, high = 5,'
                ' unit = "V" } }, actions = ["reset"] }',
            )
        return dict(panel)

    def _every(self, name: str, table: dict[str, Any]) -> float | None:
        """How often it is monitored, s. Raises Misconfigured."""
        every = table.get("monitor_every_s")
        if every is None:
            return None
        low, high = MONITOR_EVERY
        if not _number(every, low, high):
            raise self.wrong(
                name,
                "monitor_every_s",
                f"monitor_every_s is a number of seconds from {low} to {high}; without it, never",
            )
        return float(every)

    def _limits(self, name: str, table: dict[str, Any]) -> dict[str, Limit]:
        """The limits of its readings. Raises Misconfigured."""
        given = table.get("limits", {})
        if not isinstance(given, dict):
            raise self.wrong(name, "limits", "limits is a table: limits = { temperature = { low = 15, high = 80 } }")
        if given and table.get("monitor_every_s") is None:
            raise self.wrong(name, "limits", "it has limits, and nobody looks at them: say monitor_every_s, too")
        return {reading: self._limit(name, reading, about) for reading, about in given.items()}

    def _limit(self, name: str, reading: str, about: Any) -> Limit:
        written = "write low, high or both, e.g. { low = 15, high = 80 }"
        if not reading.strip():
            raise self.wrong(name, "limits", "it has limits of a reading without a name: name it as its driver does")
        if not isinstance(about, dict) or not about.keys() & {"low", "high"}:
            raise self.wrong(name, "limits", f"the limits of {reading} are none: {written}")
        for key, value in about.items():
            if key not in ("low", "high", "hysteresis"):
                raise self.wrong(name, "limits", f"the limits of {reading} know no “{key}”: {written}, and hysteresis")
            if not _number(value, -1e300, 1e300):
                raise self.wrong(name, "limits", f"{key} of {reading} must be a number")
        low, high = about.get("low"), about.get("high")
        if low is not None and high is not None and low >= high:
            raise self.wrong(name, "limits", f"low of {reading} must be less than its high")
        room = high - low if low is not None and high is not None else abs(low or high or 0.0)
        hysteresis = about.get("hysteresis", _HYSTERESIS * room)
        if hysteresis < 0 or (low is not None and high is not None and hysteresis > room):
            raise self.wrong(
                name, "limits", f"hysteresis of {reading} must be 0 or more, and less than its limits are apart"
            )
        return Limit(low, high, float(hysteresis))

    def entry(self, name: str, table: Any) -> InstrumentEntry:
        """The instrument that a table describes. Raises Misconfigured."""
        if not isinstance(table, dict):
            raise self.wrong(name, "", f"write [instruments.{name}]")
        if not re.fullmatch(r"[A-Za-z][\w-]{0,63}", name, re.ASCII):
            raise self.wrong(name, "", "a name is letters, digits, _ and -, and begins with a letter")
        for key in table:
            if key not in _KEYS:
                raise self.wrong(name, key, f"“{key}” is not known; there are: {', '.join(sorted(_KEYS))}")
        for key in ("driver", "port"):
            if not isinstance(table.get(key), str) or not table[key].strip():
                raise self.wrong(name, key, f'it needs {key} = "…"')
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", table["driver"]):
            raise self.wrong(
                name, "driver", "a driver is module:callable, e.g. labwaiter.instruments.drivers:SourceMeter"
            )
        if table["port"].startswith(simulation.SCHEME):
            try:
                simulation.read(table["port"])
            except ValueError as error:
                raise self.wrong(name, "port", str(error)) from None
        unpolled = table.get("unpolled", "continue")
        if unpolled == "continue":
            unpolled = None
        elif not _number(unpolled, 60, 86400 * 7):
            raise self.wrong(name, "unpolled", 'unpolled is "continue", or a number of seconds, 60 at least')
        for key, low, high in (("safe_seconds", 1, 600), ("reconnect", 0, 3600), ("settle", 0, 300)):
            if key in table and not _number(table[key], low, high):
                raise self.wrong(name, key, f"{key} is a number of seconds from {low} to {high}")
        for key in ("dtr", "rts", "xonxoff", "rtscts"):
            if key in table and not isinstance(table[key], bool):
                raise self.wrong(name, key, f"{key} is true or false")
        greeting = table.get("greeting")
        if greeting is not None and not _pattern(greeting):
            raise self.wrong(name, "greeting", 'greeting is a pattern for the line that it says, e.g. "Ready"')
        if "baudrate" in table and not _number(table["baudrate"], 50, 10_000_000):
            raise self.wrong(name, "baudrate", "the baud rate is a whole number, e.g. 9600")
        if "options" in table and not isinstance(table["options"], dict):
            raise self.wrong(name, "options", "options is a table: { name = value }")
        power = table.get("power")
        if power is not None:
            relay = re.fullmatch(r"([A-Za-z][\w-]*)\.(\d+)", str(power))
            if relay is None:
                raise self.wrong(name, "power", "power is a relay board and a relay's number, e.g. relays.2")
            power = (relay[1], int(relay[2]))
        safe = table.get("safe", "")
        if not safe and not table["driver"].startswith("labwaiter."):
            raise self.wrong(
                name,
                "driver",
                'it must say how it is made safe: safe = "itself" for a driver with make_safe and is_safe,'
                ' safe = "module:function" for another library\'s, or safe = "nothing to do"',
            )
        return InstrumentEntry(
            name=name,
            driver=table["driver"],
            port=table["port"],
            line={key: value for key, value in table.items() if key in _LINE_KEYS},
            note=str(table.get("note", "")),
            unpolled=unpolled,
            safe_seconds=float(table.get("safe_seconds", 20.0)),
            reconnect=float(table.get("reconnect", 10.0)),
            settle=float(table["settle"]) if "settle" in table else None,
            greeting=greeting,
            power=power,
            safe=safe or ITSELF,
            options=dict(table.get("options", {})),
            machine=str(table.get("machine", "")),
            panel=self._panel(name, table),
            monitor_every_s=self._every(name, table),
            limits=self._limits(name, table),
        )


def _is_panel(panel: Any) -> bool:
    if not isinstance(panel, dict) or panel.keys() - {"readings", "controls", "actions"}:
        return False
    readings, controls, actions = (panel.get(key, {}) for key in ("readings", "controls", "actions"))
    names = [*readings, *controls, *actions]
    return (
        isinstance(readings, dict)
        and all(isinstance(unit, str) for unit in readings.values())
        and isinstance(controls, dict)
        and all(_is_control(about) for about in controls.values())
        and (isinstance(actions, list) or not actions)
        and len(names) == len(set(names))
        and all(isinstance(name, str) and re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in names)
    )


def _is_control(about: Any) -> bool:
    """A control of a panel has both limits: what is set by hand needs them."""
    if not isinstance(about, dict) or about.keys() - {"low", "high", "unit"}:
        return False
    low, high = (about.get(key, math.nan) for key in ("low", "high"))
    limited = _number(low, -1e300, 1e300) and _number(high, -1e300, 1e300) and low <= high
    return limited and isinstance(about.get("unit", ""), str)


def _pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and bool(re.compile(value))
    except re.error:
        return False


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
