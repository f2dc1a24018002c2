"""lint and workflow: what an engineer does at the desk before a service is registered."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from . import say
from .jobs import as_json


@click.command()
@click.argument("wsdl")
@as_json
def lint(wsdl: str, json_: bool) -> None:
    """Say whether a workflow editor will take a service.

    WSDL is an address or a file, of our services or of anybody's. Exit status: 0 fine, 1 with errors,
    3 not reachable.
    """
    from ..desk import lint as rules
    from ..desk.wsdl import Unreachable, Unreadable, read

    url = Path(wsdl).resolve().as_uri() if Path(wsdl).is_file() else wsdl
    try:
        described = read(url)
        found, start = rules.lint(described), rules.start_of(described)
    except Unreachable as error:
        raise TimeoutError(say.plain(str(error), 600)) from error
    except Unreadable as error:
        found, described, start = [rules.error(str(error), "Correct that first.")], None, None
    errors = sum(f.level == "error" for f in found)
    if json_:
        say.as_json({"service": described.service if described else "", "findings": [asdict(f) for f in found]})
        sys.exit(1 if errors else 0)
    if described is not None and start is not None:
        operation = described.operations[start]
        inputs = ", ".join(f.name if f.mandatory else f"[{f.name}]" for f in operation.input.fields or ())
        outputs = ", ".join(f.name for f in operation.output.fields or ())
        click.echo(say.plain(f"{described.service}: {start}({inputs}) gives {outputs or 'nothing'}", 1000))
    for one in found:
        click.echo(f"{one.level:8} {say.plain(one.what, 500)}")
        click.echo(f"{'':8} {say.plain(one.mend, 500)}")
    warnings = len(found) - errors
    click.echo(
        "Nothing is wrong with it." if not found else f"{_count(errors, 'error')}, {_count(warnings, 'warning')}."
    )
    sys.exit(1 if errors else 0)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
