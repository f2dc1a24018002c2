"""schedule: executions that start at their times."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import click

from .. import catalogue
from .. import settings as settings_module
from ..errors import Unavailable
from ..fleet import open_jobs
from . import say
from .jobs import as_json

if TYPE_CHECKING:
    from ..fleet.scheduler import Row


@click.command()
@click.option("--list", "list_", is_flag=True, help="Say how each schedule stands, and leave.")
@as_json
def schedule(list_: bool, json_: bool) -> None:
    """Start services at the times that schedule.toml says (docs/machines.md), until told to stop.

    On one machine or many; what it has started goes on without it. A run that would overlap its predecessor is skipped.
    """
    settings = settings_module.load()
    offered = catalogue.load(settings.services)
    jobs = open_jobs(settings)
    from ..fleet import scheduler as schedulers  # RQ is imported after open_jobs has named its keys
    from ..fleet.schedule import load
    from ..fleet.store import FAULTS

    found = load(settings.schedule, offered)
    if list_ or json_:
        try:
            rows = schedulers.standing(settings, jobs, found)
        except FAULTS as error:
            raise Unavailable("Redis can't be reached, so nothing is known of the last runs.") from error
        _show(rows, json_)
        return
    logging.basicConfig(format="%(asctime)s schedule[%(process)d] %(levelname)s %(message)s", level=logging.INFO)
    scheduler = schedulers.Scheduler(settings, jobs, offered, found)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stopping.set())
    for row in scheduler.scheduled:
        click.echo(f"{row.name}: next at {say.moment(row.next.timestamp())}", err=True)
    scheduler.run()


def _show(rows: list[Row], json_: bool) -> None:
    if json_:
        say.as_json(
            [
                {
                    "name": row.schedule.name,
                    "service": row.schedule.service,
                    "times": row.schedule.times,
                    "inputs": row.schedule.inputs,
                    "next": row.next,
                    "last": say.of_record(row.last) if row.last else None,
                    "skipped": row.skipped,
                    "why": row.why,
                }
                for row in rows
            ]
        )
        return
    if not rows:
        click.echo("Nothing is scheduled.")
        return
    table = []
    for row in rows:
        last = f"{say.moment(row.last.request.created)}, {row.last.state}" if row.last else "-"
        note = f"skipped {row.skipped} times since: {row.why}" if row.skipped else say.plain(row.schedule.note)
        table.append((row.schedule.name, row.schedule.service, row.schedule.times, say.moment(row.next), last, note))
    say.table(("SCHEDULE", "SERVICE", "TIMES", "NEXT", "LAST", "NOTE"), table)
