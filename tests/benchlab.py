"""A lab with simulated instruments behind real ptys, whose own records the tests read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Lab, eventually
from labwaiter.instruments.simulators import Marlin, Relays, Sba5, Simulator, Smu
from labwaiter.instruments.simulators.host import Host
from labwaiter.jobs.leases import Leases

DRIVERS = {"smu": "SourceMeter", "relays": "RelayBoard", "printer": "MarlinPrinter", "analyser": "CO2Analyser"}
SERVICES = {"smu": "UsesSmu", "relays": "UsesRelays", "printer": "UsesPrinter", "analyser": "UsesAnalyser"}


class Plugged:
    """Four simulators on ptys, and the lab.toml that lists them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.host = Host()
        self.simulators: dict[str, Simulator] = {
            "smu": Smu(seed=1),
            "relays": Relays(seed=1),
            "printer": Marlin(seed=1, speed=50),
            "analyser": Sba5(seed=1, interval=0.05),
        }
        for name, simulator in self.simulators.items():
            self.host.plug(folder / name, simulator)
        self.toml = folder / "lab.toml"
        self.write()

    def write(self, **more: str) -> None:
        """Write lab.toml, with more lines for some instruments."""
        tables = []
        for name, driver in DRIVERS.items():
            tables.append(
                f'[instruments.{name}]\ndriver = "labwaiter.instruments.drivers:{driver}"\n'
                f'port = "{self.folder / name}"\nsafe_seconds = 3\n{more.get(name, "")}\n'
            )
        self.toml.write_text("\n".join(tables))


class Oven(Simulator):
    """The oven of the documents' own driver."""

    setpoint, heats = 20.0, "1"

    def line(self, text: str) -> None:
        word, _, value = text.partition(" ")
        if word == "SET":
            self.setpoint = float(value)
        elif word == "HEAT":
            self.heats = value
        else:
            said = {"*IDN?": "ACME,T100,1", "TEMP?": "21.5", "SET?": f"{self.setpoint:.1f}", "HEAT?": self.heats}
            self.say(said[word])

    def is_safe(self) -> bool:
        return self.heats == "0"


@contextmanager
def plugged(folder: Path) -> Iterator[Plugged]:
    one = Plugged(folder)
    try:
        yield one
    finally:
        one.host.close()


def energised(lab: Lab, service_id: str) -> int:
    """The runner's pid, once its instrument is in use."""
    pid = lab.running(service_id)
    eventually(lambda: lab.status_progress(service_id).stage == "energised")
    return pid


def leases(lab: Lab) -> Leases:
    return Leases(lab.settings.jobs_folder)
