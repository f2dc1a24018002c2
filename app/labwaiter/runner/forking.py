"""Forks of a runner's, and what each puts away of the process that it was forked from."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys

from ..system.process import become_subreaper, for_jobs, put_mark
from .confinement import Confinement
from .program import NoProcess


def fork() -> int:
    """fork(2), with the new process' SIGTERM held back until it has none of our handlers any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = -1
    try:
        pid = os.fork()
        return pid
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def try_fork() -> int:
    """As `fork`. Raises NoProcess: it is to be tried again."""
    try:
        return fork()
    except OSError as error:
        raise NoProcess(error.strerror) from error


def set_group(pid: int) -> None:
    """Give a child a process group of its own; on both sides, so that it has it whoever is first."""
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)


def leave_the_fork_server(mark: str, release: int, confinement: Confinement, folder: str) -> None:
    """Have nothing of the fork server's but its imports: own session, clean signals and descriptors.

    Args:
        folder: the job's.
    """
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the only one that a fork server deals with
    signal.set_wakeup_fd(-1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.closerange(3, release)
    os.closerange(release + 1, os.sysconf("SC_OPEN_MAX"))
    put_mark(mark)
    for_jobs()
    become_subreaper()
    confinement.enter(folder)


def leave_the_runner(into: int) -> None:
    """Have nothing of the runner's: its signals, and stdout and stderr for the log's pipe."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    set_group(0)
    if (threading := sys.modules.get("threading")) is not None:
        threading.main_thread()._set_native_id()  # a fork does it for its threads alone
    os.dup2(into, 1)
    os.dup2(into, 2)
    sys.stdout = sys.__stdout__ = _stream(1, "<stdout>")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "<stderr>")  # type: ignore[misc]
    gc.enable()


def _stream(descriptor: int, name: str) -> io.TextIOWrapper:
    """A stream as an interpreter makes it for a descriptor; lines are seen at once."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    raw.name = name
    stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)
    stream.mode = "w"  # type: ignore[misc]
    return stream
