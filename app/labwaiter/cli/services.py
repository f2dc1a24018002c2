"""services, check, new: the folder of the service files as its user sees it."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .. import settings as settings_module
from ..catalogue import catalogue
from ..deployment.address import address
from ..deployment.web_processes import as_running
from ..model import contract
from ..model.parameter import Parameter, text_of
from ..model.service import MOST, Service
from ..model.span import span
from ..model.toml_service import python_of
from ..service_files import ENDING as TOML
from ..verbs.instruments import Instruments
from . import terminal
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
    settings = as_running(settings_module.load())
    offered = catalogue.of(settings).whole()
    addresses = {name: address(settings, name) for name in offered.services}
    terminal.warn(Instruments(settings).mistake())
    if json_:
        data: dict[str, Any] = {name: _data(service, addresses[name]) for name, service in offered.services.items()}
        broken = {name: {"file": b.file.name, "broken": b.reason} for name, b in offered.broken.items()}
        terminal.as_json(data | broken)
        return
    if not offered.services and not offered.broken:
        click.echo(terminal.no_services(settings))
        return
    rows = [
        (name, addresses[name], ", ".join(_brief(p) for p in service.inputs) or "none")
        for name, service in offered.services.items()
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
    if file.suffix not in catalogue.ENDINGS:
        raise click.UsageError(f"{file.name} is no service file: those end in {' or '.join(catalogue.ENDINGS)}.")
    settings = as_running(settings_module.load())
    file = file.resolve()
    ours = file.parent == settings.services.resolve()
    declared, described = catalogue.check(file, catalogue.cache_of(settings.jobs_folder) if ours else None)
    broken = [entry.reason for entry in declared if isinstance(entry, catalogue.Broken)]
    if wrong := described.wrong or next(iter(broken), ""):
        _say_wrong(file, described.printed, [(wrong, described.places)], json_)
    if described.absent:
        absent = [(why, [(file.name, line, text)]) for why, line, text in described.absent]
        _say_wrong(file, described.printed, absent, json_)
    offered = [entry for entry in declared if isinstance(entry, Service)]
    names = {service.name: _names(service, settings) for service in offered}
    refused = int(any(finding.level == "error" for findings in names.values() for finding in findings))
    if json_:
        terminal.as_json(
            {
                service.name: _data(service, address(settings, service.name))
                | {"names": [asdict(finding) for finding in names[service.name]]}
                for service in offered
            }
        )
        sys.exit(refused)
    _say_printed(file, described.printed)
    right = "has names that callers can't use" if refused else "is right"
    for number, service in enumerate(offered):
        click.echo("" if number else f"{file.name} {right}.")
        _show(service, address(settings, service.name))
        if service.session_token and settings.redis_url:
            click.echo("  error      It needs its caller's sessionToken, which is not handed on over Redis.")
        for finding in names[service.name]:
            click.echo(f"  {finding.level:<10} {finding.what} {finding.mend}")
    if not ours:
        click.echo("\nNote: it doesn't lie in the services folder, so this deployment doesn't offer it.")
    if any(p.kind == "instrument" for service in offered for p in service.inputs):
        terminal.warn(Instruments(settings).mistake())
    sys.exit(refused)


def _say_wrong(
    file: Path, printed: str, mistakes: list[tuple[str, list[tuple[str, int, str]]]], json_: bool
) -> NoReturn:
    """Sentences, and the lines where that stands: file, number, text."""
    if json_:
        wrong, places = mistakes[0]
        own = [line for name, line, _ in places if name == file.name]
        terminal.as_json({"wrong": wrong, "line": own[-1] if own else None, "printed": printed})
    else:
        _say_printed(file, printed)
        for wrong, places in mistakes:
            click.echo(wrong, err=True)
            for name, line, text in places:
                click.echo(f"{terminal.plain(name)}, line {line}:  {terminal.plain(text)}", err=True)
    raise click.exceptions.Exit(1)


def _names(service: Service, settings: Settings) -> list[Finding]:
    from ..desk import names
    from ..verbs.jobs import signatures

    return names.of_offered(service, signatures(settings, service))


@click.command("as-python")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def as_python(file: Path) -> None:
    """The Python that a TOML service file stands for, to go on with where TOML doesn't reach."""
    if file.suffix != TOML:
        raise click.UsageError(f"{file.name} is no service without Python: those end in {TOML}.")
    try:
        click.echo(python_of(file.read_text(encoding="utf-8-sig"), file.name), nl=False)
    except SyntaxError as error:
        _say_wrong(file, "", [(f"{file.name}, line {error.lineno}: {error.msg}", [])], False)
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file.name} is no text in UTF-8 (byte {error.start}).") from None


@click.command()
@click.argument("name")
@click.option("--toml", is_flag=True, help="One without Python: a program, told in TOML.")
def new(name: str, toml: bool) -> None:
    """Write a service file to start from.

    It is a working example: in Python one that counts seconds and can be aborted, in TOML a program that counts.
    """
    settings = terminal.of_lab(settings_module.load())
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,63}", name):
        raise click.UsageError("A service's name must be letters and digits, at most 64, e.g. HeatAndHold.")
    name = name[0].upper() + name[1:]
    taken = {n.lower(): f for f in catalogue.files(settings.services) for n in catalogue.names_in(f)}
    if name.lower() in taken:
        raise click.UsageError(f"{taken[name.lower()].name} offers a service of the name {name} already.")
    file = settings.services / (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() + (TOML if toml else ".py"))
    template = TEMPLATE.with_name("template.toml.txt") if toml else TEMPLATE
    text = template.read_text(encoding="utf-8").replace("NAME", name).replace("ADDRESS", name.lower())
    settings.services.mkdir(parents=True, exist_ok=True)
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


def _inputs(service: Service) -> list[tuple[str, str, str]]:
    def note(parameter: Parameter) -> str:
        if parameter.mandatory:
            return ""
        return f"optional, default {_default(parameter)}" if parameter in service.inputs else "optional"

    return [(p.name, _limited(p), note(p)) for p in service.operations[service.operation].inputs]


def _default(parameter: Parameter) -> str:
    return "none" if parameter.default is None else f"“{terminal.plain(text_of(parameter.default), 60)}”"


def _show(service: Service, address: str) -> None:
    click.echo(f"{service.name}, at {address}?wsdl")
    click.echo(f"  namespace  {service.namespace}")
    if service.doc:
        click.echo(f"  {service.doc.splitlines()[0]}")
    rules = [("may run", service.limit), ("may stall", service.stall)]
    rules_in_words = [f"{rule} {span(seconds)}" for rule, seconds in rules if seconds is not None]
    if service.at_once is not None:
        rules_in_words.append(f"{service.at_once} at a time")
    rules_in_words += [f"{rule} {value:,}" for rule in MOST if (value := getattr(service, rule)) is not None]
    rules_in_words += [f"as {service.user}"] if service.user else []
    rules_in_words += ["with its caller's token"] if service.session_token else []
    click.echo(f"  rules      {', '.join(rules_in_words) or 'no limit of time'}")
    click.echo(f"  operation  {service.operation}")
    for name, kind, note in _inputs(service):
        click.echo(f"    in   {name:<20} {kind}{'; ' + note if note else ''}")
    for name, kind in [("status_base64", "xs:string"), *((p.name, _unit(p)) for p in service.outputs)]:
        click.echo(f"    out  {name:<20} {kind}")
    click.echo(f"  operations {', '.join(o.name for o in contract.OF_EVERY_SERVICE)} as for every service")


def _unit(output: Parameter) -> str:
    choices = f" one of {', '.join(output.choices)}" if output.choices else ""
    return XML_TYPE[output.kind] + (f" in {output.unit}" if output.unit else "") + choices


def _data(service: Service, address: str) -> dict[str, Any]:
    def of(parameter: Parameter) -> dict[str, Any]:
        kept = ("name", "choices", "low", "high", "unit", "mandatory", "default")
        return {"type": XML_TYPE[parameter.kind]} | {key: getattr(parameter, key) for key in kept}

    return {
        "file": service.file.name,
        "wsdl": f"{address}?wsdl",
        "namespace": service.namespace,
        "operation": service.operation,
        "inputs": [of(p) for p in service.inputs],
        "outputs": [{"name": p.name, "type": XML_TYPE[p.kind], "unit": p.unit} for p in service.outputs],
        "limit": service.limit,
        "stall": service.stall,
        "at_once": service.at_once,
        "user": service.user,
        "session_token": service.session_token,
        **{rule: getattr(service, rule) for rule in MOST},
    }


def _say_printed(file: Path, printed: str) -> None:
    for line in terminal.lines(printed):
        click.echo(f"{file.name} prints as it is imported: {line}", err=True)
