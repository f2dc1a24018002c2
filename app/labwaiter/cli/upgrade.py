"""upgrade: what this version will find in a lab that another one has served."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click

from .. import __version__
from .. import settings as settings_module
from . import terminal
from .jobs import as_json


@click.command()
@click.option("--check", "check_", is_flag=True, help="Say what this version will find, and change nothing.")
@as_json
def upgrade(check_: bool, json_: bool) -> None:
    """Say what this version of labwaiter will find in a lab that another one has served (docs/moving.md).

    To be called in the lab's folder by the new version's own `labwaiter`, before anything is replaced: settings,
    services and their WSDLs, lab.toml, schedule.toml, the jobs folder and what waits and runs. It changes nothing.
    Exit status: 0 nothing is in the way (warnings may be), 1 something is, 2 there is no lab.
    """
    if not check_:
        raise click.UsageError(
            "The lab's environment is upgraded as it was made, by pip; `labwaiter upgrade --check` says before what the"
            " new version will find."
        )
    from .. import upgrade as upgrades  # and with it all that reads WSDLs

    environ = dict(os.environ)
    env_file = settings_module.file_of(environ)
    folder = str(env_file.resolve().parent)
    try:
        parts = upgrades.check(environ, env_file)
    except settings_module.Newer as newer:
        if json_:
            terminal.as_json({"version": __version__, "lab": folder, "refused": str(newer)})
        else:
            click.echo(f"Error: {newer}", err=True)
        sys.exit(1)
    findings = [finding for part in parts for finding in part.findings]
    errors, warnings = (sum(f.level == level for f in findings) for level in ("error", "warning"))
    if json_:
        told = {p.name: {"where": p.where, "findings": [asdict(finding) for finding in p.findings]} for p in parts}
        terminal.as_json({"version": __version__, "lab": folder, "errors": errors, "warnings": warnings, "parts": told})
        sys.exit(1 if errors else 0)
    click.echo(f"What labwaiter {__version__} will find in {folder}; nothing was changed.")
    for part in parts:
        click.echo(f"\n{part.name} ({part.where})")
        terminal.findings(part.findings, indent="  ")
    warned = terminal.count(warnings, "warning")
    click.echo(f"\n{terminal.count(errors, 'error')}, {warned}." if errors else f"\nNothing is in the way; {warned}.")
    sys.exit(1 if errors else 0)
