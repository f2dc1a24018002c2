"""export systemd: a deployment that the machine itself keeps running."""

from __future__ import annotations

import re
from pathlib import Path

import click

from .. import settings as settings_module
from ..deployment import units
from ..errors import Misconfigured
from . import terminal
from .jobs import as_json


@click.group()
def export() -> None:
    """Write what other programs need to know of this deployment."""


@export.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="systemd", show_default=True)
@click.option("--user", default="labwaiter", show_default=True, help="The user that everything runs as.")
@click.option(
    "--unit",
    "parts",
    multiple=True,
    type=click.Choice(units.PARTS),
    help="Only these; default: what this machine needs.",
)
@as_json
def systemd(folder: Path, user: str, parts: tuple[str, ...], json_: bool) -> None:
    """Write systemd units for this clone with its settings.

    One for each part, so that stopping or restarting one touches no other, and labwaiter.target for all of them.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*\$?", user):
        raise Misconfigured(f"--user is a user's name, not {terminal.plain(user, 40)}.")
    files = units.write(settings_module.load(), folder, user, parts)
    if json_:
        terminal.as_json({"folder": str(folder), "units": files})
        return
    click.echo(f"Wrote {', '.join(files)} to {folder}. As root:")
    click.echo(f"  cp {' '.join(str(folder / file) for file in files)} {units.INSTALLED}/")
    click.echo(f"  systemctl daemon-reload && systemctl enable --now {units.TARGET}")


def control(verb: str) -> None:
    """Have systemd start or stop all units of this machine, and say so. Raises DeploymentError."""
    units.control(verb)
    click.echo(f"systemd has {'started' if verb == 'start' else 'stopped'} {units.TARGET}.")
