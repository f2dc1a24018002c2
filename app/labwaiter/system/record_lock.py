"""Being alive, as others see it: a POSIX record lock (fcntl(2)) ends with its process, and no child inherits it.

So asking who holds one is asking whether the process that should, a supervisor, lives.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = "hhqqi"  # struct flock on 64-bit Linux, padded as C does


def take(fd: int, byte: int | None = None) -> bool:
    """Hold the lock of a file that is open for writing, until this process ends or closes it: False where another does.

    Args:
        byte: the one that is locked; None: all.
    """
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 0 if byte is None else 1, byte or 0)
    except OSError:
        return False
    return True


def holder(file: str | Path, byte: int | None = None) -> int | None:
    """The pid that holds the lock (0: in another container); None where nobody does.

    Args:
        byte: the one that is asked for; None: any.

    Raises:
        OSError: that can't be asked now.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # enough for asking, and all that a read-only disk gives
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte or 0, 0 if byte is None else 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, question))
        return None if kind == fcntl.F_UNLCK else max(pid, 0)
    finally:
        os.close(fd)
