"""Which jobs somebody wants aborted."""

from __future__ import annotations

import contextlib

from ..store.folder import Folder


class AbortWishes:
    """Wishes lie on the disk as marks; where no disk could take the mark, the supervisor is told, and remembers."""

    def __init__(self, store: Folder) -> None:
        self._store = store
        self._names: set[str] = set()  # of jobs without a mark

    def add(self, name: str) -> None:
        """The job is to be aborted, and has no mark."""
        self._names.add(name)

    def forget(self, name: str) -> None:
        """The job has ended."""
        self._names.discard(name)

    def __contains__(self, name: str) -> bool:
        with contextlib.suppress(OSError):  # what can't be seen now is looked at again
            return name in self._names or self._store.marked(name, "abort")
        return False
