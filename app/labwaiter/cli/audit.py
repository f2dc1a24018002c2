"""audit: who did what, and whether nobody has changed what is written of that."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

import click

from .. import settings as settings_module
from ..store.audit import Audit
from ..system import logs
from . import terminal
from .jobs import as_json

CHAIN = ("seq", "time", "event", "prev", "hash")  # what each line has; the rest says what it is about


@click.group(invoke_without_command=True)
@click.option("--last", "most", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "all_", is_flag=True, help="As many as there are.")
@as_json
@click.pass_context
def audit(context: click.Context, most: int, all_: bool, json_: bool) -> None:
    """Who started, aborted, reserved, made safe, …, newest last (docs/operating.md)."""
    if context.invoked_subcommand is not None:
        return
    entries = deque(_audit().entries(), None if all_ else most)
    if json_:
        terminal.as_json(list(entries))
    elif not entries:
        click.echo("Nothing was done yet.")
    for entry in () if json_ else entries:
        words = logs.in_words(str(entry.get("event", "")), {n: v for n, v in entry.items() if n not in CHAIN})
        click.echo(f"{entry.get('seq')}  {entry.get('time')}  {words}")


@audit.command()
@as_json
def verify(json_: bool) -> None:
    """See whether each line fits the one before it. Exit status: 0 all do, 1 one doesn't."""
    verdict = _audit().verify()
    if json_:
        data: dict[str, Any] = {"lines": verdict.count, "fault": verdict.fault, "last": verdict.last}
        terminal.as_json(data | {"notes": list(verdict.notes)})
    elif verdict.fault:
        click.echo(f"{verdict.fault} The {verdict.count} lines before it fit.", err=True)
    else:
        last = f"; the hash of the last one is {verdict.last}" if verdict.count else ""
        click.echo(f"{verdict.count} lines, each fits the one before it{last}.")
    for note in () if json_ else verdict.notes:
        click.echo(note, err=True)
    sys.exit(1 if verdict.fault else 0)


def _audit() -> Audit:
    return Audit(settings_module.load().layout)
