"""lab.toml: the instruments of this lab. Read by the supervisor, too, so by the standard library alone.

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

[machines.bench2]         # with REDIS_URL: each machine that runs `labwaiter worker`
services = ["Sweep"]      # which services it offers; without this line all of them
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Misconfigured, MissingParameter, UnknownInstrument
from ..model.parameter import Parameter, shown
from ..settings import read_text
from .device import Part, conflict, parts
from .entry import ITSELF, NOTHING_TO_DO, Entry, Machine
from .labfile import Reader


@dataclass(frozen=True)
class Lab:
    """All instruments, and all machines of a lab that has many, by their names."""

    entries: dict[str, Entry]
    machines: dict[str, Machine] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)  # of what is `on` one machine: the others' → theirs

    def on(self, machine: str) -> Lab:
        """What is on one machine, of many."""
        here = {name: entry for name, entry in self.entries.items() if entry.machine in ("", machine)}
        elsewhere = {name: entry.machine for name, entry in self.entries.items() if name not in here}
        return Lab(here, self.machines, elsewhere)

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

    def twins(self, name: str) -> set[str]:
        """The names under which the device of an instrument stands here, its own too: it has one holder."""
        if name not in self.entries:
            return {name}
        mine = self._parts(name)
        return {name} | {other for other in self.entries if conflict(mine, self._parts(other))}

    def _parts(self, name: str) -> frozenset[Part]:
        entry = self.entries[name]
        return frozenset(part._replace(name=f"{entry.machine} {part.name}") for part in parts(entry.port))

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
                raise UnknownInstrument(
                    f"The instrument {name} is named twice, or its device is; each input needs one of its own."
                )
            taken |= self.twins(name)
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
        text = read_text(file)
        said = tomllib.loads(text)
    except FileNotFoundError:
        return Lab({})
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file.name} is no TOML: {error}.") from error
    reader = Reader(file.name, text)
    for key in said:
        if key not in ("instruments", "machines"):
            raise reader.wrong(key, "", f"“{key}” is not known; write [instruments.NAME] or [machines.NAME]")
    tables = {kind: said.get(kind, {}) for kind in ("instruments", "machines")}
    for kind, found in tables.items():
        if not isinstance(found, dict):
            raise reader.wrong(kind, "", f"write [{kind}.NAME]")
    machines = {name: reader.machine(name, one) for name, one in tables["machines"].items()}
    entries = {name: reader.entry(name, one) for name, one in tables["instruments"].items()}
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


__all__ = ["ITSELF", "NOTHING_TO_DO", "Entry", "Kept", "Lab", "Machine", "load", "mistake", "resolve"]
