"""How values look in a terminal. Nothing from outside reaches it unescaped: see `plain`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..model.parameter import text_of
from ..model.record import Record
from ..model.sentences import moment as moment
from ..model.sentences import plain as plain
from ..settings import Settings
from ..store.leases import Held
from ..verbs.as_data import of_record as of_record
from ..verbs.instruments import Holding

if TYPE_CHECKING:
    from ..desk.findings import Finding


def of_lab(settings: Settings) -> Settings:
    """Say on stderr which lab it is that a command is about to change: the one that these settings are of."""
    click.echo(f"Lab: {plain(next(iter(settings.naming.values())), 500)}", err=True)
    return settings


def command() -> str:
    """How `labwaiter` is to be called so that the same lab is meant, on a line to paste."""
    context = click.get_current_context(silent=True)
    folder = context.find_root().params.get("folder") if context else None
    return plain(f"labwaiter --deployment {shlex.quote(folder)}", 500) if folder else "labwaiter"


def no_services(settings: Settings) -> str:
    """What is to be said of a services folder without any."""
    folder = plain(str(settings.services), 500)
    return f"No service yet: {folder} holds no service file; {command()} new NAME writes one."


def lines(text: str, last: int = 15) -> list[str]:
    """The last lines of a log, each as `plain` shows it."""
    return [plain(line.expandtabs(), 400) for line in text.splitlines()[-last:]]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one runs free."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        click.echo("  ".join([*padded, row[-1]]).rstrip())


def findings(findings: Sequence[Finding], indent: str = "") -> None:
    """What was found, each with its level; one cure of several is told once, behind them."""
    for level, mend in dict.fromkeys((f.level, f.mend) for f in findings):
        for finding in findings:
            if (finding.level, finding.mend) == (level, mend):
                click.echo(f"{indent}{level:8} {plain(finding.what, 500)}")
        if mend:
            click.echo(f"{indent}{'':8}   {plain(mend, 500)}")


def count(number: int, word: str) -> str:
    """So many of something."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def as_json(value: Any) -> None:
    """A value as JSON, for other programs."""
    click.echo(json.dumps(value, indent=2))


def result(record: Record) -> None:
    """How an execution stands, and its outputs when it has completed."""
    name = plain(record.request.service_id)
    if record.outputs is None:
        click.echo(f"{name} is {record.state}." + (f" {plain(record.why, 1000)}" if record.why else ""))
        return
    for output, value in record.outputs.items():
        click.echo(f"{output} = {plain(text_of(value), 10_000)}")


def warn(sentence: str) -> None:
    """A sentence on stderr, if there is one."""
    if sentence:
        click.echo(sentence, err=True)


def not_safe(holding: Holding) -> str:
    """A sentence on an instrument that waits for a person, or was not read back safe yet."""
    name, lease = holding.lease.instrument, holding.lease
    if lease.how is Held.UNSAFE:
        return f"{name} is unsafe: {plain(lease.why, 500)} `{command()} instruments safe {name}` tries again."
    return f"{name} was not read back safe: it is {holding.words}."
