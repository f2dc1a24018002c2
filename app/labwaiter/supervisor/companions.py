"""Processes that a supervisor has beside it, and that end with it: the monitor, and what sends events on.

Nothing here waits. Such a process ends when its standard input does, whatever became of the supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from ..settings import Settings
from ..store import supervisor_client
from ..system.backoff import Backoff
from ..system.process import MARKER, NO_MARK, Identity, identify, kill, lives, wait_until_ended

log = logging.getLogger("labwaiter.supervisor")
LONGEST_PAUSE = 30.0  # s between two tries of one that ends as soon as it is there
END_SECONDS = 2.0  # s for its polite end


class Companion:
    """One of them, started again whenever it ends and is wanted."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        words: list[str],
        is_wanted: Callable[[], bool],
        secrets: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            name: as the log calls it.
            words: its module, and the words behind it.
            secrets: what its environment has besides.
        """
        self._settings, self._name, self._words, self._is_wanted = settings, name, words, is_wanted
        self._secrets = secrets or {}
        self._process: Identity | None = None
        self._pipe: int | None = None  # its standard input's other end
        self._backoff = Backoff(0.5, LONGEST_PAUSE)
        self.began = 0  # how often one was started

    @property
    def descriptors(self) -> list[int]:
        """Those that no child of the supervisor may keep."""
        return [] if self._pipe is None else [self._pipe]

    @property
    def pid(self) -> int | None:
        """Its pid; None where none was started."""
        return self._process.pid if self._process else None

    def look(self, now: float) -> None:
        """Have it there while it is wanted (`now`: boot clock, s). Raises OSError."""
        if self._process is not None and lives(self._process):
            self._backoff.lives(now)
            if not self._is_wanted():
                self.tell_to_end()
            return
        if not self._is_wanted() or not self._backoff.is_due(now):
            return
        if self._process is not None:
            log.warning("%s is gone; it is started again", self._name)
        self._close()
        self._backoff.started(now)
        self._begin()

    def _begin(self) -> None:
        read, self._pipe = os.pipe2(os.O_CLOEXEC)
        environment = {**supervisor_client.environment(self._settings), **self._secrets, MARKER: NO_MARK}
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", *self._words], stdin=read, cwd="/", env=environment, start_new_session=True
            )
        finally:
            os.close(read)
        self.began += 1
        self._process = identify(process.pid)
        process.returncode = 0  # for Popen it is over: whoever reaps children here buries it, too

    def tell_to_end(self) -> None:
        """Its polite end."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                kill(self._process, signal.SIGTERM)
        self._close()

    def end(self) -> None:
        """End it, and wait for that a moment."""
        self.tell_to_end()
        if self._process is not None and not wait_until_ended([self._process], END_SECONDS):
            kill(self._process)
        self._process = None

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
