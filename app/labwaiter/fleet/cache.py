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
from pathlib import Path
from typing import Any

from ..errors import Unavailable
from ..layout import Layout
from ..store.files import read_bounded, read_record, write_whole

log = logging.getLogger(__name__)
LARGEST = 64_000_000  # bytes
SWEEP_EVERY = 3600.0  # s


class Cache:
    """`.labwaiter/known/<name>.json`: {"request", "machine", "view" (JSON), "state", "at", "told", "files"}."""

    def __init__(self, jobs_folder: Path, keep_seconds: float) -> None:
        self._folder = Layout(jobs_folder).known
        self._keep = keep_seconds
        self._swept = time.monotonic()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        """What is known of it; None without anything."""
        text = read_bounded(self._file(name), LARGEST)
        try:
            return dict(json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None

    def certain(self, name: str) -> dict[str, Any] | None:
        """As `read`, for whom it matters that nothing is known. Raises Unavailable: that can't be read now."""
        try:
            read_record(self._file(name), LARGEST)
        except OSError as error:
            log.exception("what was last known can't be read: %s", name)
            raise Unavailable("The record of this execution can't be read now; try again in a moment.") from error
        return self.read(name)

    def write(self, name: str, **known: Any) -> None:
        """Note what is known. A full disk costs the note."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._file(name), json.dumps(known).encode(), durable=not known.get("view"))
        self._sweep()

    def told(self, name: str) -> float:
        """Seconds since somebody was first told of a bad end, as far as this machine knows."""
        known = self.read(name) or {}
        first = known.get("told")
        if not isinstance(first, (int, float)):
            first = time.time()
            self.write(name, **known | {"told": first})
        return max(0.0, time.time() - first)

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
