"""jobs list, show, log, files, notify, abort, …: what an operator asks of executions, by their serviceIDs."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from .. import settings as settings_module
from ..errors import Unavailable
from ..fleet import open_jobs
from ..model.caller import SHELL
from ..model.parameter import text_of
from ..model.record import ACTIVE, Record, Silence, State, View
from ..model.service import MOST
from ..model.span import size, span
from ..page import words
from ..store.files import read_bounded
from ..store.folder import ran
from ..store.timeline import made_by
from ..system.watch import Watch
from ..verbs import Jobs
from ..verbs.as_data import of_timeline, of_work
from . import completing, terminal
from .when import When

EXIT_OF = {State.COMPLETED: 0, State.FAILED: 1, State.ABORTED: 1}
NOT_IN_TIME = 3
READ_MAX = 1_000_000  # bytes of a log that are read at a time
LINE_MAX = 10_000  # characters of a line of it
FILES_SHOWN = 50
HAPPENINGS_SHOWN = 50
LISTED = 50  # executions, unless --last or --all says otherwise
GROUPS = {"active": ACTIVE, "ended": frozenset(State) - ACTIVE}  # states that go by one word
as_json = click.option("--json", "json_", is_flag=True, help="Say it as JSON.")
the_execution = click.argument("service_id", metavar="SERVICEID", shell_complete=completing.executions)
the_active = click.argument("service_id", metavar="SERVICEID", shell_complete=completing.active_executions)


@click.group()
def jobs() -> None:
    """List, show, follow, talk to, abort and remove executions.

    `labwaiter run` starts them, `labwaiter top` shows those that run and wait, live.
    """


@jobs.command("list")
@click.option("--state", "words", multiple=True, type=click.Choice([*map(str, State), *GROUPS]), help="Only these.")
@click.option(
    "--service", "services", multiple=True, shell_complete=completing.services, help="Only those of this service."
)
@click.option("--user", "users", multiple=True, help="Only those of this user.")
@click.option("--since", type=When(), help="Only those that were started since: 2h, 3d, 14:30, 2026-11-30.")
@click.option("--until", type=When(), help="Only those that were started before.")
@click.option("--last", "most", type=click.IntRange(min=1), default=LISTED, show_default=True, help="At most so many.")
@click.option("--all", "all_", is_flag=True, help="As many as there are.")
@as_json
def list_(
    words: tuple[str, ...],
    services: tuple[str, ...],
    users: tuple[str, ...],
    since: float | None,
    until: float | None,
    most: int,
    all_: bool,
    json_: bool,
) -> None:
    """The last executions, newest last."""
    states = {state for word in words for state in GROUPS.get(word, {State(word)} if word not in GROUPS else ())}
    service_names, user_names = {name.lower() for name in services}, {name.lower() for name in users}
    settings = settings_module.load()
    verbs = open_jobs(settings)
    unserved = verbs.records.unserved() if settings.redis_url else ""
    left_out: list[str] = []

    def fits(record: Record) -> bool:
        asked = record.request
        return (
            (not states or record.state in states)
            and (not service_names or asked.service.lower() in service_names)
            and (not user_names or asked.user.lower() in user_names)
            and (since is None or asked.created >= since)
            and (until is None or asked.created < until)
        )

    active = bool(states) and states <= ACTIVE
    narrowed = bool(words or services or users or since or until)
    records, older = verbs.newest(None if all_ else most, SHELL, fits, left_out, brief=not json_, active=active)
    if json_:
        terminal.as_json([terminal.of_record(record) for record in records])
    elif not records:
        click.echo("No such executions." if narrowed else "No executions.")
    else:
        _table(records)
    if older and not active and narrowed:
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
@the_execution
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
        from ..page import language_of, render  # Jinja2 is for this one word only
        from ..page.words import printable

        if service is None:
            raise click.ClickException(f"Nobody knows any more what {record.request.service} was: there is no page.")
        language = language_of(record.request, settings.page_language)
        html = printable(render(view, service, language=language))
        if page == "-":
            click.echo(html)
        else:
            Path(page).write_text(html, encoding="utf-8")
            click.echo(f"Wrote {page}.")
        return
    files = _files(folder) or list(view.files)  # of another machine: what it has made
    timeline = verbs.timeline(service_id, SHELL)
    if json_:
        extra: dict[str, Any] = {
            **of_work(view),
            "folder": str(folder),
            "files": dict(files),
            "log": view.log,
        }
        extra |= {
            "place": view.place,
            "waitsFor": words.waits_for(view) if record.state is State.QUEUED else "",
            "messages": [{"number": n, "text": text, "reply": reply} for n, text, reply in _messages(view)],
            "messageCount": view.message_count,
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
    if view.message_count:
        left_out = view.message_count - len(view.messages)
        click.echo("Messages:" + (f" (the first {left_out} are left out)" if left_out else ""))
    for number, text, reply in _messages(view):
        click.echo(f"  {number}  {terminal.plain(text, 400)}" + (f"  → {terminal.plain(reply, 400)}" if reply else ""))
    if timeline:
        click.echo("What it has been through:")
    for told in timeline[-HAPPENINGS_SHOWN:]:
        click.echo(f"  {terminal.moment(told.at)}  {terminal.plain(words.happened(told), 400)}")
    if view.log.strip():
        click.echo("The last lines of its log:")
        for line in terminal.lines(view.log):
            click.echo(f"  {line}")


def _messages(view: View) -> list[tuple[int, str, str]]:
    """The last messages that an execution was sent: number, text, and what it replied ("": nothing yet)."""
    first = view.message_count - len(view.messages) + 1
    return [(number, text, view.progress.replies.get(number, "")) for number, text in enumerate(view.messages, first)]


@jobs.command()
@the_execution
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints, until it has ended.")
@click.option("--last", "most", type=click.IntRange(min=1), help="Only the last so many lines.")
@as_json
def log(service_id: str, follow: bool, most: int | None, json_: bool) -> None:
    """What an execution has printed: all of it, or its end."""
    if follow and json_:
        raise click.UsageError("--follow prints lines as they come, and JSON is whole: say one of them.")
    settings = settings_module.load()
    verbs = open_jobs(settings)
    record = verbs.record(service_id, SHELL)
    folder = settings.jobs_folder / record.name
    is_elsewhere = bool(record.machine) and not folder.is_dir()
    if follow and is_elsewhere:
        raise click.ClickException(f"It runs on the machine {record.machine}: its log is followed there.")
    if json_ or is_elsewhere:
        text, whole = _whole_log(verbs, service_id)
        shown = text if most is None else "".join(text.splitlines(keepends=True)[-most:])
        if json_:
            terminal.as_json({"serviceID": service_id, "text": shown, "whole": whole and shown == text})
        else:
            _print_lines(shown.removesuffix("\n"))
        if not whole:
            words = f"These are the last lines; all of its log is on the machine {record.machine}."
            click.echo(words, err=True)
        return
    file = folder / "log.txt"
    printed = _Printed(file, 0 if most is None else _begin_of_last(file, most))
    with Watch(folder) as watch:
        while True:
            over = not (follow and verbs.record(service_id, SHELL).active)
            printed.go_on()
            if over:
                break
            watch.wait(1.0)
    printed.end()


def _whole_log(verbs: Jobs, service_id: str) -> tuple[str, bool]:
    """What an execution has printed so far, and whether that is all of it: of a machine that is away, the end."""
    pieces: list[bytes] = []
    at = 0
    try:
        while piece := verbs.log(service_id, at, READ_MAX, SHELL)[0]:
            pieces.append(piece)
            at += len(piece)
    except Unavailable:  # its machine isn't heard of
        if not pieces:
            return verbs.view(service_id, SHELL).log, False
        return b"".join(pieces).decode("utf-8", "replace"), False
    return b"".join(pieces).decode("utf-8", "replace"), True


def _begin_of_last(file: Path, most: int) -> int:
    """The byte at which the last so many lines of a file begin."""
    try:
        end = file.stat().st_size - 1  # its last byte ends a line, and begins none
    except OSError:
        return 0
    while end > 0:
        begin = max(0, end - READ_MAX)
        part = read_bounded(file, end - begin, at=begin) or b""
        found = len(part)
        while (found := part.rfind(b"\n", 0, found)) >= 0:
            most -= 1
            if most == 0:
                return begin + found + 1
        end = begin
    return 0


class _Printed:
    """A log that is printed while it is written, line by line."""

    def __init__(self, file: Path, at: int = 0) -> None:
        self._file = file
        self._at = at  # bytes of it that were read, or left out
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


@jobs.command("files")
@the_execution
@as_json
def files_(service_id: str, json_: bool) -> None:
    """The files that an execution has made, wherever it ran."""
    verbs = open_jobs(settings_module.load())
    files = verbs.files(verbs.record(service_id, SHELL).name, SHELL)
    if json_:
        terminal.as_json([{"name": name, "size": count} for name, count in files])
    elif not files:
        click.echo("It has made no file.")
    else:
        terminal.table(("SIZE", "FILE"), [(size(count), terminal.plain(name, 300)) for name, count in files])


@jobs.command()
@the_execution
@click.argument("file", shell_complete=completing.files)
@click.option("--to", type=click.Path(path_type=Path, allow_dash=True), help="Where to; - prints it. Default: here.")
def fetch(service_id: str, file: str, to: Path | None) -> None:
    """Copy a file that an execution has made, wherever it ran. No file is replaced."""
    verbs = open_jobs(settings_module.load())
    path = verbs.file(verbs.record(service_id, SHELL).name, file, SHELL)
    if path is None:
        raise click.ClickException(f"This execution has made no file {terminal.plain(file)}: see labwaiter jobs files.")
    with open(verbs.artifacts.open(path), "rb") as content:
        if to is not None and str(to) == "-":
            shutil.copyfileobj(content, sys.stdout.buffer)
            return
        where = Path(Path(file).name) if to is None else to / Path(file).name if to.is_dir() else to
        try:
            with open(where, "xb") as out:
                shutil.copyfileobj(content, out)
        except FileExistsError:
            raise click.ClickException(
                f"{where} is there already, and stays as it is: name another, by --to."
            ) from None
    click.echo(f"{terminal.plain(str(where))}  {size(where.stat().st_size)}")


@jobs.command()
@the_active
@click.argument("message")
@click.option("--wait", "seconds", type=click.FloatRange(0, 60), default=1.0, show_default=True, help="For a reply, s.")
@click.option("--anyway", is_flag=True, help="Send it though the service doesn't declare it.")
@as_json
def notify(service_id: str, message: str, seconds: float, anyway: bool, json_: bool) -> None:
    """Send an execution a message, as notifyService does, and print its reply.

    Where the service declares what it understands, another message is sent by --anyway alone.
    """
    verbs = open_jobs(terminal.of_lab(settings_module.load()))
    if not message.strip():
        raise click.UsageError("The message is empty: write one.")
    record = verbs.record(service_id, SHELL)
    if not record.active:
        raise click.ClickException(f"The execution has ended ({record.state}); the message was not delivered.")
    service = verbs.service_of(record)
    if service is not None and not anyway and (why := service.not_declared(message)):
        listed = "".join(f"\n  {name}  {words}".rstrip() for name, words in service.messages)
        raise click.ClickException(f"{why} Nothing was sent; --anyway sends it all the same.{listed}")
    reply = verbs.notify(None, service_id, message, SHELL, seconds)
    if json_:
        terminal.as_json({"response": reply})
    elif reply.isdigit():
        click.echo(f"The message was taken as number {reply}.")
    else:
        click.echo(terminal.plain(reply, 2000))


@jobs.command()
@the_execution
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
@the_active
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
@click.argument("service_ids", metavar="SERVICEID…", nargs=-1, required=True, shell_complete=completing.executions)
@as_json
def remove(service_ids: tuple[str, ...], json_: bool) -> None:
    """Remove what ended executions made.

    Their serviceIDs stay used: a small tombstone is left of each.
    """
    verbs = open_jobs(terminal.of_lab(settings_module.load()))
    for service_id in service_ids:
        verbs.remove(service_id, SHELL)
        if not json_:
            click.echo(f"{terminal.plain(service_id)} is removed.")
    if json_:
        terminal.as_json(list(service_ids))


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
