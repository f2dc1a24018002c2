"""Ventilation: a fan on a relay and a CO2 analyser; how fast does the air of a chamber fill up again?"""

import statistics
from pathlib import Path
from typing import Annotated

from labwaiter import Job, JobFailed, Outputs, Range, Unit, service
from labwaiter.instruments.drivers import CO2Analyser, RelayBoard

LOOK_EVERY = 1.0  # s: the analyser speaks about once a second


class Breathed(Outputs):
    slopes: str  # ppm/s, of each cycle, separated by blanks
    meanSlope: Annotated[float, Unit("ppm/s")]
    finalConcentration: Annotated[float, Unit("ppm")]
    trace: Path


@service("Ventilation", namespace="http://labwaiter.example/ventilation/", limit=86400, stall=300)
def startVentilation(
    job: Job,
    relays: RelayBoard,
    analyser: CO2Analyser,
    fan: Annotated[int, Range(1, RelayBoard.count)] = 1,
    cycles: Annotated[int, Range(1, 1000)] = 3,
    ventilate: Annotated[float, Range(1, 3600, "s")] = 10.0,
    measure: Annotated[float, Range(1, 3600, "s")] = 20.0,
) -> Breathed:
    """Ventilate and measure in turns: how fast CO2 rises in each turn of measuring."""
    job.units(co2="ppm", slope="ppm/s")
    job.plot("co2", "fan")
    slopes: list[float] = []
    for cycle in range(cycles):
        for on, seconds in ((True, ventilate), (False, measure)):
            relays.switch(fan, on)
            trace: dict[float, float] = {}  # when → ppm: a reading counts once, however often it is looked at
            for elapsed in job.every(min(LOOK_EVERY, seconds / 4), lasting=seconds):
                co2 = analyser.co2
                if elapsed:  # the first one may have been measured before the fan was switched
                    trace[co2.taken] = float(co2)
                job.record(co2=co2, fan=on, cycle=cycle + 1)
                done = (cycle * (ventilate + measure) + (0.0 if on else ventilate) + elapsed) / (
                    cycles * (ventilate + measure)
                )
                what = "ventilating" if on else "measuring"
                job.progress(done, f"cycle {cycle + 1} of {cycles}: {what}, {co2:.0f} ppm")
        if len(trace) < 2:
            raise JobFailed(f"The analyser sent too few measurements for a slope in {measure:g} s: measure longer.")
        slopes.append(statistics.linear_regression(list(trace), list(trace.values())).slope)
        job.record(cycle=cycle + 1, slope=round(slopes[-1], 4))
    return Breathed(
        slopes=" ".join(f"{one:.4g}" for one in slopes),
        meanSlope=statistics.fmean(slopes),
        finalConcentration=float(analyser.co2),
        trace=job.data / "record.csv",
    )
