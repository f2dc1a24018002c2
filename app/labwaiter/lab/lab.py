"""The instruments and machines of a lab, as values. Used by the supervisor, too, so by the standard library alone."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ..errors import Misconfigured, MissingParameter, UnknownInstrument
from ..model.parameter import Parameter, shown
from . import simulation
from .device import Part, conflict, parts

NOTHING_TO_DO, ITSELF = "nothing to do", "itself"


@dataclass(frozen=True)
class Limit:
    """What a monitored reading may be."""

    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0  # so far it must come back before it can pass the limit anew

    def beyond(self, value: float, before: str = "") -> str:
        """The limit that is passed: "low", "high" or "" for none. `before`: which one was, at the reading before."""
        back = {side: self.hysteresis if before == side else 0.0 for side in ("low", "high")}
        if self.high is not None and value > self.high - back["high"]:
            return "high"
        if self.low is not None and value < self.low + back["low"]:
            return "low"
        return ""


@dataclass(frozen=True)
class InstrumentEntry:
    """One instrument of lab.toml."""

    name: str
    driver: str  # "module:callable"
    port: str
    line: dict[str, Any] = field(default_factory=dict)  # pyserial's settings
    note: str = ""
    unpolled: float | None = None  # s of its workflow manager's silence after which its job is aborted
    safe_seconds: float = 20.0
    reconnect: float = 10.0  # s
    settle: float | None = None  # s that it may take to boot when its line is opened; None: as its driver says
    greeting: str | None = None  # a pattern for what it says then
    power: tuple[str, int] | None = None  # a relay board and the number of a relay on it
    safe: str = ITSELF  # "module:function" for a foreign driver, or NOTHING_TO_DO
    options: dict[str, Any] = field(default_factory=dict)  # more keyword arguments of the driver
    machine: str = ""  # on which one it is, of many; "": on this one
    # what another library's driver is shown with in somebody's hands: readings (name → unit), controls (name → low,
    # high, unit) and actions (names)
    panel: dict[str, Any] = field(default_factory=dict)
    monitor_every_s: float | None = None  # s between two readings while nobody uses it; None: it isn't monitored
    limits: dict[str, Limit] = field(default_factory=dict)  # by the readings' names

    @property
    def simulated(self) -> simulation.SimulatedPort | None:
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
class LabMachine:
    """One machine of lab.toml."""

    name: str
    services: tuple[str, ...] | None = None  # which it offers; None: all
    note: str = ""


@dataclass(frozen=True)
class Lab:
    """All instruments, and all machines of a lab that has many, by their names."""

    entries: dict[str, InstrumentEntry]
    machines: dict[str, LabMachine] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)  # of what is `on` one machine: the others' → theirs

    def on(self, machine: str) -> Lab:
        """What is on one machine, of many."""
        entries = {name: entry for name, entry in self.entries.items() if entry.machine in ("", machine)}
        elsewhere = {name: entry.machine for name, entry in self.entries.items() if name not in entries}
        return Lab(entries, self.machines, elsewhere)

    def unpolled(self, instruments: Iterable[str]) -> float | None:
        """How long (s) the workflow manager of a job with these may be silent; None: as long as it likes."""
        silences = (self.entries[name].unpolled for name in instruments if name in self.entries)
        return min((seconds for seconds in silences if seconds is not None), default=None)

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
        device = self._parts(name)
        return {name} | {other for other in self.entries if conflict(device, self._parts(other))}

    def all_twins(self) -> dict[str, set[str]]:
        """As `twins`, of every instrument, by one look at each port."""
        devices = {name: self._parts(name) for name in self.entries}
        having: dict[str, list[str]] = {}
        for name, device in devices.items():
            for part in device:
                having.setdefault(part.name, []).append(name)
        return {
            name: {name} | {other for part in device for other in having[part.name] if conflict(device, devices[other])}
            for name, device in devices.items()
        }

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
            names = ", ".join(fitting) or "none"
            if name is None or not str(name).strip():
                if len(fitting) != 1:
                    raise MissingParameter(
                        f"The input {parameter.name} is missing: name an instrument; those that fit: {names}."
                    ).of(parameter.name)
                name = fitting[0]
            if name not in self.entries:
                raise UnknownInstrument(
                    f"The input {parameter.name} names no instrument of this lab: {shown(name)}; those that fit:"
                    f" {names}."
                ).of(parameter.name)
            if name not in fitting:
                raise UnknownInstrument(
                    f"The instrument {name} is of another kind than {parameter.name} needs; those that fit: {names}."
                ).of(parameter.name)
            if name in taken:
                raise UnknownInstrument(
                    f"The instrument {name} is named twice, or its device is; each input needs one of its own."
                ).of(parameter.name)
            taken |= self.twins(name)
            chosen[parameter.name] = name
        return chosen


def _ancestors(entry: InstrumentEntry) -> set[str]:
    """The driver's class and its bases, by module:name; only where looking imports nothing foreign."""
    module = entry.driver.partition(":")[0]
    if not entry.ours and module not in sys.modules:
        return set()
    try:
        driver = resolve(entry.driver)
    except Misconfigured:
        return set()
    return {f"{c.__module__}:{c.__qualname__}" for c in getattr(driver, "__mro__", ())}


def resolve(name: str) -> Any:
    """What "module:callable" names. Raises Misconfigured."""
    module, _, attribute = name.partition(":")
    try:
        named: Any = importlib.import_module(module)
        for part in attribute.split("."):
            named = getattr(named, part)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"“{name}” can't be had: {error}.") from error
    return named


def missing(name: str, services: Path) -> str:
    """Why what "module:callable" names can't be had, as far as that is seen without importing anything; "" otherwise.

    It is seen where a module, or the package that it lies in, is neither installed nor in the services folder.
    """
    package = name.partition(":")[0].partition(".")[0]
    places = [str(services), os.getcwd()]
    if package in sys.modules or importlib.util.find_spec(package) or PathFinder.find_spec(package, places):
        return ""
    return f"“{name}” can't be had: No module named '{package}'."
