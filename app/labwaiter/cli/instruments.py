"""instruments and ports: what a lab operator does beside the instruments."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import click

from .. import lab, simulation
from .. import settings as settings_module
from ..errors import UnknownInstrument
from ..jobs import link
from ..jobs.leases import Held, Lease, Leases
from ..lab import Entry, Lab
from ..settings import Settings
from . import say
from .jobs import as_json


@click.group()
def instruments() -> None:
    """The instruments of this lab, as lab.toml lists them."""


def _all() -> tuple[Settings, Lab, Leases]:
    settings = settings_module.load()
    return settings, lab.load(settings.lab), Leases(settings.jobs_folder)


def _runs(settings: Settings) -> bool:
    """Whether simulated instruments are those of a simulated lab, now or in a moment."""
    return link.alive(settings) is not None or simulation.alive(settings.jobs_folder) is not None


def _one(whole: Lab, name: str) -> Entry:
    if name not in whole.entries:
        known = ", ".join(whole.entries) or "none"
        raise UnknownInstrument(f"lab.toml has no instrument {say.plain(name, 60)}; there are: {known}.")
    return whole.entries[name]


def _state(lease: Lease | None) -> str:
    if lease is None:
        return "free"
    told = f"{lease.how} ({lease.job})" if lease.job else f"{lease.how} {lease.why}".rstrip()
    return told + (f" until {say.moment(lease.until)}" if lease.until else "")


@instruments.command("list")
@as_json
def list_(json_: bool) -> None:
    """Which there are, and who has them."""
    _, whole, leases = _all()
    held = leases.all()
    if json_:
        say.as_json(
            [
                {
                    "name": entry.name,
                    "driver": entry.driver,
                    "port": entry.port,
                    "note": entry.note,
                    "state": str(held[name].how) if name in held else "free",
                    "job": held[name].job if name in held else "",
                    "why": held[name].why if name in held else "",
                }
                for name, entry in whole.entries.items()
            ]
        )
        return
    if not whole.entries:
        click.echo("lab.toml lists no instrument.")
        return
    rows = [(e.name, _state(held.get(n)), e.port, say.plain(e.note)) for n, e in whole.entries.items()]
    say.table(("NAME", "STATE", "PORT", "NOTE"), rows)
    for name, lease in held.items():
        if lease.how is Held.UNSAFE:
            click.echo(f"{name} is unsafe: {say.plain(lease.why, 500)}")


@instruments.command()
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Open, identify and close them, and say what is wrong. Exit status: 0 all answer, 3 one doesn't."""
    from ..instruments.line import InstrumentError
    from ..instruments.opening import Opened

    settings, whole, leases = _all()
    sys.path.append(str(settings.services))
    jobs = settings.jobs_folder if _runs(settings) else None
    wrong = 0
    for name in names or tuple(whole.entries):
        entry, lease = _one(whole, name), leases.of(name)
        if lease is not None and lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
            click.echo(f"{name}: {lease.how} by the execution {say.plain(lease.job)}; not touched")
            continue
        try:
            opened = Opened(entry, jobs)
            said = opened.device.identify() if entry.safe == lab.ITSELF else ""
            opened.close()
            click.echo(f"{name}: answers{': ' + say.plain(said) if said else ''}")
        except InstrumentError as error:
            wrong += 1
            click.echo(f"{name}: {say.plain(error.message, 500)}")
    sys.exit(3 if wrong else 0)


@instruments.command()
@click.argument("name")
@click.option("--minutes", type=click.FloatRange(0.1, 60 * 24 * 30), default=60.0, show_default=True)
@click.option("--by", default="", help="Who has it, for those who wait.")
@click.option("--free", is_flag=True, help="Give it back.")
def reserve(name: str, minutes: float, by: str, free: bool) -> None:
    """Reserve an instrument for work by hand: the queue passes it by."""
    _, whole, leases = _all()
    _one(whole, name)
    lease = leases.of(name)
    if free:
        if lease is not None and lease.how is not Held.RESERVED:
            raise click.ClickException(f"{name} isn't reserved: it is {_state(lease)}.")
        leases.free(name)
        click.echo(f"{name} is free.")
        return
    if lease is not None and lease.how is not Held.RESERVED:
        raise click.ClickException(f"{name} can't be reserved now: it is {_state(lease)}.")
    now = time.time()
    leases.write(Lease(name, Held.RESERVED, why=by[:100], since=now, until=now + 60 * minutes), durable=True)
    click.echo(f"{name} is reserved until {say.moment(now + 60 * minutes)}; --free gives it back.")


@instruments.command()
@click.argument("name")
def safe(name: str) -> None:
    """Make an unsafe instrument safe, ask it, and free it. Exit status: 0 it is safe, 3 it isn't."""
    settings, whole, leases = _all()
    _one(whole, name)
    lease = leases.of(name)
    if lease is not None and lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
        raise click.ClickException(f"{name} is {_state(lease)}: abort that execution instead.")
    alone = [] if _runs(settings) else ["--alone"]
    command = [sys.executable, "-m", "labwaiter.instruments.safety", *alone, name]
    done = subprocess.run(command, env=link.environment(settings), stdout=subprocess.PIPE, text=True, check=False)
    said = json.loads(done.stdout or "{}")
    if said.get("safe"):
        if lease is not None and lease.how is Held.UNSAFE:
            leases.free(name)
        click.echo(f"{name}: {said['why']}.")
        return
    click.echo(f"{name} is not safe: {say.plain(said.get('why', 'nothing was told'), 500)}", err=True)
    sys.exit(3)


@instruments.command()
def simulate() -> None:
    """Serve lab.toml's simulators (sim://…) on ptys, until Ctrl-C: other programs open them as they open any port.

    A deployment that runs serves them itself: then this tells where.
    """
    from ..supervisor import simlab

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
                click.echo(f"{name}: {simulation.folder(settings.jobs_folder) / name}")


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
        say.as_json([{"name": name, "device": device, "what": what} for name, device, what in found])
    elif not found:
        click.echo("No serial port is plugged in.")
    else:
        say.table(("NAME FOR lab.toml", "DEVICE", "WHAT"), [(n, d, say.plain(w)) for n, d, w in found])
