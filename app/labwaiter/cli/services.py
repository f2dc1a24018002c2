"""services, check, new: the folder of the service files as its user sees it."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .. import settings as settings_module
from ..catalogue import catalogue
from ..model import contract
from ..model.parameter import Parameter, text_of
from ..model.service import Service
from ..model.span import span
from . import terminal, web
from .instruments import say_mistake
from .jobs import as_json

if TYPE_CHECKING:
    from ..desk.findings import Finding
    from ..settings import Settings

XML_TYPE = {"int": "xs:int", "float": "xs:double", "boolean": "xs:boolean"} | dict.fromkeys(
    ("text", "file", "instrument"), "xs:string"
)
TEMPLATE = Path(__file__).with_name("template.py.txt")


@click.command()
@as_json
def services(json_: bool) -> None:
    """The services, their addresses and inputs."""
    settings = web.as_running(settings_module.load())
    offered = catalogue.of(settings).whole()
    addresses = {name: web.address(settings, name) for name in offered.services}
    say_mistake(settings)
    if json_:
        found: dict[str, Any] = {name: _data(one, addresses[name]) for name, one in offered.services.items()}
        broken = {name: {"file": b.file.name, "broken": b.reason} for name, b in offered.broken.items()}
        terminal.as_json(found | broken)
        return
    if not offered.services and not offered.broken:
        click.echo("No service files yet: `labwaiter new NAME` writes one to start from.")
        return
    rows = [
        (name, addresses[name], ", ".join(_brief(p) for p in one.inputs) or "none")
        for name, one in offered.services.items()
    ]
    rows += [(name, "broken", f"{b.file.name}: {terminal.plain(b.reason, 300)}") for name, b in offered.broken.items()]
    terminal.table(("NAME", "ADDRESS", "INPUTS"), rows)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def check(file: Path, json_: bool) -> None:
    """Is a service file right, and how will it be seen?

    Shows its services as a workflow manager will see them, or what is wrong, with the line. Names that a toolkit of
    docs/toolkits.md refuses are wrong, unless they are served already; other languages' reserved words are told.
    Programs that the file names by a text are looked for.
    """
    if file.suffix != ".py":
        raise click.UsageError(f"{file.name} is no service file: those end in .py.")
    settings = web.as_running(settings_module.load())
    file = file.resolve()
    ours = file.parent == settings.services.resolve()
    found, described = catalogue.check(file, catalogue.cache_of(settings.jobs_folder) if ours else None)
    if wrong := described.wrong or next((one.reason for one in found if isinstance(one, catalogue.Broken)), ""):
        _say_wrong(file, described.printed, [(wrong, described.places)], json_)
    if described.absent:
        absent = [(why, [(file.name, line, text)]) for why, line, text in described.absent]
        _say_wrong(file, described.printed, absent, json_)
    offered = [one for one in found if isinstance(one, Service)]
    names = {one.name: _names(one, settings) for one in offered}
    refused = int(any(f.level == "error" for told in names.values() for f in told))
    if json_:
        told = {name: {"names": [asdict(f) for f in findings]} for name, findings in names.items()}
        terminal.as_json({one.name: _data(one, web.address(settings, one.name)) | told[one.name] for one in offered})
        sys.exit(refused)
    _say_printed(file, described.printed)
    right = "has names that callers can't use" if refused else "is right"
    for number, one in enumerate(offered):
        click.echo("" if number else f"{file.name} {right}.")
        _show(one, web.address(settings, one.name))
        for finding in names[one.name]:
            click.echo(f"  {finding.level:<10} {finding.what} {finding.mend}")
    if not ours:
        click.echo("\nNote: it doesn't lie in the services folder, so this deployment doesn't offer it.")
    if any(p.kind == "instrument" for one in offered for p in one.inputs):
        say_mistake(settings)
    sys.exit(refused)


def _say_wrong(file: Path, printed: str, told: list[tuple[str, list[tuple[str, int, str]]]], json_: bool) -> NoReturn:
    """Sentences, and the lines where that stands: file, number, text."""
    if json_:
        wrong, places = told[0]
        own = [line for name, line, _ in places if name == file.name]
        terminal.as_json({"wrong": wrong, "line": own[-1] if own else None, "printed": printed})
    else:
        _say_printed(file, printed)
        for wrong, places in told:
            click.echo(wrong, err=True)
            for name, line, text in places:
                click.echo(f"{terminal.plain(name)}, line {line}:  {terminal.plain(text)}", err=True)
    raise click.exceptions.Exit(1)


def _names(one: Service, settings: Settings) -> list[Finding]:
    """What is said of a service's names. What is refused, but known to callers, is only told."""
    from ..desk import findings

    found = list(dict.fromkeys(_of_names(one)))
    refused = {f for f in found if f.level == "error"}
    for began in _began(one, settings) if refused else ():
        refused -= set(_of_names(began))
        if not refused:
            break
    known = "Executions were started with it, so callers know it: it goes on being served."
    return [findings.warning(f.what, known) if f.level == "error" and f not in refused else f for f in found]


def _of_names(one: Service) -> Iterator[Finding]:
    from ..desk import names

    return names.of_service(one.name, contract.names_of(one.operations), contract.nillable(one.operations))


def _began(one: Service, settings: Settings) -> Iterator[Service]:
    """The service as it was when its recorded executions were started."""
    from ..store.folder import Folder
    from ..verbs.jobs import began_with

    records = Folder(settings.jobs_folder)
    for name in records.names():
        with contextlib.suppress(ValueError, TypeError, KeyError, OSError):  # a damaged one tells nothing
            request = records.request(name)
            if request is not None and request.service == one.name and (began := began_with(request, one)):
                yield began


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
    return f"{parameter.name}={'' if parameter.default is None else terminal.plain(text_of(parameter.default), 30)}"


def _inputs(one: Service) -> list[tuple[str, str, str]]:
    def note(parameter: Parameter) -> str:
        if parameter.mandatory:
            return ""
        return f"optional, default {_default(parameter)}" if parameter in one.inputs else "optional"

    return [(p.name, _limited(p), note(p)) for p in one.operations[one.operation].inputs]


def _default(parameter: Parameter) -> str:
    return "none" if parameter.default is None else f"“{terminal.plain(text_of(parameter.default), 60)}”"


def _show(one: Service, address: str) -> None:
    click.echo(f"{one.name}, at {address}?wsdl")
    click.echo(f"  namespace  {one.namespace}")
    if one.doc:
        click.echo(f"  {one.doc.splitlines()[0]}")
    rules = [("may run", one.limit), ("may stall", one.stall)]
    said = [f"{words} {span(seconds)}" for words, seconds in rules if seconds is not None]
    if one.at_once is not None:
        said.append(f"{one.at_once} at a time")
    click.echo(f"  rules      {', '.join(said) or 'no limit of time'}")
    click.echo(f"  operation  {one.operation}")
    for name, kind, note in _inputs(one):
        click.echo(f"    in   {name:<20} {kind}{'; ' + note if note else ''}")
    for name, kind in [("status_base64", "xs:string"), *((p.name, _unit(p)) for p in one.outputs)]:
        click.echo(f"    out  {name:<20} {kind}")
    click.echo(f"  operations {', '.join(o.name for o in contract.OF_EVERY_SERVICE)} as for every service")


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


def _say_printed(file: Path, printed: str) -> None:
    for line in terminal.lines(printed):
        click.echo(f"{file.name} prints as it is imported: {line}", err=True)
