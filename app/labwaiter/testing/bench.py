"""The instruments of a lab.toml as simulators on ptys of this process, and the lab.toml that names those ptys."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from ..errors import UnknownInstrument
from ..instruments.simulators import KINDS, Simulator
from ..instruments.simulators.host import Host
from ..instruments.simulators.relays import Relays
from ..instruments.simulators.sba5 import Sba5
from ..lab import labfile, simulation
from ..settings import read_text

# of a driver of ours for a real device: the simulator that it gets here
_STANDS_FOR = {"SourceMeter": "smu", "MarlinPrinter": "marlin", "CO2Analyser": "sba5", "RelayBoard": "relays"}
_OURS = "labwaiter.instruments.drivers:"
# s, at most: a test waits for no line that was pulled out, and for nothing that can't be made safe, as long as a lab
RECONNECT, SAFE_SECONDS = 2.0, 5.0


class _Simulators(dict[str, Simulator]):
    """By the names of lab.toml. A name that has none gets a sentence instead of a bare KeyError."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def __missing__(self, name: str) -> Simulator:
        self._bench.known(name)
        raise nobody_knows(name)


def nobody_knows(name: str) -> LookupError:
    """An instrument that has no simulator of ours and got none by a test."""
    return LookupError(f"Nobody knows what {name} is: plug a simulator in, lab.plug({name!r}, MySimulator()).")


class Bench:
    """What is plugged in, by the names of lab.toml. No real port is ever opened."""

    def __init__(self, lab_file: Path, folder: Path) -> None:
        """
        Args:
            folder: for the ports, and the lab.toml of the deployment.

        Raises:
            Misconfigured: lab_file has a mistake.
        """
        lab = labfile.load(lab_file)
        text = read_text(lab_file) if lab.entries else ""
        self.toml = folder / "lab.toml"
        self.simulators: dict[str, Simulator] = _Simulators(self)  # also of what is unplugged: it stays switched on
        self._tables: dict[str, dict[str, Any]] = {}
        self._ports = folder / "ports"
        self._ports.mkdir(parents=True)
        self._plugged: set[str] = set()
        self._host = Host()
        for name, table in tomllib.loads(text).get("instruments", {}).items():
            entry = lab.entries[name]
            port = {
                "port": str(self.port(name)),
                "reconnect": min(entry.reconnect, RECONNECT),
                "safe_seconds": min(entry.safe_seconds, SAFE_SECONDS),
            }
            self._tables[name] = {key: value for key, value in table.items() if key != "machine"} | port
            kind = _STANDS_FOR.get(entry.driver.removeprefix(_OURS)) if entry.driver.startswith(_OURS) else None
            simulated = entry.simulated or (simulation.SimulatedPort(kind) if kind else None)
            if simulated is not None:
                simulator = KINDS[simulated.kind](**simulated.options)
                if simulated.fan is not None and isinstance(simulator, Sba5):
                    self._ventilate(simulator, *simulated.fan)
                self.plug(name, simulator)
        self._write()

    def _ventilate(self, analyser: Sba5, board: str, number: int) -> None:
        def is_on() -> bool:
            relays = self.simulators.get(board)
            return isinstance(relays, Relays) and relays.closed[number - 1]

        analyser.ventilated = is_on

    def port(self, name: str) -> Path:
        """The name of an instrument's port here."""
        return self._ports / name

    def configure(self, name: str, **keys: Any) -> None:
        """Change an instrument's keys in this deployment's lab.toml. Raises UnknownInstrument, Misconfigured."""
        self.known(name)
        self._tables[name] |= keys
        self._write()
        labfile.load(self.toml)

    def plug(self, name: str, simulator: Simulator | None = None) -> Simulator:
        """Plug a simulator in, or what was unplugged; the one that is in its place is unplugged.

        Raises:
            UnknownInstrument: lab.toml has none of that name.
            LookupError: nothing was unplugged.
        """
        self.known(name)
        if simulator is None and name not in self.simulators:
            raise nobody_knows(name)
        self.unplug(name)
        plugged = self.simulators[name] = simulator or self.simulators[name]
        self._host.plug(self.port(name), plugged)
        self._plugged.add(name)
        return plugged

    def unplug(self, name: str) -> None:
        """Pull it out: whoever has it open sees a hang-up. It stays switched on."""
        self.known(name)
        if name in self._plugged:
            self._plugged.remove(name)
            self._host.unplug(self.port(name))

    def known(self, name: str) -> None:
        """Raises UnknownInstrument where lab.toml has none of that name."""
        if name not in self._tables:
            raise UnknownInstrument(
                f"lab.toml has no instrument {name}; there are: {', '.join(self._tables) or 'none'}."
            )

    def close(self) -> None:
        """Unplug all."""
        self._host.close()

    def _write(self) -> None:
        tables = [
            "\n".join([f"[instruments.{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())])
            for name, table in self._tables.items()
        ]
        self.toml.write_text("\n\n".join(tables) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    """A value of lab.toml as TOML has it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    # a text of JSON is one of TOML, but for the one control character that TOML wants escaped, too
    return (
        json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        if isinstance(value, str)
        else str(value).lower()
    )
