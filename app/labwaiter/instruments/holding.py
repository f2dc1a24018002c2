"""Holding a device: it has one holder on this machine, whoever opens it and under whatever name.

pyserial's `exclusive` is a flock on the device's own file, which a plain open() passes and socket:// has not; so there
is a lock of ours besides, one per real device. It ends with its process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ..lab.device import Part, parts
from ..system import flock
from .errors import Busy, NotOpened

LOCKS = Path("/var/lock") if os.access("/var/lock", os.W_OK) else Path("/tmp")


def hold(url: str, name: str) -> list[int]:
    """The machine-wide locks of a device: descriptors that hold it until they are closed. Raises Busy, NotOpened."""
    held: list[int] = []
    try:
        for part in sorted(parts(_resolved(url), resolve=True)):
            held.append(_lock(part))
    except BlockingIOError as error:
        release(held)
        raise Busy(
            f"{name}: its device is held by another execution, or by another deployment on this machine{users(url)}."
        ) from error
    except PermissionError as error:
        release(held)
        raise NotOpened(
            f"{name}: the file of its lock can't be read: have its owner make {error.filename} readable, or remove it."
        ) from error
    except BaseException:
        release(held)
        raise
    return held


def release(held: list[int]) -> None:
    """Close the locks that `hold` gave."""
    while held:
        os.close(held.pop())


def _lock(part: Part) -> int:
    path = LOCKS / f"labwaiter-{hashlib.sha256(part.name.encode()).hexdigest()[:16]}.lock"
    flags = os.O_CLOEXEC | os.O_NOFOLLOW  # anybody may make files in that folder
    with contextlib.suppress(PermissionError):  # of another user's making: reading is enough for a lock
        made = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
        try:
            if os.fstat(made).st_uid == os.geteuid():
                os.fchmod(made, 0o644)  # a job's umask takes it from other users, who hold devices, too
        finally:
            os.close(made)
    lock = os.open(path, os.O_RDONLY | flags)
    try:
        flock.lock(lock, patience=0, shared=part.shared)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _resolved(url: str) -> str:
    """The port itself, where pyserial looks for it by what it is."""
    if not url.startswith("hwgrep://"):
        return url
    from serial.tools.list_ports import grep

    ports = [port.device for port in grep(url.removeprefix("hwgrep://").partition("&")[0])]
    return ports[0] if len(ports) == 1 else url


def users(url: str) -> str:
    """Who has a device open, as far as this user may know it: ": screen (process 4711)"."""
    wanted = os.path.realpath(url)
    if not wanted.startswith("/dev/"):
        return ""
    users = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) == wanted for fd in (process / "fd").iterdir()):
                itself = int(process.name) == os.getpid()
                comm = "this very program" if itself else (process / "comm").read_text().strip()
                users.append(f"{comm} (process {process.name})")
    return ": " + ", ".join(users) if users else ""
