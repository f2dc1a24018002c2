"""log.txt: all that a job's processes print, bounded on the disk.

Pipes stand between, which the runner drains: the limit holds to the byte, however fast a program
floods, and no reader of ours ever blocks a program for long.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..store.files import open_ours

_CHUNK = 65536


class Log:
    """A job's log.txt."""

    def __init__(self, path: str, limit: int) -> None:
        """
        Args:
            limit: bytes of the file: its first half stays, of the rest the newest is kept.
        """
        self.file = open_ours(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
        self._limit = limit
        self._size = os.fstat(self.file).st_size
        self._left_out = 0

    def append(self, text: bytes) -> None:
        """Add what was printed. On a full disk the words are lost, and the program goes on."""
        try:
            while text:
                room = self._limit - self._size
                if room <= 0:
                    self._make_room()
                    continue
                written = os.write(self.file, text[:room])
                self._size += written
                text = text[written:]
        except OSError:
            pass

    def _make_room(self) -> None:
        """Leave out the middle: the first half of the limit stays, then a note, then the newest quarter."""
        head, keep = self._limit // 2, self._limit // 4
        newest = os.pread(self.file, keep, self._size - keep)
        newest = newest.partition(b"\n")[2] or newest
        self._left_out += self._size - head - len(newest)
        os.ftruncate(self.file, head)
        note = f"\n[… here {self._left_out} bytes were left out: a log holds {self._limit} …]\n".encode()
        os.write(self.file, note + newest)  # O_APPEND: behind the head
        self._size = os.fstat(self.file).st_size

    def drain(self, pipe: int, hear: Callable[[bytes], None] | None = None, at_most: int = 1) -> bool:
        """Add what is in a pipe that doesn't block; False once nobody holds its other end.

        Args:
            hear: is told it, too.
            at_most: pieces of 64 KiB: who floods keeps nobody from being heard.
        """
        for _ in range(at_most):
            try:
                text = os.read(pipe, _CHUNK)
            except BlockingIOError:
                return True
            except OSError:  # EIO: a terminal whose other end is gone
                return False
            if not text:
                return False
            self.append(text)
            if hear is not None:
                hear(text)
        return True
