"""Waiter: the tutorial's service. It wraps a program that knows nothing of labwaiter."""

from typing import Annotated

from labwaiter import Job, Outputs, Range, Script, service


class Waited(Outputs):
    result: str


@service("Waiter", namespace="http://waiter.sintef.no/")
def startWaiter(job: Job, secondsToWait: Annotated[int, Range(0, 86400, "s")] = 300) -> Waited:
    """Wait for a while."""
    return Script("wait_a_while.py", secondsToWait, job.status_file, job.result_file)
