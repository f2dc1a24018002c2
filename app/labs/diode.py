"""A silicon diode and a heater: the current at voltages up to 0.9 V, and how a heater warms up."""

import time
from typing import Annotated

from labwaiter import Lab, Range, Unit

lab = Lab(
    instruments={"meter": "sourcemeter", "heater": "marlin"},
    readings=["meter.current", "meter.measured_volts", "heater.hotend"],
    controls={"meter.volts": Range(-5, 0.9), "heater.hotend_target": Range(0, 120)},
    actions=["meter.output"],
    tasks=["sweep"],
)


@lab.on_start
def prepare(session):
    session.instrument("meter").compliance = 0.05  # A
    session.data["curves"] = 0


@lab.on_dispose
def put_away(session):
    session.instrument("meter").output(False)
    session.instrument("meter").volts = 0
    session.instrument("heater").hotend_target = 0


@lab.action
def curve(session, top: Annotated[float, Range(0.1, 0.9), Unit("V")] = 0.8, points: Annotated[int, Range(2, 50)] = 17):
    """Measure the current from 0 V up to a voltage; the curve is a file to take home."""
    meter, lines = session.instrument("meter"), ["volts,amps"]
    meter.volts = 0
    meter.output(True)
    for number in range(points):
        meter.volts = top * number / (points - 1)
        lines.append(f"{top * number / (points - 1):.4f},{float(meter.current):.3e}")
    session.data["curves"] += 1
    name = f"curve-{session.data['curves']}.csv"
    (session.files / name).write_text("\n".join(lines) + "\n")
    return f"{points} points are in {name}"


@lab.task(unique="user")
def sweep(
    session, top: Annotated[float, Range(0.1, 0.9), Unit("V")] = 0.8, points: Annotated[int, Range(2, 500)] = 100
):
    """Measure slowly from 0 V up to a voltage, while everything can be watched; the curve is a file to take home."""
    meter, lines = session.instrument("meter"), ["volts,amps"]
    meter.volts = 0
    meter.output(True)
    for number in range(points):
        if session.task.stopping:
            break
        meter.volts = top * number / (points - 1)
        lines.append(f"{top * number / (points - 1):.4f},{float(meter.current):.3e}")
        session.task.say((number + 1) / points, f"{number + 1} of {points} points")
        time.sleep(0.1)
    meter.output(False)
    (session.files / "sweep.csv").write_text("\n".join(lines) + "\n")
    return f"{len(lines) - 1} points are in sweep.csv"
