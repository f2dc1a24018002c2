"""Whether something has changed in folders, told by Linux' inotify(7): one call that never waits, for all of them.

The kernel notes a change before the call that made it returns (write(2), rename(2), …), so whoever looks afterwards is
told of it. It doesn't tell of what is written by mmap(2), through a name outside of the folder (a hard link), or by
another machine: what is read here is looked at anew from time to time.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections import OrderedDict

from .watch import events_in

_MODIFY, _DELETE_SELF, _MOVE_SELF, _UNMOUNT, _IGNORED = 0x02, 0x400, 0x800, 0x2000, 0x8000
_GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED
# besides: changed rights (0x04), moved out and in (0x40, 0x80), made (0x100), removed (0x200)
_ALL = _MODIFY | 0x04 | 0x40 | 0x80 | 0x100 | 0x200 | _DELETE_SELF | _MOVE_SELF
_ONLY_FOLDERS, _NO_LINKS = 0x01000000, 0x02000000
READ_MAX = 65_536  # bytes of events that are read at a time
TOLD_MAX = 8_192  # bytes of events that are told apart; of more, everything counts as changed
WATCHED_MAX = 4_000  # folders under watch, two watches each
LIMIT = "/proc/sys/fs/inotify/max_user_watches"  # of a user, for all its programs: at least 8,192
SHARE = 16  # an eighth of it, then, is one process's


class Counts:
    """How often something has changed in a folder since it is watched."""

    __slots__ = ("apart", "name", "numbers", "others")

    def __init__(self, name: bytes) -> None:
        """
        Args:
            name: of the file that is counted apart.
        """
        self.name, self.numbers = name, tuple[int, ...]()
        self.apart = 0  # changes of that file's content
        self.others = 0.0  # of all else; NaN, which equals nothing, once the folder is watched no longer

    @property
    def is_lost(self) -> bool:
        """Whether the folder is watched no longer."""
        return self.others != self.others


class Changes:
    """Folders under watch, the longest watched of too many no longer. Thread-safe."""

    def __init__(self) -> None:
        # PyDLL keeps the interpreter's lock: none of these calls waits, and a thread that lets the lock go for half a
        # microsecond queues for it behind all the others
        self._libc = ctypes.PyDLL(None)
        self._buffer = ctypes.create_string_buffer(READ_MAX)
        self._events = memoryview(self._buffer)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._read = self._libc.read  # whose length comes back in an int
        self._into = self._arguments()
        self._most = _most()
        _all.add(self)
        self._turn = threading.Lock()
        self._folders: OrderedDict[bytes, Counts] = OrderedDict()
        self._by_number: dict[int, Counts] = {}

    def _arguments(self) -> tuple[object, ...]:
        """Of read(2), made once: making them takes as long as the call."""
        return ctypes.c_int(self._fd), ctypes.byref(self._buffer), ctypes.c_size_t(READ_MAX)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)  # of the few that a user may have (fs.inotify.max_user_instances)

    def watch(self, folder: bytes, within: bytes, apart: bytes) -> Counts | None:
        """Watch a folder, and one in it.

        Args:
            within: the name of that one, which need not be there.
            apart: the name of the file that is counted apart.

        Returns:
            None where it can't be watched: the user has no more of what that takes.
        """
        if self._fd < 0:
            return None
        with self._turn:
            numbers = [self._add(folder)]
            if numbers[0] < 0:
                return None
            if (number := self._add(os.path.join(folder, within))) >= 0:
                numbers.append(number)
            counts = self._folders.pop(folder, None)
            if counts is None or counts.is_lost or counts.numbers[0] != numbers[0]:  # another one is there
                counts = Counts(apart)
            for number in numbers:
                self._by_number[number] = counts
            counts.numbers = tuple(numbers)
            self._folders[folder] = counts
            while len(self._folders) > self._most:
                self._forget(self._folders.popitem(last=False)[1])
            return counts

    def _add(self, path: bytes) -> int:
        number: int = self._libc.inotify_add_watch(self._fd, path, _ALL | _ONLY_FOLDERS | _NO_LINKS)
        return number

    def _forget(self, counts: Counts) -> None:
        counts.others = float("nan")
        for number in counts.numbers:
            if self._by_number.pop(number, None) is not None:
                self._libc.inotify_rm_watch(self._fd, number)

    def look(self) -> None:
        """Count what has changed until now."""
        with self._turn:
            length = self._read(*self._into)
            if length > 0:
                self._count(length)

    def _count(self, length: int) -> None:
        if length > TOLD_MAX:
            while self._read(*self._into) > 0:
                pass
            self._count_everything()
            return
        for number, what, name in events_in(bytes(self._events[:length])):
            if number < 0:  # the kernel's queue was full
                self._count_everything()
                continue
            counts = self._by_number.get(number)
            if counts is None:
                continue
            if what & _GONE:
                self._forget(counts)
            elif what & _MODIFY and number == counts.numbers[0] and name == counts.name:
                counts.apart += 1
            else:
                counts.apart += 1
                counts.others += 1

    def _count_everything(self) -> None:
        for counts in self._folders.values():
            counts.apart += 1
            counts.others += 1

    def lose(self) -> None:
        """Watch nothing any more: in a fork, what is told is its parent's."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._turn = -1, threading.Lock()
        self._into = self._arguments()  # another file may get the number
        for counts in self._folders.values():
            counts.others = float("nan")
        self._folders.clear()
        self._by_number.clear()


def _most() -> int:
    try:
        with open(LIMIT, "rb") as limit:
            return max(1, min(WATCHED_MAX, int(limit.read()) // SHARE))
    except (OSError, ValueError):
        return WATCHED_MAX // SHARE


def _lose_all() -> None:
    for changes in list(_all):
        changes.lose()


_all: weakref.WeakSet[Changes] = weakref.WeakSet()
os.register_at_fork(after_in_child=_lose_all)
