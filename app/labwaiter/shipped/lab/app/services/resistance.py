"""Resistance: what is between the clamps of a source-measure unit, an instrument of lab.toml."""

import statistics
from typing import Annotated

from labwaiter import Job, JobFailed, Outputs, Range, Unit, service
from labwaiter.instruments.drivers import SourceMeter


class Measured(Outputs):
    resistance: Annotated[float, Unit("Ω")]


@service("Resistance", namespace="http://LAB_HOST.example/resistance/", limit=3600, stall=60)
def startResistance(
    job: Job,
    sourceMeter: SourceMeter,
    volts: Annotated[float, Range(-10, 10, "V")] = 1.0,
    readings: Annotated[int, Range(1, 10_000)] = 10,
) -> Measured:
    """Measure a resistance as the median of some readings. However this ends, the output is off behind it."""
    job.units(current="A")
    currents = []
    sourceMeter.volts = volts
    sourceMeter.output(True)
    for reading in range(readings):
        job.sleep(0.05)  # an abort arrives here, or while the instrument is waited for
        currents.append(float(sourceMeter.current))
        job.record(current=currents[-1])
        job.progress((reading + 1) / readings, f"reading {reading + 1} of {readings}")
    current = statistics.median(currents)
    if not current:
        raise JobFailed("No current flows: is a part connected?")
    return Measured(resistance=volts / current)
