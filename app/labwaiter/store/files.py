"""Reading what others write and writing what others read: whole or not at all, bounded, no surprises."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def read_record(
    path: str | Path, limit: int, tail: bool = False, at: int = 0, owner: int | None = None
) -> bytes | None:
    """At most `limit` bytes of a regular file, from `at` on or (`tail`) its last; None only where there is none.

    For what is ours: that a record can't be read just now says nothing of whether there is one.

    Args:
        owner: uid of the only account whose file it may be; None: anybody's.

    Raises:
        OSError: something is there, or may be, and it can't be read: no descriptors, a broken disk, a link.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if owner is not None and status.st_uid != owner:
            raise OSError(errno.EACCES, "another account's file", os.fspath(path))
        # not `limit` itself: Python would first make room for all of it
        return os.pread(fd, min(limit, status.st_size), max(0, status.st_size - limit) if tail else at)
    finally:
        os.close(fd)


def read_bounded(
    path: str | Path, limit: int, tail: bool = False, at: int = 0, owner: int | None = None
) -> bytes | None:
    """As `read_record`, but None also for what can't be read: for what programs write, and may write in any way.

    A program may have put a pipe, a device or a link in the file's place: those are no file to us,
    and opening them hangs nobody.
    """
    try:
        return read_record(path, limit, tail, at, owner)
    except OSError:
        return None


def stranger(data: str | Path) -> int | None:
    """The uid of the account that a job runs as, by its data/, where that is another one and we are root; else None.

    What such an account has put there may lead anywhere, and we may go everywhere: only its own files are read.
    Whatever it puts into the place of data/, it is the account's. Raises OSError.
    """
    if os.geteuid() != 0:
        return None
    return os.lstat(data).st_uid or None


def open_of(path: str | Path, owner: int) -> int:
    """A descriptor of a regular file to read, whatever links are on the way to it, if it is this account's (uid).

    Raises:
        OSError: it is none of its own; nothing was opened then, no pipe and no device.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
            raise OSError(errno.EACCES, "not a file of this account's", os.fspath(path))
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def rights_in(folder: str | Path) -> int:
    """What users may do in a folder, as its mode says: what is made in it gets the same. Raises OSError."""
    return stat.S_IMODE(os.stat(folder).st_mode) & 0o777


def make_folder(path: str | Path, mode: int) -> None:
    """A folder with this very mode, whatever the umask says. Raises FileExistsError, OSError."""
    os.mkdir(path, mode)
    if mode & 0o077:
        os.chmod(path, mode)


def open_ours(path: str | Path, flags: int, follow: bool = False) -> int:
    """The descriptor of a file of ours, made if there is none: with the rights that its folder gives.

    So no other local user reads it or takes a lock on it, unless the jobs folder was given to them (JOBS_MODE).

    Args:
        follow: it may be a link; else a job that may write the folder could have us write elsewhere.

    Raises:
        OSError.
    """
    mode = rights_in(os.path.dirname(path)) & 0o666
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), mode)
    try:
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) != mode and status.st_uid == os.geteuid():  # the umask, or an older release
            os.fchmod(fd, mode)
        return fd
    except OSError:
        os.close(fd)
        raise


def open_log(path: str | Path) -> BinaryIO:
    """A log of ours, to be added to. Raises OSError."""
    return os.fdopen(open_ours(path, os.O_WRONLY | os.O_APPEND, follow=True), "ab")


def write_whole(
    path: str | Path, content: bytes, durable: bool = False, exclusive: bool = False, mode: int | None = None
) -> None:
    """Put a file in place in one step: a reader sees the old one or the new one, never a part.

    Args:
        durable: it is on the disk, not only in its cache, when this returns.
        exclusive: there must be none yet.
        mode: its permissions; unless given, those that its folder gives.

    Raises:
        FileExistsError: `exclusive`, and there is one.
        OSError: the disk is full, read-only, …; nothing has changed then.
    """
    folder, name = os.path.split(path)
    beside = f"{folder}/.{name}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        if mode is None:
            fd = open_ours(beside, os.O_WRONLY | os.O_EXCL)
        else:
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


def write_first(path: str | Path, content: bytes) -> None:
    """Write a file durably into a folder that nobody knows yet: it needs no other name meanwhile.

    So its folder has changed for the last time before the file is on the disk, and most file systems have nothing left
    to write when they are asked for the folder.

    Raises:
        OSError: the disk is full, read-only, …; a part may be there then.
    """
    fd = open_ours(path, os.O_WRONLY | os.O_EXCL)
    try:
        _write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(os.path.dirname(path))


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
    """An empty mark: there, and no older than now; its time is `when` (s) if given.

    A link in its place is not followed: a job may have put it there.
    """
    fd = open_ours(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        os.utime(fd, None if when is None else (when, when))
    finally:
        os.close(fd)
