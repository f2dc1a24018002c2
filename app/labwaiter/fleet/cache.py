"""What a face last knew of the executions it was asked for: a file each, for when Redis is away or has forgotten.

What was ordered here and not yet taken stands in it, too, so that a Redis that was restarted empty loses no order
as long as its caller still asks.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Unavailable
from ..layout import Layout
from ..store.files import read_record, write_whole
from ..store.stamps import Remembered

log = logging.getLogger(__name__)
LARGEST = 64_000_000  # bytes
SWEEP_EVERY = 3600.0  # s


@dataclass(frozen=True)
class CacheEntry:
    """What is known of one execution."""

    request: str = ""  # request.json
    machine: str = ""
    view: str | None = None  # JSON, as its machine published it; None: that had not taken it
    state: str = ""  # of that view
    at: float = 0.0  # when this was so, Unix time in s
    abort: bool = False  # somebody wants it stopped
    told: float | None = None  # when somebody was first told of its bad end, Unix time in s
    files: dict[str, str] = field(default_factory=dict)  # that its order brings along: name → where in Redis

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON, without what says nothing."""
        return {name: value for name, value in vars(self).items() if name == "view" or value not in (None, {})}

    @classmethod
    def read(cls, text: bytes) -> CacheEntry | None:
        """Of such JSON; None of what is damaged."""
        try:
            fields = dict(json.loads(text))
            known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
            entry = cls(**known)
            numbers = (entry.at, entry.told or 0.0)
            texts = (entry.request, entry.machine, entry.view or "", entry.state)
        except (ValueError, TypeError, RecursionError):
            return None
        right = all(isinstance(number, int | float) for number in numbers) and isinstance(entry.files, dict)
        return entry if right and all(isinstance(text, str) for text in texts) else None


class Cache:
    """`.labwaiter/known/<name>.json`."""

    def __init__(self, jobs_folder: Path, keep_seconds: float) -> None:
        self._folder = Layout(jobs_folder).known
        self._keep = keep_seconds
        self._swept = time.monotonic()
        self._remembered = Remembered()

    def _file(self, name: str) -> str:
        return f"{self._folder}/{name}.json"

    def read(self, name: str) -> CacheEntry | None:
        """What is known of an execution; None without anything."""
        file = self._file(name)

        def read() -> CacheEntry | None:
            text = read_record(file, LARGEST)
            return CacheEntry.read(text) if text else None

        try:
            return self._remembered.of(file, read)
        except OSError:
            return None

    def certain(self, name: str) -> CacheEntry | None:
        """As `read`, for whom it matters that nothing is known. Raises Unavailable: that can't be read now."""
        try:
            read_record(self._file(name), LARGEST)
        except OSError as error:
            log.exception("what was last known can't be read: %s", name)
            raise Unavailable("The record of this execution can't be read now; try again in a moment.") from error
        return self.read(name)

    def write(self, name: str, entry: CacheEntry) -> None:
        """Note what is known. A full disk costs the note."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._file(name), json.dumps(entry.fields).encode(), durable=not entry.view)
        self._sweep()

    def seconds_told(self, name: str) -> float:
        """Seconds since somebody was first told of a bad end, as far as this machine knows."""
        entry = self.read(name) or CacheEntry()
        told = entry.told
        if told is None:
            told = time.time()
            self.write(name, replace(entry, told=told))
        return max(0.0, time.time() - told)

    def forget(self, name: str) -> None:
        """Nothing is known of it any more."""
        with contextlib.suppress(OSError):
            os.unlink(self._file(name))

    def names(self) -> Iterator[str]:
        """All that something is known of."""
        with contextlib.suppress(OSError):
            for file in os.listdir(self._folder):
                if file.endswith(".json") and not file.startswith("."):
                    yield file[:-5]

    def _sweep(self) -> None:
        """Forget what was last heard of before its retention."""
        if time.monotonic() - self._swept < SWEEP_EVERY:
            return
        self._swept = time.monotonic()
        for name in list(self.names()):
            with contextlib.suppress(OSError):
                if time.time() - os.stat(self._file(name)).st_mtime > max(self._keep, SWEEP_EVERY):
                    self.forget(name)
