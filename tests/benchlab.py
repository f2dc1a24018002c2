"""A lab with simulated instruments behind real ptys, whose own records the tests read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import SAMPLES, Lab, eventually
from labwaiter.instruments.simulators import Marlin, Relays, Sba5, Simulator, Smu
from labwaiter.instruments.simulators.host import Host
from labwaiter.store.files import write_whole
from labwaiter.store.leases import Leases
from labwaiter.system.process import boot_clock

DRIVERS = {"smu": "SourceMeter", "relays": "RelayBoard", "printer": "MarlinPrinter", "analyser": "CO2Analyser"}
LIVE = {"smu": ("output on",), "relays": ("relay 3 on",), "printer": ("hotend to 200 °C", "homed"), "analyser": ()}
SAFE = {
    "smu": ("output off",),
    "relays": ("relay 3 off",),
    "printer": ("hotend to 0 °C", "motors off"),
    "analyser": ("command @",),
}


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

    def count(self, name: str) -> int:
        """How much a simulator's record holds."""
        return len(self.simulators[name].happened)

    def assert_made_safe(self, name: str, begun: int = 0) -> None:
        """By the simulator's own record it was energised after `begun`, then made safe, and that was the last of it."""
        happened = [what for _, what in list(self.simulators[name].happened)[begun:]]
        assert self.simulators[name].is_safe(), happened
        for what in LIVE[name]:
            assert what in happened, happened
        last_live = max((n for n, what in enumerate(happened) if what in LIVE[name]), default=-1)
        for what in SAFE[name]:
            assert what in happened[last_live + 1 :], happened

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


def let_go(lab: Lab, service_id: str) -> None:
    """Have a job of samples/benches.py go on to its end."""
    (lab.folder(service_id) / "data" / "go").touch()


def silent(lab: Lab, service_id: str, up: bool = True) -> None:
    """As if its workflow manager had polled 100 s ago for the last time, and our web side been up since long."""
    now = boot_clock()
    os.utime(lab.folder(service_id) / "polled", (now - 100, now - 100))
    if up:
        write_whole(lab.store.layout.folder / "web", json.dumps({"since": now - 200, "last": now}).encode())


def bench_lab(root: Path, bench: Plugged, **settings: str) -> Lab:
    """A lab whose services use the plugged instruments."""
    services = root.parent / f"{root.name}.services"
    services.mkdir()
    shutil.copy(SAMPLES / "benches.py", services)
    return Lab(root, services, LAB=str(bench.toml), **settings)


def leases(lab: Lab) -> Leases:
    return Leases(lab.settings.jobs_folder)
