"""lab.toml: the instruments of this lab. Read by the supervisor, too, so by the standard library alone.

[instruments.sourcemeter]
driver = "labwaiter.instruments.drivers:SourceMeter"      # module:callable, ours or any library's
port = "/dev/serial/by-id/usb-…"                          # or any URL of pyserial's, or sim://KIND (see simulation)
baudrate = 9600                                           # and bytesize, parity, stopbits, xonxoff, rtscts, dtr, rts
note = "bench 2; ask Ada"
unpolled = 120            # abort when its workflow manager is silent for so many seconds; "continue" is the default
safe_seconds = 20         # to make it safe
reconnect = 10            # seconds in which a lost line must be back
power = "relays.2"        # a relay that cuts it off when it can't be made safe
safe = "my_lab:switch_off"   # for another library's driver: how it is made safe, or "nothing to do"
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import simulation
from .errors import Misconfigured, MissingParameter, UnknownInstrument
from .parameter import Parameter, shown

_LINE_KEYS = {"baudrate", "bytesize", "parity", "stopbits", "xonxoff", "rtscts", "dtr", "rts"}
_KEYS = _LINE_KEYS | {"driver", "port", "note", "unpolled", "safe_seconds", "reconnect", "power", "safe", "options"}
NOTHING_TO_DO, ITSELF = "nothing to do", "itself"


@dataclass(frozen=True)
class Entry:
    """One instrument of lab.toml."""

    name: str
    driver: str  # "module:callable"
    port: str
    line: dict[str, Any] = field(default_factory=dict)  # pyserial's settings
    note: str = ""
    unpolled: float | None = None  # s of its workflow manager's silence after which its job is aborted
    safe_seconds: float = 20.0
    reconnect: float = 10.0  # s
    power: tuple[str, int] | None = None  # a relay board and the number of a relay on it
    safe: str = ITSELF  # "module:function" for a foreign driver, or NOTHING_TO_DO
    options: dict[str, Any] = field(default_factory=dict)  # more keyword arguments of the driver

    @property
    def simulated(self) -> simulation.Simulated | None:
        """What it simulates; None for a real one."""
        return simulation.read(self.port) if self.port.startswith(simulation.SCHEME) else None

    @property
    def ours(self) -> bool:
        """Whether the driver comes with labwaiter."""
        return self.driver.startswith("labwaiter.")

    @property
    def real(self) -> bool:
        """Whether something is plugged in that can do harm: simulators can't."""
        return not self.port.startswith("sim://") and self.safe != NOTHING_TO_DO


@dataclass(frozen=True)
class Lab:
    """All instruments, by their names."""

    entries: dict[str, Entry]

    def unpolled(self, instruments: Iterable[str]) -> float | None:
        """How long (s) the workflow manager of a job with these may be silent; None: as long as it likes."""
        found = (self.entries[name].unpolled for name in instruments if name in self.entries)
        return min((seconds for seconds in found if seconds is not None), default=None)

    def safe_seconds(self, instruments: Iterable[str]) -> float:
        """How long (s) making these safe may take, the slowest of them; 0 for none."""
        return max((self.entries[name].safe_seconds for name in instruments if name in self.entries), default=0.0)

    def fitting(self, drivers: Iterable[str]) -> list[str]:
        """The names of the instruments that one of these drivers, or a class of theirs, is for."""
        wanted = set(drivers)
        return [name for name, entry in self.entries.items() if entry.driver in wanted or wanted & _ancestors(entry)]

    def choose(self, parameters: Iterable[Parameter], inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs with the instruments' names: the one that fits where none was named.

        Raises:
            MissingParameter: none was named, and it isn't exactly one that fits.
            UnknownInstrument: it isn't in lab.toml, is of another kind, or is named twice.
        """
        chosen, taken = dict(inputs), set()
        for parameter in parameters:
            if parameter.kind != "instrument":
                continue
            fitting, name = self.fitting(parameter.drivers), inputs.get(parameter.name)
            known = ", ".join(fitting) or "none"
            if name is None or not str(name).strip():
                if len(fitting) != 1:
                    raise MissingParameter(
                        f"The input {parameter.name} is missing: name an instrument; those that fit: {known}."
                    )
                name = fitting[0]
            if name not in self.entries:
                raise UnknownInstrument(
                    f"The input {parameter.name} names no instrument of this lab: {shown(name)}; those that fit:"
                    f" {known}."
                )
            if name not in fitting:
                raise UnknownInstrument(
                    f"The instrument {name} is of another kind than {parameter.name} needs; those that fit: {known}."
                )
            if name in taken:
                raise UnknownInstrument(f"The instrument {name} is named twice; each input needs one of its own.")
            taken.add(name)
            chosen[parameter.name] = name
        return chosen


def _ancestors(entry: Entry) -> set[str]:
    """The driver's class and its bases, by module:name; only where looking imports nothing foreign."""
    module = entry.driver.partition(":")[0]
    if not entry.ours and module not in sys.modules:
        return set()
    try:
        found = resolve(entry.driver)
    except Misconfigured:
        return set()
    return {f"{c.__module__}:{c.__qualname__}" for c in getattr(found, "__mro__", ())}


def resolve(name: str) -> Any:
    """What "module:callable" names. Raises Misconfigured."""
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"“{name}” can't be had: {error}.") from error
    return found


def load(file: Path) -> Lab:
    """The lab that a file describes; an empty one where there is no file.

    Raises:
        Misconfigured: a mistake in it, in a sentence with its line.
    """
    try:
        text = file.read_text(encoding="utf-8")
        said = tomllib.loads(text)
    except FileNotFoundError:
        return Lab({})
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file.name} can't be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file.name} is no TOML: {error}.") from error
    reader = _Reader(file.name, text)
    for key in said:
        if key != "instruments":
            raise reader.wrong(key, "", f"“{key}” is not known; write [instruments.NAME]")
    tables = said.get("instruments", {})
    if not isinstance(tables, dict):
        raise reader.wrong("instruments", "", "write [instruments.NAME]")
    entries = {name: reader.entry(name, one) for name, one in tables.items()}
    for name, entry in entries.items():
        if entry.power is not None and (entry.power[0] not in entries or entry.power[0] == name):
            raise reader.wrong(name, "power", f"there is no relay board {entry.power[0]} among the instruments")
        fan = entry.simulated.fan if entry.simulated else None
        board = entries[fan[0]].simulated if fan and fan[0] in entries else None
        if fan and (board is None or board.kind != "relays"):
            raise reader.wrong(name, "port", f"there is no simulated relay board {fan[0]} (sim://relays) for its fan")
    return Lab(entries)


class Kept:
    """The lab as its file says it, read again whenever that has changed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: object = ()
        self._lab: Lab | None = None

    def now(self) -> Lab | None:
        """The lab; None while the file has a mistake."""
        try:
            found = self._file.stat()
            stamp: object = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            try:
                self._lab = load(self._file)
            except Misconfigured:
                self._lab = None
            self._stamp = stamp
        return self._lab


class _Reader:
    """Reads one file's tables, and says where a mistake is."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.lines = file, text.splitlines()

    def wrong(self, name: str, key: str, what: str) -> Misconfigured:
        """The mistake with its line."""
        at, inside = 0, not key
        for number, line in enumerate(self.lines, 1):
            if re.match(rf"\s*\[+\s*(instruments\.)?[\"']?{re.escape(name)}[\"']?\s*\]", line):
                at, inside = number, True
                if not key:
                    break
            elif inside and key and re.match(rf"\s*{re.escape(key)}\s*=", line):
                at = number
                break
        where = f", line {at}" if at else ""
        return Misconfigured(f"{self.file}{where}: {name}: {what}.")

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
        for key, low, high in (("safe_seconds", 1, 600), ("reconnect", 0, 3600)):
            if key in said and not _number(said[key], low, high):
                raise self.wrong(name, key, f"{key} is a number of seconds from {low} to {high}")
        for key in ("dtr", "rts", "xonxoff", "rtscts"):
            if key in said and not isinstance(said[key], bool):
                raise self.wrong(name, key, f"{key} is true or false")
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
            power=power,
            safe=safe or ITSELF,
            options=dict(said.get("options", {})),
        )


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
