"""The shell's face: it translates words into verbs and answers into lines, and decides nothing.

Every command that prints something has --json. The exit status says how it went: see `EXITS`.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..deployment import DeploymentError
from ..errors import ClientError, InstrumentInUse, JobAborted, JobFailed, Misconfigured, ServiceError
from ..settings import FOLDER_NAMED
from . import (
    audit,
    deploy,
    desk,
    export,
    fleet,
    in_hand,
    init,
    instruments,
    jobs,
    labs,
    machines,
    revive,
    run,
    schedule,
    services,
    terminal,
    tokens,
    up,
    upgrade,
)

EXITS = """\b
Exit status: 0  fine; where a job was waited for: it completed
             1  the job failed or was aborted; the file is wrong; the start failed
             2  the call is wrong: a word, an input, a serviceID, a setting
             3  not reachable, or not in time"""


class Words(click.Group):
    """A group whose commands end in a sentence and an exit status, never in a traceback of ours."""

    def main(self, *words: Any, **more: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a locale's letters may not have Ω, “ or a file's name
                stream.reconfigure(errors="replace")
        return super().main(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ClientError, Misconfigured) as error:
            raise _exit(str(error), 2) from error
        except (JobFailed, JobAborted, InstrumentInUse) as error:
            raise _exit(error.message, 1) from error
        except ServiceError as error:
            raise _exit(error.message, 3) from error
        except DeploymentError as error:
            raise _exit(terminal.plain(str(error), 2000), 1) from error
        except TimeoutError as error:
            raise _exit(str(error), 3) from error
        except BlockingIOError as error:
            raise _exit("Another program is changing the leases and does not end; try again.", 3) from error
        except PermissionError as error:
            raise _exit(f"{error.filename} can't be used: {error.strerror}. Is it another user's?", 3) from error
        except OSError as error:
            if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
                raise _exit(f"{error.filename or 'A file'} can't be written: {error.strerror}.", 3) from error
            if error.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EIO) and error.filename:
                raise _exit(f"{error.filename} can't be used: {error.strerror}.", 3) from error
            raise


def _exit(message: str, status: int) -> click.ClickException:
    ended = click.ClickException(message)
    vars(ended)["exit_code"] = status  # click reads it from the exception it got
    return ended


@click.group(cls=Words, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--deployment",
    "folder",
    metavar="FOLDER",
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
    if folder is not None:  # whatever is started from here means the same
        before = os.environ.get(FOLDER_NAMED, "")
        os.environ[FOLDER_NAMED] = os.path.abspath(folder)
        context.call_on_close(lambda: os.environ.update({FOLDER_NAMED: before}))
    # what goes wrong in a service file is told by the command itself, not by the log's last resort
    logging.getLogger("labwaiter").addHandler(logging.NullHandler())
    revive.by_the_way(context.invoked_subcommand)


main.add_command(init.init)
main.add_command(init.wheel)
main.add_command(init.script)
main.add_command(deploy.serve)
main.add_command(deploy.supervise)
main.add_command(deploy.start)
main.add_command(deploy.stop)
main.add_command(deploy.settings_)
main.add_command(revive.revive)
main.add_command(up.up)
main.add_command(up.health)
main.add_command(upgrade.upgrade)
main.add_command(services.services)
main.add_command(services.check)
main.add_command(services.new)
main.add_command(services.as_python)
main.add_command(run.run)
main.add_command(desk.lint)
main.add_command(desk.workflow)
main.add_command(jobs.jobs)
main.add_command(instruments.instruments)
main.add_command(instruments.ports)
for command in in_hand.COMMANDS:
    instruments.instruments.add_command(command)
main.add_command(labs.labs)
main.add_command(fleet.worker)
main.add_command(machines.init_db)
main.add_command(machines.workers)
main.add_command(machines.clear_queue)
main.add_command(export.export)
main.add_command(schedule.schedule)
main.add_command(tokens.tokens)
main.add_command(audit.audit)
