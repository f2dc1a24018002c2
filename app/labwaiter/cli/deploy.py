"""serve, supervise, start, stop: a deployment as its administrator runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .. import settings as settings_module
from ..catalogue import catalogue
from ..errors import Misconfigured
from ..lab import lab
from ..layout import Layout
from ..settings import ROOT, Settings
from ..store import supervisor_client, web_side
from ..store.files import open_ours
from ..store.folder import Folder
from ..system import flock, record_lock
from . import systemd, terminal, web
from .instruments import not_safe, say_mistake

ELSEWHERE = (
    "SUPERVISOR=elsewhere: whoever starts the supervisor (a container, systemd) starts and stops this deployment."
)
PORT = click.IntRange(1, 65535)


def chosen(settings: Settings | None = None, **changes: Any) -> Settings:
    """The settings in force, unless given, with what the call itself says."""
    return dataclasses.replace(
        settings or settings_module.load(), **{name: value for name, value in changes.items() if value is not None}
    )


@click.command()
@click.option("--host", help="Address to listen on; default: HOST.")
@click.option("--port", type=PORT, help="Port to listen on; default: PORT.")
@click.option("--workers", type=click.IntRange(1, 64), help="Web worker processes; default: WEB_CONCURRENCY.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Run the web side in the foreground.

    Starts a supervisor first where there is none.
    """
    settings = web.resolved(chosen(host=host, port=port, web_concurrency=workers))
    if why := web.refusal(settings, []):
        raise click.ClickException(why)
    if not settings.supervisor_elsewhere:
        begin(settings, replace=False)
    if few := web.few_connections():
        click.echo(few, err=True)
    os.chdir(ROOT / "app")
    command = web.command(settings)
    os.execve(command[0], command, web.environment(settings))


@click.command("settings", hidden=True)
@click.option("--stdin", is_flag=True, help="Read the file env from stdin.")
@click.option("--port", type=PORT, help="Where it runs now: unless PORT is set it stays there.")
def settings_(stdin: bool, port: int | None) -> None:
    """What the scripts read: each setting that is set, judged, as NAME=value; its address (AT), and which it is."""
    environ = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        file = settings_module.file_of(environ)
        if stdin:
            file = Path(folder, "env")
            file.write_bytes(sys.stdin.buffer.read())
        settings = web.resolved(settings_module.load(environ, file, port))
        given = settings_module.given(environ, file)
    for name, value in given.items():
        if "\n" in value:
            raise Misconfigured(f"In {name} stands a line break: a setting has one line.")
    at = web.own_address(web.as_running(settings)).rstrip("/")
    numbers = {"HOST": settings.host, "PORT": str(settings.port), "STOP_SECONDS": f"{settings.stop_seconds:g}"}
    for name, value in {**given, **numbers, "AT": at, "DEPLOYMENT": web_side.deployment(settings.jobs_folder)}.items():
        click.echo(f"{name}={value}")


@click.command()
def supervise() -> None:
    """Run the supervisor in the foreground."""
    from ..supervisor.main import main

    main(settings_module.load())


@click.command()
@click.option("--port", type=PORT, help="Port to listen on; default: PORT.")
@click.option("--host", help="Address to listen on; default: HOST.")
@click.option("--workers", type=click.IntRange(1, 64), help="Web worker processes; default: WEB_CONCURRENCY.")
@click.option("--wait", default=30.0, show_default=True, help="Seconds that the web side has to come.")
@click.option("--try", "trial", is_flag=True, help="Run a Waiter of five seconds through the test client.")
@click.option("--json", "json_", is_flag=True, help="Say it as JSON.")
@click.option("--systemd", "by_systemd", is_flag=True, help="Have systemd start its units (export systemd).")
def start(
    port: int | None,
    host: str | None,
    workers: int | None,
    wait: float,
    trial: bool,
    json_: bool,
    by_systemd: bool,
) -> None:
    """Start or replace the deployment.

    It has the code and the settings that are there now; running jobs go on.

    The new web side listens before the old one is ended, so that no call is refused. It has the port of the old one
    unless --port or PORT name another.
    """
    if by_systemd:
        systemd.control("start")
        return
    before = web.as_running(settings_module.load()).port
    settings = web.resolved(chosen(settings_module.load(port=before), port=port, host=host, web_concurrency=workers))
    if settings.supervisor_elsewhere:
        raise Misconfigured(ELSEWHERE)
    supervisor_client.may_be_written(settings)  # also for what is to be known of the services
    offered = catalogue.of(settings).whole()
    with one_at_a_time(settings):
        old = web.processes(settings)
        if why := web.refusal(settings, old):
            raise click.ClickException(why)
        begin(settings, replace=True)
        started = web.spawn(settings)
        if not web.ready(settings, old, started, wait):
            web.end([who for who in web.processes(settings) if who not in old])
            stays = " What ran before runs on." if old else ""
            raise click.ClickException(f"The web side did not start.{stays} {_last_words(settings)}")
        from .revive import expect  # it needs this module

        expect(settings, started.pid)
        web.end(old)
        if why := web.answers(settings, wait=10.0):
            raise click.ClickException(f"The web side started, but {why}. {_last_words(settings)}")
    if trial and "Waiter" in offered.services:
        _try(settings)
    wsdl = {name: web.address(settings, name) + "?wsdl" for name in offered.services}
    say_mistake(settings)
    told = {
        "version": __version__,
        "port": settings.port,
        "wsdl": wsdl,
        "broken": {name: one.reason for name, one in offered.broken.items()},
        "lab": lab.mistake(settings.lab),
        "jobs": str(settings.jobs_folder),
        "logs": str(web.log_file(settings).parent),
    }
    if json_:
        terminal.as_json(told)
        return
    moved = f" (until now at port {before})" if old and before != settings.port else ""
    click.echo(f"labwaiter {__version__} runs at {web.address(settings)}{moved}")
    for name, address in wsdl.items():
        click.echo(f"  WSDL of {name}: {address}")
    for name, one in offered.broken.items():
        click.echo(f"  {name} is not offered: {one.reason}")
    if few := web.few_connections():
        click.echo(f"  {few}")
    click.echo(f"  Jobs: {told['jobs']}")
    click.echo(f"  Logs: {told['logs']} (supervisor.log, web.log)")
    click.echo("  Every sessionToken is accepted in this release: let only callers you trust reach it.")


@click.command()
@click.option("--wait", default=60.0, show_default=True, help="Seconds that the jobs have to come to their end.")
@click.option("--systemd", "by_systemd", is_flag=True, help="Have systemd stop its units.")
def stop(wait: float, by_systemd: bool) -> None:
    """End the deployment and settle every job.

    Running jobs are stopped, queued ones don't start.
    """
    if by_systemd:
        systemd.control("stop")
        return
    settings = settings_module.load()
    if settings.supervisor_elsewhere:
        raise Misconfigured(ELSEWHERE)
    if not settings.jobs_folder.is_dir():
        click.echo("Nothing was running.")
        return
    with one_at_a_time(settings, anyhow=True):
        running = web.processes(settings)
        alive = supervisor_client.alive(settings) is not None
        worker = record_lock.holder(Layout(settings.jobs_folder).worker_lock)
        with contextlib.suppress(OSError):  # a disk that takes nothing keeps nothing running
            web_side.expect_none(Layout(settings.jobs_folder))
        # callers see how it goes, as long as the web side is there; a worker's jobs are the worker's
        settled = worker is not None or supervisor_client.stop(settings, wait)
        web.end(web.processes(settings))
    if worker is not None:
        gone = "The web side has ended. " if running else ""
        raise click.ClickException(
            f"{gone}The worker of {settings.machine} goes on here, and its jobs. End it (SIGTERM to {worker or 'it'},"
            " twice to stop what runs; or systemctl stop labwaiter-worker), then call stop again."
        )
    if not settled:
        for sentence in not_safe(settings):
            click.echo(sentence, err=True)
        raise click.ClickException(
            f"The web side has ended, but not every job has within {wait:g} s; the supervisor stays at it."
            " Call stop again to wait for it; supervisor.log tells more."
        )
    if settings.redis_url and running and not alive:
        click.echo("The web side has ended; executions go on at their machines.")
        return
    if why := unsettled(settings):
        click.echo("labwaiter has stopped.")
        click.echo(why, err=True)
    else:
        click.echo("labwaiter has stopped; every job is settled." if running or alive else "Nothing was running.")
    for sentence in not_safe(settings):
        click.echo(sentence, err=True)


def unsettled(settings: Settings) -> str:
    """After a stop: what is to be said of executions that could not be settled; "" where all are."""
    left = Folder(settings.jobs_folder).active_names()
    if not left:
        return ""
    names = ", ".join(terminal.plain(name, 60) for name in left[:10]) + (", …" if len(left) > 10 else "")
    running = {name: who.pid for name, who in supervisor_client.runners(Folder(settings.jobs_folder)).items()}
    still = "".join(f" {terminal.plain(name, 60)} still runs (process {pid})." for name, pid in running.items())
    return (
        f"How these ended is not settled, for their records can't be read or written: {names}.{still}"
        " supervisor.log says why; once that is mended, the next start tells it."
    )


def begin(settings: Settings, replace: bool) -> None:
    """Have a supervisor there, also where the last one was stopped on purpose; with REDIS_URL the worker has its own.

    Raises:
        TimeoutError: it did not come.
    """
    if settings.redis_url:
        return
    clear_stopped(settings)
    if replace and supervisor_client.alive(settings) is not None:
        supervisor_client.replace(settings)
    supervisor_client.ensure(settings, even_if_stopped=True)


def clear_stopped(settings: Settings, wait: float = 60.0) -> None:
    """Wait for a supervisor that was stopped on purpose to leave, and let the next one begin.

    Raises:
        TimeoutError: it has not left.
    """
    if supervisor_client.stopped(settings):
        until = time.monotonic() + wait
        while (pid := supervisor_client.alive(settings)) is not None:
            if time.monotonic() >= until:
                raise TimeoutError(
                    f"Nothing was started: the supervisor (pid {pid}), which was stopped, is still settling its jobs."
                    " Call stop to wait for it, then start again."
                )
            time.sleep(0.05)  # it is settling its jobs; its lock can't be awaited without taking it
    Layout(settings.jobs_folder).stopped.unlink(missing_ok=True)


@contextlib.contextmanager
def one_at_a_time(settings: Settings, anyhow: bool = False) -> Iterator[None]:
    """Of several starts and stops of one deployment, each waits for the one before.

    Args:
        anyhow: go on where that can't be had, as on a disk that has become read-only: unless it is another user's.

    Raises:
        Misconfigured: the jobs folder can't be written.
    """
    lock = Layout(settings.jobs_folder).start_lock
    with contextlib.ExitStack() as held:
        try:
            supervisor_client.may_be_written(settings)
            fd = open_ours(lock, os.O_RDWR)
            held.callback(os.close, fd)
            flock.lock(fd)
        except (OSError, Misconfigured) as error:
            why = error.__cause__ if isinstance(error, Misconfigured) else error
            if not anyhow or isinstance(why, PermissionError):
                raise
        yield


def _last_words(settings: Settings) -> str:
    try:
        text = web.log_file(settings).read_text(errors="replace")[-8000:]
    except OSError:
        return "It left no log."
    return "\n".join(["The last lines of web.log:", *("  " + line for line in terminal.lines(text, 12))])


def _try(settings: Settings) -> None:
    client = Path(ROOT / "test_client" / "client.py")
    if not client.is_file():
        return
    click.echo("Trying it: a Waiter of five seconds …", err=True)
    call = [sys.executable, "-E", str(client), "--url", web.own_address(settings, "Waiter") + "?wsdl"]
    done = subprocess.run(
        [*call, "watch", "--every", "1", "secondsToWait=5"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        words = "\n".join(terminal.lines(done.stdout + done.stderr))
        raise click.ClickException(f"The deployment runs, but its Waiter did not complete:\n{words}")
    click.echo("It has completed.", err=True)
