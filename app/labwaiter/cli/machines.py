"""init-db, workers, clear-queue: what an operator does for a lab of many machines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .. import settings as settings_module
from ..errors import Misconfigured
from ..fleet import open_jobs
from ..lab import labfile
from ..model.record import Record, State
from ..settings import Settings
from . import terminal
from .fleet import fleet_settings
from .jobs import as_json

if TYPE_CHECKING:
    from ..fleet.lab_redis import LabRedis
    from ..fleet.machines import MachineState

yes_ = click.option("--yes", is_flag=True, help="Don't ask.")


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """A Redis that doesn't do what it is asked is told in a sentence; exit status 3."""
    from ..fleet.lab_redis import FAULTS
    from ..fleet.trouble import of

    try:
        yield
    except FAULTS as error:
        raise TimeoutError(of(error).mend) from error


@click.command("init-db")
@click.option("--clear", is_flag=True, help="Delete all keys of this lab, and of no other.")
@click.option("--force", is_flag=True, help="Clear also while workers live.")
@yes_
@as_json
def init_db(clear: bool, force: bool, yes: bool, json_: bool) -> None:
    """Check the Redis of this lab, or clear it.

    Says in a sentence each what is wrong and how it is mended. Exit status: 0 nothing, 1 something must be mended,
    3 it can't be reached. Once cleared, what runs re-appears when its machine tells of it; orders that no machine
    has taken are gone.
    """
    settings = fleet_settings()
    from ..fleet.doctor import examine
    from ..fleet.lab_redis import LabRedis

    store = LabRedis(settings)
    with _reached():
        if clear:
            _clear(settings, store, force, yes)
            return
        found = list(examine(settings, store))
    if json_:
        terminal.as_json([vars(one) for one in found])
    else:
        for one in found:
            click.echo(f"{one.grade:5}  {terminal.plain(one.said, 500)}")
    sys.exit(1 if any(one.grade == "wrong" for one in found) else 0)


def _clear(settings: Settings, store: LabRedis, force: bool, yes: bool) -> None:
    from ..fleet import machines

    alive = [one.name for one in machines.states(store, labfile.load(settings.lab)) if one.alive]
    if alive and not force:
        raise click.ClickException(f"Workers of this lab live ({', '.join(alive)}): stop them first, or say --force.")
    if not yes:
        click.confirm(f"Delete every key that begins with {settings.redis_prefix}: ?", abort=True)
    count = machines.clear(store)
    click.echo(f"{count} keys are deleted. What runs re-appears when its machine tells of it.")


@click.command()
@as_json
def workers(json_: bool) -> None:
    """How the machines of this lab are.

    Exit status: 0 every one that lab.toml names takes orders, 3 one does not.
    """
    settings = fleet_settings()
    from ..fleet import machines
    from ..fleet.heartbeat import lab_digest
    from ..fleet.lab_redis import LabRedis

    with _reached():
        found = machines.states(LabRedis(settings), labfile.load(settings.lab), lab_digest(settings.lab))
    if json_:
        terminal.as_json([vars(one) | {"offers": list(one.offers)} for one in found])
    elif not found:
        click.echo("lab.toml names no machine, and none has been here: write a table [machines.NAME] for each.")
    else:
        heads = ("MACHINE", "STATE", "VERSION", "ACTIVE", "WAITING", "ORDERS", "CLOCK", "NOTE")
        terminal.table(heads, [_row(one) for one in found])
    sys.exit(0 if all(one.state == "takes orders" for one in found if one.known) else 3)


def _row(one: MachineState) -> tuple[str, ...]:
    notes = [
        "" if one.known else "lab.toml does not name it",
        "its lab.toml differs" if one.same_lab is False else "",
        "its REDIS_SECRET differs" if one.same_secret is False else "",
    ]
    clock = "-" if one.clock is None else f"{one.clock:+.1f} s"
    note = "; ".join(text for text in notes if text)
    counts = (str(one.active), str(one.waiting), str(one.orders))
    return (one.name, terminal.plain(one.in_words, 60), terminal.plain(one.version, 20) or "-", *counts, clock, note)


@click.command("clear-queue")
@click.argument("machines", metavar="[MACHINE]…", nargs=-1)
@yes_
@as_json
def clear_queue(machines: tuple[str, ...], yes: bool, json_: bool) -> None:
    """Abort what has not begun: orders that no machine has taken.

    Of these machines, or of all. On a single machine (without REDIS_URL): what waits in its queue.
    """
    settings = settings_module.load()
    gone = _withdrawn(settings, machines, yes) if settings.redis_url else _unqueued(settings, machines, yes)
    if json_:
        terminal.as_json(gone)
    elif gone:
        click.echo(f"{len(gone)} executions are aborted: they had not begun.")
    else:
        click.echo("Nothing was withdrawn: nothing waits, or its machine is just taking it.")


def _ask(count: int, yes: bool) -> None:
    if count and not yes:
        click.confirm(f"Abort {count} executions that have not begun?", abort=True)


def _withdrawn(settings: Settings, names: tuple[str, ...], yes: bool) -> list[str]:
    verbs = open_jobs(settings)
    from ..fleet import machines
    from ..fleet.redis_store import RedisStore

    assert isinstance(verbs.records, RedisStore)
    there = verbs.records
    with _reached():
        known = [one.name for one in machines.states(there.store, labfile.load(settings.lab))]
        for name in names:
            if name not in known:
                raise Misconfigured(f"There is no machine {terminal.plain(name, 60)}; there are: {', '.join(known)}.")
        waiting = machines.waiting(there.store, names or known)
        _ask(len(waiting), yes)
        return machines.withdraw(there, waiting)


def _unqueued(settings: Settings, names: tuple[str, ...], yes: bool) -> list[str]:
    if names:
        raise Misconfigured("Machines are named where there are many: REDIS_URL is not set (docs/machines.md).")
    verbs = open_jobs(settings)

    def waits(record: Record) -> bool:
        return record.state is State.QUEUED

    waiting = [record.request.service_id for record in verbs.list() if waits(record)]
    _ask(len(waiting), yes)
    # from the end: what is freed at the front would begin meanwhile
    for service_id in reversed(waiting):
        if waits(verbs.record(service_id)):
            verbs.abort(None, service_id)
    return [one for one in waiting if verbs.record(one).started is None]
