"""Waiting for a change in a folder: Linux' inotify(7), so that nobody sleeps through it."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
_CLOSE_WRITE, _MOVED_TO, _CREATE = 0x08, 0x80, 0x100
_LOOK_ANYWAY = 0.25  # s: for what inotify doesn't tell of, such as a mounted folder of another kernel


class Watch:
    """A folder under watch, from `with` to its end."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            libc.inotify_add_watch(self._fd, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO | _CREATE)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def wait(self, seconds: float) -> None:
        """Until something was written or renamed into the folder, or `seconds` have gone."""
        seconds = min(seconds, _LOOK_ANYWAY)
        if self._fd < 0:  # the user's inotify instances are used up (fs.inotify.max_user_instances)
            time.sleep(min(seconds, 0.02))
        elif select.select([self._fd], [], [], seconds)[0]:
            try:
                os.read(self._fd, 65536)
            except BlockingIOError:
                pass


def until(folder: Path, look: Callable[[], T | None], seconds: float) -> T | None:
    """What `look` returns as soon as it returns something true, looking again at each change; None at the end."""
    stop = time.monotonic() + seconds
    with Watch(folder) as watch:
        while True:
            if found := look():
                return found
            left = stop - time.monotonic()
            if left <= 0:
                return None
            watch.wait(left)
