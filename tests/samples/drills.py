"""Services for drills: each execution leaves a line in a register as it begins."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from labwaiter import Job, Outputs, service
from labwaiter.instruments.drivers import SourceMeter

NS = "http://samples.example/"


class Result(Outputs):
    result: str


def enter(register: str, job: Job) -> None:
    """One write, so that lines of many don't mix."""
    fd = os.open(register, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, f"{job.service_id}\n".encode())
    os.close(fd)


@service("Tally", namespace=NS, limit=300)
def startTally(job: Job, register: str, seconds: float = 1.0) -> Result:
    """Count itself, and take its time."""
    enter(register, job)
    for elapsed in job.every(0.1, lasting=seconds):
        job.progress(elapsed / seconds, "counted")
    return Result(result=job.service_id)


@service("Sourced", namespace=NS, limit=300)
def startSourced(job: Job, register: str, device: SourceMeter, seconds: float = 1.0) -> Result:
    """The same, with an instrument that is on meanwhile."""
    enter(register, job)
    device.compliance = 0.01
    device.volts = 5
    device.output(True)
    for elapsed in job.every(0.1, lasting=seconds):
        job.record(amps=device.current)
        job.progress(elapsed / seconds, "energised")
    device.output(False)
    return Result(result=job.service_id)


@service("Reads", namespace=NS)
def startReads(job: Job, file: Path) -> Result:
    """What a file is, in a hash."""
    return Result(result=hashlib.sha256(file.read_bytes()).hexdigest())
