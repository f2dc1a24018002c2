"""up and health: a deployment in the foreground, as the main process of a container."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable
from typing import Any

import click

from ..errors import Misconfigured
from ..lab import lab
from ..settings import ROOT, Settings
from ..store import supervisor_client, web_side
from ..system.backoff import Backoff
from . import web
from .deploy import PORT, chosen, clear_stopped, unsettled
from .instruments import not_safe, say_mistake

STEADY = 30.0  # s: what has once lived so long can do its work here
MOST_TRIES = 5  # of what never has
LONGEST_PAUSE = 10.0  # s between two tries to start what ends again and again
KILL_BEFORE = 3.0  # s before the end of STOP_SECONDS: what hasn't stopped by then is killed; earlier for instruments


class CannotBegin(Exception):
    """What can't succeed is not tried for ever. The message is a sentence."""


class Part:
    """The supervisor or the web side, started again whenever it ends."""

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name, self._spawn = name, spawn
        self._backoff = Backoff(0.1, LONGEST_PAUSE, step=0.1)  # counted on the monotonic clock
        self._began = 0.0
        self._tries: float = 0  # that failed
        self.process: subprocess.Popen[bytes] | None = None

    def look(self) -> float | None:
        """Start it if it is due, note it if it ended: seconds until the next look, None if nothing is due.

        Raises:
            CannotBegin: it has never lived, however often it was tried.
        """
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if now - self._began < 5:
                self._backoff.failed(now)
            else:
                self._backoff.succeeded()
            if now - self._began > STEADY:
                self._tries = -math.inf
            elif self.process.returncode:  # 0: another supervisor has the folder, and may leave
                self._tries += 1
                if self._tries == MOST_TRIES:
                    raise CannotBegin(f"{self.name} ended {MOST_TRIES} times as soon as it had begun; above is why.")
            print(f"{self.name} ended with {self.process.returncode}; it is started again", file=sys.stderr, flush=True)
            self.process = None
        if self.process is None:
            if not self._backoff.is_due(now):
                return self._backoff.due - now
            self.process, self._began = self._spawn(), now
        return None


@click.command()
@click.option("--only", type=click.Choice(["supervisor", "web"]), help="One side alone, the other runs elsewhere.")
@click.option("--host", help="Address to listen on; default: HOST.")
@click.option("--port", type=PORT, help="Port to listen on; default: PORT.")
def up(only: str | None, host: str | None, port: int | None) -> None:
    """Run supervisor and web side in the foreground, as a container does.

    Either is started again when it ends. Told to stop (SIGTERM), it admits nothing more, settles
    every job and leaves within STOP_SECONDS. Logs go to stdout. With REDIS_URL it is the web side alone.
    """
    settings = chosen(host=host, port=port)
    if only != "supervisor":
        settings = web.resolved(settings)
    supervisor_client.may_be_written(settings)
    if settings.redis_url and only is None:
        only = "web"  # a face; what drives instruments is `labwaiter worker`
    # this process starts them again: nobody else shall try, too
    ours = {"SUPERVISOR": "elsewhere", "PYTHONUNBUFFERED": "1"}
    parts = []
    if only != "web":
        clear_stopped(settings)
        _warn_of_short_stop(settings)
        parts.append(
            Part(
                "the supervisor",
                lambda: _spawn(["labwaiter.supervisor"], supervisor_client.environment(settings) | ours),
            )
        )
    if only != "supervisor":
        if why := web.refusal(settings, web.processes(settings)):
            raise Misconfigured(why)
        parts.append(Part("the web side", lambda: _spawn_web(settings, web.environment(settings) | ours)))
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    while True:
        try:
            dues = [due for part in parts if (due := part.look()) is not None]
        except CannotBegin as error:
            print(error, file=sys.stderr, flush=True)
            _stop(settings, only)
            sys.exit(1)
        if select.select([told], [], [], min(dues, default=None))[0]:
            numbers = os.read(told, 4096)
            if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                break
    sys.exit(_stop(settings, only))


def _safe_seconds(settings: Settings) -> float:
    """How long (s) making an instrument of lab.toml safe may take; 0 where nothing real is plugged in."""
    found = lab.Kept(settings.lab).now()
    return found.safe_seconds(name for name, one in found.entries.items() if one.real) if found else 0.0


def _kill_before(settings: Settings) -> float:
    """How long (s) before the end of STOP_SECONDS jobs are killed: their instruments are made safe after that."""
    return max(KILL_BEFORE, min(_safe_seconds(settings) + KILL_BEFORE, 0.7 * settings.stop_seconds))


def _warn_of_short_stop(settings: Settings) -> None:
    """Say it at the start where a stop may be too short for instruments to be made safe."""
    seconds = _safe_seconds(settings)
    needed = seconds + 2 * KILL_BEFORE
    if seconds and settings.stop_seconds < needed:
        print(
            f"STOP_SECONDS={settings.stop_seconds:g} may be too short: by lab.toml (safe_seconds) it may take"
            f" {seconds:g} s until an instrument is safe. Set STOP_SECONDS={needed:g} at least, and the container's"
            " stop time-out, too; what isn't done by then is done when labwaiter starts again.",
            file=sys.stderr,
            flush=True,
        )


def _spawn(module: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # a session of its own: a Ctrl-C is ours to hand on, in good order
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        cwd=ROOT / "app",
        env=environment,
        start_new_session=True,
    )


def _spawn_web(settings: Settings, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if few := web.few_connections():
        click.echo(few, err=True)
    web.end(web.processes(settings))  # workers whose main process was killed would serve on
    return _spawn(web.command(settings)[2:], environment)


def _stop(settings: Settings, only: str | None) -> int:
    """Settle the jobs, then end the web side: callers see how it goes as long as it goes."""
    until = time.monotonic() + settings.stop_seconds
    settled = True
    if only != "web":
        settled = supervisor_client.stop(settings, max(0.5, settings.stop_seconds - _kill_before(settings)))
        if not settled:
            print("not every job has stopped by itself: the rest is killed", file=sys.stderr, flush=True)
            settled = supervisor_client.stop(settings, max(0.5, until - time.monotonic() - 1.0))
    web.end(web.processes(settings), wait=max(0.2, until - time.monotonic() - 0.5))
    if only != "web":
        if settled and (why := unsettled(settings)):
            print(why, file=sys.stderr, flush=True)
        for sentence in not_safe(settings):
            print(sentence, file=sys.stderr, flush=True)
    return 0 if settled else 1


@click.command()
@click.option("--only", type=click.Choice(["supervisor", "web"]), help="Look at one side alone.")
def health(only: str | None) -> None:
    """Say whether the deployment of this machine or container works.

    For a container's health check: exit status 0 or 3. A mistake in lab.toml is told, and is no 3: all else works, and
    whoever then began it anew would end what runs.
    """
    settings = web.as_running(chosen())
    if only == "supervisor":
        if supervisor_client.alive(settings) is None:
            raise TimeoutError("No supervisor runs.")
        click.echo("A supervisor runs.")
        return
    told: dict[str, Any] = {}
    try:
        with web.ask(web.own_address(settings) + "health") as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError):
            told = json.load(error)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)  # urllib's wrapping says nothing
        words = getattr(why, "strerror", None) or why
        raise TimeoutError(f"The web side does not answer at {web.own_address(settings)}: {words}.") from error
    if told.get("deployment") != web_side.deployment(settings.jobs_folder):
        raise TimeoutError(f"No web side of this deployment runs: another one answers at {web.own_address(settings)}.")
    if told.get("status") != "ok" and only != "web":
        raise TimeoutError(f"The web side answers, but: {told.get('status')}.")
    runs = "runs" if lab.mistake(settings.lab) else "works"
    names = ", ".join(told.get("services", [])) or "none"
    click.echo(f"labwaiter {told.get('version')} {runs} at {web.address(settings)}; its services: {names}.")
    say_mistake(settings)
