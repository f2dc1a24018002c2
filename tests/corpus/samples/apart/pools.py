"""Its own functions and classes go to other processes by their names."""

import multiprocessing
import os
import pickle
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://corpus.example/"


class Reading:
    """A class of the service's file."""

    def __init__(self, value: float) -> None:
        self.value = value


class Result(Outputs):
    result: str


def square(reading: Reading) -> Reading:
    return Reading(reading.value**2)


@service("Pools", namespace=NS, limit=60)
def startPools(job: Job, context: str, kind: str) -> Result:
    """Share work over processes."""
    readings = [Reading(1), Reading(2), Reading(3)]
    how = multiprocessing.get_context(context)
    if kind == "Pool":
        with how.Pool(2) as pool:
            came = pool.map(square, readings)
    elif kind == "left open":
        pool = how.Pool(2)
        came = pool.map(square, readings)
    elif kind == "executor left open":
        came = list(ProcessPoolExecutor(2, how).map(square, readings))
    else:
        with ProcessPoolExecutor(2, how) as executor:
            came = list(executor.map(square, readings))
    assert all(type(one) is Reading for one in came)
    return Result(result=str([one.value for one in came]))


@service("Terminates", namespace=NS, limit=60)
def startTerminates(job: Job) -> Result:
    """Fork processes that wait for ever, and end each at once; gives the signals that ended them."""
    ended: dict[int, int] = {}
    for _ in range(100):
        if (pid := os.fork()) == 0:
            time.sleep(600)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        how = -os.waitstatus_to_exitcode(status)
        ended[how] = ended.get(how, 0) + 1
    return Result(result=str(ended))


@service("Loky", namespace=NS, limit=60)
def startLoky(job: Job) -> Result:
    """The same by loky, whose processes are neither forked nor multiprocessing's own."""
    import loky

    came = list(loky.get_reusable_executor(max_workers=2).map(square, [Reading(1), Reading(2)]))
    return Result(result=str([one.value for one in came]))


@service("Joblib", namespace=NS, limit=60)
def startJoblib(job: Job) -> Result:
    """The same by joblib."""
    from joblib import Parallel, delayed

    came = Parallel(n_jobs=2)(delayed(square)(Reading(n)) for n in (1, 2))
    return Result(result=str([one.value for one in came]))


@service("Pickles", namespace=NS)
def startPickles(job: Job) -> Result:
    """A pickle that other programs read."""
    (job.data / "reading.pickle").write_bytes(pickle.dumps(Reading(21.5)))
    reader = job.data / "reads.py"
    reader.write_text("import pickle\nprint(pickle.load(open('reading.pickle', 'rb')).value)\n")
    printed = job.run(Script(reader)) + job.run(Command(sys.executable, reader))
    return Result(result=" ".join(printed.split()))
