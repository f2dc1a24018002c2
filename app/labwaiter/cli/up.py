"""up and health: a deployment in the foreground, as the main process of a container."""

from __future__ import annotations

import sys
import time

import click

from .. import settings as settings_module
from ..authentication import authenticator
from ..deployment import Deployment, Foreground
from ..deployment.address import resolved
from ..lab import labfile
from ..store import supervisor_client
from ..system import logs
from ..verbs.instruments import Instruments
from . import terminal
from .deploy import PORT, chosen, of_leftovers


@click.command()
@click.option("--only", type=click.Choice(["supervisor", "web"]), help="One side alone, the other runs elsewhere.")
@click.option("--host", help="Address to listen on; default: HOST.")
@click.option("--port", type=PORT, help="Port to listen on; default: PORT.")
def up(only: str | None, host: str | None, port: int | None) -> None:
    """Run supervisor and web side in the foreground, as a container does.

    Either is started again when it ends. Told to stop (SIGTERM), it admits nothing more, settles
    every job and leaves within STOP_SECONDS. Logs go to stdout. With REDIS_URL it is the web side alone.
    """
    settings = chosen(terminal.of_lab(settings_module.load()), host=host, port=port)

    def tell(sentence: str) -> None:
        if settings.log_format == logs.JSON:
            sentence = logs.line(logs.JSON, time.time(), "up", "INFO", sentence)[:-1]
        print(sentence, file=sys.stderr, flush=True)  # a container's log is read while it runs

    if only != "supervisor":
        settings = resolved(settings)
        tell(authenticator.words(settings))
    foreground = Foreground(settings, only, tell)
    stopped = foreground.run()
    if stopped.leftovers:
        tell(of_leftovers(stopped.leftovers))
    if foreground.supervises:
        for holding in Instruments(settings).not_safe():
            tell(terminal.not_safe(holding))
    sys.exit(1 if foreground.failed or not stopped.settled else 0)


@click.command()
@click.option("--only", type=click.Choice(["supervisor", "web"]), help="Look at one side alone.")
def health(only: str | None) -> None:
    """Say whether the deployment of this machine or container works.

    For a container's health check: exit status 0 or 3. A mistake in lab.toml is told, and is no 3: all else works, and
    whoever then began it anew would end what runs.
    """
    settings = settings_module.load()
    if only == "supervisor":
        if supervisor_client.alive(settings) is None:
            raise TimeoutError("No supervisor runs.")
        click.echo("A supervisor runs.")
        return
    answer = Deployment(settings).health(supervisor=only != "web")
    runs = "runs" if labfile.mistake(settings.lab) else "works"
    names = ", ".join(answer.services) or "none"
    click.echo(f"labwaiter {answer.version} {runs} at {answer.address}; its services: {names}.")
    click.echo(authenticator.words(settings))
    terminal.warn(Instruments(settings).mistake())
