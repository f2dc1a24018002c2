"""Which commands there are. The module of one is imported when that command is called, or when a shell completes it.

The exit status says how it went: see `EXITS`.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..settings import FOLDER_NAMED

EXITS = """\b
Exit status: 0  fine; where a job was waited for: it completed
             1  the job failed or was aborted; the file is wrong; the start failed
             2  the call is wrong: a word, an input, a serviceID, a setting
             3  not reachable, or not in time"""
# command → its module here, and its name in it
COMMANDS = {
    "init": ("init", "init"),
    "wheel": ("init", "wheel"),
    "script": ("init", "script"),
    "serve": ("deploy", "serve"),
    "supervise": ("deploy", "supervise"),
    "start": ("deploy", "start"),
    "stop": ("deploy", "stop"),
    "settings": ("deploy", "settings_"),
    "revive": ("revive", "revive"),
    "up": ("up", "up"),
    "health": ("up", "health"),
    "upgrade": ("upgrade", "upgrade"),
    "services": ("services", "services"),
    "check": ("services", "check"),
    "new": ("services", "new"),
    "as-python": ("services", "as_python"),
    "run": ("run", "run"),
    "lint": ("desk", "lint"),
    "workflow": ("desk", "workflow"),
    "top": ("top", "top"),
    "jobs": ("jobs", "jobs"),
    "instruments": ("instruments", "instruments"),
    "ports": ("instruments", "ports"),
    "events": ("events", "events"),
    "worker": ("fleet", "worker"),
    "labs": ("labs", "labs"),
    "init-db": ("machines", "init_db"),
    "workers": ("machines", "workers"),
    "clear-queue": ("machines", "clear_queue"),
    "export": ("export", "export"),
    "schedule": ("schedule", "schedule"),
    "tokens": ("tokens", "tokens"),
    "audit": ("audit", "audit"),
    "completion": ("completing", "completion"),
}
HIDDEN = ("settings", "revive", "script")  # not completed


class Words(click.Group):
    """A group whose commands end in a sentence and an exit status, never in a traceback of ours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f".{module}", __package__), name)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        # by name alone: what each says of itself would have all of them imported
        return [CompletionItem(name) for name in sorted(COMMANDS) if name.startswith(incomplete) and name not in HIDDEN]

    def main(self, *words: Any, **more: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a locale's letters may not have Ω, “ or a file's name
                stream.reconfigure(errors="replace")
        return super().main(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            ended = click.ClickException(told[0])
            vars(ended)["exit_code"] = told[1]  # click reads it from the exception it got
            raise ended from error


def _told(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit status of what a command has raised; None: it is click's own, or a mistake of ours."""
    from ..deployment.errors import DeploymentError
    from ..errors import ClientError, InstrumentInUse, JobAborted, JobFailed, Misconfigured, ServiceError
    from . import terminal

    match error:
        case ClientError() | Misconfigured():
            return str(error), 2
        case JobFailed() | JobAborted() | InstrumentInUse():
            return error.message, 1
        case ServiceError():
            return error.message, 3
        case DeploymentError():
            return terminal.plain(str(error), 2000), 1
        case TimeoutError():
            return str(error), 3
        case BlockingIOError():
            return "Another program is changing the leases and does not end; try again.", 3
        case PermissionError():
            return f"{error.filename} can't be used: {error.strerror}. Is it another user's?", 3
        case OSError(errno=errno.EROFS | errno.ENOSPC | errno.EDQUOT):
            return f"{error.filename or 'A file'} can't be written: {error.strerror}.", 3
        case OSError(errno=errno.ENOENT | errno.EISDIR | errno.ENOTDIR | errno.ELOOP | errno.EIO) if error.filename:
            return f"{error.filename} can't be used: {error.strerror}.", 3
    return None


def folders(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What completes a folder's name: the shell itself."""
    return [CompletionItem(incomplete, type="dir")]


@click.group(cls=Words, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--deployment",
    "folder",
    metavar="FOLDER",
    shell_complete=folders,
    help="The lab's folder: the one with its file env and its folder app. Default: LABWAITER_DEPLOYMENT, else the"
    " nearest from the working folder upwards.",
)
@click.version_option(
    __version__,
    prog_name="labwaiter",
    message=f"%(prog)s %(version)s from {Path(__file__).parents[1]} (Python {sys.version.split()[0]},"
    f" {sys.executable})",
)
@click.pass_context
def main(context: click.Context, folder: str | None) -> None:
    """Anything that takes longer than an HTTP request, as an asynchronous SOAP service."""
    from . import revive

    if folder is not None:  # whatever is started from here means the same
        if not folder:
            raise click.UsageError("--deployment is empty: name the lab's folder, or leave it out.")
        before = os.environ.get(FOLDER_NAMED, "")
        os.environ[FOLDER_NAMED] = os.path.abspath(folder)
        context.call_on_close(lambda: os.environ.update({FOLDER_NAMED: before}))
    # what goes wrong in a service file is told by the command itself, not by the log's last resort
    logging.getLogger("labwaiter").addHandler(logging.NullHandler())
    revive.by_the_way(context.invoked_subcommand)
