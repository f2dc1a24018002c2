"""worker and its kin: a lab of many machines."""

from __future__ import annotations

import sys

import click

from .. import settings as settings_module
from ..errors import Misconfigured
from ..fleet import name_keys
from ..settings import Settings
from ..system import logs
from . import terminal

NO_REDIS = "This is for a lab of many machines: set REDIS_URL first (docs/machines.md)."


def fleet_settings() -> Settings:
    """The settings, where there is a Redis. Raises Misconfigured."""
    settings = settings_module.load()
    if not settings.redis_url:
        raise Misconfigured(NO_REDIS)
    name_keys(settings)
    return settings


@click.command()
@click.option("--burst", is_flag=True, help="Leave once no order is left and all that began has ended.")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="Executions at a time; more orders stay in Redis. Default: MAX_RUNNING and MAX_QUEUED together.",
)
@click.option(
    "--drain",
    type=click.FloatRange(0),
    help="Seconds that running executions have once it is told to stop; default: as long as they take.",
)
def worker(burst: bool, concurrency: int | None, drain: float | None) -> None:
    """Take orders for this machine from Redis, and show there what it does.

    Told to stop (SIGTERM) it takes no new order and leaves when what runs has ended; told twice, it stops
    everything, makes safe and leaves.
    """
    settings = terminal.of_lab(fleet_settings())
    from ..fleet.worker import Worker

    logs.set_up("worker", settings.log_format)
    sys.exit(0 if Worker(settings, concurrency).run(burst, drain) else 3)
