"""Ventilation: a fan on a relay and a CO2 analyser; how fast does the air of a chamber fill up again?"""

from typing import Annotated

from labwaiter import Job, Outputs, Range, service
from labwaiter.instruments.drivers import CO2Analyser, RelayBoard


class Breathed(Outputs):
    slopes: str  # ppm/s of each cycle, separated by blanks
    final: float


@service("Ventilation", namespace="http://labwaiter.example/ventilation/", limit=86400, stall=300)
def startVentilation(
    job: Job,
    relays: RelayBoard,
    analyser: CO2Analyser,
    fan: Annotated[int, Range(1, 8)] = 1,
    cycles: Annotated[int, Range(1, 1000)] = 3,
    ventilate: Annotated[float, Range(0.1, 3600, "s")] = 10.0,
    measure: Annotated[float, Range(0.1, 3600, "s")] = 20.0,
) -> Breathed:
    """Ventilate and measure in turns; the slope of CO2 in each turn of measuring is the result."""
    job.units(co2="ppm")
    job.plot("co2")
    slopes = []
    for cycle in range(cycles):
        for on, seconds, what in ((True, ventilate, "ventilating"), (False, measure, "measuring")):
            relays.switch(fan, on)
            trace: list[tuple[float, float]] = []
            for elapsed in job.every(min(1.0, seconds / 4), lasting=seconds):
                co2 = analyser.co2
                trace.append((co2.taken, float(co2)))
                job.record(co2=co2, fan=on)
                done = (cycle + (elapsed / seconds + (0 if on else 1)) / 2) / cycles
                job.progress(done, f"cycle {cycle + 1} of {cycles}: {what}, {co2:.0f} ppm")
            if not on:
                slopes.append(slope(trace))
    return Breathed(slopes=" ".join(f"{one:.4g}" for one in slopes), final=float(analyser.co2))


def slope(trace: list[tuple[float, float]]) -> float:
    """The least-squares slope of a trace of (s, ppm), in ppm/s; 0 where nothing moved."""
    count = len(trace)
    mean_t = sum(t for t, _ in trace) / count
    mean_c = sum(c for _, c in trace) / count
    spread = sum((t - mean_t) ** 2 for t, _ in trace)
    return sum((t - mean_t) * (c - mean_c) for t, c in trace) / spread if spread else 0.0
