"""instruments and ports: what a lab operator does beside the instruments, in lines."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path

import click

from .. import settings as settings_module
from ..errors import UnknownInstrument
from ..fleet import open_instruments, open_jobs, open_monitoring
from ..lab import labfile
from ..model.caller import SHELL, Caller, administrator
from ..model.span import span
from ..page.words import quantity
from ..store.history import POINTS
from ..store.leases import Held
from ..verbs.as_data import (
    NOT_LISTED,
    of_checked,
    of_instrument,
    of_made_safe,
    of_out_of_service,
    of_stopped,
    of_upkeep,
)
from ..verbs.instruments import Instruments
from ..verbs.monitoring import CSV_POINTS, POINTS_MAX, csv_of, of_history, of_last, since_of
from . import completing, in_hand, terminal
from .jobs import as_json

TABLE_POINTS = 24  # of each reading, where people look at a table


@click.group()
def instruments() -> None:
    """The instruments of this lab, as lab.toml lists them."""


def _verbs(using: bool = False) -> Instruments:
    """What is done to instruments; where they are `using` them, whose they are is said."""
    settings = settings_module.load()
    return open_instruments(terminal.of_lab(settings) if using else settings)


@instruments.command("list")
@as_json
def list_(json_: bool) -> None:
    """Which there are, and who has them."""
    verbs = _verbs()
    states = verbs.list(SHELL)
    if json_:
        terminal.as_json([of_instrument(state) for state in states])
        return
    if not states:
        click.echo(verbs.why_none())
        return
    rows = []
    many = any(state.machine for state in states)
    for state in states:
        entry = state.entry
        note = terminal.plain(entry.note if entry else NOT_LISTED)
        where = (state.machine or "this one",) if many else ()
        rows.append((state.name, *where, state.words, entry.port if entry else "-", note))
    terminal.table(("NAME", *(("MACHINE",) if many else ()), "STATE", "PORT", "NOTE"), rows)
    for holding in verbs.not_safe():
        if holding.lease.how is Held.UNSAFE:
            click.echo(terminal.not_safe(holding))


@instruments.command()
@click.argument("names", nargs=-1, shell_complete=completing.instruments)
@as_json
def check(names: tuple[str, ...], json_: bool) -> None:
    """Open, identify and close them, and say what is wrong. Exit status: 0 all answer, 3 one doesn't."""
    verbs = _verbs(using=True)
    answers = []
    for answer in verbs.check(names, SHELL):
        answers.append(answer)
        if not json_:
            click.echo(f"{answer.name}: {terminal.plain(answer.words, 500)}")
    if json_:
        terminal.as_json([of_checked(answer) for answer in answers])
    elif not answers:
        click.echo(verbs.why_none())
    sys.exit(0 if all(answer.ok for answer in answers) else 3)


@instruments.command()
@click.argument("name", shell_complete=completing.instruments)
@click.option("--minutes", type=click.FloatRange(0.1, 60 * 24 * 30), default=60.0, show_default=True)
@click.option("--by", help="Who has it, for those who wait; default: your user name.")
@click.option("--free", is_flag=True, help="Give it back.")
@as_json
def reserve(name: str, minutes: float, by: str | None, free: bool, json_: bool) -> None:
    """Reserve an instrument for work by hand: the queue passes it by.

    Reserved again by the same person, it is so from now on for so many minutes.
    """
    verbs = _verbs(using=True)
    if free:
        before = verbs.release(name, SHELL)
        if json_:
            terminal.as_json({"name": name, "was": before.words if before else "free"})
            return
        click.echo(f"{name} is free. {f'It was {before.words}.' if before else 'It was not reserved.'}")
        return
    holding = verbs.reserve(name, 60 * minutes, administrator(getpass.getuser() if by is None else by))
    if json_:
        terminal.as_json({"name": name, "until": holding.lease.until, "words": holding.words})
        return
    click.echo(f"{name} is reserved until {terminal.moment(holding.lease.until)}; --free gives it back.")


@instruments.command()
@click.argument("names", nargs=-1, required=True, shell_complete=completing.instruments)
@as_json
def safe(names: tuple[str, ...], json_: bool) -> None:
    """Make unsafe instruments safe, ask them, and free them. Exit status: 0 all are safe, 3 one isn't."""
    results = _verbs(using=True).make_safe(names, SHELL)
    if json_:
        data = [of_made_safe(result) for result in results]
        terminal.as_json(data if len(data) > 1 else data[0])
    else:
        for result in results:
            why = terminal.plain(result.why.removeprefix(f"{result.name}: "), 500)
            if result.safe:
                click.echo(f"{result.name}: {why}.")
            else:
                click.echo(f"{result.name} is not safe: {why}", err=True)
    sys.exit(0 if all(result.safe for result in results) else 3)


def _me(by: str | None = None) -> Caller:
    """Who has instruments in hand at this shell: an administrator of that name."""
    return administrator(getpass.getuser() if by is None else by)


@instruments.command()
@click.argument("names", nargs=-1, shell_complete=completing.instruments)
@click.option("--all", "all_", is_flag=True, help="Every instrument of this lab, on all machines.")
@as_json
def stop(names: tuple[str, ...], all_: bool, json_: bool) -> None:
    """STOP: end whatever uses them, make them safe, ask them. They stay stopped until they are put back.

    It answers within 8 s. Exit status: 0 all were read back safe, 3 one wasn't, or that goes on.
    """
    if bool(names) == all_:
        raise click.UsageError("Name the instruments, or say --all.")
    results = _verbs(using=True).stop(names, _me())
    if json_:
        terminal.as_json([of_stopped(result) for result in results])
    for result in results if not json_ else ():
        where = f" on {result.machine}" if result.machine else ""
        click.echo(f"{result.name}{where}: {terminal.plain(result.why, 500)}", err=not result.safe)
    if not json_ and results:
        click.echo(f"`{terminal.command()} instruments back {results[0].name}` puts it back into service.", err=True)
    sys.stdout.flush()
    sys.exit(0 if all(result.safe for result in results) else 3)


@instruments.command()
@click.argument("name", shell_complete=completing.instruments)
@click.argument("reason")
@as_json
def out(name: str, reason: str, json_: bool) -> None:
    """Take an instrument out of service: executions that need it wait, and are told the reason."""
    told = _verbs(using=True).take_out(name, reason, _me())
    if json_:
        terminal.as_json({"name": name, "outOfService": of_out_of_service(told)})
        return
    click.echo(f"{name} is {told.words}. `{terminal.command()} instruments back {name}` puts it back.")


@instruments.command()
@click.argument("names", nargs=-1, required=True, shell_complete=completing.instruments)
@as_json
def back(names: tuple[str, ...], json_: bool) -> None:
    """Put instruments back into service, after upkeep or STOP."""
    verbs = _verbs(using=True)
    told = {}
    for name in names:
        told[name] = before = verbs.put_back(name, _me())
        if json_:
            continue
        was = f"It was {before.words}." if before else "It was not out of service."
        click.echo(f"{name} is in service. {was}")
    if json_:
        terminal.as_json([{"name": name, "was": of_out_of_service(before)} for name, before in told.items()])


@instruments.command()
@click.argument("name", shell_complete=completing.instruments)
@click.argument("text")
@as_json
def note(name: str, text: str, json_: bool) -> None:
    """Add a note to an instrument's log."""
    _verbs(using=True).note(name, text, _me())
    if json_:
        terminal.as_json({"name": name, "noted": True})
        return
    click.echo(f"Noted in the log of {name}.")


@instruments.command("log")
@click.argument("name", shell_complete=completing.instruments)
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True, help="So many events.")
@as_json
def log_(name: str, last: int, json_: bool) -> None:
    """How much an instrument was used, its last fault, and its log."""
    told = _verbs().upkeep(name, SHELL, last)
    if json_:
        terminal.as_json(of_upkeep(told))
        return
    click.echo(f"{name} was in use for {told.use.seconds / 3600:.1f} h, by {told.use.executions} executions.")
    if told.out is not None:
        click.echo(f"It is {terminal.plain(told.out.words, 500)} since {terminal.moment(told.out.since)}.")
    for one in told.log:
        by, text = (str(one.about.get(key, "")) for key in ("by", "text"))
        words = " ".join(word for word in (one.event, f"({by})" if by else "", text) if word)
        click.echo(f"{terminal.moment(one.at)}  {terminal.plain(words, 500)}")


@instruments.command()
@click.argument("names", nargs=-1, shell_complete=completing.instruments)
@as_json
def readings(names: tuple[str, ...], json_: bool) -> None:
    """What monitored instruments said last, and how long ago."""
    last = open_monitoring(settings_module.load()).last(SHELL)
    known = labfile.load(settings_module.load().lab).entries
    for name in names:
        if name not in known:
            raise UnknownInstrument(
                f"lab.toml has no instrument {terminal.plain(name, 60)}; there are: {', '.join(known) or 'none'}."
            )
    shown = {name: of_last(last.get(name, ())) for name in names or last}
    if json_:
        terminal.as_json(shown)
        return
    if not any(shown.values()):
        click.echo("Nothing was read so far: monitor_every_s in lab.toml has instruments read while nobody uses them.")
        return
    rows, now = [], time.time()
    for name, readings in shown.items():
        for one in readings:
            value, unit = quantity(one["value"], one["unit"]) if one["value"] is not None else ("-", "")
            limit = {"high": "over its limit", "low": "under its limit"}.get(one["beyond"], "")
            words = terminal.plain(" ".join(filter(None, (one["why"], limit))), 300)
            rows.append(
                (
                    name,
                    one["reading"] or "-",
                    f"{terminal.plain(value, 60)} {unit}".strip(),
                    span(now - one["at"]),
                    words,
                )
            )
    terminal.table(("NAME", "READING", "VALUE", "AGE", "NOTE"), rows)


@instruments.command()
@click.argument("name", shell_complete=completing.instruments)
@click.option("--since", default="day", show_default=True, help="90min, 2h, 3d; hour, day, month; 2026-11-30 14:30.")
@click.option("--until", help="Likewise; default: now.")
@click.option("--points", type=click.IntRange(1, POINTS_MAX), help="At most so many of each reading.")
@click.option("--csv", "csv_", is_flag=True, help="For a spreadsheet.")
@as_json
def history(name: str, since: str, until: str | None, points: int | None, csv_: bool, json_: bool) -> None:
    """What a monitored instrument said: means, lowest and highest over a time."""
    if csv_ and json_:
        raise click.UsageError("Say --csv or --json.")
    now = time.time()
    told = open_monitoring(settings_module.load()).history(
        name,
        SHELL,
        since_of(since, now),
        now if until is None else since_of(until, now),
        points or (CSV_POINTS if csv_ else POINTS if json_ else TABLE_POINTS),
    )
    if json_:
        terminal.as_json(of_history(told))
    elif csv_:
        click.echo(csv_of(told), nl=False)
    elif not told.series:
        click.echo(f"{name} said nothing in that time, or nobody asked: monitor_every_s in lab.toml has it read.")
    else:
        rows = [
            (
                terminal.moment(point.at),
                f"{series.reading}",
                *(_with_unit(v, series.unit) for v in (point.mean, point.low, point.high)),
            )
            for series in told.series
            for point in series.points
        ]
        terminal.table(("FROM", "READING", "MEAN", "LOWEST", "HIGHEST"), rows)


def _with_unit(value: float, unit: str) -> str:
    return " ".join(quantity(value, unit)).strip()


@instruments.command()
@click.argument("name", shell_complete=completing.instruments)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--of", "service_id", help="The execution's serviceID; default: the last one that spoke to it.")
def record(name: str, file: Path | None, service_id: str | None) -> None:
    """Write what an execution and an instrument said to each other into a FILE, NAME.wire.txt unless it is named.

    A test replays it: port = wire("NAME.wire.txt"), docs/testing.md.
    """
    from ..instruments import transcript
    from ..verbs.transcripts import Transcripts

    file = file or Path(f"{name}.wire.txt")
    settings = settings_module.load()
    recorded = Transcripts(open_jobs(settings)).of(name, SHELL, service_id)
    remark = f"# {name}, as the execution {terminal.plain(recorded.service_id)} and it spoke to each other"
    text = "\n".join([remark, *transcript.lines(recorded.exchanges), ""])
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already, and stays as it is: name another file.") from None
    said = f"{len(recorded.exchanges)} lines that {terminal.plain(recorded.service_id)} sent, and what {name} answered"
    lost = ", until its line was lost" if recorded.lost else ""
    click.echo(f"{file}: {said}{lost}. Read it before you keep it: all that was said is in it, passwords, too.")


@instruments.command()
def simulate() -> None:
    """Serve lab.toml's simulators (sim://…) on ptys, until Ctrl-C: other programs open them as they open any port.

    A deployment that runs serves them itself: then this tells where.
    """
    from ..simulated_lab import process as simulated_lab

    settings = settings_module.load()
    lab = labfile.load(settings.lab).on(settings.machine)
    simulated = [name for name, entry in lab.entries.items() if entry.simulated]
    if not simulated:
        click.echo("lab.toml lists no simulated instrument (sim://…).")
        return

    def begun(ports: dict[str, Path]) -> None:
        for name, port in ports.items():
            click.echo(f"{name}: {port}")
        click.echo("Ctrl-C ends it.")

    try:
        simulated_lab.serve(settings, begun)
    except simulated_lab.AlreadyRuns:
        click.echo("They are served already, by this deployment or another call:")
        for name in simulated:
            click.echo(f"{name}: {settings.layout.simulated / name}")


for command in in_hand.COMMANDS:
    instruments.add_command(command)


@click.command()
@as_json
def ports(json_: bool) -> None:
    """What serial ports there are, with names that stay theirs when they are plugged in elsewhere."""
    from ..instruments.serial_ports import serial_ports

    plugged = serial_ports()
    if json_:
        terminal.as_json([{"name": port.name, "device": port.device, "what": port.description} for port in plugged])
    elif not plugged:
        click.echo("No serial port is plugged in.")
    else:
        rows = [(port.name, port.device, terminal.plain(port.description)) for port in plugged]
        terminal.table(("NAME FOR lab.toml", "DEVICE", "WHAT"), rows)
