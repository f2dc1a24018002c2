"""events: what an operator should hear of, in lines."""

from __future__ import annotations

import time

import click

from .. import settings as settings_module
from ..model.caller import SHELL
from ..verbs.monitoring import EVENTS_MAX, Monitoring, since_of
from . import terminal
from .jobs import as_json


@click.command()
@click.option(
    "--last", "most", type=click.IntRange(1, EVENTS_MAX), default=50, show_default=True, help="At most so many."
)
@click.option("--since", help="90min, 2h, 3d; hour, day, month; 2026-11-30 14:30.")
@click.option("--instrument", default="", help="Only those of this one.")
@as_json
def events(most: int, since: str | None, instrument: str, json_: bool) -> None:
    """Limits that were passed, instruments that became unsafe, executions that failed or wait too long.

    Newest last (docs/monitoring.md).
    """
    begin = 0.0 if since is None else since_of(since, time.time())
    found = Monitoring(settings_module.load()).events(SHELL, most, begin, instrument)
    found.reverse()
    if json_:
        terminal.as_json([event.told() for event in found])
        return
    if not found:
        click.echo("Nothing has happened that would be an event.")
    for event in found:
        click.echo(f"{terminal.moment(event.at)}  {event.kind:7} {terminal.plain(event.text, 500)}")
