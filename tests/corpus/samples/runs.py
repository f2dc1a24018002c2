"""Runs a script of the corpus, in each way that a service can have one run."""

import json
from pathlib import Path
from typing import Any

from labwaiter import Job, Outputs, Script, service

NS = "http://corpus.example/"
HERE = Path(__file__).parent
SECONDS = 30


class Result(Outputs):
    result: str


def script(job: Job, trait: str) -> Any:
    """The script, as its trait wants to be run."""
    how = json.loads((HERE / "traits" / trait / "how.json").read_text())
    return Script(
        f"traits/{trait}/script.py",
        job.result_file,
        *how["arguments"],
        environment=how["environment"],
        folder=how["folder"],
    )


def ran(job: Job, trait: str) -> None:
    """Run it, and keep what `job.run` gave."""
    printed = job.run(script(job, trait))
    (job.folder / "printed.txt").write_bytes(printed.encode("utf-8", "surrogatepass"))


@service("Returned", namespace=NS, limit=SECONDS)
def startReturned(job: Job, trait: str) -> Result:
    """Its script is all of its work."""
    return script(job, trait)


@service("ReturnedNone", namespace=NS, limit=SECONDS)
def startReturnedNone(job: Job, trait: str) -> None:
    """Likewise, without a result."""
    return script(job, trait)


@service("Ran", namespace=NS, limit=SECONDS)
def startRan(job: Job, trait: str) -> Result:
    """It goes on after its script."""
    ran(job, trait)
    if not job.result_file.exists():
        return None  # type: ignore[return-value]  # refused, as a script's missing result is
    return Result(result=job.result_file.read_bytes().decode("utf-8", "replace"))


@service("RanNone", namespace=NS, limit=SECONDS)
def startRanNone(job: Job, trait: str) -> None:
    """Likewise, without a result."""
    ran(job, trait)
