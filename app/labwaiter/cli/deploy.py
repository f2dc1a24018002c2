"""serve, supervise, start, stop: a deployment as its administrator runs it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from .. import __version__
from .. import settings as settings_module
from ..authentication import authenticator
from ..deployment import Deployment, Leftovers, WebSideFailed, units
from ..deployment.address import address, own_address, resolved
from ..deployment.web_processes import as_running, few_connections, log_file
from ..errors import Misconfigured
from ..fleet import open_sessions
from ..lab import labfile
from ..model.caller import SHELL
from ..settings import Settings
from ..store import web_side
from ..verbs.acts import Acts
from ..verbs.instruments import Instruments
from . import terminal

PORT = click.IntRange(1, 65535)


def chosen(settings: Settings, **changes: Any) -> Settings:
    """The settings with what the call itself says."""
    return dataclasses.replace(settings, **{name: value for name, value in changes.items() if value is not None})


@click.command()
@click.option("--host", help="Address to listen on; default: HOST.")
@click.option("--port", type=PORT, help="Port to listen on; default: PORT.")
@click.option("--workers", type=click.IntRange(1, 64), help="Web worker processes; default: WEB_CONCURRENCY.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Run the web side in the foreground.

    Starts a supervisor first where there is none.
    """
    settings = terminal.of_lab(settings_module.load())
    settings = resolved(chosen(settings, host=host, port=port, web_concurrency=workers))
    Deployment(settings).serve(warn=lambda sentence: click.echo(sentence, err=True))


@click.command("settings", hidden=True)
@click.option("--stdin", is_flag=True, help="Read the file env from stdin.")
@click.option("--port", type=PORT, help="Where it runs now: unless PORT is set it stays there.")
def settings_(stdin: bool, port: int | None) -> None:
    """What the scripts read: each setting that is set, judged, as NAME=value; its address (AT), and which it is."""
    environ = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        if stdin:
            file = Path(folder, "env")
            file.write_bytes(sys.stdin.buffer.read())
        else:
            file = settings_module.file_of(environ)
        settings = resolved(settings_module.load(environ, file, port))
        values = settings_module.given(environ, file)
    for name, value in values.items():
        if "\n" in value:
            raise Misconfigured(f"In {name} stands a line break: a setting has one line.")
    at = own_address(as_running(settings)).rstrip("/")
    # a container is published by an address of this machine: what may go without saying here is said there
    tokens = settings.tokens or "none"
    numbers = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "STOP_SECONDS": f"{settings.stop_seconds:g}",
        "TOKENS": tokens,
    }
    for name, value in {**values, **numbers, "AT": at, "DEPLOYMENT": web_side.deployment(settings.jobs_folder)}.items():
        click.echo(f"{name}={value}")


@click.command()
def supervise() -> None:
    """Run the supervisor in the foreground."""
    from ..supervisor.main import main

    main(terminal.of_lab(settings_module.load()))


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
    settings = terminal.of_lab(settings_module.load())
    if by_systemd:
        click.echo(f"systemd has started {units.control(settings, 'start')}.")
        return
    before = as_running(settings).port
    settings = resolved(chosen(settings_module.load(port=before), port=port, host=host, web_concurrency=workers))
    try:
        started = Deployment(settings).start(wait)
    except WebSideFailed as error:
        raise click.ClickException(f"{error} {_last_words(settings)}") from error
    Acts(settings).go_on("deployment started", SHELL, {"version": __version__})
    offered = started.offered
    if trial and "Waiter" in offered.services and not settings.judges_tokens:
        _try(settings)
    wsdl = {name: address(settings, name) + "?wsdl" for name in offered.services}
    terminal.warn(Instruments(settings).mistake())
    labs = open_sessions(settings).labs(SHELL)
    summary = {
        "version": __version__,
        "port": settings.port,
        "wsdl": wsdl,
        "broken": {name: broken.reason for name, broken in offered.broken.items()},
        "lab": labfile.mistake(settings.lab),
        "labs": {view.name: view.why_closed for view in labs},
        "jobs": str(settings.jobs_folder),
        "logs": str(log_file(settings).parent),
    }
    if json_:
        terminal.as_json(summary)
        return
    moved = f" (until now at port {before})" if started.replaced and before != settings.port else ""
    click.echo(f"labwaiter {__version__} runs at {address(settings)}{moved}")
    for name, url in wsdl.items():
        click.echo(f"  WSDL of {name}: {url}")
    for name, broken in offered.broken.items():
        click.echo(f"  {name} is not offered: {broken.reason}")
    for view in labs:
        state = f"is closed: {terminal.plain(view.why_closed, 500)}" if view.why_closed else "is open"
        click.echo(f"  The remote lab {view.name} {state}")
    if not wsdl and not offered.broken:
        click.echo(f"  {terminal.no_services(settings)}")
    if few := few_connections():
        click.echo(f"  {few}")
    click.echo(f"  Jobs: {summary['jobs']}")
    click.echo(f"  Logs: {summary['logs']} (supervisor.log, web.log)")
    click.echo(f"  {authenticator.words(settings)}")


@click.command()
@click.option("--wait", default=60.0, show_default=True, help="Seconds that the jobs have to come to their end.")
@click.option("--systemd", "by_systemd", is_flag=True, help="Have systemd stop its units.")
def stop(wait: float, by_systemd: bool) -> None:
    """End the deployment and settle every job.

    Running jobs are stopped, queued ones don't start.
    """
    settings = terminal.of_lab(settings_module.load())
    if by_systemd:
        click.echo(f"systemd has stopped {units.control(settings, 'stop')}.")
        return
    if settings.layout.folder.is_dir():
        Acts(settings).go_on("deployment stopped", SHELL, {})
    stopped = Deployment(settings).stop(wait)
    if stopped.worker is not None:
        ended = "The web side has ended. " if stopped.web_side else ""
        raise click.ClickException(
            f"{ended}The worker of {settings.machine} goes on here, and its jobs. End it (SIGTERM to"
            f" {stopped.worker or 'it'}, twice to stop what runs; or systemctl stop labwaiter-worker), then call stop"
            " again."
        )
    if not stopped.settled:
        for holding in Instruments(settings).not_safe():
            click.echo(terminal.not_safe(holding), err=True)
        raise click.ClickException(
            f"The web side has ended, but not every job has within {wait:g} s; the supervisor stays at it."
            " Call stop again to wait for it; supervisor.log tells more."
        )
    if settings.redis_url and stopped.web_side and not stopped.supervisor:
        click.echo("The web side has ended; executions go on at their machines.")
        return
    if stopped.leftovers:
        click.echo("labwaiter has stopped.")
        click.echo(of_leftovers(stopped.leftovers), err=True)
    elif stopped.web_side or stopped.supervisor:
        click.echo("labwaiter has stopped; every job is settled.")
    else:
        click.echo("Nothing was running.")
    for holding in Instruments(settings).not_safe():
        click.echo(terminal.not_safe(holding), err=True)


def of_leftovers(leftovers: Leftovers) -> str:
    """What is to be said of executions that a stop could not settle."""
    names = ", ".join(terminal.plain(name, 60) for name in leftovers.names[:10])
    more = ", …" if len(leftovers.names) > 10 else ""
    running = "".join(
        f" {terminal.plain(name, 60)} still runs (process {pid})." for name, pid in leftovers.runners.items()
    )
    return (
        f"How these ended is not settled, for their records can't be read or written: {names}{more}.{running}"
        " supervisor.log says why; once that is mended, the next start tells it."
    )


def _last_words(settings: Settings) -> str:
    try:
        text = log_file(settings).read_text(errors="replace")[-8000:]
    except OSError:
        return "It left no log."
    return "\n".join(["The last lines of web.log:", *("  " + line for line in terminal.lines(text, 12))])


def _try(settings: Settings) -> None:
    click.echo("Trying it: a Waiter of five seconds …", err=True)
    call = [sys.executable, "-EP", "-m", "labwaiter.test_client", "--url", own_address(settings, "Waiter") + "?wsdl"]
    trial = subprocess.run(
        [*call, "--page", os.devnull, "watch", "--every", "1", "secondsToWait=5"],
        env={name: value for name, value in os.environ.items() if name != "TEST_CLIENT_LAST"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if trial.returncode != 0:
        output = "\n".join(terminal.lines(trial.stdout + trial.stderr))
        raise click.ClickException(f"The deployment runs, but its Waiter did not complete:\n{output}")
    click.echo("It has completed.", err=True)
