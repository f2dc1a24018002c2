"""schedule: executions that start at their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import settings as settings_module
from ..catalogue import catalogue
from ..errors import Unavailable
from ..fleet import open_jobs
from ..model.caller import SHELL
from ..system import logs
from . import terminal
from .jobs import as_json

if TYPE_CHECKING:
    from ..schedule.scheduler import Row


@click.command()
@click.option("--list", "list_", is_flag=True, help="Say how each schedule stands, and leave.")
@as_json
def schedule(list_: bool, json_: bool) -> None:
    """Start services at the times that schedule.toml says (docs/machines.md), until told to stop.

    On one machine or many; what it has started goes on without it. A run that would overlap its predecessor is skipped.
    """
    settings = settings_module.load()
    offered = catalogue.of(settings)
    jobs = open_jobs(settings)
    from ..fleet.redis_faults import FAULTS, of
    from ..schedule import scheduler as schedulers  # RQ is imported after open_jobs has named its keys
    from ..schedule.schedule import load
    from ..system.stop_signals import set_by_signals

    schedules = load(settings.schedule, offered.whole())
    if list_ or json_:
        try:
            rows = schedulers.standing(settings, jobs, schedules, SHELL)
        except FAULTS as error:
            raise Unavailable(f"Nothing is known of the last runs. {of(error).mend}") from error
        _show(rows, json_)
        return
    terminal.of_lab(settings)
    logs.set_up("schedule", settings.log_format)
    scheduler = schedulers.Scheduler(settings, jobs, offered, schedules)
    set_by_signals(scheduler.stopping)
    for row in scheduler.scheduled:
        click.echo(f"{row.name}: next at {terminal.moment(row.next.timestamp())}", err=True)
    scheduler.run()


def _show(rows: list[Row], json_: bool) -> None:
    if json_:
        terminal.as_json([row.as_data() for row in rows])
        return
    if not rows:
        click.echo("Nothing is scheduled.")
        return
    table = []
    for row in rows:
        last = f"{terminal.moment(row.last.request.created)}, {row.last.state}" if row.last else "-"
        note = f"skipped {row.skipped} times since: {row.why}" if row.skipped else terminal.plain(row.schedule.note)
        table.append(
            (row.schedule.name, row.schedule.service, row.schedule.times, terminal.moment(row.next), last, note)
        )
    terminal.table(("SCHEDULE", "SERVICE", "TIMES", "NEXT", "LAST", "NOTE"), table)
