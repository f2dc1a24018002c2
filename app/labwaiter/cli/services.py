"""services, check, new: the folder of the service files as its user sees it."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import click

from .. import catalogue
from .. import settings as settings_module
from ..errors import Misconfigured
from ..parameter import Parameter, text_of
from ..service import Service
from . import say, web
from .jobs import as_json

XML_TYPE = {"int": "xs:int", "float": "xs:double", "boolean": "xs:boolean"} | dict.fromkeys(
    ("text", "file", "instrument"), "xs:string"
)
TEMPLATE = Path(__file__).with_name("template.py.txt")


@click.command()
@as_json
def services(json_: bool) -> None:
    """The services, their addresses and inputs."""
    settings = web.as_running(settings_module.load())
    offered = catalogue.load(settings.services)
    addresses = {name: web.address(settings, name) for name in offered.services}
    if json_:
        found: dict[str, Any] = {name: _data(one, addresses[name]) for name, one in offered.services.items()}
        broken = {name: {"file": b.file.name, "broken": b.reason} for name, b in offered.broken.items()}
        say.as_json(found | broken)
        return
    if not offered.services and not offered.broken:
        click.echo("No service files yet: `labwaiter new NAME` writes one to start from.")
        return
    rows = [
        (name, addresses[name], ", ".join(_brief(p) for p in one.inputs) or "none")
        for name, one in offered.services.items()
    ]
    rows += [(name, "broken", f"{b.file.name}: {say.plain(b.reason, 300)}") for name, b in offered.broken.items()]
    say.table(("NAME", "ADDRESS", "INPUTS"), rows)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def check(file: Path, json_: bool) -> None:
    """Is a service file right, and how will it be seen?

    Shows its services as a workflow manager will see them, or what is wrong, with the line.
    """
    if file.suffix != ".py":
        raise click.UsageError(f"{file.name} is no service file: those end in .py.")
    settings = settings_module.load()
    try:
        found = catalogue.load_file(file.resolve())
    except Misconfigured as error:
        place = _place(error, file)
        if json_:
            say.as_json({"wrong": str(error), "line": place[0] if place else None})
        else:
            click.echo(str(error), err=True)
            if place:
                click.echo(f"{file.name}, line {place[0]}:  {say.plain(place[1])}", err=True)
        raise click.exceptions.Exit(1) from error
    if json_:
        say.as_json({one.name: _data(one, web.address(settings, one.name)) for one in found})
        return
    for number, one in enumerate(found):
        click.echo("" if number else f"{file.name} is right.")
        _show(one, web.address(settings, one.name))
    if file.resolve().parent != settings.services.resolve():
        click.echo("\nNote: it doesn't lie in the services folder, so this deployment doesn't offer it.")


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a service file to start from.

    It is a working example, which counts seconds and can be aborted.
    """
    settings = settings_module.load()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,63}", name):
        raise click.UsageError("A service's name must be letters and digits, at most 64, e.g. HeatAndHold.")
    name = name[0].upper() + name[1:]
    taken = {n.lower(): f for f in catalogue.files(settings.services) for n in catalogue.names_in(f)}
    if name.lower() in taken:
        raise click.UsageError(f"{taken[name.lower()].name} offers a service of the name {name} already.")
    file = settings.services / (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() + ".py")
    text = TEMPLATE.read_text(encoding="utf-8").replace("NAME", name).replace("ADDRESS", name.lower())
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise click.UsageError(f"{file.name} is there already; nothing was written.") from None
    shown = file if not file.is_relative_to(Path.cwd()) else file.relative_to(Path.cwd())
    click.echo(f"Wrote {shown}. Edit it, then: labwaiter check {shown}; labwaiter run {name} steps=3")


def _limited(parameter: Parameter) -> str:
    return f"{XML_TYPE[parameter.kind]} {parameter.limits}".rstrip()


def _brief(parameter: Parameter) -> str:
    if parameter.mandatory:
        return parameter.name
    return f"{parameter.name}={'' if parameter.default is None else say.plain(text_of(parameter.default), 30)}"


def _inputs(one: Service) -> list[tuple[str, str, str]]:
    own = [(p.name, _limited(p), "" if p.mandatory else f"optional, default {_default(p)}") for p in one.inputs]
    first = [("serviceID", "xs:string", ""), ("sessionToken", "xs:string", "")]
    return [*first, *own, ("extraParameters", "xs:string", "optional")]


def _default(parameter: Parameter) -> str:
    return "none" if parameter.default is None else f"“{say.plain(text_of(parameter.default), 60)}”"


def _show(one: Service, address: str) -> None:
    click.echo(f"{one.name}, at {address}?wsdl")
    click.echo(f"  namespace  {one.namespace}")
    if one.doc:
        click.echo(f"  {one.doc.splitlines()[0]}")
    rules = [("may run", one.limit), ("may stall", one.stall)]
    said = [f"{words} {say.span(seconds)}" for words, seconds in rules if seconds is not None]
    if one.at_once is not None:
        said.append(f"{one.at_once} at a time")
    click.echo(f"  rules      {', '.join(said) or 'no limit of time'}")
    click.echo(f"  operation  {one.operation}")
    for name, kind, note in _inputs(one):
        click.echo(f"    in   {name:<20} {kind}{'; ' + note if note else ''}")
    for name, kind in [("status_base64", "xs:string"), *((p.name, _unit(p)) for p in one.outputs)]:
        click.echo(f"    out  {name:<20} {kind}")
    click.echo("  operations getServiceStatus, abortService, notifyService as for every service")


def _unit(output: Parameter) -> str:
    choices = f" one of {', '.join(output.choices)}" if output.choices else ""
    return XML_TYPE[output.kind] + (f" in {output.unit}" if output.unit else "") + choices


def _data(one: Service, address: str) -> dict[str, Any]:
    def of(parameter: Parameter) -> dict[str, Any]:
        kept = ("name", "choices", "low", "high", "unit", "mandatory", "default")
        return {"type": XML_TYPE[parameter.kind]} | {key: getattr(parameter, key) for key in kept}

    return {
        "file": one.file.name,
        "wsdl": f"{address}?wsdl",
        "namespace": one.namespace,
        "operation": one.operation,
        "inputs": [of(p) for p in one.inputs],
        "outputs": [{"name": p.name, "type": XML_TYPE[p.kind], "unit": p.unit} for p in one.outputs],
        "limit": one.limit,
        "stall": one.stall,
        "at_once": one.at_once,
    }


def _place(error: Misconfigured, file: Path) -> tuple[int, str] | None:
    """The line of `file` that raised, and its number."""
    cause = error.__cause__ or error
    if isinstance(cause, SyntaxError) and cause.lineno:
        return cause.lineno, (cause.text or "").strip()
    own = [f for f in traceback.extract_tb(cause.__traceback__) if Path(f.filename) == file.resolve()]
    return (own[-1].lineno or 0, own[-1].line or "") if own else None
