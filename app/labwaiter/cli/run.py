"""run: an execution without SOAP, watched from the terminal."""

from __future__ import annotations

import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from .. import settings as settings_module
from ..catalogue import catalogue
from ..deployment.address import link_address
from ..errors import InvalidParameter, Unavailable, UnknownServiceID
from ..fleet import open_jobs
from ..model.caller import SHELL
from ..model.parameter import text_of
from ..model.record import Record, View
from ..model.service import Service
from ..model.span import span
from ..store import supervisor_client
from ..verbs import Jobs
from ..verbs.instruments import Instruments
from . import completing, terminal
from .jobs import EXIT_OF, as_json

LOOK_EVERY = 0.5  # s
BAR = 30  # characters


@click.command()
@click.argument("service_name", metavar="SERVICE", required=False, shell_complete=completing.services)
@click.argument("inputs", metavar="[NAME=VALUE]…", nargs=-1)
@click.option("--id", "service_id", help="The execution's serviceID; default: a fresh one.")
@click.option(
    "--again",
    metavar="SERVICEID",
    shell_complete=completing.executions,
    help="With the service and the inputs of this execution; what is written beside it counts instead.",
)
@click.option("--detach", is_flag=True, help="Start it, and don't wait: labwaiter jobs shows, follows and aborts it.")
@as_json
def run(
    service_name: str | None,
    inputs: tuple[str, ...],
    service_id: str | None,
    again: str | None,
    detach: bool,
    json_: bool,
) -> None:
    """Run a service without SOAP.

    Waits for the end and prints the outputs. Ctrl-C aborts the execution.

    A file that is an input is named as it is called in the files folder, or in your own folder by an @:
    part=@parts/wheel.stl. That one is kept in the files folder first, below handed-in/, and replaces none.
    """
    if again is not None and service_name is not None and "=" in service_name:
        inputs, service_name = (service_name, *inputs), None
    if again is None and service_name is None:
        raise click.UsageError("Name the service (labwaiter services lists them), or an execution by --again.")
    settings = terminal.of_lab(settings_module.load())
    verbs = open_jobs(settings)
    given: dict[str, str] = {}
    if again is not None:
        before = verbs.record(again, SHELL).request
        if service_name is not None and service_name.lower() != before.service.lower():
            raise InvalidParameter(f"{terminal.plain(again, 60)} was an execution of {before.service}: leave that out.")
        service_name = before.service
        given = {name: text_of(value) for name, value in before.inputs.items() if value is not None}
    assert service_name is not None
    service = catalogue.of(settings).now(service_name).get(service_name)
    # an input that the service has no longer is left out
    values = {p.name: given[p.name] for p in service.inputs if p.name in given} | _parsed(inputs)
    service_id = service_id or f"shell-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    if not settings.redis_url and supervisor_client.stopped(settings) and supervisor_client.alive(settings) is None:
        raise Unavailable("This deployment was stopped: start it again first (./rebuildandrun.sh, or labwaiter start).")
    values |= _handed_in(verbs, service, values)
    try:
        if any(parameter.kind == "instrument" for parameter in service.inputs):
            terminal.warn(Instruments(settings).mistake())
        verbs.start(service, service_id, values, replace(SHELL, public_url=link_address(settings)))
        if not json_:
            click.echo(f"Started {service.name} as {terminal.plain(service_id)}", err=True)
        if detach:
            if json_:
                terminal.as_json(terminal.of_record(verbs.record(service_id, SHELL)))
            else:
                click.echo(terminal.plain(service_id))
            return
        record = _watch(verbs, service, service_id)
    except KeyboardInterrupt:
        record = _stopped(verbs, service, service_id)
    if json_:
        terminal.as_json(terminal.of_record(record))
    else:
        terminal.result(record)
    sys.exit(EXIT_OF[record.state] if not record.active else 3)


def _parsed(inputs: tuple[str, ...]) -> dict[str, str]:
    inputs_by_name: dict[str, str] = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidParameter(f"Write an input as name=value, not {terminal.plain(text, 60)}.")
        if name in inputs_by_name:
            raise InvalidParameter(f"The input {terminal.plain(name, 60)} is given twice.")
        inputs_by_name[name] = value
    return inputs_by_name


def _handed_in(verbs: Jobs, service: Service, values: dict[str, str]) -> dict[str, str]:
    """The inputs that name a file of the caller's own by an @, with the names that these files have now."""
    named: dict[str, str] = {}
    for parameter in service.inputs:
        text = values.get(parameter.name, "")
        if parameter.kind != "file" or not text.startswith("@"):
            continue
        file = Path(text[1:])
        parameter.accept(file.name)
        with open(file, "rb") as content:
            named[parameter.name] = verbs.take_in(file.name, content, SHELL)
    return named


def _watch(verbs: Jobs, service: Service, service_id: str) -> Record:
    """The record once the execution has ended, however."""
    live = sys.stderr.isatty()
    try:
        while True:
            record = verbs.wait(service_id, LOOK_EVERY, SHELL)
            if live:
                click.echo("\r" + _line(verbs.view(service_id, SHELL, service)) + "\x1b[K", nl=False, err=True)
            if not record.active:
                return record
    finally:
        if live:
            click.echo(err=True)


def _stopped(verbs: Jobs, service: Service, service_id: str) -> Record:
    """The record after Ctrl-C has had the execution stopped."""
    click.echo("Stopping it …", err=True)
    try:
        if not verbs.abort(service, service_id, SHELL):
            click.echo("The stop goes on by itself.", err=True)
        return verbs.record(service_id, SHELL)
    except UnknownServiceID:
        raise click.Abort() from None  # it had not been recorded yet


def _line(view: View) -> str:
    record, fraction = view.record, view.progress.fraction
    if record.outputs is not None:
        fraction = 1.0
    filled = round(BAR * min(1.0, max(0.0, fraction or 0.0)))
    percent = "    " if fraction is None else f"{fraction:4.0%}"
    lasted = view.ran
    if lasted is None:
        lasted = max(0.0, (record.ended or view.now) - (record.started or record.request.created))
    place = f"place {view.place} in the queue" if view.place else view.progress.stage
    words = [percent, span(lasted), str(record.state), terminal.plain(place, 60)]
    return f"[{'#' * filled}{'.' * (BAR - filled)}] " + "  ".join(words).rstrip()
