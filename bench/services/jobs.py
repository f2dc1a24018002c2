"""What the bench starts: the same waiting as a function, as a Script and as a Command."""

import math
import os
import sys
import time
from pathlib import Path

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://waiter.sintef.no/"
PROGRAM = str(Path(__file__).parents[2] / "app" / "wait_a_while.py")


class Waited(Outputs):
    result: str


@service("Waiter", namespace=NS)
def startWaiter(job: Job, secondsToWait: int = 300) -> Waited:
    """A Script."""
    return Script(PROGRAM, secondsToWait, job.status_file, job.result_file)


@service("Function", namespace=NS)
def startFunction(job: Job, secondsToWait: int = 300) -> Waited:
    """A function."""
    for elapsed in job.every(1, lasting=secondsToWait):
        job.progress(elapsed / max(1, secondsToWait))
    return Waited(result="FINISHED")


@service("Child", namespace=NS)
def startChild(job: Job, secondsToWait: int = 300) -> Waited:
    """A Command."""
    python = os.path.realpath(sys.executable)
    return Command(python, PROGRAM, secondsToWait, job.status_file, job.result_file)


@service("Asleep", namespace=NS)
def startAsleep(job: Job, secondsToWait: int = 300) -> Waited:
    """The least that a running job can be: what stands in its status.txt is the bench's."""
    return Command("sleep", secondsToWait)


@service("Resting", namespace=NS)
def startResting(job: Job, secondsToWait: int = 300) -> None:
    """As little, and it completes."""
    return Command("sleep", secondsToWait)


class Recorded(Outputs):
    samples: int
    latest: float  # s that the latest one came after its time


@service("Recording", namespace=NS)
def startRecording(job: Job, secondsToWait: int = 300, step: float = 0.1) -> Recorded:
    """A sample each step, or (0) as many as it can; CSV and plot."""
    job.units(one="V", two="°C")
    job.plot("one", "two")
    until, samples, latest = time.monotonic() + secondsToWait, 0, 0.0
    due = time.monotonic()
    while time.monotonic() < until:
        job.record(one=math.sin(samples / 100), two=samples % 50)
        samples += 1
        if step:
            due += step
            job.sleep(due - time.monotonic())
            latest = max(latest, time.monotonic() - due)
    return Recorded(samples=samples, latest=latest)
