"""Processes as Linux knows them: who one is, whether it lives, what it left behind.

A pid alone names nobody: it comes back. An `Identity` (pid, start time, boot) does, a pidfd keeps
what it names, and a marker in the environment finds a job's descendants wherever they hid.
Sources: proc_pid_stat(5), proc_pid_environ(5), pidfd_open(2), prctl(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import select
import signal
import site
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .backoff import Backoff

if TYPE_CHECKING:
    from threading import Thread

APP = os.fspath(Path(__file__).resolve().parents[2])  # the path's place where labwaiter is found: app/, or
IS_INSTALLED = APP in {*site.getsitepackages(), site.getusersitepackages()}  # … among what is installed
SET_ASIDE = "LABWAITER_SET_ASIDE"  # in the environment of our own processes: what is not for them, as JSON
# NAME=value: how somebody wants an interpreter, a web server or a framework to be; but for where Python's modules are
# and go, and for a seed that every job's function has as it was set
_NOT_FOR_OURS = re.compile(
    r"PYTHON(?!PATH=|HASHSEED=(random|\d{1,9})$|UNBUFFERED=|DONTWRITEBYTECODE=|PYCACHEPREFIX=)[A-Z0-9]\w*=.*"
    r"|(GRANIAN|FLASK|WERKZEUG)_\w+=.*",
    re.DOTALL,
)
MARKER = "LABWAITER_JOB"  # NAME=64 hex digits in the environment of everything that a job starts
NO_MARK = "0" * 64  # what a fork server carries: room for its runners' marks
_PR_SET_CHILD_SUBREAPER = 36
EXEC_SECONDS = 1.0  # s that an exec's middle is waited for: it takes a tenth of a millisecond, where it has a processor
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, of the flags in proc_pid_stat(5): it has no memory, and no environment
LONGEST_PAUSE = 1.0  # s between two tries to have a process or a thread while there are none
T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """Which process runs the job: no other process, before or after, has the same three."""

    pid: int
    start_ticks: int  # /proc/<pid>/stat field 22: clock ticks from boot
    boot_id: str
    pid_namespace: int = 0  # a look from another container can't judge a pid


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


def is_shortage(error: BaseException) -> bool:
    """Whether it tells that there are no processes, no threads or no memory for one just now: fork(2)."""
    if isinstance(error, OSError):
        return error.errno in (errno.EAGAIN, errno.ENOMEM)
    return isinstance(error, RuntimeError) and "new thread" in str(error)


def when_possible(begin: Callable[[], T]) -> T:
    """What `begin` gives, which starts a process or a thread, as soon as there is one for it."""
    backoff = Backoff(0.01, LONGEST_PAUSE)
    while True:
        try:
            return begin()
        except (OSError, RuntimeError) as error:
            if not is_shortage(error):
                raise
        time.sleep(backoff.failed())


def start_thread(target: Callable[..., Any], *args: Any, name: str | None = None, daemon: bool = False) -> Thread:
    """A thread that calls `target`, as soon as there is one for it."""
    from threading import Thread  # not before it is needed: see supervisor/fork_server.py

    def begin() -> Thread:
        # each try has an object of its own: with Python 3.15 one whose start failed can't be started any more
        thread = Thread(target=target, args=args, name=name, daemon=daemon)
        thread.start()
        return thread

    return when_possible(begin)


def read_proc(path: str) -> bytes:
    """A small file of proc(5): without Python's streams, of which a fork would copy a dozen pages. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = piece = os.read(fd, 65536)
        while piece:
            piece = os.read(fd, 65536)
            text += piece
        return text
    finally:
        os.close(fd)


def _stat(pid: int) -> list[bytes]:
    # the command's name may hold spaces and brackets: fields begin behind its last bracket
    return read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def environment_of(pid: int) -> list[bytes]:
    """With which NAME=value each a process began its program.

    In the middle of an exec, for a moment, proc(5) shows nobody's: that is waited for, or a job's process would be
    overlooked for being just about to become another program. Raises OSError, as where it is another user's.
    """
    until, looks = time.monotonic() + EXEC_SECONDS, 0
    while not (environ := read_proc(f"/proc/{pid}/environ")):
        fields = _stat(pid)
        if not fields or fields[0] in b"ZX" or int(fields[6]) & _KERNEL_THREAD or time.monotonic() > until:
            break
        looks += 1
        if looks > 3 and read_proc(f"/proc/{pid}/cmdline"):  # it is no exec, then: it was given none
            break
        time.sleep(0.001)  # nothing tells of another process' exec
    return environ.split(b"\0")


def proc_status(field: str) -> bytes:
    """A field of this process' proc_pid_status(5); b"" where there is none of that name."""
    _, _, rest = read_proc("/proc/self/status").partition(f"\n{field}:".encode())
    return rest.partition(b"\n")[0].strip()


def uid_of(pid: int) -> int | None:
    """The uid that a process runs as; None where there is none. Raises OSError: that can't be seen now."""
    try:
        _, _, rest = read_proc(f"/proc/{pid}/status").partition(b"\nUid:")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(rest.split(None, 1)[0]) if rest else None


def identify(pid: int) -> Identity | None:
    """Who `pid` is now; None where it names no living process (a zombie is dead).

    Raises:
        OSError: that can't be seen now, e.g. for want of descriptors.
    """
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not fields or fields[0] in b"ZX":
        return None
    return Identity(pid, int(fields[19]), boot_id(), _pid_namespace())


def lives(process: Identity) -> bool | None:
    """Whether that very process lives; None where it can't be judged from here (another container).

    Raises:
        OSError: that can't be seen now.
    """
    if process.boot_id != boot_id():
        return False
    if process.pid_namespace and process.pid_namespace != _pid_namespace():
        return None
    return identify(process.pid) == process


def open_pidfd(process: Identity) -> int | None:
    """A pidfd of that very process; None when it is gone.

    Raises:
        OSError: there may be such a process, but none can be had, e.g. for want of descriptors.
    """
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    try:
        is_it = identify(process.pid) == process  # the pid may have been taken by another between the two looks
    except OSError:
        os.close(fd)
        raise
    if not is_it:
        os.close(fd)
        return None
    return fd


def mark_of(jobs_folder: Path, name: str) -> str:
    """The marker's value for one job: the same length for every job, so that it can be overwritten."""
    return hashlib.sha256(os.fsencode(f"{jobs_folder.resolve()}\0{name}")).hexdigest()


_LIBC = ctypes.CDLL(None)


@cache
def _place_of_mark() -> int | None:
    """Where the kernel keeps this process's NO_MARK; None where it has none."""
    _LIBC.getenv.restype = ctypes.c_void_p
    address: int | None = _LIBC.getenv(MARKER.encode())
    return address if os.environ.get(MARKER) == NO_MARK else None


def make_ready_for_marks() -> None:
    """Look up now what every fork will need."""
    _place_of_mark()


def put_mark(mark: str) -> None:
    """Mark this process, and all that it will fork or exec, as this job's.

    os.environ reaches only programs that are exec'd. A child that merely forks shows the
    environment that the fork server was started with, so the mark is also written over the fork server's
    NO_MARK where the kernel keeps it (proc_pid_environ(5): that memory is shown as it is now).
    """
    where = _place_of_mark()
    if where:
        ctypes.memmove(where, mark.encode(), len(mark))
    os.environ[MARKER] = mark


def for_ours(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as our own processes get it: they find this package, and how it wants others to be is set aside
    in it, for the jobs."""
    aside = _aside(environ)
    aside |= {name: value for name, value in environ.items() if _NOT_FOR_OURS.fullmatch(f"{name}={value}")}
    environment = {name: value for name, value in environ.items() if name != SET_ASIDE and name not in aside}
    # Python's own modules come before what is installed, but not before what stands there
    environment.pop("PYTHONPATH", None)
    if paths := [*([] if IS_INSTALLED else [APP]), *paths_of_others(environ)]:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment | ({SET_ASIDE: json.dumps(aside)} if aside else {})


def paths_of_others(environ: Mapping[str, str]) -> list[str]:
    """What stands in PYTHONPATH besides our own place."""
    return [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != APP]


def for_jobs() -> None:
    """Have in this process' environment what was set aside: a job's programs get the environment of who started us."""
    if SET_ASIDE in os.environ:
        os.environ.update(_aside(os.environ))
        del os.environ[SET_ASIDE]


def _aside(environ: Mapping[str, str]) -> dict[str, str]:
    variables: dict[str, str] = json.loads(environ.get(SET_ASIDE, "{}"))
    return variables


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int | None = None) -> list[int]:
    """The pids of the children of `pid`, or of this process."""
    tasks = f"/proc/{pid or os.getpid()}/task"
    pids: list[int] = []
    for task in os.listdir(tasks):
        try:
            pids += map(int, read_proc(f"{tasks}/{task}/children").split())
        except OSError:
            continue
    return pids


def strays(known: set[int]) -> list[int]:
    """Children of this process that nobody knows: what jobs left behind, without any mark.

    A fork server carries NO_MARK and is none of them, whoever started it.
    """
    pids: list[int] = []
    for pid in children():
        if pid in known:
            continue
        environ: list[bytes] = []
        with contextlib.suppress(OSError):  # it is just ending; nobody but us takes its number away
            environ = environment_of(pid)
        if f"{MARKER}={NO_MARK}".encode() not in environ:
            pids.append(pid)
    return pids


def marked(mark: str, name: str = MARKER) -> list[Identity]:
    """Every living process but this one that carries `name`=`mark` in its environment.

    Raises:
        OSError: not all could be looked at, e.g. for want of descriptors.
    """
    variable = os.fsencode(f"{name}={mark}")
    processes = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            process = identify(int(entry))
            environ = environment_of(int(entry))
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is another user's
            continue
        if process is not None and variable in environ:
            processes.append(process)
    return processes


def kill(process: Identity, with_signal: int = signal.SIGKILL) -> bool:
    """Send a signal to that very process and no other; False when it is gone."""
    fd = open_pidfd(process)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, with_signal)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def wait_until_ended(processes: Iterable[Identity], seconds: float) -> bool:
    """Wait until all of these have ended; False where one has not within so many seconds."""
    fds = [fd for process in processes if (fd := open_pidfd(process)) is not None]
    try:
        waiting, until = set(fds), time.monotonic() + seconds
        while waiting and (seconds_left := until - time.monotonic()) > 0:
            waiting -= set(select.select(list(waiting), [], [], seconds_left)[0])
        return not waiting
    finally:
        for fd in fds:
            os.close(fd)


def reap(pidfd: int) -> int | None:
    """The exit status of a child of this process, negative for a signal; None while it runs.

    Raises:
        ChildProcessError: it is no child of this process, or somebody else here has taken its status.
    """
    ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def ended_children() -> Iterator[tuple[int, int]]:
    """The children of this process that have ended, each reaped as it is given: its pid, and its exit status as
    subprocess has it (negative: the signal that ended it)."""
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(raw)


def kill_marked(mark: str, seconds: float = 5.0) -> int:
    """SIGKILL everything that carries `mark`, until nothing does or `seconds` have gone.

    Returns:
        How many are left: 0 unless one hangs in the kernel or keeps forking faster than we kill.

    Raises:
        OSError: they could not be looked for all that time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            survivors = marked(mark)
            for process in survivors:
                kill(process)
            if not survivors:
                return 0
        except OSError:  # who can't look has seen nothing
            if time.monotonic() > until:
                raise
            survivors = []
        if time.monotonic() > until:
            return len(survivors)
        time.sleep(0.005)  # they need a moment to die; then look whether one had forked meanwhile


def tell_group(pgid: int, with_signal: int) -> bool:
    """Signal a whole process group; False when there's none."""
    if pgid <= 1:  # our own group, or everything: no job's, whatever a damaged record says
        return False
    try:
        os.killpg(pgid, with_signal)
    except (ProcessLookupError, PermissionError):
        return False
    return True
