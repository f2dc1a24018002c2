"""export systemd|compose|nginx|prometheus|machines: what other programs need to know of a lab, as files."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click

from .. import settings as settings_module
from .. import shipped
from ..deployment import units
from ..errors import Misconfigured
from ..init.lab_folder import host
from ..settings import Settings
from . import terminal
from .jobs import as_json

KEEP_OUT = "*\n!.gitignore\n"  # a folder whose files are nobody's to see
folder_ = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def export() -> None:
    """Write what other programs need to know of this lab into a FOLDER."""


@export.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="systemd")
@click.option("--user", default="labwaiter", show_default=True, help="The user that everything runs as.")
@click.option(
    "--unit",
    "parts",
    multiple=True,
    type=click.Choice(units.PARTS),
    help="Only these; default: what this machine needs.",
)
@click.option(
    "--name",
    default=units.NAME,
    show_default=True,
    help="What the units' names begin with: another one for each lab of this machine.",
)
@as_json
def systemd(folder: Path, user: str, parts: tuple[str, ...], name: str, json_: bool) -> None:
    """Write systemd units for this lab with its settings; into ./systemd unless FOLDER is said.

    One for each part, so that stopping or restarting one touches no other, and a target for all of them. Units that
    were written there before are replaced.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*\$?", user):
        raise Misconfigured(f"--user is a user's name, not {terminal.plain(user, 40)}.")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", name):
        raise Misconfigured(f"--name is letters, digits, _ and -, at most 64, not {terminal.plain(name, 70)}.")
    files = units.write(terminal.of_lab(settings_module.load()), folder, user, parts, name)
    if json_:
        terminal.as_json({"folder": str(folder), "units": files})
        return
    click.echo(f"Wrote {', '.join(files)} to {folder}. As root:")
    click.echo(f"  cp {' '.join(str(folder / file) for file in files)} {units.INSTALLED}/")
    click.echo(f"  systemctl daemon-reload && systemctl enable --now {name}.target")


@export.command()
@folder_
def compose(folder: Path) -> None:
    """Write a compose.yaml of two deployments, one of them in two containers, behind nginx with its nginx.conf."""
    settings = terminal.of_lab(settings_module.load())
    texts = {"compose.yaml": _with_context(settings, folder, "compose.yaml"), "nginx.conf": shipped.text("nginx.conf")}
    _write(folder, texts)
    keys = folder / "tls"
    keys.mkdir(exist_ok=True)
    (keys / ".gitignore").write_text(KEEP_OUT)
    click.echo(f"{_build_first(settings)}docker compose -f {shlex.quote(str(folder / 'compose.yaml'))} up -d --build")


@export.command()
@folder_
def nginx(folder: Path) -> None:
    """Write an nginx.conf for an nginx in front of deployments, to be fitted to yours."""
    terminal.of_lab(settings_module.load())
    _write(folder, {"nginx.conf": shipped.text("nginx.conf")})


@export.command()
@folder_
def prometheus(folder: Path) -> None:
    """Write a prometheus.yml that watches this lab, and alerts with a case each."""
    settings = terminal.of_lab(settings_module.load())
    texts = {name: shipped.text(f"prometheus/{name}") for name in ("alerts.yml", "alerts.test.yml", "prometheus.yml")}
    watched = texts["prometheus.yml"].replace("/sintef/docker_services/metrics", f"{settings.context_root}/metrics")
    texts["prometheus.yml"] = watched.replace("127.0.0.1:8080", f"127.0.0.1:{settings.port}")
    _write(folder, texts)
    click.echo(f"prometheus --config.file={folder / 'prometheus.yml'}")


@export.command()
@folder_
def machines(folder: Path) -> None:
    """Write a compose.yaml for a lab of many machines, with its lab.toml, env.example and rules for instruments."""
    settings = terminal.of_lab(settings_module.load())
    texts = {name: shipped.text(f"machines/{name}") for name in ("env.example", "instruments.rules", "lab.toml")}
    _write(folder, texts | {"compose.yaml": _with_context(settings, folder, "machines/compose.yaml")})
    go = f"{_build_first(settings)}cd {shlex.quote(str(folder))}"
    click.echo(f"{go} && cp env.example .env && chmod 600 .env     # and fill it in")


def _with_context(settings: Settings, folder: Path, name: str) -> str:
    """A compose file whose images are built of the lab's folder."""
    context = os.path.relpath(settings.folder, folder.resolve())
    text = shipped.text(name).replace("    context: ..\n", f"    context: {context}\n")
    if not _is_clone(settings):  # another lab of this machine has an image of its own
        text = text.replace("  image: labwaiter\n", f"  image: labwaiter-{host(settings.folder.name)}\n")
    return text


def _build_first(settings: Settings) -> str:
    """What comes before a compose file's images can be built: a lab's image installs the wheel that build.sh makes."""
    return "" if _is_clone(settings) else f"{shlex.quote(str(settings.folder / 'build.sh'))} && "


def _is_clone(settings: Settings) -> bool:
    return shipped.FOLDER.parent == settings.folder / "app" / "labwaiter"


def _write(folder: Path, texts: dict[str, str]) -> None:
    shipped.write(folder, texts)
    click.echo(f"Wrote {', '.join(sorted(texts))} to {folder}.")
