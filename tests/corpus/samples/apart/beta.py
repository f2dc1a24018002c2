"""A service with a module `model` of its own."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "beta_lib"))
import model

from labwaiter import Job, Outputs, service


class Result(Outputs):
    result: str


@service("Beta", namespace="http://corpus.example/")
def startBeta(job: Job) -> Result:
    """Whose model it is."""
    return Result(result=model.NAME)
