"""Whether files are still as they were when they were read, told by their stamps: without reading them again.

A stamp is the time of the last change of a file's content, name or rights (st_ctime: no program can set it) and its
size. Kernels count that time in steps of some milliseconds (before Linux 6.13 always), and some file systems in whole
seconds, so that two writes within one step may look alike: a stamp that was young when the reading began says nothing.
What is written by mmap(2) has the stamp of its page's first change: nothing here is kept for more than a second but
what is replaced whole.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
STEP, LONG_STEP = 0.02, 2.0  # s, of a kernel's clock, and of a file system's that keeps whole seconds
LARGEST = 64_000  # bytes of a file whose content is remembered


@dataclass(frozen=True)
class Stamps:
    """The stamps of several files and folders, each of which was there."""

    files: tuple[tuple[bytes, int, int], ...]  # path, st_ctime in ns, size in bytes

    @classmethod
    def of(cls, folder: bytes, names: Iterable[bytes], read_from: float) -> Stamps | None:
        """Taken after the files were read: of a folder, and of those of these files in it that are there.

        Args:
            names: of files in it; or absolute paths of others.
            read_from: Unix time (s) before which nothing was read.

        Returns:
            None: the folder has gone; or one was changed since, or so short before that its stamp says nothing.
        """
        files = []
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                if path == folder:
                    return None
                continue  # the folder's own stamp tells when it comes
            except (OSError, ValueError):  # a name with a NUL is none
                return None
            if is_young(status, read_from):
                return None
            files.append((path, status.st_ctime_ns, status.st_size))
        return cls(tuple(files))

    def but_for(self, *folders: bytes) -> Stamps:
        """Those of the files that are none of these folders, nor right in one."""
        return Stamps(
            tuple(file for file in self.files if file[0] not in folders and os.path.dirname(file[0]) not in folders)
        )

    def are_same(self) -> bool:
        """Whether each file is as it was."""
        try:
            for path, changed, size in self.files:
                status = os.stat(path)
                if status.st_ctime_ns != changed or status.st_size != size:
                    return False
        except OSError:
            return False
        return True


def is_young(status: os.stat_result, read_from: float) -> bool:
    """Whether a later change may have the same stamp, of a file that was read from this Unix time (s) on."""
    step = LONG_STEP if status.st_ctime_ns % 1_000_000_000 == 0 else STEP
    return status.st_ctime > read_from - step


class Remembered:
    """What was last made of the content of each of many files, for as long as their stamps are the same.

    For files that are replaced whole, by a rename, or appended to by write(2).
    """

    def __init__(self, most: int = 8000) -> None:
        self._most = most
        self._made: dict[str, tuple[tuple[int, int, int], object]] = {}

    def of(self, path: str, read: Callable[[], T]) -> T | None:
        """What `read` gives, which reads this one file and nothing else; None where there is none.

        What it gives is shared by all who ask: nobody may change it.

        Raises:
            OSError: it can't be looked at; and what `read` raises.
        """
        now = time.time()
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        stamp = status.st_ctime_ns, status.st_size, status.st_ino
        known = self._made.get(path)
        if known is not None and known[0] == stamp:
            return known[1]  # type: ignore[return-value]
        made = read()
        # what is written after the look has another stamp: should it have been read already, it is read once more
        if status.st_size <= LARGEST and not is_young(status, now):
            if len(self._made) >= self._most:
                with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # another thread was here
                    del self._made[next(iter(self._made))]
            self._made[path] = stamp, made
        return made
