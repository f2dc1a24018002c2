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
from ..model.caller import SHELL
from ..settings import Settings
from ..verbs.acts import Acts
from . import completing, terminal
from .fleet import fleet_settings
from .jobs import as_json

if TYPE_CHECKING:
    from ..fleet.lab_redis import LabRedis
    from ..fleet.machines import MachineState

yes_ = click.option("--yes", is_flag=True, help="Don't ask.")


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """A Redis that doesn't do what it is asked is told in a sentence; exit status 3."""
    from ..fleet.redis_faults import FAULTS, of

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
            terminal.of_lab(settings)
            _clear(settings, store, force, yes)
            return
        findings = list(examine(settings, store))
    if json_:
        terminal.as_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.grade:5}  {terminal.plain(finding.said, 500)}")
    sys.exit(1 if any(finding.grade == "wrong" for finding in findings) else 0)


def _clear(settings: Settings, store: LabRedis, force: bool, yes: bool) -> None:
    from ..fleet import machines

    alive = [machine.name for machine in machines.states(store, labfile.load(settings.lab)) if machine.alive]
    if alive and not force:
        raise click.ClickException(f"Workers of this lab live ({', '.join(alive)}): stop them first, or say --force.")
    if not yes:
        click.confirm(f"Delete every key that begins with {settings.redis_prefix}: ?", abort=True)
    count = store.clear()
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
        states = machines.states(LabRedis(settings), labfile.load(settings.lab), lab_digest(settings.lab))
    if json_:
        terminal.as_json([machine.as_data() for machine in states])
    elif not states:
        click.echo("lab.toml names no machine, and none has been here: write a table [machines.NAME] for each.")
    else:
        heads = ("MACHINE", "STATE", "VERSION", "ACTIVE", "WAITING", "ORDERS", "CLOCK", "NOTE")
        terminal.table(heads, [_row(machine) for machine in states])
    sys.exit(0 if all(machine.state == "takes orders" for machine in states if machine.known) else 3)


def _row(machine: MachineState) -> tuple[str, ...]:
    notes = [
        "" if machine.known else "lab.toml does not name it",
        "its lab.toml differs" if machine.same_lab is False else "",
        "its REDIS_SECRET differs" if machine.same_secret is False else "",
    ]
    clock = "-" if machine.clock is None else f"{machine.clock:+.1f} s"
    note = "; ".join(text for text in notes if text)
    counts = (str(machine.active), str(machine.waiting), str(machine.orders))
    return (
        machine.name,
        terminal.plain(machine.in_words, 60),
        terminal.plain(machine.version, 20) or "-",
        *counts,
        clock,
        note,
    )


@click.command("clear-queue")
@click.argument("machines", metavar="[MACHINE]…", nargs=-1, shell_complete=completing.machines)
@yes_
@as_json
def clear_queue(machines: tuple[str, ...], yes: bool, json_: bool) -> None:
    """Abort what has not begun: orders that no machine has taken.

    Of these machines, or of all. On a single machine (without REDIS_URL): what waits in its queue.
    """
    settings = terminal.of_lab(settings_module.load())
    service_ids = _withdrawn(settings, machines, yes) if settings.redis_url else _unqueued(settings, machines, yes)
    if json_:
        terminal.as_json(service_ids)
    elif service_ids:
        click.echo(f"{len(service_ids)} executions are aborted: they had not begun.")
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
    records = verbs.records
    with _reached():
        known = [machine.name for machine in machines.states(records.store, labfile.load(settings.lab))]
        waiting = machines.waiting(records.store, machines.of_names(known, names))
        _ask(len(waiting), yes)
        return machines.withdraw(records, waiting, SHELL, Acts(settings))


def _unqueued(settings: Settings, names: tuple[str, ...], yes: bool) -> list[str]:
    if names:
        raise Misconfigured("Machines are named where there are many: REDIS_URL is not set (docs/machines.md).")
    verbs = open_jobs(settings)
    waiting = verbs.queued(SHELL)
    _ask(len(waiting), yes)
    return verbs.abort_queued(waiting, SHELL)
