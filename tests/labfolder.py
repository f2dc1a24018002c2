"""The folder of somebody's lab, with lamps, and pytest in a process of its own in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DRIVERS = '''
from labwaiter.instruments import Instrument

class AnyLamp(Instrument):
    """Switches a lamp."""
    identity = ("ID", "LAMP")
    acknowledgement = "OK"
    timeout = 0.5

    def switch(self, on):
        self.tell("ON" if on else "OFF")

    def make_safe(self):
        self.switch(False)

    def is_safe(self):
        return self.ask("STATE") == "0"

class Lamp(AnyLamp):
    """Acme lamp."""

class BadLamp(AnyLamp):
    """As Lamp, but its author has forgotten what safe means."""

    def make_safe(self):
        pass

    def is_safe(self):
        return True
'''
SERVICES = '''
from typing import Annotated
from _lamps import BadLamp, Lamp
from labwaiter import Job, Outputs, Range, service

NS = "http://lab.example/"

class Shone(Outputs):
    seconds: float

def shine(job, lamp, seconds):
    lamp.switch(True)
    for elapsed in job.every(0.05, lasting=seconds):
        job.progress(elapsed / seconds, f"shining for {elapsed:.0f} s")
    return Shone(seconds=seconds)

@service("Shine", namespace=NS)
def startShine(job: Job, lamp: Lamp, seconds: Annotated[float, Range(0, 900, "s")] = 1) -> Shone:
    """Have a lamp shine."""
    return shine(job, lamp, seconds)

@service("ShineOn", namespace=NS)
def startShineOn(job: Job, lamp: BadLamp, seconds: float = 1) -> Shone:
    """Have a lamp shine, and leave it on."""
    return shine(job, lamp, seconds)
'''
LAB = """
[instruments.lamp]
driver = "_lamps:Lamp"
port = "/dev/ttyS97"
safe = "itself"
machine = "bench2"

[instruments.bad]
driver = "_lamps:BadLamp"
port = "socket://198.51.100.7:4001"
safe = "itself"
machine = "bench2"

[machines.bench2]
"""
CONFTEST = """
import pytest
from labwaiter.instruments.simulators import Simulator

class SimulatedLamp(Simulator):
    on = False

    def line(self, text):
        if text in ("ON", "OFF"):
            self.on = text == "ON"
            self.note(f"lamp {text.lower()}")
        self.say({"ID": "LAMP 1", "STATE": str(int(self.on))}.get(text, "OK"))

    def is_safe(self):
        return not self.on

@pytest.fixture
def lab(lab):
    for name in ("lamp", "bad"):
        lab.plug(name, SimulatedLamp())
    return lab
"""


class Folder:
    """A lab's folder with lamps, and its tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for part in ("app/services", "tests"):
            (path / part).mkdir(parents=True)
        (path / "env").write_text("CONTEXT_ROOT=/lamps\nMAX_RUNNING=3\nHOST=0.0.0.0\nTOKENS=file\nMACHINE=bench2\n")
        (path / "lab.toml").write_text(LAB)
        (path / "app" / "services" / "_lamps.py").write_text(DRIVERS)
        (path / "app" / "services" / "lamps.py").write_text(SERVICES)
        (path / "tests" / "conftest.py").write_text(CONFTEST)

    def command(self, test: str, *words: str) -> list[str]:
        """pytest, in this folder, with this test."""
        (self.path / "tests" / "test_it.py").write_text(test)
        basetemp = str(self.path / "tmp")
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", basetemp, *words, "tests"]

    def pytest(self, test: str, *words: str) -> str:
        """What pytest says of this test."""
        done = subprocess.run(
            self.command(test, *words), cwd=self.path, env=environment(), capture_output=True, text=True, timeout=200
        )
        return done.stdout + done.stderr


def environment() -> dict[str, str]:
    """Without what this run of pytest tells its own processes."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
