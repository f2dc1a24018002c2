"""Services that record."""

import time

from labwaiter import Job, Outputs, service
from labwaiter.instruments import Reading

NS = "http://samples.example/"


class Result(Outputs):
    result: str


@service("Records", namespace=NS)
def startRecords(job: Job, step: float = 0.002) -> Result:
    """A row each step, until it is stopped."""
    job.units(height="mm", width="mm")
    job.plot("height")
    for elapsed in job.every(step):
        job.record(height=elapsed, width=2 * elapsed, note="a, “b”\nc", old=Reading(20.5, "", time.monotonic() - 60))
        job.progress(elapsed % 1)
    return Result(result="never")
