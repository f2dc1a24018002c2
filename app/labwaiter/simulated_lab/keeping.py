"""Having the simulated lab there (`process`): started, looked at, begun again, ended.

The standard library only, and nothing that waits: whether it lives is asked of its lock.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys

from ..errors import Misconfigured
from ..lab import labfile, simulation
from ..settings import Settings
from ..store import supervisor_client
from ..system.backoff import Backoff
from ..system.process import MARKER, NO_MARK, Identity, identify, kill, lives, wait_until_ended
from ..system.watch import stamp

log = logging.getLogger("labwaiter.supervisor")
LONGEST_PAUSE = 30.0  # s between two tries of one that dies as soon as it is there
END_SECONDS = 2.0  # s for its polite end


class SimulatedLabKeeper:
    """The supervisor's side of the simulated lab."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp: list[int] = []
        self._has_simulated = False
        self._process: Identity | None = None  # the one that we have begun
        self._backoff = Backoff(0.5, LONGEST_PAUSE)
        self._was_alive = False

    def look(self, now: float) -> None:
        """Begin one if lab.toml lists simulated instruments and none lives (`now`: boot clock, s)."""
        if not self._is_wanted():
            return
        if simulation.alive(self._settings.jobs_folder) is not None:
            self._was_alive = True
            self._backoff.lives(now)
            return
        if not self._backoff.is_due(now) or (self._process is not None and lives(self._process)):
            return
        if self._was_alive:
            log.warning("the simulated lab is gone; it is begun again, and its devices are as when switched on")
        self._was_alive = False
        self._backoff.started(now)
        self._begin()

    def _is_wanted(self) -> bool:
        now = stamp(self._settings.lab)
        if now != self._stamp:
            self._stamp = now
            self._backoff.succeeded()
            try:
                self._has_simulated = any(
                    entry.simulated
                    for entry in labfile.load(self._settings.lab).on(self._settings.machine).entries.values()
                )
            except Misconfigured as error:
                log.warning("%s", error)
        return self._has_simulated

    def _begin(self) -> None:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "labwaiter.simulated_lab.process"],
                stdin=subprocess.DEVNULL,
                env={**supervisor_client.environment(self._settings), MARKER: NO_MARK},  # no job's, and no stray
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            log.exception("the simulated lab can't be begun")
            return
        self._process = identify(process.pid)
        process.returncode = 0  # for Popen it is over: whoever reaps children here buries it, too

    def end(self) -> None:
        """End it, whoever has begun it: the deployment stops on purpose."""
        pid = simulation.alive(self._settings.jobs_folder)
        for process in {identify(pid) if pid else None, self._process}:
            if process is not None and kill(process, signal.SIGTERM) and not wait_until_ended([process], END_SECONDS):
                kill(process)
