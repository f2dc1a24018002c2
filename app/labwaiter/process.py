"""Processes as Linux knows them: who one is, whether it lives, what it left behind.

A pid alone names nobody: it comes back. An `Identity` (pid, start time, boot) does, a pidfd keeps
what it names, and a marker in the environment finds a job's descendants wherever they hid.
Sources: proc_pid_stat(5), proc_pid_environ(5), pidfd_open(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import signal
import struct
import time
from functools import cache
from pathlib import Path

from .record import Identity

MARKER = "LABWAITER_JOB"  # NAME=64 hex digits in the environment of everything that a job starts
NO_MARK = "0" * 64  # what a nursery carries: room for its runners' marks
_PR_SET_CHILD_SUBREAPER = 36
_FLOCK = "hhqqi"  # struct flock on 64-bit Linux, padded as C does


@cache
def boot_id() -> str:
    """This boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def boot_clock() -> float:
    """Seconds since the machine started, sleep included: no hand can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _stat(pid: int) -> list[str]:
    # the command's name may hold spaces and brackets: fields begin behind its last bracket
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).decode(errors="replace").rpartition(")")[2].split()
    finally:
        os.close(fd)


def identify(pid: int) -> Identity | None:
    """Who `pid` is now; None where it names no living process (a zombie is dead)."""
    try:
        fields = _stat(pid)
    except (OSError, ValueError):
        return None
    if not fields or fields[0] in "ZX":
        return None
    return Identity(pid, int(fields[19]), boot_id(), _pid_namespace())


def lives(who: Identity) -> bool | None:
    """Whether that very process lives; None where it can't be judged from here (another container)."""
    if who.boot_id != boot_id():
        return False
    if who.pid_namespace and who.pid_namespace != _pid_namespace():
        return None
    return identify(who.pid) == who


def open_pidfd(who: Identity) -> int | None:
    """A pidfd of that very process; None when it is gone."""
    try:
        fd = os.pidfd_open(who.pid)
    except OSError:
        return None
    if identify(who.pid) != who:  # the pid was taken by another between the two looks
        os.close(fd)
        return None
    return fd


def mark_of(jobs_folder: Path, name: str) -> str:
    """The marker's value for one job: the same length for every job, so that it can be overwritten."""
    return hashlib.sha256(f"{jobs_folder.resolve()}\0{name}".encode()).hexdigest()


_LIBC = ctypes.CDLL(None)


@cache
def _place_of_mark() -> int | None:
    """Where the kernel keeps this process's NO_MARK; None where it has none."""
    _LIBC.getenv.restype = ctypes.c_void_p
    found: int | None = _LIBC.getenv(MARKER.encode())
    return found if os.environ.get(MARKER) == NO_MARK else None


def make_ready_for_marks() -> None:
    """Look up now what every fork will need."""
    _place_of_mark()


def put_mark(mark: str) -> None:
    """Mark this process, and all that it will fork or exec, as this job's.

    os.environ reaches only programs that are exec'd. A child that merely forks shows the
    environment that the nursery was started with, so the mark is also written over the nursery's
    NO_MARK where the kernel keeps it (proc_pid_environ(5): that memory is shown as it is now).
    """
    where = _place_of_mark()
    if where:
        ctypes.memmove(where, mark.encode(), len(mark))
    os.environ[MARKER] = mark


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int | None = None) -> list[int]:
    """The pids of the children of `pid`, or of this process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        try:
            found += [int(p) for p in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def marked(mark: str, name: str = MARKER) -> list[Identity]:
    """Every living process but this one that carries `name`=`mark` in its environment."""
    wanted = f"{name}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        who = identify(int(entry))
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if who is not None and wanted in environ.split(b"\0"):
            found.append(who)
    return found


def lock_holder(file: str | Path, byte: int | None = None) -> int | None:
    """The pid that holds a POSIX record lock on a file (0: in another container); None where nobody does.

    It ends with its process and no child inherits it: asking it is asking for a life (fcntl(2), F_GETLK).

    Args:
        byte: the one that is asked for; None: any.
    """
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte or 0, 0 if byte is None else 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else max(pid, 0)
    finally:
        os.close(fd)


def kill(who: Identity, with_signal: int = signal.SIGKILL) -> bool:
    """Send a signal to that very process and no other; False when it is gone."""
    fd = open_pidfd(who)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, with_signal)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def kill_marked(mark: str, seconds: float = 5.0) -> int:
    """SIGKILL everything that carries `mark`, until nothing does or `seconds` have gone.

    Returns:
        How many are left: 0 unless one hangs in the kernel or keeps forking faster than we kill.
    """
    until = time.monotonic() + seconds
    while left := marked(mark):
        for who in left:
            kill(who)
        if time.monotonic() > until:
            return len(left)
        time.sleep(0.005)  # they need a moment to die; then look whether one had forked meanwhile
    return 0


def tell_group(pgid: int, with_signal: int) -> None:
    """Signal a whole process group; nothing when there's none left."""
    try:
        os.killpg(pgid, with_signal)
    except (ProcessLookupError, PermissionError):
        pass
