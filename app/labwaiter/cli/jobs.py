"""jobs list|show|wait|abort|remove: what an operator asks of executions, by their serviceIDs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from .. import catalogue
from .. import settings as settings_module
from ..fleet import open_jobs
from ..page import words
from ..parameter import text_of
from ..record import Record, Silence, State
from ..service import Service
from ..settings import Settings
from . import say

EXIT_OF = {State.COMPLETED: 0, State.FAILED: 1, State.ABORTED: 1}
NOT_IN_TIME = 3
FILES_SHOWN = 50
as_json = click.option("--json", "json_", is_flag=True, help="Say it as JSON.")


@click.group()
def jobs() -> None:
    """List, show, wait for, abort and remove executions."""


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([str(s) for s in State]), help="Only these.")
@click.option("--service", "services", multiple=True, help="Only those of this service.")
@as_json
def list_(states: tuple[str, ...], services: tuple[str, ...], json_: bool) -> None:
    """Every execution, oldest first."""
    wanted = {name.lower() for name in services}
    settings = settings_module.load()
    verbs = open_jobs(settings)
    whole = not settings.redis_url or verbs.records.serves()
    found = [
        record
        for record in verbs.list()
        if (not states or record.state in states) and (not wanted or record.request.service.lower() in wanted)
    ]
    if json_:
        say.as_json([say.of_record(record) for record in found])
    elif not found:
        click.echo("No executions." if not states and not services else "No such executions.")
    else:
        _table(found)
    if not whole:
        click.echo("Redis does not answer: these are the executions that this machine knew, as it knew them.", err=True)
        sys.exit(3)


def _table(found: list[Record]) -> None:
    many = any(record.machine for record in found)
    rows = [
        (
            say.plain(record.request.service_id, 60),
            say.plain(record.request.service, 40),
            "stopping" if record.stopping else str(record.state),
            say.moment(record.request.created),
            say.span(_lasted(record)),
            *((record.machine,) if many else ()),
            say.plain(record.why, 100) or (f"unreachable since {say.moment(record.as_of)}" if record.as_of else ""),
        )
        for record in found
    ]
    say.table(("SERVICEID", "SERVICE", "STATE", "ASKED FOR", "RAN", *(("MACHINE",) if many else ()), "WHY"), rows)


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@click.option(
    "--page",
    type=click.Path(dir_okay=False),
    help="Write the page that callers see to this file; - prints it.",
)
@as_json
def show(service_id: str, page: str | None, json_: bool) -> None:
    """All that is known of one execution."""
    settings = settings_module.load()
    verbs = open_jobs(settings)
    service = service_of(settings, verbs.record(service_id))
    view = verbs.view(service_id, service)
    record = view.record
    folder = settings.jobs_folder / record.name
    if page is not None:
        from ..page import render  # Jinja2 is for this one word only

        if service is None:
            raise click.ClickException(f"This deployment no longer offers {record.request.service}: there is no page.")
        html = render(view, service)
        if page == "-":
            click.echo(html)
        else:
            Path(page).write_text(html, encoding="utf-8")
            click.echo(f"Wrote {page}.")
        return
    files = _files(folder)
    if json_:
        progress = {
            "fraction": view.progress.fraction,
            "stage": view.progress.stage,
            "values": view.progress.values,
        }
        told = {"silence": view.silence and view.silence.seconds, "hardware": list(view.hardware)}
        extra = {"progress": progress, **told, "folder": str(folder), "files": dict(files), "log": view.log}
        say.as_json(say.of_record(record) | extra)
        return
    rows = [
        ("serviceID", record.request.service_id),
        ("service", record.request.service),
        ("state", str(record.state) + (f", place {view.place} in the queue" if view.place else "")),
        ("why", record.why),
        ("silence", _silence(view.silence)),
        *(("instrument", one) for one in view.hardware),
        ("stopping", f"{record.stopping.why} ({record.stopping.stage})" if record.stopping else ""),
        ("progress", _progress(view.progress.fraction, view.progress.stage) if record.active else ""),
        ("asked for", say.moment(record.request.created)),
        ("started", say.moment(record.started) if record.started else ""),
        ("ended", say.moment(record.ended) if record.ended else ""),
        ("ran", say.span(_lasted(record)) if record.started else ""),
        ("user", record.request.user),
        *((f"input {name}", text_of(value)) for name, value in record.request.inputs.items()),
        *((f"output {name}", text_of(value)) for name, value in (record.outputs or {}).items()),
        ("messages", str(view.message_count) if view.message_count else ""),
        ("machine", record.machine),
        ("as of", f"{say.moment(record.as_of)}: it can't be reached since" if record.as_of else ""),
        ("folder", str(folder) if folder.is_dir() else ""),
    ]
    widest = max(len(name) for name, value in rows if value)
    for name, value in rows:
        if value:
            click.echo(f"{name.ljust(widest)}  {say.plain(value, 2000)}")
    for file, size in files[:FILES_SHOWN]:
        click.echo(f"  {say.plain(file)}  {words.size(size)}")
    if len(files) > FILES_SHOWN:
        click.echo(f"  … and {len(files) - FILES_SHOWN} files more")
    if view.log.strip():
        click.echo("The last lines of its log:")
        for line in say.lines(view.log):
            click.echo(f"  {line}")


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most; default: as long as it takes.")
@as_json
def wait(service_id: str, timeout: float | None, json_: bool) -> None:
    """Wait until an execution has ended; its exit status says how it did."""
    verbs = open_jobs(settings_module.load())
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        left = 60.0 if until is None else until - time.monotonic()
        record = verbs.wait(service_id, min(60.0, max(0.0, left)))
        if not record.active or left <= 0:
            break
    if json_:
        say.as_json(say.of_record(record))
    else:
        say.result(record)
    sys.exit(EXIT_OF.get(record.state, NOT_IN_TIME))


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@as_json
def abort(service_id: str, json_: bool) -> None:
    """Have an execution stopped, and wait up to 8 s until it is gone."""
    verbs = open_jobs(settings_module.load())
    gone = verbs.abort(None, service_id)
    record = verbs.record(service_id)
    if json_:
        say.as_json(say.of_record(record) | {"gone": gone})
    elif gone:
        say.result(record)
    else:
        click.echo("It is being stopped; that goes on by itself. Call abort again to wait for it.")
    sys.exit(0 if gone else NOT_IN_TIME)


@jobs.command()
@click.argument("service_ids", metavar="SERVICEID…", nargs=-1, required=True)
def remove(service_ids: tuple[str, ...]) -> None:
    """Remove what ended executions made.

    Their serviceIDs stay used: a small tombstone is left of each.
    """
    verbs = open_jobs(settings_module.load())
    for service_id in service_ids:
        verbs.remove(service_id)
        click.echo(f"{say.plain(service_id)} is removed.")


def service_of(settings: Settings, record: Record) -> Service | None:
    """The service of an execution; None where this deployment doesn't offer it any more."""
    found = catalogue.load(settings.services).find(record.request.service)
    return found if isinstance(found, Service) else None


def _lasted(record: Record) -> float | None:
    if record.started is None:
        return None
    return (record.ended or time.time()) - record.started


def _silence(found: Silence | None) -> str:
    """What is told of a workflow manager that might abandon the execution."""
    if found is None:
        return ""
    left = say.span(found.most - found.seconds)
    return f"its workflow manager asked {say.span(found.seconds)} ago; it is aborted if none asks for {left} more"


def _progress(fraction: float | None, stage: str) -> str:
    return ("not known" if fraction is None else f"{fraction:.0%}") + (f", {stage}" if stage else "")


def _files(folder: Path) -> list[tuple[str, int]]:
    found = []
    for file in sorted(folder.rglob("*")):
        if not file.is_symlink() and file.is_file():
            found.append((str(file.relative_to(folder)), file.stat().st_size))
    return found
