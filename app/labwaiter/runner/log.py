"""log.txt: all that a job's processes print, bounded on the disk.

A pipe stands between, drained by a thread of the runner: the limit holds to the byte, however fast
a program floods, and no reader of ours ever blocks a program for long.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

_CHUNK = 65536


class Log:
    """A job's log.txt, fed by the file descriptors 1 and 2 of this process."""

    def __init__(self, path: str, limit: int, idle: Callable[[], None], busy: Callable[[], bool]) -> None:
        """Take over stdout and stderr.

        Args:
            limit: bytes of the file: its first half stays, of the rest the newest is kept.
            idle: called by the thread every 0.1 s while `busy()`.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._limit = limit
        self._size = os.fstat(self._file).st_size
        self._left_out = 0
        self._idle, self._busy = idle, busy
        self._closing = False
        self.listener: Callable[[bytes], None] | None = None  # hears all that is printed; must not raise
        self._pipe, into = os.pipe()
        os.dup2(into, 1)
        os.dup2(into, 2)
        os.close(into)
        self._caught_up = threading.Event()
        self._caught_up.set()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._drain, name="log", daemon=True)

    @property
    def descriptor(self) -> int:
        """The file itself, for what must be written though this process can't go on (faulthandler)."""
        return self._file

    def start(self) -> None:
        """Begin to drain."""
        self._thread.start()

    def nudge(self) -> None:
        """Have the thread look at `busy()`."""
        os.eventfd_write(self._wake, 1)

    def catch_up(self) -> None:
        """Wait until all that was printed so far has been heard."""
        self._caught_up.clear()
        self.nudge()
        self._caught_up.wait()

    def _drain(self) -> None:
        while True:
            wait = 0.0 if not self._caught_up.is_set() else 0.1 if self._busy() else None
            ready = select.select([self._pipe, self._wake], [], [], wait)[0]
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if self._pipe in ready:
                text = os.read(self._pipe, _CHUNK)
                if not text:
                    return  # nobody holds the other end any more
                self._append(text)
                if self.listener is not None:
                    self.listener(text)
            elif self._closing:
                return
            else:
                self._caught_up.set()
            if not ready:
                self._idle()

    def _append(self, text: bytes) -> None:
        try:
            while text:
                room = self._limit - self._size
                if room <= 0:
                    self._make_room()
                    continue
                written = os.write(self._file, text[:room])
                self._size += written
                text = text[written:]
        except OSError:
            pass  # the disk is full: the program goes on, its words are lost

    def _make_room(self) -> None:
        """Leave out the middle: the first half of the limit stays, then a note, then the newest quarter."""
        head, keep = self._limit // 2, self._limit // 4
        newest = os.pread(self._file, keep, self._size - keep)
        newest = newest.partition(b"\n")[2] or newest
        self._left_out += self._size - head - len(newest)
        os.ftruncate(self._file, head)
        note = f"\n[… here {self._left_out} bytes were left out: a log holds {self._limit} …]\n".encode()
        os.write(self._file, note + newest)  # O_APPEND: behind the head
        self._size = os.fstat(self._file).st_size

    def close(self, seconds: float = 1.0) -> None:
        """Write what is in the pipe and stop; at most `seconds`, for others may hold its other end."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        self._closing = True
        self.nudge()
        until = time.monotonic() + seconds
        self._thread.join(max(0.0, until - time.monotonic()))
