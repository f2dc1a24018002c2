"""export systemd, and start and stop through it: a deployment that the machine itself keeps running."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click

from .. import settings as settings_module
from ..errors import Misconfigured
from ..lab import labfile
from ..settings import ROOT, Settings
from . import terminal
from .jobs import as_json

TARGET = "labwaiter.target"
UNITS = ("supervisor", "web", "worker", "scheduler")
INSTALLED = Path("/etc/systemd/system")
WAIT = {"start": 60, "stop": 300}  # s; systemd itself starts what fails for ever
_WRITTEN_FOR = "/opt/labwaiter"  # the clone in the units of deploy/systemd
_HOMES = ("/home/", "/root/", "/run/user/")


@click.group()
def export() -> None:
    """Write what other programs need to know of this deployment."""


@export.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="systemd", show_default=True)
@click.option("--user", default="labwaiter", show_default=True, help="The user that everything runs as.")
@click.option(
    "--unit", "chosen", multiple=True, type=click.Choice(UNITS), help="Only these; default: what this machine needs."
)
@as_json
def systemd(folder: Path, user: str, chosen: tuple[str, ...], json_: bool) -> None:
    """Write systemd units for this clone with its settings.

    One for each part, so that stopping or restarting one touches no other, and labwaiter.target for all of them.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*\$?", user):
        raise Misconfigured(f"--user is a user's name, not {terminal.plain(user, 40)}.")
    settings = settings_module.load()
    templates = ROOT / "deploy" / "systemd"
    if not templates.is_dir():
        raise Misconfigured("The folder deploy/systemd isn't here: call this from a clone, not from a container.")
    parts = chosen or needed(settings)
    files = [TARGET, *(f"labwaiter-{part}.service" for part in parts)]
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        text = unit((templates / file).read_text(), settings, user, parts)
        (folder / file).write_bytes(os.fsencode(text))  # paths are bytes
    if json_:
        terminal.as_json({"folder": str(folder), "units": files})
        return
    click.echo(f"Wrote {', '.join(files)} to {folder}. As root:")
    click.echo(f"  cp {' '.join(str(folder / file) for file in files)} {INSTALLED}/")
    click.echo(f"  systemctl daemon-reload && systemctl enable --now {TARGET}")


def needed(settings: Settings) -> tuple[str, ...]:
    """What this machine needs: of many, one with instruments has a worker, and another one a web side."""
    parts = ["supervisor", "web"]
    if settings.redis_url:
        whole = labfile.load(settings.lab)
        parts = ["supervisor", "worker"] if settings.machine in whole.machines else ["web"]
    return (*parts, *(["scheduler"] if settings.schedule.is_file() else []))


def unit(text: str, settings: Settings, user: str, parts: tuple[str, ...]) -> str:
    """A unit of deploy/systemd, for this clone."""
    folders = (settings.jobs_folder, settings.files_folder)
    for path in (ROOT, *folders):
        if re.search(r"[\s%\"'\\$]", str(path)):
            raise Misconfigured(f"systemd can't be told of {path}: use folders without blanks, quotes, % and $.")
    text = re.sub(r"^ReadWritePaths=/opt/.*$", f"ReadWritePaths={folders[0]} {folders[1]}", text, flags=re.M)
    text = re.sub(r"^User=.*$", f"User={user}", text, flags=re.M)
    wanted = " ".join(f"labwaiter-{part}.service" for part in parts)
    text = re.sub(r"^Wants=labwaiter-.*$", f"Wants={wanted}", text, flags=re.M)
    if "supervisor" not in parts:
        text = text.replace(" labwaiter-supervisor.service", "")
    text = text.replace(_WRITTEN_FOR, str(ROOT))
    where = [f"{path}/" for path in (ROOT, *folders)]
    if any(one.startswith(_HOMES) for one in where):
        text = text.replace("ProtectHome=yes", "ProtectHome=no")
    if any(one.startswith(("/tmp/", "/var/tmp/")) for one in where):
        text = text.replace("PrivateTmp=yes", "PrivateTmp=no")
    if file := os.environ.get("LABWAITER_ENV"):
        text = text.replace("Environment=", f"Environment=LABWAITER_ENV={Path(file).absolute()} ")
    return text


def control(verb: str) -> None:
    """Have systemd start or stop all units of this machine. Raises ClickException in a sentence."""
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise click.ClickException(f"systemd does not run this machine: call labwaiter {verb} without --systemd.")
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        raise click.ClickException("There is no systemctl on the PATH.")
    # a target that is stopped is not waited for by its units
    command = [systemctl, verb, TARGET, *(["labwaiter-*.service"] if verb == "stop" else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        done = subprocess.run(command, **pipes, timeout=WAIT[verb], check=False)
    except subprocess.TimeoutExpired as error:
        why = "journalctl -u 'labwaiter-*' tells why; systemd goes on trying"
        raise click.ClickException(f"{TARGET} did not {verb} within {WAIT[verb]} s: {why}.") from error
    if done.returncode:
        words = " ".join(terminal.lines(done.stderr, 3))
        known = "" if (INSTALLED / TARGET).exists() else " The units are written by labwaiter export systemd."
        raise click.ClickException(f"systemd did not {verb} {TARGET}: {words}{known}")
    click.echo(f"systemd has {'started' if verb == 'start' else 'stopped'} {TARGET}.")
