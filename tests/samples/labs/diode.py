"""A source meter in the hands of a student.

What it does at its start and its end is told by the files that a test puts beside its jobs.
"""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

from labwaiter import Lab, Range, Unit

lab = Lab(
    instruments={"meter": "smu"},
    readings=["meter.current", "meter.measured_volts"],
    controls={"meter.volts": Range(0, 3)},
    actions=["meter.output"],
    dispose_limit=2,
)


def wish(name: str) -> str:
    """What a test wants to happen there; "" where nothing."""
    path = Path(os.environ["LAB"]).parent / f"wish-{name}"
    return path.read_text() if path.exists() else ""


@lab.on_start
def prepare(session) -> None:
    if wish("start") == "raise":
        session.instrument("meter").volts = 2
        session.instrument("meter").output(True)
        raise ValueError("the clamps are open")
    session.instrument("meter").compliance = 0.01
    session.data["runs"] = 0
    session.data["greeting"] = f"Hello {session.full_name}"


@lab.on_dispose
def put_away(session) -> None:
    told = Path(os.environ["LAB"]).parent / "disposed"
    with open(told, "a") as file:
        file.write(f"{session.username} {session.data.get('runs')}\n")
    is_first = len(told.read_text().splitlines()) == 1
    if wish("dispose") == "leave on":
        session.instrument("meter").volts = 2
        session.instrument("meter").output(True)
    if wish("dispose") == "raise":
        raise ValueError("the door is stuck")
    while wish("dispose") == "hang":
        try:
            time.sleep(0.05)
        except Exception:
            continue
    while wish("dispose") == "hear nothing" or (wish("dispose") == "hang at first" and is_first):
        try:
            time.sleep(0.05)
        except BaseException:
            continue
    if wish("dispose") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@lab.action
def curve(session, top: Annotated[float, Range(0, 3), Unit("V")], points: Annotated[int, Range(2, 20)] = 5) -> list:
    """Measure the current up to a voltage."""
    if wish("act") == "exit":
        raise SystemExit(3)
    meter = session.instrument("meter")
    meter.output(True)
    found = []
    for number in range(points):
        meter.volts = top * number / (points - 1)
        found.append([round(float(meter.volts), 6), float(meter.current)])
    session.data["runs"] = session.data["runs"] + 1
    (session.files / "curve.csv").write_text("\n".join(f"{volts},{amps}" for volts, amps in found))
    return found
