"""instruments and ports: what a lab operator does beside the instruments."""

from __future__ import annotations

import contextlib
import getpass
import json
import subprocess
import sys
import time
from pathlib import Path

import click

from .. import settings as settings_module
from ..errors import Misconfigured, UnknownInstrument
from ..lab import lab, simulation
from ..lab.lab import Entry, Lab
from ..layout import Layout
from ..model.record import ENDED
from ..settings import Settings
from ..store import supervisor_client
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from . import terminal
from .jobs import as_json

BEING_MADE_SAFE = "labwaiter instruments safe"  # who has an instrument while that asks it


@click.group()
def instruments() -> None:
    """The instruments of this lab, as lab.toml lists them."""


def _all() -> tuple[Settings, Lab, Leases]:
    settings = settings_module.load()
    return settings, lab.load(settings.lab).on(settings.machine), Leases(settings.jobs_folder)


def say_mistake(settings: Settings) -> None:
    """Say on stderr what is wrong with lab.toml, if something is: in the very words of `instruments list`."""
    if wrong := lab.mistake(settings.lab):
        click.echo(f"{wrong} Until that is mended, no service can be started that takes an instrument.", err=True)


def _runs(settings: Settings) -> bool:
    """Whether simulated instruments are those of a simulated lab, now or in a moment."""
    return supervisor_client.alive(settings) is not None or simulation.alive(settings.jobs_folder) is not None


def _one(whole: Lab, leases: Leases, name: str) -> Entry:
    if name in whole.entries:
        return whole.entries[name]
    shown = terminal.plain(name, 60)
    if name in whole.elsewhere:
        raise UnknownInstrument(f"{shown} is on the machine {whole.elsewhere[name]}: call this there.")
    if name in leases.all():
        raise UnknownInstrument(
            f"{shown} is no longer in lab.toml, so nobody knows how it is spoken to; put it back there, then free it."
        )
    raise UnknownInstrument(f"lab.toml has no instrument {shown}; there are: {', '.join(whole.entries) or 'none'}.")


def _none(settings: Settings, whole: Lab) -> str:
    if whole.elsewhere:
        others = ", ".join(f"{name} on {machine}" for name, machine in whole.elsewhere.items())
        return f"{settings.lab} lists no instrument of this machine, {settings.machine}; there are {others}: ask there."
    there = "lists no instrument" if settings.lab.exists() else "is not there, so there is no instrument"
    return f"{settings.lab} {there}. LAB names another file."


def _service_id(settings: Settings, job: str) -> str:
    """The serviceID of a job, by which an operator can ask for it or abort it."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        request = Folder(settings.jobs_folder).request(job)
        return request.service_id if request else job
    return job


def _state(settings: Settings, lease: Lease | None) -> str:
    if lease is None:
        return "free"
    until = f" until {terminal.moment(lease.until)}" if lease.until else ""
    who = terminal.plain(_service_id(settings, lease.job) if lease.job else lease.why, 60)
    return {
        Held.BY_JOB: f"held by the execution {who}",
        Held.MAKING_SAFE: f"being made safe after the execution {who}",
        Held.UNSAFE: "unsafe" + (f" since the execution {who}" if lease.job else ""),
        Held.RESERVED: "reserved" + (f" by {who}" if who else ""),
    }[lease.how] + until


def _held_as(whole: Lab, held: dict[str, Lease], name: str) -> str:
    """The name under which an instrument's device is held: its own, unless it is another one of lab.toml's."""
    return name if name in held else next(iter(sorted(whole.twins(name) & set(held))), name)


def _as_data(settings: Settings, name: str, entry: Entry | None, lease: Lease | None) -> dict[str, object]:
    return {
        "name": name,
        "driver": entry.driver if entry else "",
        "port": entry.port if entry else "",
        "note": entry.note if entry else "not in lab.toml",
        "state": str(lease.how) if lease else "free",
        "serviceID": _service_id(settings, lease.job) if lease and lease.job else "",
        "why": lease.why if lease else "",
        "since": lease.since if lease else None,
        "until": lease.until if lease else None,
    }


@instruments.command("list")
@as_json
def list_(json_: bool) -> None:
    """Which there are, and who has them."""
    settings, whole, leases = _all()
    held = leases.all()
    every: dict[str, Entry | None] = dict.fromkeys([*whole.entries, *held]) | whole.entries
    under = {name: _held_as(whole, held, name) for name in every}
    if json_:
        terminal.as_json(
            [_as_data(settings, n, entry, held.get(under[n])) | {"heldAs": under[n]} for n, entry in every.items()]
        )
        return
    if not every:
        click.echo(_none(settings, whole))
        return
    rows = []
    for name, entry in every.items():
        state = _state(settings, held.get(under[name]))
        state = state if under[name] == name else f"as {under[name]}, the same device, {state}"
        rows.append(
            (name, state, entry.port if entry else "-", terminal.plain(entry.note if entry else "not in lab.toml"))
        )
    terminal.table(("NAME", "STATE", "PORT", "NOTE"), rows)
    for name, lease in held.items():
        if lease.how is Held.UNSAFE:
            click.echo(_unsafe(name, lease))


@instruments.command()
@click.argument("names", nargs=-1)
@as_json
def check(names: tuple[str, ...], json_: bool) -> None:
    """Open, identify and close them, and say what is wrong. Exit status: 0 all answer, 3 one doesn't."""
    settings, whole, leases = _all()
    sys.path.append(str(settings.services))
    told = []
    for entry in [_one(whole, leases, name) for name in names or tuple(whole.entries)]:
        lease = leases.of(entry.name)
        if lease is not None and lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
            found, said = True, f"{_state(settings, lease)}; not touched"
        else:
            found, said = _asked(settings, whole, entry)
        told.append({"name": entry.name, "ok": found, "said": said})
        if not json_:
            click.echo(f"{entry.name}: {terminal.plain(said, 500)}")
    if json_:
        terminal.as_json(told)
    elif not told:
        click.echo(_none(settings, whole))
    sys.exit(0 if all(one["ok"] for one in told) else 3)


def _asked(settings: Settings, whole: Lab, entry: Entry) -> tuple[bool, str]:
    """Whether an instrument answers and its relay is one, and what it says or what is wrong."""
    from ..instruments.line import InstrumentError
    from ..instruments.opening import Opened
    from ..instruments.safety import power_mistake

    try:
        opened = Opened(entry, settings.jobs_folder if _runs(settings) else None)
        try:
            said = opened.ask()
        finally:
            opened.close()
        if mistake := power_mistake(entry, whole):
            return False, f"answers, but could not be cut off: {mistake}"
        if said is None:
            return True, "can be opened; its driver knows no question, so nobody knows whether it answers"
        return True, f"answers{': ' + said if said else ''}"
    except InstrumentError as error:
        return False, f"{_without_name(entry, error.message)} ({entry.port})"
    except Misconfigured as error:  # its driver can't be had
        return False, str(error)


def _without_name(entry: Entry, text: str) -> str:
    """What is said of an instrument, where its name stands in front already."""
    return text.removeprefix(f"{entry.name}: ")


@instruments.command()
@click.argument("name")
@click.option("--minutes", type=click.FloatRange(0.1, 60 * 24 * 30), default=60.0, show_default=True)
@click.option("--by", help="Who has it, for those who wait; default: your user name.")
@click.option("--free", is_flag=True, help="Give it back.")
def reserve(name: str, minutes: float, by: str | None, free: bool) -> None:
    """Reserve an instrument for work by hand: the queue passes it by.

    Reserved again by the same person, it is so from now on for so many minutes.
    """
    settings, whole, leases = _all()
    if free:
        if name not in leases.all():
            _one(whole, leases, name)
        with leases.turn():
            lease = leases.of(name)
            if lease is not None and lease.how is not Held.RESERVED:
                raise click.ClickException(f"{name} isn't reserved: it is {_state(settings, lease)}.")
            leases.free(name)
        supervisor_client.wake(settings, "")  # somebody may wait for it
        was = "It was not reserved." if lease is None else f"It was {_state(settings, lease)}."
        click.echo(f"{name} is free. {was}")
        return
    _one(whole, leases, name)
    for twin in whole.twins(name) - {name}:
        if (other := leases.of(twin)) is not None:
            raise click.ClickException(
                f"{name} can't be reserved now: {twin}, the same device, is {_state(settings, other)}."
            )
    who = (by if by is not None else getpass.getuser())[:100]
    lease = leases.reserve(name, who, 60 * minutes)
    if lease is not None:
        raise click.ClickException(f"{name} can't be reserved now: it is {_state(settings, lease)}.")
    click.echo(f"{name} is reserved until {terminal.moment(time.time() + 60 * minutes)}; --free gives it back.")


@instruments.command()
@click.argument("names", nargs=-1, required=True)
@as_json
def safe(names: tuple[str, ...], json_: bool) -> None:
    """Make unsafe instruments safe, ask them, and free them. Exit status: 0 all are safe, 3 one isn't."""
    settings, whole, leases = _all()
    entries = {name: _one(whole, leases, name) for name in names}
    before: dict[str, Lease | None] = {}
    for name in entries:
        for twin in sorted(whole.twins(name), key=lambda other: other != name):
            lease = leases.of(twin)
            if lease is not None and lease.how in (Held.BY_JOB, Held.MAKING_SAFE) and _goes_on(settings, lease.job):
                state = f"{twin}, the same device, is" if twin != name else "is"
                raise click.ClickException(f"{name}: {state} {_state(settings, lease)}: abort that execution instead.")
        before[name] = leases.of(name)
    for name, entry in entries.items():
        if before[name] is None:  # no job shall begin with it meanwhile
            leases.reserve(name, BEING_MADE_SAFE, 2 * entry.safe_seconds + 30)
    alone = [] if _runs(settings) else ["--alone"]
    command = [sys.executable, "-m", "labwaiter.instruments.safety", *alone, *entries]
    done = subprocess.run(
        command, env=supervisor_client.environment(settings), stdout=subprocess.PIPE, text=True, check=False
    )
    said = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    told = [
        said.get(n, {"name": n, "safe": False, "why": "the program that asks it broke; see above"}) for n in entries
    ]
    with leases.turn():
        for one in told:
            name, lease = one["name"], before[one["name"]]
            now = leases.of(name)
            ours = lease is None and now is not None and now.why == BEING_MADE_SAFE
            if now is not None and (ours or (now == lease and one["safe"] and now.how is not Held.RESERVED)):
                leases.free(name)
    supervisor_client.wake(settings, "")  # somebody may wait for it
    if json_:
        terminal.as_json(told if len(told) > 1 else told[0])
    else:
        for one in told:
            why = terminal.plain(_without_name(entries[one["name"]], one["why"]), 500)
            if one["safe"]:
                click.echo(f"{one['name']}: {why}.")
            else:
                click.echo(f"{one['name']} is not safe: {why}", err=True)
    sys.exit(0 if all(one["safe"] for one in told) else 3)


def _unsafe(name: str, lease: Lease) -> str:
    return f"{name} is unsafe: {terminal.plain(lease.why, 500)} `labwaiter instruments safe {name}` tries again."


def not_safe(settings: Settings) -> list[str]:
    """A sentence for each instrument of this machine that waits for a person, or is being made safe."""
    told = []
    for name, lease in sorted(Leases(settings.jobs_folder).all().items()):
        if lease.how is Held.UNSAFE:
            told.append(_unsafe(name, lease))
        elif lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
            told.append(f"{name} was not read back safe: it is {_state(settings, lease)}.")
    return told


def _goes_on(settings: Settings, job: str) -> bool:
    """Whether that execution, or what clears up after it, is still to be waited for."""
    try:
        condition = Folder(settings.jobs_folder).condition(job) if job else None
    except (ValueError, TypeError, KeyError):
        return False
    return condition is not None and condition.state not in ENDED


@instruments.command()
def simulate() -> None:
    """Serve lab.toml's simulators (sim://…) on ptys, until Ctrl-C: other programs open them as they open any port.

    A deployment that runs serves them itself: then this tells where.
    """
    from ..simulated_lab import process as simlab

    settings, whole, _ = _all()
    if not any(entry.simulated for entry in whole.entries.values()):
        click.echo("lab.toml lists no simulated instrument (sim://…).")
        return

    def begun(served: dict[str, Path]) -> None:
        for name, port in served.items():
            click.echo(f"{name}: {port}")
        click.echo("Ctrl-C ends it.")

    try:
        simlab.serve(settings, begun)
    except simlab.Taken:
        click.echo("They are served already, by this deployment or another call:")
        for name, entry in whole.entries.items():
            if entry.simulated:
                click.echo(f"{name}: {Layout(settings.jobs_folder).simulated / name}")


@click.command()
@as_json
def ports(json_: bool) -> None:
    """What serial ports there are, with names that stay theirs when they are plugged in elsewhere."""
    from serial.tools.list_ports import comports

    by_id = {}
    folder = Path("/dev/serial/by-id")
    if folder.is_dir():
        by_id = {str(path.resolve()): str(path) for path in folder.iterdir()}
    found = [(by_id.get(p.device, p.device), p.device, p.description) for p in sorted(comports())]
    if json_:
        terminal.as_json([{"name": name, "device": device, "what": what} for name, device, what in found])
    elif not found:
        click.echo("No serial port is plugged in.")
    else:
        terminal.table(("NAME FOR lab.toml", "DEVICE", "WHAT"), [(n, d, terminal.plain(w)) for n, d, w in found])
