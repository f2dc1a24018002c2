"""Services that hold an instrument in a state in which it may not be left, until a test ends them."""

import os
import time

from labwaiter import Job, JobFailed, Outputs, service
from labwaiter.instruments.drivers import CO2Analyser, MarlinPrinter, RelayBoard, SourceMeter

NS = "http://samples.example/"


class Result(Outputs):
    result: str


def hold(job: Job, how: str, busy: object) -> Result:
    """Go on until the test lets go, then end as it says."""
    job.progress(0.5, "energised")
    while not (job.data / "go").exists():
        busy()
        time.sleep(0.01)
        if how != "stall":
            job.progress(0.5 + time.time() % 0.1, "energised")
    if how == "raise":
        raise RuntimeError("the sample broke")
    if how == "fail":
        raise JobFailed("The door is open.")
    if how == "exit":
        os._exit(3)
    return Result(result="done")


@service("UsesSmu", namespace=NS, limit=60, stall=3, grace=1.0)
def startUsesSmu(job: Job, device: SourceMeter, how: str = "end") -> Result:
    """Output on."""
    device.compliance = 0.01
    device.volts = 5
    device.output(True)
    return hold(job, how, lambda: device.current)


@service("PatientSmu", namespace=NS, limit=60, grace=1.0)
def startPatientSmu(job: Job, device: SourceMeter) -> Result:
    """Output on, and nothing but its limit ends a long wait."""
    device.volts = 5
    device.output(True)
    return hold(job, "end", lambda: device.current)


@service("UsesRelays", namespace=NS, limit=60, stall=3, grace=1.0)
def startUsesRelays(job: Job, device: RelayBoard, how: str = "end") -> Result:
    """Relay 3 on."""
    device.switch(3, True)
    return hold(job, how, device.states)


@service("UsesPrinter", namespace=NS, limit=60, stall=3, grace=1.0)
def startUsesPrinter(job: Job, device: MarlinPrinter, how: str = "end") -> Result:
    """Heater on."""
    device.send("M104 S200")
    device.send("G28")
    return hold(job, how, device.ask_temperatures)


@service("UsesAnalyser", namespace=NS, limit=60, stall=3, grace=1.0)
def startUsesAnalyser(job: Job, device: CO2Analyser, how: str = "end") -> Result:
    """It measures."""
    return hold(job, how, lambda: device.co2)


@service("UsesTwo", namespace=NS)
def startUsesTwo(job: Job, first: SourceMeter, second: RelayBoard) -> Result:
    """Needs both at once."""
    return hold(job, "end", lambda: None)


@service("Limited", namespace=NS, limit=0.5, grace=0.5)
def startLimited(job: Job, device: SourceMeter) -> Result:
    """Longer than it may."""
    device.output(True)
    return hold(job, "end", lambda: None)
