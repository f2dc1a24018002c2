"""Waiting for a change in folders: Linux' inotify(7), so that nobody sleeps through it."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
_CLOSE_WRITE, _MOVED_TO, _CREATE = 0x08, 0x80, 0x100
_EVENT = struct.Struct("iIII")  # which watch, what, cookie, length of the name behind it
_LOOK_ANYWAY = 0.25  # s: for what inotify doesn't tell of, such as a mounted folder of another kernel


def events_in(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """What inotify(7) tells: which watch, what has happened, and the name of the file in its folder, b"" for itself."""
    at = 0
    while at < len(content):
        number, what, _, length = _EVENT.unpack_from(content, at)
        at += _EVENT.size + length
        yield number, what, content[at - length : at].rstrip(b"\0")


class Watch:
    """Folders under watch, from `with` to its end."""

    def __init__(self, *folders: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}
        self._numbers: dict[Path, int] = {}
        for folder in folders:
            self.add(folder)

    def add(self, folder: Path) -> None:
        """Watch this one, too."""
        if self._fd >= 0:
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO | _CREATE)
            self._folders[number], self._numbers[folder] = folder, number

    def remove(self, folder: Path) -> None:
        """Watch this one no longer."""
        number = self._numbers.pop(folder, None)
        if number is not None and self._folders.pop(number, None) is not None:
            self._libc.inotify_rm_watch(self._fd, number)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def wait(self, seconds: float, also: Sequence[int] = ()) -> set[Path]:
        """Until something was written or renamed into a folder, or `seconds` have gone: which folders.

        Args:
            also: descriptors of which one that can be read ends the wait, too.
        """
        seconds = min(seconds, _LOOK_ANYWAY)
        changed: set[Path] = set()
        if self._fd < 0:  # the user's inotify instances are used up (fs.inotify.max_user_instances)
            select.select(also, [], [], min(seconds, 0.1))
        elif self._fd in select.select([self._fd, *also], [], [], seconds)[0]:
            try:
                text = os.read(self._fd, 65536)
            except BlockingIOError:
                return changed
            changed |= {self._folders[number] for number, _, _ in events_in(text) if number in self._folders}
        return changed


def until(
    folder: Path, look: Callable[[], T | None], seconds: float, also: Callable[[], Sequence[int]] = tuple
) -> T | None:
    """What `look` returns as soon as it returns something true, looking again at each change; None at the end.

    Args:
        also: descriptors that are watched as the folder is, as they are at each look.
    """
    stop = time.monotonic() + seconds
    with Watch(folder) as watch:
        while True:
            if result := look():
                return result
            seconds_left = stop - time.monotonic()
            if seconds_left <= 0:
                return None
            watch.wait(seconds_left, also())


def stamp(path: Path) -> list[int]:
    """What changes when a file or a folder is changed: its time in ns and its size in bytes."""
    try:
        status = path.stat()
    except OSError:
        return [0, 0]
    return [status.st_mtime_ns, status.st_size]
