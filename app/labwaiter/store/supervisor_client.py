"""The way to the supervisor: is it there, wake it, start it, replace it, stop it.

It holds a POSIX record lock on supervisor.lock: asking the lock is asking whether a supervisor lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..errors import Misconfigured
from ..lab import simulation
from ..layout import Layout
from ..settings import HANDED_ON, NAMINGS, SECRETS, Settings
from ..system import flock, logs, record_lock
from ..system.process import (
    APP,
    IS_INSTALLED,
    MARKER,
    NO_MARK,
    Identity,
    environment_of,
    for_ours,
    identify,
    kill,
    lives,
    open_pidfd,
    paths_of_others,
    read_proc,
    wait_until_ended,
)
from .files import open_log, open_ours, read_bounded, touch, write_whole
from .folder import Folder

ABORT = "abort/"  # before a job's name, which has no "/" in it: it is to be aborted, and no disk takes the mark
TAKE_OVER_SECONDS = 15.0  # that a supervisor of another environment has to begin anew in this one
STOPS = 2  # supervisors that are started only to settle what is left: the first may be killed in the middle of it


def alive(settings: Settings) -> int | None:
    """The pid of the supervisor of this jobs folder (0: in another container); None without one."""
    return record_lock.holder(settings.layout.supervisor_lock)


def address(layout: Layout, folder_fd: int) -> str:
    """The wake socket's address: a unix socket's path ends at 107 bytes, a folder's doesn't.

    Args:
        folder_fd: a descriptor of the layout's folder.
    """
    path = str(layout.wake)
    return path if len(os.fsencode(path)) < 107 else f"/proc/self/fd/{folder_fd}/{layout.wake.name}"


def wake(settings: Settings, name: str) -> bool:
    """Tell the supervisor that there's something to do for a job; False when nobody hears it.

    A lost call costs a second, no more: the supervisor looks by itself.
    """
    layout = settings.layout
    try:
        folder_fd = os.open(layout.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0.1)
            line.sendto(name.encode(), address(layout, folder_fd))
        return True
    except OSError:
        return False
    finally:
        os.close(folder_fd)


def may_be_written(settings: Settings) -> None:
    """Have the jobs and the files folder there. Raises Misconfigured where that of the jobs can't be written."""
    try:
        Folder(settings.jobs_folder).make(settings.jobs_mode)
        touch(settings.layout.start_lock)
    except OSError as error:
        user = f"user {os.geteuid()}"
        raise Misconfigured(
            f"WAITER_LOG_FOLDER {settings.jobs_folder} can't be written by {user} ({error.strerror}):"
            f" give it to that user (chown {os.geteuid()}), or name another folder."
        ) from error
    with contextlib.suppress(OSError):  # it may be another's, and only read
        settings.files_folder.mkdir(parents=True, exist_ok=True)


def stopped(settings: Settings) -> bool:
    """Whether the supervisor was stopped on purpose."""
    return os.path.exists(settings.layout.stopped)


def ensure(
    settings: Settings, even_if_stopped: bool = False, leaving: bool = False, patience: float | None = None
) -> None:
    """Have a supervisor there: start one, detached, if there's none and it's ours to start.

    Args:
        even_if_stopped: also where it was stopped on purpose.
        leaving: one that admits nothing, settles what is left, and leaves.
        patience: s that somebody else's try is waited for; None: as long as it takes.

    Raises:
        TimeoutError: it didn't come within 10 s; supervisor.log says why.
    """
    if alive(settings) is not None or (stopped(settings) and not even_if_stopped) or settings.supervisor_elsewhere:
        return
    folder = Folder(settings.jobs_folder)
    folder.make(settings.jobs_mode)
    with os.fdopen(open_ours(folder.layout.ensure_lock, os.O_RDWR), "wb") as turn:
        try:
            flock.lock(turn.fileno(), patience)  # of many who find it gone, one starts it
        except BlockingIOError:
            return
        if alive(settings) is not None:
            return
        _spawn(settings, folder.layout.supervisor_log, ["--leaving"] if leaving else [])
        until = time.monotonic() + 10
        while alive(settings) is None:
            if time.monotonic() > until:
                raise TimeoutError(
                    "The supervisor did not start: .labwaiter/supervisor.log in the jobs folder says why."
                )
            time.sleep(0.005)  # a lock of another process can't be awaited without taking it


def is_being_started(settings: Settings) -> bool:
    """Whether somebody is just at `ensure`. Raises OSError: that can't be seen now."""
    try:
        fd = os.open(settings.layout.ensure_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        flock.lock(fd, patience=0, shared=True)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a process of ours finds this package and this deployment."""
    # without a job's mark: what a job starts of ours must not end with it; and without what the supervisor and its
    # jobs have no business with
    left_out = (MARKER, *SECRETS, *NAMINGS, "SESSION_TOKEN")  # the last one is the test client's
    variables = {name: value for name, value in for_ours(os.environ).items() if name not in left_out}
    variables |= settings.naming
    variables["WAITER_LOG_FOLDER"] = str(settings.jobs_folder)
    variables["SERVICES"] = str(settings.services)
    variables["FILES_FOLDER"] = str(settings.files_folder)
    variables["LAB"] = str(settings.lab)
    return variables


def of_supervisor(settings: Settings) -> dict[str, str]:
    """As `environment`, for a supervisor: what it needs of the secrets, and hands to none but who sends events."""
    return environment(settings) | ({"EVENTS_URL": settings.events_url} if settings.events_url else {})


def _spawn(settings: Settings, log: Path, words: list[str]) -> None:
    import subprocess  # not before it is needed: see supervisor/fork_server.py

    logs.rotate(log)
    # a middleman that leaves at once: the supervisor is nobody's child, so nobody must reap it
    middle = (
        "import os,sys\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'labwaiter.supervisor', *sys.argv[1:]])\n"
    )
    with open_log(log) as out:
        subprocess.run(
            [sys.executable, "-S", "-c", middle, *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env={**of_supervisor(settings), MARKER: NO_MARK},  # nobody's stray, whoever starts it
            check=False,
        )


def replace(settings: Settings) -> None:
    """Have the supervisor begin anew with this process' code, and the settings that are there now; running jobs go on.

    Raises:
        TimeoutError: it is of another labwaiter, 0.4 or before, and goes on with its own code.
    """
    pid = alive(settings)
    if not pid or not (supervisor := identify(pid)):
        ensure(settings, even_if_stopped=True)
        return
    names = HANDED_ON - {"SUPERVISOR"}  # who starts one is each one's own
    values = {name: value for name, value in environment(settings).items() if name in names}
    handed = {"for": asdict(supervisor), "settings": values, "python": sys.executable}
    handed["path"] = "" if IS_INSTALLED else APP
    write_whole(settings.layout.handed_settings, json.dumps(handed).encode(), mode=0o600)
    other, until = code_elsewhere(pid), time.monotonic() + TAKE_OVER_SECONDS
    os.kill(pid, signal.SIGHUP)
    while other and alive(settings) == pid and (other := code_elsewhere(pid)):
        if time.monotonic() > until:
            raise TimeoutError(
                f"The supervisor (pid {pid}) is of another labwaiter, in {other}, and goes on with its own code: once"
                " what runs has ended, end it by that one's own `labwaiter stop`. Then start again."
            )
        time.sleep(0.02)  # nothing tells of another process' exec


def code_elsewhere(pid: int) -> str:
    """Where the code of a supervisor lies, if it is another's than this process'; "" if it isn't, or can't be seen."""
    try:
        python = ""
        while not python:  # an exec may have begun between the two
            environ = environment_of(pid)
            if not any(environ):
                return ""
            python = os.fsdecode(read_proc(f"/proc/{pid}/cmdline").split(b"\0")[0])
    except OSError:
        return ""
    pairs = [pair.partition(b"=") for pair in environ]
    paths = next((os.fsdecode(value) for name, _, value in pairs if name == b"PYTHONPATH"), "")
    path = paths.split(os.pathsep)[0]
    if path and Path(path).resolve() != Path(APP):
        return path
    return "" if Path(python).parent.parent.resolve() == Path(sys.prefix).resolve() else python


def handed_on(layout: Layout) -> tuple[str, dict[str, str]]:
    """With which Python and environment this process is to begin anew: what `replace` was called with for it."""
    try:
        handed = json.loads(read_bounded(layout.handed_settings, 1_000_000) or b"")
        if Identity(**handed["for"]) != identify(os.getpid()):  # one before us was meant
            return sys.executable, dict(os.environ)
        values: dict[str, str] = handed["settings"]
        python, path = str(handed["python"]), str(handed["path"])
    except (ValueError, TypeError, KeyError):
        return sys.executable, dict(os.environ)
    names = HANDED_ON - {"SUPERVISOR"}  # who starts one is each one's own
    environ = {name: value for name, value in os.environ.items() if name not in names} | values
    environ.pop("PYTHONPATH", None)
    if paths := [*filter(None, [path]), *paths_of_others(os.environ)]:
        environ["PYTHONPATH"] = os.pathsep.join(paths)
    return python, environ


def stop(settings: Settings, wait: float = 60.0) -> bool:
    """Stop the supervisor for good: nothing more is admitted, every job is settled.

    Returns:
        True once no supervisor is left, False if it is still being done after `wait` seconds. Jobs that are active
        then (`Folder.active_names`) have records that can't be read or written.
    """
    until = time.monotonic() + wait
    folder = Folder(settings.jobs_folder)
    with contextlib.suppress(OSError):  # a disk that takes nothing keeps nothing running
        folder.make(settings.jobs_mode)
        touch(folder.layout.stopped)
    tries = 0
    while True:
        pid = alive(settings)
        if pid is None:
            left = folder.active_names() or simulation.alive(settings.jobs_folder)
            if not left or settings.supervisor_elsewhere:
                return True
            tries += 1
            try:
                if tries > STOPS:
                    raise TimeoutError("the last one left something")
                # what is left without a supervisor is dealt with by a new one, that is told so as it begins
                ensure(settings, even_if_stopped=True, leaving=True)
            except OSError:  # none can begin on such a disk, or settle it
                _stop_without(settings, folder, until)
                return True
            pid = alive(settings)
        supervisor = identify(pid) if pid else None
        fd = open_pidfd(supervisor) if supervisor else None
        if fd is not None:
            try:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGTERM)
                select.select([fd], [], [], max(0.0, until - time.monotonic()))
            finally:
                os.close(fd)
        # it may have been killed in the middle of it: then whoever comes next goes on
        if time.monotonic() >= until or (fd is None and alive(settings) is not None):
            return alive(settings) is None


def _stop_without(settings: Settings, folder: Folder, until: float) -> None:
    """Where no supervisor can begin: have each runner stop its work and make safe, and the simulated lab end."""
    told = list(runners(folder).values())
    if (pid := simulation.alive(settings.jobs_folder)) and (who := identify(pid)):
        told.append(who)
    for who in told:
        kill(who, signal.SIGTERM)
    wait_until_ended(told, until - time.monotonic())


def runners(folder: Folder) -> dict[str, Identity]:
    """The runners that live, by their jobs, as far as the records tell them."""
    living = {}
    for name in folder.active_names():
        for read in (folder.stored_state, folder.begun):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                stored = read(name)
                if stored is not None and stored.runner is not None and lives(stored.runner):
                    living[name] = stored.runner
    return living
