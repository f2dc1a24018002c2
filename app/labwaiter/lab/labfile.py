"""Reading lab.toml's tables: each mistake is one sentence, with its line."""

from __future__ import annotations

import re
from typing import Any

from ..errors import Misconfigured
from . import simulation
from .entry import ITSELF, Entry, Machine

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
}


class Reader:
    """Reads one file's tables, and says where a mistake is."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.lines = file, text.split("\n")

    def wrong(self, name: str, key: str, what: str) -> Misconfigured:
        """The mistake with its line."""
        at, inside = 0, not key
        for number, line in enumerate(self.lines, 1):
            if re.match(rf"\s*\[+\s*((instruments|machines)\.)?[\"']?{re.escape(name)}[\"']?\s*\]", line):
                at, inside = number, True
                if not key:
                    break
            elif inside and key and re.match(rf"\s*{re.escape(key)}\s*=", line):
                at = number
                break
        where = f", line {at}" if at else ""
        return Misconfigured(f"{self.file}{where}: {name}: {what}.")

    def machine(self, name: str, said: Any) -> Machine:
        """One machine's table."""
        if not isinstance(said, dict):
            raise self.wrong(name, "", f"write [machines.{name}]")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
            raise self.wrong(name, "", "a machine's name is letters, digits, dots, _ and -")
        for key in said:
            if key not in ("services", "note"):
                raise self.wrong(name, key, f"“{key}” is not known; there are: note, services")
        services = said.get("services")
        if services is not None and not (isinstance(services, list) and all(isinstance(s, str) for s in services)):
            raise self.wrong(name, "services", 'services is a list of names: ["Sweep", "Printer"]')
        return Machine(name, None if services is None else tuple(services), str(said.get("note", "")))

    def entry(self, name: str, said: Any) -> Entry:
        """One instrument's table."""
        if not isinstance(said, dict):
            raise self.wrong(name, "", f"write [instruments.{name}]")
        if not re.fullmatch(r"[A-Za-z][\w-]{0,63}", name, re.ASCII):
            raise self.wrong(name, "", "a name is letters, digits, _ and -, and begins with a letter")
        for key in said:
            if key not in _KEYS:
                raise self.wrong(name, key, f"“{key}” is not known; there are: {', '.join(sorted(_KEYS))}")
        for key in ("driver", "port"):
            if not isinstance(said.get(key), str) or not said[key].strip():
                raise self.wrong(name, key, f'it needs {key} = "…"')
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", said["driver"]):
            raise self.wrong(
                name, "driver", "a driver is module:callable, e.g. labwaiter.instruments.drivers:SourceMeter"
            )
        if said["port"].startswith(simulation.SCHEME):
            try:
                simulation.read(said["port"])
            except ValueError as error:
                raise self.wrong(name, "port", str(error)) from None
        unpolled = said.get("unpolled", "continue")
        if unpolled == "continue":
            unpolled = None
        elif not _number(unpolled, 60, 86400 * 7):
            raise self.wrong(name, "unpolled", 'unpolled is "continue", or a number of seconds, 60 at least')
        for key, low, high in (("safe_seconds", 1, 600), ("reconnect", 0, 3600), ("settle", 0, 300)):
            if key in said and not _number(said[key], low, high):
                raise self.wrong(name, key, f"{key} is a number of seconds from {low} to {high}")
        for key in ("dtr", "rts", "xonxoff", "rtscts"):
            if key in said and not isinstance(said[key], bool):
                raise self.wrong(name, key, f"{key} is true or false")
        greeting = said.get("greeting")
        if greeting is not None and not _pattern(greeting):
            raise self.wrong(name, "greeting", 'greeting is a pattern for the line that it says, e.g. "Ready"')
        if "baudrate" in said and not _number(said["baudrate"], 50, 10_000_000):
            raise self.wrong(name, "baudrate", "the baud rate is a whole number, e.g. 9600")
        if "options" in said and not isinstance(said["options"], dict):
            raise self.wrong(name, "options", "options is a table: { name = value }")
        power = said.get("power")
        if power is not None:
            found = re.fullmatch(r"([A-Za-z][\w-]*)\.(\d+)", str(power))
            if found is None:
                raise self.wrong(name, "power", "power is a relay board and a relay's number, e.g. relays.2")
            power = (found[1], int(found[2]))
        safe = said.get("safe", "")
        if not safe and not said["driver"].startswith("labwaiter."):
            raise self.wrong(
                name,
                "driver",
                'it must say how it is made safe: safe = "itself" for a driver with make_safe and is_safe,'
                ' safe = "module:function" for another library\'s, or safe = "nothing to do"',
            )
        return Entry(
            name=name,
            driver=said["driver"],
            port=said["port"],
            line={key: value for key, value in said.items() if key in _LINE_KEYS},
            note=str(said.get("note", "")),
            unpolled=unpolled,
            safe_seconds=float(said.get("safe_seconds", 20.0)),
            reconnect=float(said.get("reconnect", 10.0)),
            settle=float(said["settle"]) if "settle" in said else None,
            greeting=greeting,
            power=power,
            safe=safe or ITSELF,
            options=dict(said.get("options", {})),
            machine=str(said.get("machine", "")),
        )


def _pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and bool(re.compile(value))
    except re.error:
        return False


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
