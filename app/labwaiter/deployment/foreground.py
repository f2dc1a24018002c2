"""Supervisor and web side as children of one process that stays: the main process of a container."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from ..errors import Misconfigured
from ..lab import labfile
from ..settings import Settings
from ..store import supervisor_client
from ..system.backoff import Backoff
from . import listening, web_processes
from .deployment import Leftovers, Stopped, clear_stopped, leftovers
from .errors import DeploymentError

STEADY = 30.0  # s: what has once lived so long can do its work here
MOST_TRIES = 5  # of what never has
LONGEST_PAUSE = 10.0  # s between two tries to start what ends again and again
KILL_BEFORE = 3.0  # s before the end of STOP_SECONDS: what hasn't stopped by then is killed; earlier for instruments


class Foreground:
    """A deployment's two sides, or one of them, each started again when it ends, until this process is told to stop."""

    def __init__(self, settings: Settings, only: str | None, tell: Callable[[str], None]) -> None:
        """
        Args:
            settings: with an address that is a number, where the web side is among it.
            only: "supervisor" or "web": the other runs elsewhere. With REDIS_URL it is the web side alone unless said.
            tell: gets what an operator should read meanwhile, a sentence each.

        Raises:
            Misconfigured: it can't listen where it should, or the jobs folder can't be written.
            TimeoutError: a supervisor that was stopped doesn't leave.
        """
        self._settings, self._tell = settings, tell
        self.failed = False  # whether a side never lived, however often it was tried
        supervisor_client.may_be_written(settings)
        if settings.redis_url and only is None:
            only = "web"  # a face; what drives instruments is `labwaiter worker`
        self.supervises, self._serves = only != "web", only != "supervisor"
        # this process starts them again: nobody else shall try, too
        self._own_environment = {"SUPERVISOR": "elsewhere", "PYTHONUNBUFFERED": "1"}
        self._parts: list[_Part] = []
        if self.supervises:
            clear_stopped(settings)
            if warning := short_stop(settings):
                tell(warning)
            self._parts.append(_Part("the supervisor", self._spawn_supervisor, tell))
        if self._serves:
            if why := listening.refusal(settings, web_processes.find(settings)):
                raise Misconfigured(why)
            self._parts.append(_Part("the web side", self._spawn_web_side, tell))

    def run(self) -> Stopped:
        """Keep them running until SIGTERM or SIGINT, or until a side has `failed`.

        Then the jobs are settled within STOP_SECONDS, and the web side is ended.
        """
        signals, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        while True:
            try:
                dues = [due for part in self._parts if (due := part.look()) is not None]
            except DeploymentError as error:
                self._tell(str(error))
                self.failed = True
                return self._stop()
            if select.select([signals], [], [], min(dues, default=None))[0]:
                numbers = os.read(signals, 4096)
                if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                    return self._stop()

    def _stop(self) -> Stopped:
        """Settle the jobs, then end the web side: callers see how it goes as long as it goes."""
        settings = self._settings
        until = time.monotonic() + settings.stop_seconds
        settled = True
        if self.supervises:
            settled = supervisor_client.stop(settings, max(0.5, settings.stop_seconds - _kill_before(settings)))
            if not settled:
                self._tell("not every job has stopped by itself: the rest is killed")
                settled = supervisor_client.stop(settings, max(0.5, until - time.monotonic() - 1.0))
        web_processes.end(web_processes.find(settings), wait=max(0.2, until - time.monotonic() - 0.5))
        left = leftovers(settings) if self.supervises and settled else Leftovers()
        return Stopped(self._serves, self.supervises, settled, leftovers=left)

    def _spawn_supervisor(self) -> subprocess.Popen[bytes]:
        environment = supervisor_client.of_supervisor(self._settings) | self._own_environment
        return _spawn([sys.executable, "-m", "labwaiter.supervisor"], environment)

    def _spawn_web_side(self) -> subprocess.Popen[bytes]:
        if few := web_processes.few_connections():
            self._tell(few)
        web_processes.end(web_processes.find(self._settings))  # workers whose main process was killed would serve on
        environment = web_processes.environment(self._settings) | self._own_environment
        return _spawn(web_processes.command(self._settings), environment)


class _Part:
    """The supervisor or the web side, started again whenever it ends."""

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]], tell: Callable[[str], None]) -> None:
        self._name, self._spawn, self._tell = name, spawn, tell
        self._backoff = Backoff(0.1, LONGEST_PAUSE, step=0.1)  # counted on the monotonic clock
        self._began = 0.0
        self._tries: float = 0  # that failed
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> float | None:
        """Start it if it is due, note it if it ended: seconds until the next look, None if nothing is due.

        Raises:
            DeploymentError: it has never lived, however often it was tried.
        """
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            if now - self._began < 5:
                self._backoff.failed(now)
            else:
                self._backoff.succeeded()
            if now - self._began > STEADY:
                self._tries = -math.inf
            elif self._process.returncode:  # 0: another supervisor has the folder, and may leave
                self._tries += 1
                if self._tries == MOST_TRIES:
                    raise DeploymentError(
                        f"{self._name} ended {MOST_TRIES} times as soon as it had begun; above is why."
                    )
            self._tell(f"{self._name} ended with {self._process.returncode}; it is started again")
            self._process = None
        if self._process is None:
            if not self._backoff.is_due(now):
                return self._backoff.due - now
            self._process, self._began = self._spawn(), now
        return None


def short_stop(settings: Settings) -> str:
    """What is to be said where a stop may be too short for instruments to be made safe; "" where it isn't."""
    seconds = _safe_seconds(settings)
    needed = seconds + 2 * KILL_BEFORE
    if not seconds or settings.stop_seconds >= needed:
        return ""
    return (
        f"STOP_SECONDS={settings.stop_seconds:g} may be too short: by lab.toml (safe_seconds) it may take"
        f" {seconds:g} s until an instrument is safe. Set STOP_SECONDS={needed:g} at least, and the container's"
        " stop time-out, too; what isn't done by then is done when labwaiter starts again."
    )


def _safe_seconds(settings: Settings) -> float:
    """How long (s) making an instrument of lab.toml safe may take; 0 where nothing real is plugged in."""
    whole = labfile.WatchedLab(settings.lab).now()
    return whole.safe_seconds(name for name, entry in whole.entries.items() if entry.real) if whole else 0.0


def _kill_before(settings: Settings) -> float:
    """How long (s) before the end of STOP_SECONDS jobs are killed: their instruments are made safe after that."""
    return max(KILL_BEFORE, min(_safe_seconds(settings) + KILL_BEFORE, 0.7 * settings.stop_seconds))


def _spawn(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # a session of its own: a Ctrl-C is ours to hand on, in good order
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
