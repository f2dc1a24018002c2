"""The two records of a job that its runner writes: progress.json and end.json."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import Any

from ..model.record import End, Progress
from ..store import codec, timeline
from ..store.files import open_ours
from ..store.folder import Folder
from . import ending
from .job_engine import limited

WRITE_EVERY = 0.1  # s between two writes of progress.json: pages are looked at every 6 s
REPLIES_MAX = 50  # replies to messages that are kept
RESERVE = 4096  # bytes kept on the disk for end.json: a full disk must not hide how a job ended


class ProgressFile:
    """progress.json: changed as often as the work says something, written some times a second."""

    def __init__(self, store: Folder, name: str) -> None:
        self._store, self._name = store, name
        self._progress = Progress()
        self._changed, self._written_at = False, 0.0  # monotonic s
        self._noted = ""  # the stage that the timeline was told last
        self._waiting: tuple[str, str] | None = None  # what the page says while a program waits; its stage before

    def change(self, changes: dict[str, Any]) -> None:
        """Take changes as `JobEngine.show` sends them."""
        with contextlib.suppress(ValueError, TypeError, KeyError):  # a fork of the job's sent something odd
            self._progress = replace(self._progress, **codec.progress_changes(changes))
            self._changed = True

    def show_progress(self, fraction: float | None, stage: str) -> None:
        """How far a program is that the runner itself attends to."""
        self._progress = replace(self._progress, fraction=limited(fraction), stage=stage)
        self._changed = True

    def reply(self, number: int, text: str) -> None:
        """The job's reply to a message: it is written at once, somebody waits for it."""
        kept = dict(list(self._progress.replies.items())[1 - REPLIES_MAX :])
        self._progress = replace(self._progress, replies={**kept, number: text})
        self.write()
        timeline.note(self._store.path(self._name), "reply", number=number)

    def show_waiting(self, text: str) -> bool:
        """Have the page say that a program waits for a process; "": it waits no longer. Whether that is new."""
        if text and self._waiting is None:
            self._waiting = text, self._progress.stage
            self.change({"stage": text})
            return True
        if not text and self._waiting is not None:
            (shown, before), self._waiting = self._waiting, None
            if self._progress.stage == shown:
                self.change({"stage": before})
        return False

    def due_in(self) -> float | None:
        """How long a change may wait to be written, s; None: there is none."""
        return max(0.0, self._written_at + WRITE_EVERY - time.monotonic()) if self._changed else None

    def write(self) -> None:
        """Write it now."""
        self._changed, self._written_at = False, time.monotonic()
        with contextlib.suppress(OSError):  # a full disk costs the page, not the work
            self._store.write_progress(self._name, self._progress)
        stage = self._progress.stage
        if stage != self._noted:
            self._noted = stage
            if stage:
                timeline.note(self._store.path(self._name), "stage", stage=stage)


class EndFile:
    """end.json, and the room that is kept for it."""

    def __init__(self, store: Folder, name: str, folder: str) -> None:
        """
        Args:
            folder: the job's.
        """
        self._store, self._name, self._folder = store, name, folder
        self._room = f"{folder}/.end"
        self._reserve: int | None = None
        with contextlib.suppress(OSError):
            self._reserve = open_ours(self._room, os.O_RDWR)
            try:
                os.posix_fallocate(self._reserve, 0, RESERVE)
            except OSError:
                self._reserve = None

    def write(self, end: End) -> None:
        """Write how the job ended, on a full disk into the room that was kept for it. Raises OSError."""
        try:
            self._store.write_end(self._name, end)
        except OSError:
            if self._reserve is None:
                raise
            self._write_into_reserve(self._reserve, end)
        with contextlib.suppress(OSError):
            os.unlink(self._room)

    def _write_into_reserve(self, reserve: int, end: End) -> None:
        content = codec.dump(end)
        if len(content) > RESERVE:
            content = codec.dump(ending.failed("The disk was full when the result was to be written."))
        os.pwrite(reserve, content, 0)
        os.ftruncate(reserve, len(content))
        os.fsync(reserve)
        with contextlib.suppress(FileExistsError):
            os.link(self._room, f"{self._folder}/end.json")
