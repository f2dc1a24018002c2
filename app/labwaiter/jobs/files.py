"""Reading what others write and writing what others read: whole or not at all, bounded, no surprises."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def read_bounded(path: str | Path, limit: int, tail: bool = False) -> bytes | None:
    """At most `limit` bytes of a regular file, its first or (`tail`) its last; None without one.

    A program may have put a pipe, a device or a link in the file's place: those are no file to us,
    and opening them hangs nobody.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        # not `limit` itself: Python would first make room for all of it
        return os.pread(fd, min(limit, found.st_size), max(0, found.st_size - limit) if tail else 0)
    except OSError:
        return None
    finally:
        os.close(fd)


def write_whole(
    path: str | Path, content: bytes, durable: bool = False, exclusive: bool = False, mode: int = 0o644
) -> None:
    """Put a file in place in one step: a reader sees the old one or the new one, never a part.

    Args:
        durable: it is on the disk, not only in its cache, when this returns.
        exclusive: there must be none yet.
        mode: its permissions.

    Raises:
        FileExistsError: `exclusive`, and there is one.
        OSError: the disk is full, read-only, …; nothing has changed then.
    """
    folder, name = os.path.split(path)
    beside = f"{folder}/.{name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            _write_all(fd, content)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        if exclusive:
            os.link(beside, path)  # a rename would replace what is there
            os.unlink(beside)
        else:
            os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    if durable:
        sync_folder(folder)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: str | Path) -> None:
    """Have the names in `folder` on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def touch(path: str | Path, when: float | None = None) -> None:
    """An empty mark: there, and no older than now; its time is `when` (s) if given."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        os.utime(fd, None if when is None else (when, when))
    finally:
        os.close(fd)
