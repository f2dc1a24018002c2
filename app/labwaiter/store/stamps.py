"""Whether files are still as they were when they were read, told by their stamps: without reading them again.

A stamp is the time of the last change of a file's content, name or rights (st_ctime: no program can set it) and its
size. Kernels count that time in steps of some milliseconds (before Linux 6.13 always), so that two writes within one
step may look alike: a stamp that was younger than YOUNG when the reading began says nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
YOUNG = 0.02  # s
LARGEST = 64_000  # bytes of a file whose content is remembered


@dataclass(frozen=True)
class Stamps:
    """The stamps of several files and folders, each of which was there."""

    files: tuple[tuple[str, int, int], ...]  # path, st_ctime in ns, size in bytes

    @classmethod
    def of(cls, paths: Iterable[str], read_from: float) -> Stamps | None:
        """Taken after the files were read; of those that aren't there none.

        Their absence is told by their folder, which must be among them.

        Args:
            read_from: Unix time (s) before which nothing was read.

        Returns:
            None: one was changed since, or so short before that its stamp says nothing.
        """
        files = []
        for path in paths:
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            if status.st_ctime > read_from - YOUNG:
                return None
            files.append((path, status.st_ctime_ns, status.st_size))
        return cls(tuple(files))

    def are_same(self) -> bool:
        """Whether each file is as it was."""
        try:
            for path, changed, size in self.files:
                status = os.lstat(path)
                if status.st_ctime_ns != changed or status.st_size != size:
                    return False
        except OSError:
            return False
        return True


class Remembered:
    """What was last made of the content of each of many files, for as long as their stamps are the same."""

    def __init__(self, most: int = 8000) -> None:
        self._most = most
        self._made: dict[str, tuple[tuple[int, int, int], object]] = {}

    def of(self, path: str, read: Callable[[], T]) -> T | None:
        """What `read` gives, which reads this one file and nothing else; None where there is none.

        What it gives is shared by all who ask: nobody may change it.

        Raises:
            OSError: it can't be looked at; and what `read` raises.
        """
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
        if status.st_size <= LARGEST and status.st_ctime < time.time() - YOUNG:
            if len(self._made) >= self._most:
                with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # another thread was here
                    del self._made[next(iter(self._made))]
            self._made[path] = stamp, made
        return made
