"""Services that hold an instrument in a state in which it may not be left, until a test ends them."""

import os
import time
from collections.abc import Callable

from labwaiter import Job, JobFailed, Outputs, service
from labwaiter.instruments import Instrument
from labwaiter.instruments.drivers import CO2Analyser, MarlinPrinter, RelayBoard, SourceMeter

NS = "http://samples.example/"


class Result(Outputs):
    result: str


def energise(device: Instrument) -> Callable[[], object]:
    """Bring it into a state in which it may not be left: what keeps it busy."""
    if isinstance(device, SourceMeter):
        device.compliance = 0.01
        device.volts = 5
        device.output(True)
        return lambda: device.current
    if isinstance(device, RelayBoard):
        device.switch(3, True)
        return device.states
    if isinstance(device, MarlinPrinter):
        device.send("M104 S200")
        device.send("G28")
        return device.ask_temperatures
    assert isinstance(device, CO2Analyser)
    return lambda: device.co2


def hold(job: Job, how: str, *devices: Instrument) -> Result:
    """Go on until the test lets go, then end as it says."""
    busy = [energise(device) for device in devices]
    job.progress(0.5, "energised")
    while not (job.data / "go").exists():
        for one in busy:
            one()
        time.sleep(0.01)
    if how == "raise":
        raise RuntimeError("the sample broke")
    if how == "fail":
        raise JobFailed("The door is open.")
    if how == "exit":
        os._exit(3)
    return Result(result="done")


@service("Uses", namespace=NS, grace=1.0)
def startUses(job: Job, device: Instrument, how: str = "done") -> Result:
    """Any instrument."""
    return hold(job, how, device)


@service("Stalls", namespace=NS, stall=2, grace=1.0)
def startStalls(job: Job, device: Instrument) -> Result:
    """It says nothing more of its progress."""
    return hold(job, "done", device)


@service("Limited", namespace=NS, limit=4, grace=1.0)
def startLimited(job: Job, device: Instrument) -> Result:
    """Longer than it may."""
    return hold(job, "done", device)


@service("UsesTwo", namespace=NS, grace=1.0)
def startUsesTwo(job: Job, first: SourceMeter, second: RelayBoard) -> Result:
    """Needs both at once."""
    return hold(job, "done", first, second)


@service("UsesNone", namespace=NS, limit=0.3, grace=0.5)
def startUsesNone(job: Job) -> Result:
    """No instrument, and a short limit."""
    return hold(job, "done")
