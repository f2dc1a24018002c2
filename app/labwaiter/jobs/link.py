"""The way to the supervisor: is it there, wake it, start it, replace it, stop it.

It holds a POSIX record lock on supervisor.lock: asking the lock is asking whether a supervisor lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .. import simulation
from ..errors import Misconfigured
from ..process import MARKER, identify, lock_holder, open_pidfd
from ..settings import ROOT, Settings
from .files import touch
from .folder import Folder
from .names import OURS

LOG_MAX = 5_000_000  # bytes of supervisor.log, before a new one is begun


def alive(settings: Settings) -> int | None:
    """The pid of the supervisor of this jobs folder (0: in another container); None without one."""
    return lock_holder(f"{settings.jobs_folder}/{OURS}/supervisor.lock")


def take_lock(file: Path) -> int | None:
    """The descriptor of a POSIX lock that this process holds until it ends; None where another one has it."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None


def address(ours: Path, folder_fd: int) -> str:
    """The wake socket's address: a unix socket's path ends at 107 bytes, a folder's doesn't."""
    path = str(ours / "wake")
    return path if len(os.fsencode(path)) < 107 else f"/proc/self/fd/{folder_fd}/wake"


def wake(settings: Settings, name: str) -> bool:
    """Tell the supervisor that there's something to do for a job; False when nobody hears it.

    A lost call costs a second, no more: the supervisor looks by itself.
    """
    ours = Folder(settings.jobs_folder).ours
    try:
        folder_fd = os.open(ours, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0.1)
            line.sendto(name.encode(), address(ours, folder_fd))
        return True
    except OSError:
        return False
    finally:
        os.close(folder_fd)


def may_be_written(settings: Settings) -> None:
    """Have the jobs and the files folder there. Raises Misconfigured where that of the jobs can't be written."""
    try:
        Folder(settings.jobs_folder).make()
        touch(settings.jobs_folder / OURS / "start.lock")
    except OSError as error:
        who = f"user {os.geteuid()}"
        raise Misconfigured(
            f"WAITER_LOG_FOLDER {settings.jobs_folder} can't be written by {who} ({error.strerror}):"
            f" give it to that user (chown {os.geteuid()}), or name another folder."
        ) from error
    with contextlib.suppress(OSError):  # it may be another's, and only read
        settings.files_folder.mkdir(parents=True, exist_ok=True)


def stopped(settings: Settings) -> bool:
    """Whether the supervisor was stopped on purpose."""
    return os.path.exists(f"{settings.jobs_folder}/{OURS}/stopped")


def ensure(settings: Settings, even_if_stopped: bool = False, leaving: bool = False) -> None:
    """Have a supervisor there: start one, detached, if there's none and it's ours to start.

    Args:
        even_if_stopped: also where it was stopped on purpose.
        leaving: one that admits nothing, settles what is left, and leaves.

    Raises:
        TimeoutError: it didn't come within 10 s; supervisor.log says why.
    """
    if alive(settings) is not None or (stopped(settings) and not even_if_stopped) or settings.supervisor_elsewhere:
        return
    folder = Folder(settings.jobs_folder)
    folder.make()
    with open(folder.ours / "ensure.lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # of many who find it gone, one starts it
        if alive(settings) is not None:
            return
        _spawn(settings, folder.ours / "supervisor.log", ["--leaving"] if leaving else [])
        until = time.monotonic() + 10
        while alive(settings) is None:
            if time.monotonic() > until:
                raise TimeoutError(
                    "The supervisor did not start: .labwaiter/supervisor.log in the jobs folder says why."
                )
            time.sleep(0.005)  # a lock of another process can't be awaited without taking it


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a process of ours finds this package and this deployment."""
    # without a job's mark: what a job starts of ours must not end with it; and without what the supervisor and its
    # jobs have no business with
    left_out = (MARKER, "REDIS_URL", "REDIS_SECRET")
    given = {name: value for name, value in os.environ.items() if name not in left_out}
    app = str(ROOT / "app")
    paths = [p for p in given.get("PYTHONPATH", "").split(os.pathsep) if p and p != app]
    given["PYTHONPATH"] = os.pathsep.join([app, *paths])
    given["WAITER_LOG_FOLDER"] = str(settings.jobs_folder)
    given["SERVICES"] = str(settings.services)
    given["FILES_FOLDER"] = str(settings.files_folder)
    given["LAB"] = str(settings.lab)
    return given


def _spawn(settings: Settings, log: Path, words: list[str]) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_MAX:
            os.replace(log, log.with_suffix(".log.1"))
    # a middleman that leaves at once: the supervisor is nobody's child, so nobody must reap it
    middle = (
        "import os,sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'labwaiter.supervisor', *sys.argv[1:]])\n"
    )
    with open(log, "ab") as out:
        subprocess.run(
            [sys.executable, "-S", "-c", middle, *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=environment(settings),
            check=False,
        )


def replace(settings: Settings) -> None:
    """Have the supervisor begin anew with the code that is there now; running jobs go on."""
    pid = alive(settings)
    if pid:
        os.kill(pid, signal.SIGHUP)
    else:
        ensure(settings, even_if_stopped=True)


def stop(settings: Settings, wait: float = 60.0) -> bool:
    """Stop the supervisor for good: nothing more is admitted, every job is settled.

    Returns:
        True once that is done, False if it is still being done after `wait` seconds.
    """
    until = time.monotonic() + wait
    folder = Folder(settings.jobs_folder)
    folder.make()
    touch(folder.ours / "stopped")
    while True:
        pid = alive(settings)
        if pid is None:
            left = folder.active_names() or simulation.alive(settings.jobs_folder)
            if not left or settings.supervisor_elsewhere:
                return True
            # what is left without a supervisor is dealt with by a new one, that is told so as it begins
            ensure(settings, even_if_stopped=True, leaving=True)
            pid = alive(settings)
        who = identify(pid) if pid else None
        fd = open_pidfd(who) if who else None
        if fd is not None:
            try:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGTERM)
                select.select([fd], [], [], max(0.0, until - time.monotonic()))
            finally:
                os.close(fd)
        # it may have been killed in the middle of it: then whoever comes next goes on
        if time.monotonic() >= until or (fd is None and alive(settings) is not None):
            return alive(settings) is None and not folder.active_names()
