"""Sweep: an I–V curve by a source-measure unit, and the resistance that fits it."""

import math
from typing import Annotated

from labwaiter import Job, JobFailed, Outputs, Range, Unit, service
from labwaiter.instruments.drivers import SourceMeter

SETTLE = 0.02  # s between a new voltage and its measurement


class Swept(Outputs):
    resistance: Annotated[float, Unit("Ω")]
    offset: Annotated[float, Unit("A")]


@service("Sweep", namespace="http://labwaiter.example/sweep/", limit=3600, stall=60)
def startSweep(
    job: Job,
    sourceMeter: SourceMeter,
    startVolts: Annotated[float, Range(-210, 210, "V")] = -1.0,
    stopVolts: Annotated[float, Range(-210, 210, "V")] = 1.0,
    points: Annotated[int, Range(2, 10_000)] = 21,
    compliance: Annotated[float, Range(1e-9, 1.05, "A")] = 0.1,
) -> Swept:
    """Measure current against voltage; the curve is in data/record.csv."""
    job.units(volts="V", amps="A")
    job.plot("amps", against="volts")
    sourceMeter.compliance = compliance
    sourceMeter.volts = startVolts
    sourceMeter.output(True)
    measured = []
    for number in range(points):
        volts = startVolts + (stopVolts - startVolts) * number / (points - 1)
        sourceMeter.volts = volts
        job.sleep(SETTLE)
        amps = sourceMeter.current
        measured.append((volts, float(amps)))
        job.record(volts=round(volts, 9), amps=amps)
        job.progress((number + 1) / points, f"{volts:.3g} V")
    sourceMeter.output(False)
    free = [(v, a) for v, a in measured if abs(a) < 0.99 * compliance]
    slope, offset = line_through(free)
    if not slope:
        raise JobFailed("No resistance fits: the current is limited by the compliance, or doesn't change.")
    return Swept(resistance=1 / slope, offset=offset)


def line_through(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line; (0, 0) where there is none."""
    count = len(points)
    mean_x = math.fsum(x for x, _ in points) / max(count, 1)
    mean_y = math.fsum(y for _, y in points) / max(count, 1)
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if count < 2 or spread == 0:
        return 0.0, 0.0
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return slope, mean_y - slope * mean_x
