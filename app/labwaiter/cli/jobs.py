"""jobs list|show|log|wait|abort|message|remove: what an operator asks of executions, by their serviceIDs."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import click

from .. import settings as settings_module
from ..fleet import open_jobs
from ..model.caller import SHELL
from ..model.parameter import text_of
from ..model.record import ACTIVE, Record, Silence, State
from ..model.service import MOST
from ..model.span import size, span
from ..page import words
from ..store.files import read_bounded
from ..store.folder import ran
from ..store.timeline import made_by
from ..system.watch import Watch
from ..verbs.as_data import of_timeline, of_work
from . import terminal

EXIT_OF = {State.COMPLETED: 0, State.FAILED: 1, State.ABORTED: 1}
NOT_IN_TIME = 3
READ_MAX = 1_000_000  # bytes of a log that are read at a time
LINE_MAX = 10_000  # characters of a line of it
FILES_SHOWN = 50
HAPPENINGS_SHOWN = 50
LISTED = 50  # executions, unless --last or --all says otherwise
as_json = click.option("--json", "json_", is_flag=True, help="Say it as JSON.")


@click.group()
def jobs() -> None:
    """List, show, follow, wait for, abort, tell and remove executions."""


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([str(s) for s in State]), help="Only these.")
@click.option("--service", "services", multiple=True, help="Only those of this service.")
@click.option("--last", "most", type=click.IntRange(min=1), default=LISTED, show_default=True, help="At most so many.")
@click.option("--all", "all_", is_flag=True, help="As many as there are.")
@as_json
def list_(states: tuple[str, ...], services: tuple[str, ...], most: int, all_: bool, json_: bool) -> None:
    """The last executions, newest last."""
    service_names = {name.lower() for name in services}
    settings = settings_module.load()
    verbs = open_jobs(settings)
    unserved = verbs.records.unserved() if settings.redis_url else ""
    left_out: list[str] = []

    def fits(record: Record) -> bool:
        return (not states or record.state in states) and (
            not service_names or record.request.service.lower() in service_names
        )

    active = bool(states) and {*states} <= ACTIVE
    records, older = verbs.newest(None if all_ else most, SHELL, fits, left_out, brief=not json_, active=active)
    if json_:
        terminal.as_json([terminal.of_record(record) for record in records])
    elif not records:
        click.echo("No executions." if not states and not services else "No such executions.")
    else:
        _table(records)
    if older and not active and (states or service_names):
        click.echo(f"Up to {older} older ones are not listed: --all looks at them, too.", err=True)
    elif older:
        click.echo(f"{older} older {'one is' if older == 1 else 'ones are'} not listed: --all lists them.", err=True)
    if left_out:
        names = ", ".join(terminal.plain(name, 60) for name in left_out[:10]) + (", …" if len(left_out) > 10 else "")
        click.echo(f"Left out, for their records are damaged or can't be read ({len(left_out)}): {names}.", err=True)
    if unserved:
        click.echo(f"{unserved}: these are the executions that this machine knew, as it knew them.", err=True)
        sys.exit(3)


def _table(records: list[Record]) -> None:
    many = any(record.machine for record in records)
    rows = [
        (
            terminal.plain(record.request.service_id, 60),
            terminal.plain(record.request.service, 40),
            "stopping" if record.stopping else str(record.state),
            terminal.moment(record.request.created),
            _ran(record) or "-",
            *((record.machine,) if many else ()),
            terminal.plain(record.why, 100)
            or (f"unreachable since {terminal.moment(record.as_of)}" if record.as_of else ""),
        )
        for record in records
    ]
    terminal.table(("SERVICEID", "SERVICE", "STATE", "ASKED FOR", "RAN", *(("MACHINE",) if many else ()), "WHY"), rows)


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
    service = verbs.service_of(verbs.record(service_id, SHELL))
    view = verbs.view(service_id, SHELL, service)
    record = view.record
    folder = settings.jobs_folder / record.name
    if page is not None:
        from ..page import render  # Jinja2 is for this one word only
        from ..page.words import printable

        if service is None:
            raise click.ClickException(f"Nobody knows any more what {record.request.service} was: there is no page.")
        html = printable(render(view, service))
        if page == "-":
            click.echo(html)
        else:
            Path(page).write_text(html, encoding="utf-8")
            click.echo(f"Wrote {page}.")
        return
    files = _files(folder)
    timeline = verbs.timeline(service_id, SHELL)
    if json_:
        extra: dict[str, Any] = {
            **of_work(view),
            "folder": str(folder),
            "files": dict(files),
            "log": view.log,
        }
        extra |= {
            "timeline": of_timeline(timeline),
            "madeBy": made_by(timeline),
        }
        terminal.as_json(terminal.of_record(record) | extra)
        return
    rows = [
        ("serviceID", record.request.service_id),
        ("service", record.request.service),
        ("state", str(record.state) + (f", place {view.place} in the queue" if view.place else "")),
        ("why", record.why),
        ("waits for", words.waits_for(view) if record.state is State.QUEUED else ""),
        ("silence", _silence(view.silence)),
        *(("instrument", instrument) for instrument in view.hardware),
        ("stopping", f"{record.stopping.why} ({record.stopping.stage})" if record.stopping else ""),
        ("progress", _progress(view.progress.fraction, view.progress.stage) if record.active else ""),
        ("asked for", terminal.moment(record.request.created)),
        ("started", terminal.moment(record.started) if record.started else ""),
        ("ended", terminal.moment(record.ended) if record.ended else ""),
        ("ran", _ran(record)),
        ("user", record.request.user),
        ("confined", _confined(record.confined)),
        *((f"input {name}", text_of(value)) for name, value in record.request.inputs.items()),
        *((f"output {name}", text_of(value)) for name, value in (record.outputs or {}).items()),
        ("messages", str(view.message_count) if view.message_count else ""),
        ("machine", record.machine),
        ("as of", f"{terminal.moment(record.as_of)}: it can't be reached since" if record.as_of else ""),
        ("folder", str(folder) if folder.is_dir() else ""),
        *(("made by", f"{name}: {what}") for name, what in words.made_by(timeline)),
    ]
    widest = max(len(name) for name, value in rows if value)
    for name, value in rows:
        if value:
            click.echo(f"{name.ljust(widest)}  {terminal.plain(value, 2000)}")
    for file, count in files[:FILES_SHOWN]:
        click.echo(f"  {terminal.plain(file)}  {size(count)}")
    if len(files) > FILES_SHOWN:
        click.echo(f"  … and {len(files) - FILES_SHOWN} files more")
    if timeline:
        click.echo("What it has been through:")
    for told in timeline[-HAPPENINGS_SHOWN:]:
        click.echo(f"  {terminal.moment(told.at)}  {terminal.plain(words.happened(told), 400)}")
    if view.log.strip():
        click.echo("The last lines of its log:")
        for line in terminal.lines(view.log):
            click.echo(f"  {line}")


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints, until it has ended.")
def log(service_id: str, follow: bool) -> None:
    """What an execution has printed."""
    settings = settings_module.load()
    verbs = open_jobs(settings)
    record = verbs.record(service_id, SHELL)
    folder = settings.jobs_folder / record.name
    if record.machine and not folder.is_dir():
        if follow:
            raise click.ClickException(f"It runs on the machine {record.machine}: its log is followed there.")
        _print_lines(verbs.view(service_id, SHELL).log)
        click.echo(f"These are the last lines; all of its log is on the machine {record.machine}.", err=True)
        return
    printed = _Printed(folder / "log.txt")
    with Watch(folder) as watch:
        while True:
            over = not (follow and verbs.record(service_id, SHELL).active)
            printed.go_on()
            if over:
                break
            watch.wait(1.0)
    printed.end()


class _Printed:
    """A log that is printed while it is written, line by line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0  # bytes of it that were read
        self._part = b""  # of the line that isn't finished
        self._last = b""  # the line that was printed last

    def go_on(self) -> None:
        """Print what was written since."""
        with contextlib.suppress(OSError):
            if self._file.stat().st_size < self._at:  # it was over its limit: its middle is gone
                self._take_up()
        while text := read_bounded(self._file, READ_MAX, at=self._at):
            self._at += len(text)
            *lines, self._part = (self._part + text).split(b"\n")
            for line in lines:
                _print_lines(line.decode("utf-8", "replace"))
            self._last = lines[-1] if lines else self._last

    def _take_up(self) -> None:
        """Go on behind the line that was printed last; where that was left out, too, behind the note of the cut."""
        text = read_bounded(self._file, self._file.stat().st_size + READ_MAX) or b""
        line = b"\n" + self._last + b"\n"
        behind = text.rfind(line)
        if behind < 0:
            click.echo("[… the log was cut here: some of it was left out before it could be printed …]", err=True)
            line = b"\n[\xe2\x80\xa6 here "
            behind = text.rfind(line)
        self._at, self._part = (behind + len(line) if behind >= 0 else len(text)), b""

    def end(self) -> None:
        """Print the line that was never finished."""
        if self._part:
            _print_lines(self._part.decode("utf-8", "replace"))


def _print_lines(text: str) -> None:
    for line in text.split("\n"):
        click.echo(terminal.plain(line.rstrip("\r").expandtabs(), LINE_MAX))


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
        record = verbs.wait(service_id, min(60.0, max(0.0, left)), SHELL)
        if not record.active or left <= 0:
            break
    if json_:
        terminal.as_json(terminal.of_record(record))
    else:
        terminal.result(record)
    sys.exit(EXIT_OF.get(record.state, NOT_IN_TIME))


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@as_json
def abort(service_id: str, json_: bool) -> None:
    """Have an execution stopped, and wait up to 8 s until it is gone."""
    verbs = open_jobs(terminal.of_lab(settings_module.load()))
    gone = verbs.abort(None, service_id, SHELL)
    record = verbs.record(service_id, SHELL)
    if json_:
        terminal.as_json(terminal.of_record(record) | {"gone": gone})
    elif gone:
        terminal.result(record)
    else:
        click.echo("It is being stopped; that goes on by itself. Call abort again to wait for it.")
    sys.exit(0 if gone else NOT_IN_TIME)


@jobs.command()
@click.argument("service_id", metavar="SERVICEID")
@click.argument("message")
@click.option("--anyway", is_flag=True, help="Send it though the service doesn't declare it.")
def message(service_id: str, message: str, anyway: bool) -> None:
    """Send an execution a message, as notifyService does, and print its reply.

    Where the service declares what it understands, another message is sent by --anyway alone.
    """
    verbs = open_jobs(terminal.of_lab(settings_module.load()))
    service = verbs.service_of(verbs.record(service_id, SHELL))
    if service is not None and not anyway and (why := service.not_declared(message)):
        listed = "".join(f"\n  {name}  {words}".rstrip() for name, words in service.messages)
        raise click.ClickException(f"{why} Nothing was sent; --anyway sends it all the same.{listed}")
    reply = verbs.notify(None, service_id, message, SHELL)
    click.echo(f"It is message number {reply}." if reply.isdigit() else terminal.plain(reply, LINE_MAX))


@jobs.command()
@click.argument("service_ids", metavar="SERVICEID…", nargs=-1, required=True)
def remove(service_ids: tuple[str, ...]) -> None:
    """Remove what ended executions made.

    Their serviceIDs stay used: a small tombstone is left of each.
    """
    verbs = open_jobs(terminal.of_lab(settings_module.load()))
    for service_id in service_ids:
        verbs.remove(service_id, SHELL)
        click.echo(f"{terminal.plain(service_id)} is removed.")


def _ran(record: Record) -> str:
    """For how long an execution ran, or runs; "" for one that has not begun."""
    if record.started is None:
        return ""
    seconds = ran(record)  # where it ran on another machine, or for an older release, the clocks tell
    return span(max(0.0, (record.ended or time.time()) - record.started) if seconds is None else seconds)


def _silence(silence: Silence | None) -> str:
    """What is told of a workflow manager that might abandon the execution."""
    if silence is None:
        return ""
    left = span(silence.most - silence.seconds)
    return f"its workflow manager asked {span(silence.seconds)} ago; it is aborted if none asks for {left} more"


def _confined(confined: dict[str, Any]) -> str:
    """What confined its processes: "as alice, memory 500000000 (all together), umask 077"."""
    together = confined.get("together", [])
    words = [f"as {confined['user']}"] if "user" in confined else []
    words += ["a cgroup of its own"] if confined.get("cgroup") else []
    words += [
        f"{keyword} {confined[keyword]:,}" + (" (all together)" if keyword in together else "")
        for keyword in MOST
        if keyword in confined
    ]
    return ", ".join([*words, *([f"umask {confined['umask']}"] if "umask" in confined else [])])


def _progress(fraction: float | None, stage: str) -> str:
    return ("not known" if fraction is None else f"{fraction:.0%}") + (f", {stage}" if stage else "")


def _files(folder: Path) -> list[tuple[str, int]]:
    files = []
    for file in sorted(folder.rglob("*")):
        if not file.is_symlink() and file.is_file():
            files.append((str(file.relative_to(folder)), file.stat().st_size))
    return files
