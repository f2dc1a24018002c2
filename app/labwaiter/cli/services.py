"""services, check, new: the folder of the service files as its user sees it."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import settings as settings_module
from ..catalogue import catalogue, remote_labs
from ..deployment.address import address
from ..deployment.web_processes import as_running
from ..errors import Misconfigured
from ..model import contract
from ..model.caller import SHELL
from ..model.parameter import Parameter, text_of
from ..model.service import MOST, Service, service_of
from ..model.span import span
from ..model.toml_service import python_of
from ..service_files import ENDING as TOML
from ..verbs.instruments import Instruments
from ..verbs.sessions import Sessions
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


@dataclass
class _Checked:
    """What is to be said of a service file."""

    file: Path
    printed: str = ""
    wrong: list[tuple[str, list[tuple[str, int, str]]]] = field(default_factory=list)  # sentences, each with its lines
    services: list[_CheckedService] = field(default_factory=list)


@dataclass
class _CheckedService:
    """What is to be said of a service whose file is right."""

    service: Service
    names: list[Finding]
    changes: list[Finding] | None  # of its WSDL since it was kept; None: none was
    kept: bool = False  # whether the kept one is as it is now
    unreadable: bool = False  # whether what was kept can't be read: nobody knows what changed

    @property
    def refused_by_name(self) -> bool:
        """Whether it has names that callers can't use."""
        return any(finding.level == "error" for finding in self.names)

    @property
    def refused(self) -> bool:
        """Whether it has such names, or its registered callers no longer fit."""
        breaking = any(finding.level == "error" for finding in self.changes or ())
        return self.refused_by_name or (breaking and not self.kept)


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--keep", is_flag=True, help="Keep the WSDLs as they are now, for later checks: NAME.wsdl beside the file."
)
@as_json
def check(file: Path | None, keep: bool, json_: bool) -> None:
    """Is a service file right, and how will it be seen?

    Without FILE it looks at all files of the services folder, and tells them in brief.

    Shows its services as a workflow manager will see them, or what is wrong, with the line. Names that a toolkit of
    docs/toolkits.md refuses are wrong, unless they are served already; other languages' reserved words are told.
    Programs that the file names by a text are looked for. Where a WSDL was kept, what changed since is told: what
    registered workflows no longer fit is wrong; inputs and outputs that were appended are fine.
    """
    settings = as_running(settings_module.load())
    if file is not None and file.resolve().parent == settings.labs.resolve():
        sys.exit(_check_lab(settings, file.resolve(), json_))
    if file is not None and file.suffix not in catalogue.ENDINGS:
        raise click.UsageError(f"{file.name} is no service file: those end in {' or '.join(catalogue.ENDINGS)}.")
    if file is None:
        files = catalogue.files(settings.services)
        if not files:
            raise Misconfigured(terminal.no_services(settings))
    else:
        files = [file.resolve()]
    checked = [_check(each, settings, keep, alone=file is not None) for each in files]
    services = [service for each in checked for service in each.services]
    lost = _kept_without_service(settings, services) if file is None else []
    refused = int(any(each.wrong for each in checked) or any(service.refused for service in services) or bool(lost))
    labs = _judged_labs(settings) if file is None else {}
    refused |= int(any(labs.values()))
    if json_:
        of_labs = {name: {"lab": Path(name).stem, "wrong": mistakes} for name, mistakes in labs.items()}
        terminal.as_json(_checked_data(checked, lost, settings, alone=file is not None) | of_labs)
    elif file is not None:
        _say_one(checked[0], settings)
    else:
        for each in checked:
            _say_brief(each)
        terminal.findings(lost)
        for name, mistakes in labs.items():
            _say_lab(name, mistakes)
    if not json_:  # whether this service takes an instrument or not: who edits the one file often edits the other
        terminal.warn(Instruments(settings).mistake())
    sys.exit(refused)


def _judged_labs(settings: Settings) -> dict[str, list[str]]:
    """What is wrong with each file of a remote lab, by its name."""
    verbs = Sessions(settings)
    return {file.name: verbs.judge_file(file, SHELL) for file in remote_labs.files(settings.labs)}


def _check_lab(settings: Settings, file: Path, json_: bool) -> int:
    """Look at one remote lab's file: 1 where it is wrong."""
    mistakes = Sessions(settings).judge_file(file, SHELL)
    if json_:
        terminal.as_json({"lab": file.stem, "wrong": mistakes})
    else:
        _say_lab(file.name, mistakes)
    return int(bool(mistakes))


def _say_lab(name: str, mistakes: list[str]) -> None:
    if not mistakes:
        click.echo(f"{name} is right: a remote lab.")
    for mistake in mistakes:
        click.echo(terminal.plain(mistake, 1000), err=True)


def _check(file: Path, settings: Settings, keep: bool, alone: bool) -> _Checked:
    """Look at one file, and keep the WSDLs of its services if they can be.

    Args:
        alone: it is the only one: that a program is not installed is wrong with it; of all files it is told.
    """
    from ..desk import kept
    from ..desk.findings import warning

    ours = file.parent == settings.services.resolve()
    declared, described = catalogue.check(file, catalogue.cache_of(settings.jobs_folder) if ours else None)
    checked = _Checked(file, described.printed)
    lacks = {entry.name: entry.reason for entry in declared if isinstance(entry, catalogue.Broken)}
    if wrong := described.wrong or (next(iter(lacks.values()), "") if alone else ""):
        checked.wrong.append((wrong, described.places))
    else:
        checked.wrong += [(why, [(file.name, line, text)]) for why, line, text in described.absent]
    if checked.wrong:
        return checked
    for service in map(service_of, described.services):
        names = _names(service, settings)
        if service.name in lacks:
            names.append(warning(lacks[service.name], "Install it, if it is to be offered here."))
        changes = kept.compare(service, file.parent)
        of_it = _CheckedService(service, names, changes, unreadable=kept.is_unreadable(changes))
        if keep and not of_it.refused_by_name:
            try:
                kept.keep(service, file.parent)
            except OSError as error:
                place = kept.file_of(service.name, file.parent)
                raise Misconfigured(f"{place} can't be written: {error.strerror}. Nothing was kept there.") from error
            of_it.kept = True
            if of_it.unreadable:
                of_it.changes = []
        checked.services.append(of_it)
    return checked


def _kept_without_service(settings: Settings, offered: list[_CheckedService]) -> list[Finding]:
    """Of each service whose WSDL is kept and which nobody offers any more."""
    from ..desk import kept

    seeming = [name for file in catalogue.files(settings.services) for name in catalogue.names_in(file)]
    return kept.without_service(settings.services, [*seeming, *(checked.service.name for checked in offered)])


def _say_one(checked: _Checked, settings: Settings) -> None:
    """All of one file."""
    file = checked.file
    _say_printed(file, checked.printed)
    if checked.wrong:
        _say_wrong(checked)
        return
    unusable = any(service.refused_by_name for service in checked.services)
    broken = any(service.refused for service in checked.services)
    right = "has names that callers can't use" if unusable else "breaks its callers" if broken else "is right"
    for number, of_it in enumerate(checked.services):
        service = of_it.service
        click.echo("" if number else f"{file.name} {right}.")
        _show(service, address(settings, service.name))
        if service.session_token and settings.redis_url:
            click.echo("  error      It needs its caller's sessionToken, which is not handed on over Redis.")
        for finding in of_it.names:
            click.echo(f"  {finding.level:<10} {finding.what} {finding.mend}")
        click.echo(f"  WSDL       {_of_kept(of_it)}")
        terminal.findings(of_it.changes or [], indent="  ")
    if file.parent != settings.services.resolve():
        click.echo("\nNote: it doesn't lie in the services folder, so this deployment doesn't offer it.")


def _say_brief(checked: _Checked) -> None:
    """What one of many files offers, and what is wrong with it."""
    _say_printed(checked.file, checked.printed)
    if checked.wrong:
        _say_wrong(checked)
    for of_it in checked.services:
        right = "is wrong" if of_it.refused else "is right"
        click.echo(f"{of_it.service.name} ({checked.file.name}) {right}; its WSDL {_of_kept(of_it)}")
        terminal.findings([*of_it.names, *(of_it.changes or [])], indent="  ")


def _of_kept(of_it: _CheckedService) -> str:
    """How a service's WSDL stands to the kept one, in the rest of a sentence."""
    file = f"{of_it.service.name}.wsdl"
    if of_it.kept and of_it.unreadable:
        return f"was kept as {file}; the file that was there could not be read."
    if of_it.kept:
        return f"was kept as {file}" + (", which it changed:" if of_it.changes else ".")
    if of_it.changes is None:
        return f"was not kept: `{terminal.command()} check --keep` does that."
    if of_it.unreadable:
        return f"can't be compared with {file}:"
    return f"has changed since {file} was kept:" if of_it.changes else f"is as {file} has it."


def _checked_data(checked: list[_Checked], lost: list[Finding], settings: Settings, alone: bool) -> dict[str, Any]:
    """The JSON of a check: of one file that is wrong what is wrong with it; else of each service what is known."""
    data: dict[str, Any] = {}
    for each in checked:
        if each.wrong:
            wrong, places = each.wrong[0]
            own = [line for name, line, _ in places if name == each.file.name]
            told = {"wrong": wrong, "line": own[-1] if own else None, "printed": each.printed}
            if alone:
                return told
            data |= {name: {"file": each.file.name, **told} for name in catalogue.names_in(each.file)}
        for of_it in each.services:
            data[of_it.service.name] = _data(of_it.service, address(settings, of_it.service.name)) | {
                "names": [asdict(finding) for finding in of_it.names],
                "kept": of_it.kept or of_it.changes is not None,
                "changes": [asdict(finding) for finding in of_it.changes or ()],
            }
    return data | {finding.what.split()[0]: {"wrong": finding.what} for finding in lost}


def _say_wrong(checked: _Checked) -> None:
    """Sentences, and the lines where that stands: file, number, text."""
    for wrong, places in checked.wrong:
        click.echo(wrong, err=True)
        for name, line, text in places:
            click.echo(f"{terminal.plain(name)}, line {line}:  {terminal.plain(text)}", err=True)


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
        click.echo(f"{file.name}, line {error.lineno}: {error.msg}", err=True)
        raise click.exceptions.Exit(1) from error
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
    named = shlex.quote(str(shown))
    called = terminal.command()
    click.echo(f"Wrote {shown}. Edit it, then: {called} check {named}; {called} run {name} steps=3")


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
    for message, words in service.messages:
        click.echo(f"    message {message:<17} {words}".rstrip())
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
        "doc": service.doc,
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
        "messages": [{"message": name, "words": words} for name, words in service.messages],
        **{rule: getattr(service, rule) for rule in MOST},
    }


def _say_printed(file: Path, printed: str) -> None:
    for line in terminal.lines(printed):
        click.echo(f"{file.name} prints as it is imported: {line}", err=True)
