"""Having the web side there again that `labwaiter start` has begun: granian gives up after two deaths of a worker.

The standard library only, and nothing that waits: a process of its own starts it (`labwaiter revive`).
"""

from __future__ import annotations

import logging
import subprocess
import sys

from ..settings import Settings
from ..store import supervisor_client, web_side
from ..store.files import open_log
from ..system.backoff import Backoff
from ..system.process import MARKER, NO_MARK

log = logging.getLogger("labwaiter.supervisor")
LONGEST_PAUSE = 30.0  # s between two tries of one that ends as soon as it is there


class WebSideKeeper:
    """The supervisor's eye on the web side."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backoff = Backoff(0.5, LONGEST_PAUSE)
        self._reviving: subprocess.Popen[bytes] | None = None

    def look(self, now: float) -> None:
        """Have it started again if it should be there and is not (`now`: boot clock, s). Raises OSError."""
        web = web_side.expected(self._settings.layout)
        if web is None or not web.gone:
            self._backoff.lives(now)
            return
        if not self._backoff.is_due(now) or (self._reviving is not None and self._reviving.poll() is None):
            return
        self._backoff.started(now)
        log.warning("the web side is gone; it is started again")
        self._reviving = revive(self._settings)


def revive(settings: Settings) -> subprocess.Popen[bytes]:
    """Begin a process that starts the web side again, and tells web.log why if it can't. Raises OSError."""
    environment = {**supervisor_client.environment(settings), MARKER: NO_MARK}  # no job's, and no stray
    with open_log(settings.layout.web_log) as out:
        return subprocess.Popen(
            [sys.executable, "-m", "labwaiter", "revive"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
