"""What a lab's code keeps of a session: texts, numbers, switches, lists and dicts of these, by name.

It lies in the execution's folder and is replaced whole, so that it survives each process that uses it: the session's,
on_dispose's, a web worker's. Who changes it holds a lock from the look to the write.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ..model.lab_session import DATA
from ..system import flock
from .files import open_ours, read_record, write_whole

LARGEST = 1_000_000  # bytes
PATIENCE = 5.0  # s for a turn


class SessionData(MutableMapping[str, Any]):
    """The data of one session, or of one task of it.

    What is read is a copy; put it back to change it: data["runs"] = data["runs"] + [run].
    """

    def __init__(self, folder: Path, name: str = DATA) -> None:
        """
        Args:
            folder: of its execution.
            name: of the file.
        """
        self._path, self._lock = folder / name, folder / f"{name}.lock"

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.change({name: value})

    def __delitem__(self, name: str) -> None:
        with self._turn() as content:
            del content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"SessionData({self._read()!r})"

    def change(self, values: Mapping[str, Any]) -> None:
        """Put several at once.

        Raises:
            TypeError: JSON can't hold it.
            ValueError: it would be larger than a million bytes.
            OSError: the disk refuses; nothing has changed then.
        """
        with self._turn() as content:
            content.update(values)

    def _read(self) -> dict[str, Any]:
        text = read_record(self._path, LARGEST)
        content = json.loads(text) if text is not None else {}
        return content if isinstance(content, dict) else {}

    @contextlib.contextmanager
    def _turn(self) -> Iterator[dict[str, Any]]:
        fd = -1
        with contextlib.suppress(FileExistsError):
            os.close(open_ours(self._lock, os.O_WRONLY | os.O_EXCL))
        try:
            fd = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
            flock.lock(fd, PATIENCE)
            content = self._read()
            yield content
            text = json.dumps(content).encode()
            if len(text) > LARGEST:
                raise ValueError(f"Such data may have {LARGEST:,} bytes; this is {len(text):,}: use a file.")
            write_whole(self._path, text)
        finally:
            if fd >= 0:
                os.close(fd)
