"""A source meter whose curves are tasks."""

import os
import time
from pathlib import Path
from typing import Annotated

from labwaiter import AlreadyRunning, Lab, Range, Unit

lab = Lab(instruments={"meter": "smu"}, tasks=["sweep", "hold"])


def bench() -> Path:
    """The folder of the instruments that the test has plugged in."""
    return Path(os.environ["LAB"]).parent


@lab.on_start
def prepare(session):
    session.instrument("meter").compliance = 0.01
    if (bench() / "wish-sweep-at-start").exists():
        session.data["first"] = sweep.run_sync(1.0, timeout=60).result


@lab.on_dispose
def put_away(session):
    told = [f"{task.name} {task.status}" for task in session.tasks]
    with open(bench() / "disposed", "a") as file:
        file.write(f"{session.username}: {', '.join(told)}\n")


@lab.task(grace=1)
def sweep(session, top: Annotated[float, Range(0, 3), Unit("V")], points: Annotated[int, Range(2, 200)] = 5):
    """Measure the current up to a voltage."""
    meter = session.instrument("meter")
    meter.output(True)
    session.task.data["points"] = points
    curve = []
    for number in range(points):
        meter.volts = top * number / (points - 1)
        curve.append([round(float(meter.volts), 6), meter.current])
        session.task.say((number + 1) / points, f"at {meter.volts:.2f} {meter.volts.unit}")
    (session.files / "sweep.csv").write_text("\n".join(f"{volts},{amps}" for volts, amps in curve))
    return curve


@lab.task(unique="user", grace=1)
def hold(session, volts: float = 2.0, hears: bool = True):
    """Hold a voltage until it is told to stop."""
    meter = session.instrument("meter")
    meter.volts = volts
    meter.output(True)
    turns = 0
    session.task.data["pid"] = os.getpid()
    while not (hears and session.task.stopping):
        try:
            turns += 1
            session.task.data["reads"] = float(meter.current)
            time.sleep(0.02)
        except BaseException:
            if hears:
                raise
    return {"turns": turns, "left": session.time_left > 0}


@lab.task(unique="global")
def alone(session):
    """Wait until somebody opens the door."""
    while not (bench() / "door").exists() and not session.task.stopping:
        time.sleep(0.02)


@lab.task
def fails(session, how: str):
    meter = session.instrument("meter")
    if how == "limit":
        meter.volts = 1e6
    if how == "private":
        return meter._secret
    if how == "object":
        return meter.current, object()
    if how == "unknown":
        session.instrument("heater")
    if how == "itself":
        session.task.join()
    raise ValueError(f"no such way: {how}")


@lab.action
def curve_now(session, top: float) -> list:
    """Wait for a sweep, as an action may: the line is this process's own."""
    task = sweep.run_sync(top, 3, timeout=60)
    return [task.status, task.result, [one.name for one in session.tasks], session.tasks.get(sweep) is not None]


@lab.action
def begin(session, task: str) -> str:
    """Start one of the tasks."""
    try:
        return {"hold": hold, "alone": alone}[task].delay().task_id
    except AlreadyRunning as error:
        return str(error)
