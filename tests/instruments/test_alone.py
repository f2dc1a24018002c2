"""A driver alone, as in a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchlab import Oven
from here import ROOT
from lab import eventually
from labwaiter.instruments import Instrument, InstrumentError, control
from labwaiter.instruments.drivers import RelayBoard
from labwaiter.instruments.simulators import Relays
from labwaiter.instruments.simulators.host import Host


def test_the_example_of_the_package_works_word_for_word(host: Host, port: Path) -> None:
    import labwaiter.instruments as package

    oven = Oven()
    host.plug(port, oven)
    assert package.__doc__ is not None
    code = re.sub(r"^    ", "", package.__doc__.partition("\n\n")[2].partition("\n\n")[2], flags=re.M)
    assert code.startswith("from labwaiter.instruments import") and "/dev/ttyUSB0" in code
    found: dict[str, object] = {}
    exec(code.replace("/dev/ttyUSB0", str(port)), found)
    eventually(lambda: oven.setpoint == 80 and oven.is_safe())
    driver = found["Oven"]
    assert isinstance(driver, type) and issubclass(driver, Instrument)
    with driver(str(port)) as again:
        assert again.temperature == 21.5 and again.temperature.unit == "°C"
        with pytest.raises(InstrumentError, match="setpoint must be a number from 20 to 300 °C, not 301"):
            again.setpoint = 301
        with pytest.raises(AttributeError, match="has no setpiont; what can be set: setpoint"):
            again.setpiont = 200


def test_one_that_does_not_become_safe_is_told_at_the_end_of_the_with(host: Host, port: Path) -> None:
    board = Relays(seed=1)
    board.stuck.add(3)
    host.plug(port, board)
    with (
        pytest.raises(InstrumentError, match="relays was told to be safe, but says that it is not"),
        RelayBoard(str(port), name="relays") as relays,
    ):
        relays.switch(3, True)


def test_a_driver_that_does_not_say_how_it_is_made_safe_is_told_before_it_is_used(host: Host, port: Path) -> None:
    class Meter(Instrument):
        def make_safe(self) -> None: ...

    host.plug(port, Oven())
    with (
        pytest.raises(InstrumentError, match="meter: its driver Meter has no is_safe: say how"),
        Meter(str(port), name="meter"),
    ):
        raise AssertionError("it was used")
    Meter(str(port), name="meter").close()  # the line was given up


def test_a_limit_on_one_side_is_told_so(host: Host, port: Path) -> None:
    class Pump(Instrument):
        flow = control("FLOW?", "FLOW {}", float, unit="ml/min", low=0)

    host.plug(port, Oven())
    pump = Pump(str(port), name="pump")
    with pytest.raises(InstrumentError, match="pump: flow must be a number from 0 ml/min, not -1"):
        pump.flow = -1


def test_a_simulated_one_works_in_a_notebook_as_the_documents_say() -> None:
    code = (
        "from labwaiter.instruments.drivers import SourceMeter\n"
        'with SourceMeter("sim://smu") as meter:\n    meter.volts = 2\n    print(meter.volts)\n'
    )
    path = str(ROOT / "app")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout == "2.0\n", done.stderr
