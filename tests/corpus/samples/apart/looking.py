"""What a job finds that has changed nothing."""

import json

from _looked import looked

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://corpus.example/"


class Result(Outputs):
    result: str


@service("Looking", namespace=NS)
def startLooking(job: Job) -> Result:
    """In its function, in a script, and in a program."""
    lines = "umask; nice; echo ${SPICE-none}; echo $PATH; pwd"
    came = {
        "function": looked(),
        "script": json.loads(job.run(Script("_looked.py"))),
        "program": job.run(Command("/bin/sh", "-c", lines)).split(),
    }
    return Result(result=json.dumps(came).replace(str(job.folder), "<job>"))
