"""Sweep: an I–V curve by a source-measure unit, and the resistance that fits it."""

import statistics
from pathlib import Path
from typing import Annotated

from labwaiter import Job, JobFailed, Outputs, Range, Unit, service
from labwaiter.instruments.drivers import SourceMeter

SETTLE = 0.02  # s between a new voltage and its measurement
Volts = Annotated[float, Range(SourceMeter.volts.low, SourceMeter.volts.high, "V")]
Amps = Annotated[float, Range(SourceMeter.compliance.low, SourceMeter.compliance.high, "A")]


class Swept(Outputs):
    resistance: Annotated[float, Unit("Ω")]  # the line's through all points that the compliance doesn't limit
    offset: Annotated[float, Unit("A")]  # its current at 0 V
    straightness: float  # R² of that line: well below 1, the part is no resistor
    limited: Annotated[int, Unit("points")]
    curve: Path


def sensible(startVolts: float, stopVolts: float, **_: object) -> str | None:
    """Why such a sweep is refused; None if it isn't."""
    if startVolts == stopVolts:
        return f"The inputs startVolts and stopVolts are both {startVolts:g} V: a curve needs two ends."
    return None


@service("Sweep", namespace="http://labwaiter.example/sweep/", limit=3600, stall=60, check=sensible)
def startSweep(
    job: Job,
    sourceMeter: SourceMeter,
    startVolts: Volts = -1.0,
    stopVolts: Volts = 1.0,
    points: Annotated[int, Range(2, 10_000)] = 21,
    compliance: Amps = 0.1,
) -> Swept:
    """Measure the current through a part while the voltage goes from startVolts to stopVolts."""
    job.units(voltage="V", current="A")
    job.plot("current", against="voltage")
    sourceMeter.compliance = compliance
    sourceMeter.volts = startVolts
    sourceMeter.output(True)
    free: list[tuple[float, float]] = []
    limited = 0
    for number in range(points):
        volts = startVolts + (stopVolts - startVolts) * number / (points - 1)
        sourceMeter.volts = volts
        job.sleep(SETTLE)
        amps, tripped = sourceMeter.current, sourceMeter.tripped
        if tripped:
            limited += 1
        else:
            free.append((volts, float(amps)))
        job.record(voltage=round(volts, 9), current=amps, limited=tripped)
        words = f", {limited} points limited by the compliance of {compliance:g} A" if limited else ""
        job.progress((number + 1) / points, f"{volts:.3g} V, point {number + 1} of {points}{words}")
    sourceMeter.output(False)
    if len(free) < 2:
        raise JobFailed(
            f"No resistance fits: {limited} of {points} points were limited by the compliance of {compliance:g} A."
            " Raise it, or sweep a smaller voltage. The curve is in record.csv."
        )
    slope, offset = statistics.linear_regression(*zip(*free, strict=True))
    if not slope:
        raise JobFailed("No resistance fits: the current does not change at all. Is a part connected?")
    straightness = statistics.correlation(*zip(*free, strict=True)) ** 2
    return Swept(
        resistance=1 / slope, offset=offset, straightness=straightness, limited=limited, curve=job.data / "record.csv"
    )
