"""What the bench starts: the same waiting as a function, as a Script and as a Command."""

import os
import sys
from pathlib import Path

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://waiter.sintef.no/"
PROGRAM = str(Path(__file__).resolve().parents[2] / "app" / "wait_a_while.py")


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
