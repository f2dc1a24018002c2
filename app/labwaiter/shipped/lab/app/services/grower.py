"""Grower: a program of ours, app/grow.py, as a service."""

from typing import Annotated

from labwaiter import Job, Outputs, Range, Script, service


class Grown(Outputs):
    result: str


@service("Grower", namespace="http://LAB_HOST.example/grower/", limit=3600)
def startGrower(job: Job, height: Annotated[float, Range(1, 500, "mm")] = 50) -> Grown:
    """Grow a crystal."""
    return Script("grow.py", height, job.status_file, job.result_file)
