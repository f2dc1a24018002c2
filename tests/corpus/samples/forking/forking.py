"""Forks while an instrument is in use: the child is not the job."""

import multiprocessing
import os
import sys
import time

from labwaiter import Job, JobFailed, Outputs, Script, service
from labwaiter.instruments.drivers import SourceMeter

NS = "http://corpus.example/"


class Result(Outputs):
    result: str


def child(job: Job, how: str) -> None:
    """The end of a process that is not the job."""
    if how == "sys.exit(0)":
        sys.exit(0)
    if how == "sys.exit(3)":
        sys.exit(3)
    if how == "raise":
        raise ValueError("in the child")
    if how == "fail":
        raise JobFailed("The child failed.")
    if how == "os._exit":
        os._exit(0)
    if how == "killed":
        os.kill(os.getpid(), 15)
    if how == "interrupted":
        raise KeyboardInterrupt
    # else it goes on, and returns from the service's function


@service("Forks", namespace=NS, grace=1.0)
def startForks(job: Job, source: SourceMeter, how: str) -> Result:
    """A child ends in its way, and the work goes on."""
    source.compliance = 0.01
    source.volts = 5
    source.output(True)
    if how == "process":
        one = multiprocessing.get_context("fork").Process(target=sys.exit, args=(0,))
        one.start()
        one.join()
    elif how == "daemon of a process":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                sys.exit(0)
            os._exit(0)
        os.wait()
    elif how == "script":
        (job.data / "forks.py").write_text("import os, sys\nif os.fork() == 0: sys.exit(0)\nos.wait()\n")
        job.run(Script(job.data / "forks.py"))
    else:
        pid = os.fork()
        if pid == 0:
            child(job, how)
            return Result(result="of the child")
        os.waitpid(pid, 0)
    job.progress(0.5, "the child has ended")
    while not (job.data / "go").exists():
        job.record(current=source.current)
        time.sleep(0.01)
    return Result(result="of the parent")
