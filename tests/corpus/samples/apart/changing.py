"""Changes what its process has, at its top and in its function; the other services of its folder look at theirs."""

import decimal
import gc
import locale
import os
import random
import signal
import socket
import sys
import tempfile
import warnings

from labwaiter import Job, Outputs, service

NS = "http://corpus.example/"


class Result(Outputs):
    result: str


def change(where: str) -> None:
    decimal.getcontext().prec = 3
    decimal.DefaultContext.prec = 3
    decimal.setcontext(decimal.Context(prec=3))
    os.umask(0o077)
    os.environ["SPICE"] = where
    os.environ["PATH"] = "/nowhere"
    socket.setdefaulttimeout(0.5)
    locale.setlocale(locale.LC_ALL, "C")
    random.seed(1)
    sys.setrecursionlimit(5000)
    sys.path.insert(0, "/nowhere")
    warnings.simplefilter("error")
    tempfile.tempdir = "/nowhere"
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    gc.set_threshold(1)
    os.nice(1)
    os.chdir("/")
    sys.modules["calendar"] = None  # type: ignore[assignment]


change("the top")


@service("Changing", namespace=NS)
def startChanging(job: Job) -> Result:
    """It may do as it likes."""
    change("the function")
    return Result(result=os.environ["SPICE"])
