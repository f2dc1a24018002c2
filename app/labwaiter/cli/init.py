"""init, wheel, script: a lab's folder, what its image installs, and what its short scripts call."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from .. import shipped
from ..errors import Misconfigured
from ..init import lab_folder
from ..init.wheel import pack
from . import terminal
from .jobs import as_json

SCRIPTS = shipped.FOLDER / "scripts"


@click.command()
@click.argument("folder", required=False, type=click.Path())  # as text: Path("") would be this one
@click.option("--here", is_flag=True, help="Add what is missing to a folder that has files; default: this one.")
@click.option(
    "--forge",
    "forges",
    multiple=True,
    type=click.Choice(list(lab_folder.FORGES)),
    help="With the workflow file that runs its tests there, and labwaiter's wheel.",
)
@as_json
def init(folder: str | None, here: bool, forges: tuple[str, ...], json_: bool) -> None:
    """Make a lab of your own: a folder with two services, their tests, and all that runs them.

    It is made whole or not at all. No file that is there already is touched.
    """
    if folder == "" or (folder is None and not here):
        raise click.UsageError("Name the folder that shall be made, or say --here for this one.")
    made = lab_folder.make(Path(folder or "."), here, forges)
    if json_:
        terminal.as_json({"folder": str(made.folder), "made": made.made, "left": made.left})
        return
    shown = os.path.relpath(made.folder)
    shown = f"./{shown}" if shown.startswith("-") else shown
    if made.made:
        more = "; README.md tells more" if "README.md" in made.made else ""
        click.echo(f"Made a lab of {terminal.plain(str(made.folder))}: {len(made.made)} files{more}.")
    else:
        click.echo(f"{terminal.plain(str(made.folder))} has all that a lab has: nothing was added.")
    if made.left:
        click.echo(f"Left as they were: {', '.join(terminal.plain(name) for name in made.left)}.")
    change = "" if shown == "." else f"cd {shlex.quote(shown)}, "
    click.echo(f"Next: {change}./rebuildandrun.sh, ./test.sh")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="wheels")
@as_json
def wheel(folder: Path, json_: bool) -> None:
    """Write the wheel that this labwaiter was installed from into FOLDER.

    Where nothing is published, an image or another machine installs it from there. A wheel of another version of
    labwaiter in FOLDER is removed.
    """
    try:
        written = pack(folder)
    except OSError as error:
        raise Misconfigured(f"No wheel can be written into {folder}: {error.strerror}.") from error
    if json_:
        terminal.as_json({"wheel": str(written)})
        return
    click.echo(f"Wrote {written}.")


@click.command(hidden=True, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("name", type=click.Choice(["build", "rebuildandrun", "run", "stop", "test"]))
@click.argument("root")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def script(name: str, root: str, words: tuple[str, ...]) -> None:
    """What a script of a lab's folder does."""
    os.execvp("bash", ["bash", str(SCRIPTS / f"{name}.sh"), root, sys.executable, *words])
