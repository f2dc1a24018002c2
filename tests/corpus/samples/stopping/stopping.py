"""Work that catches the wish to stop and ends in a way of its own."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from labwaiter import Aborted, Command, Job, JobFailed, Outputs, Script, service

NS = "http://corpus.example/"
GRACE = 20.0  # s: none of these needs it


def wait_for_a_stop() -> None:
    """Python hears a signal that comes just before a long sleep only after it."""
    while True:
        time.sleep(0.05)


class Result(Outputs):
    result: str


def function(job: Job, how: str) -> Result | None:
    """A service's function that is told."""
    try:
        (job.data / "ready").touch()  # from here on it is told within
        wait_for_a_stop()
    except Aborted:
        job.result_file.write_text("a part")
        if how == "returns":
            return Result(result="a part")
        if how == "returns nothing":
            return None
        if how == "fails":
            raise JobFailed("The part is too small.") from None
        if how == "raises":
            raise ValueError("in its clean-up") from None
        if how == "exits 0":
            sys.exit(0)
        if how == "_exits 0":
            os._exit(0)
        raise
    finally:
        if how == "raises in finally":
            raise ValueError("in finally")
    return None


def by_signal(job: Job, how: str) -> Result:
    """A function with a SIGTERM handler of its own, as other libraries set one."""

    def part(number: int, frame: object) -> None:
        job.result_file.write_text("a part")
        if how == "handler exits 0":
            sys.exit(0)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, part)
    try:
        (job.data / "ready").touch()
        wait_for_a_stop()
    except KeyboardInterrupt:
        pass
    return Result(result="a part")


def in_between(job: Job, how: str) -> Result:
    """job.run, and Python after it."""
    try:
        job.run(Script("_part.py", job.result_file, "exits 0"))
    except (Exception, Aborted):
        if how == "swallows the end of job.run":
            return Result(result="a part")
        raise
    return Result(result=Path(job.result_file).read_text())


def work(job: Job, by: str, how: str) -> Any:
    if by == "script":
        return Script("_part.py", job.result_file, how)
    if by == "python":
        return Command(sys.executable, Path(__file__).with_name("_part.py"), job.result_file, how)
    if by == "shell":
        ends = {"exits 0": "exit 0", "exits 143": "exit 143"}[how]
        line = f"trap \"echo a part > '$1'; {ends}\" TERM; touch ready; while true; do sleep 0.01; done"
        return Command("sh", "-c", line, "sh", job.result_file)
    if by == "run":
        return in_between(job, how)
    if by == "handler":
        return by_signal(job, how)
    return function(job, how)


@service("Stopped", namespace=NS, grace=GRACE)
def startStopped(job: Job, by: str, how: str) -> Result:
    """It is aborted."""
    return work(job, by, how)


@service("OverTime", namespace=NS, grace=GRACE, limit=3.0)
def startOverTime(job: Job, by: str, how: str) -> Result:
    """It takes longer than it may."""
    return work(job, by, how)


@service("Stalled", namespace=NS, grace=GRACE, stall=1.5)
def startStalled(job: Job, by: str, how: str) -> Result:
    """It tells nothing of its progress."""
    return work(job, by, how)


@service("SucceedsBy143", namespace=NS, grace=GRACE)
def startSucceedsBy143(job: Job) -> Result:
    """Ending by 143 is success to it."""
    return Script("_part.py", job.result_file, "exits 143", success=(0, 143))
