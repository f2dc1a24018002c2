"""The process that reads one instrument, until somebody wants it. A fork of the monitor's.

It has the lease of a reader (`store/readers.py`) while its line is open, and reads only. Whoever wants the instrument
marks that and sends a signal, which ends whatever this waits for: it closes its line, gives the lease back and is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import select
import signal
import sys
import time
from dataclasses import replace
from types import FrameType
from typing import Any

from ..errors import Misconfigured, ServiceError
from ..instruments.opening import Opened
from ..instruments.reading import PanelReader
from ..lab.lab import InstrumentEntry
from ..settings import Settings
from ..store import supervisor_client
from ..store.leases import Leases
from ..store.readers import WAKE
from ..system.process import identify

log = logging.getLogger("labwaiter.monitor")
LOOK_AGAIN = 1.0  # s between two looks whether somebody wants it, should the signal have been lost
_PR_SET_PDEATHSIG = 1


class Yielded(BaseException):
    """Somebody wants the instrument, or the monitor is gone. No driver's `except Exception` holds it up."""


class _Wish:
    """Whether to go on, asked by signals and in each wait of a driver."""

    def __init__(self, names: tuple[str, ...], leases: Leases) -> None:
        self._names, self._leases, self._parent = names, leases, os.getppid()
        self.armed = False
        signal.signal(WAKE, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, WAKE, 0, 0, 0)
        self._over = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._over = self._over or number == signal.SIGTERM
        self.check()

    def check(self) -> None:
        """Raises Yielded."""
        if self.armed and (self._over or os.getppid() != self._parent or not self._leases.is_idle(self._names)):
            self.armed = False
            raise Yielded


def read(entry: InstrumentEntry, names: tuple[str, ...], settings: Settings, out: int) -> None:
    """Read it until somebody wants it.

    Args:
        names: of its device, its own among them.
        out: a pipe's end to which each round goes as a line of JSON: when it began ("began"), what was read ("at",
            "readings"), why nothing can be ("why"); nothing where it isn't idle.
    """
    leases = Leases(settings.jobs_folder)
    wish, process = _Wish(names, leases), identify(os.getpid())
    if process is None or not leases.let_read(entry.name, names, process):
        return
    opened: Opened | None = None
    try:
        wish.armed = True
        wish.check()
        _say(out, began=time.time())
        # a line that is lost is opened anew by the next process, after a pause
        opened = Opened(replace(entry, reconnect=0.0), settings.jobs_folder, check=wish.check)
        reader = PanelReader(opened)
        due = time.monotonic()
        while True:
            _say(out, began=time.time())
            at = time.time()
            readings = reader.look(wish.check)
            _say(out, at=at, readings=readings)
            due = max(due + (entry.monitor_every_s or 1.0), time.monotonic())
            while (left := due - time.monotonic()) > 0:
                wish.check()
                select.select([], [], [], min(left, LOOK_AGAIN))
    except Yielded:
        pass
    except Exception as error:
        wish.armed = False
        _say(out, why=_words(entry.name, error))
    finally:
        wish.armed = False
        if opened is not None:
            with contextlib.suppress(Exception):
                opened.close()
        leases.readers.forget(names)
        supervisor_client.wake(settings, "")  # a job may wait for it


def _words(name: str, error: Exception) -> str:
    if isinstance(error, ServiceError):
        return error.message
    if not isinstance(error, Misconfigured):
        log.warning("%s can't be read", name, exc_info=True)
    words = " ".join(str(error).split())[:300]
    return f"{name} can't be read: {words or type(error).__name__}"


def _say(out: int, **what: Any) -> None:
    text = memoryview(json.dumps(what).encode() + b"\n")
    while text:
        text = text[os.write(out, text) :]


def fork(entry: InstrumentEntry, names: tuple[str, ...], settings: Settings, close: list[int]) -> tuple[int, int]:
    """Have a process read it: its pid, and the end of the pipe from which it is heard.

    Args:
        close: descriptors that are the monitor's alone.

    Raises:
        OSError: there is no process for it now.
    """
    hear, say = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(hear)
        os.close(say)
        raise
    if pid:
        os.close(say)
        os.set_blocking(hear, False)
        return pid, hear
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (hear, *close):
            os.close(fd)
        os.dup2(2, 1)  # what a driver prints is for the log
        sys.path.append(str(settings.services))  # drivers of this lab's own lie beside its services
        read(entry, names, settings, say)
        status = 0
    except Yielded:
        status = 0
    except BrokenPipeError:
        status = 0  # the monitor is gone
    except BaseException:
        log.exception("the reader of %s broke", entry.name)
    finally:
        os._exit(status)
