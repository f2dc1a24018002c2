"""completion: what bash, zsh and fish complete, and what they are told to.

A shell calls `labwaiter` at each Tab. Nothing is imported for that but the module of the command that stands there, no
service's file is, and nobody is asked but the file system; over Redis, Redis.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from ..errors import Misconfigured, ServiceError
from ..settings import FOLDER_NAMED, Settings, load

SHELLS = ("bash", "zsh", "fish")
MOST = 100  # executions that are told, the newest
# what a shell can put on a line as it stands; bash's script would split or expand others
_HARMLESS = re.compile(r"[A-Za-z0-9_%+:/][A-Za-z0-9_.%+:/-]*")
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _complete(look: Callable[[Settings, click.Context], Iterable[str]]) -> Complete:
    """What completes by the texts that `look` gives; what goes wrong completes nothing, and says nothing."""

    @functools.wraps(look)
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        environ = dict(os.environ)
        if folder := context.find_root().params.get("folder"):
            environ[FOLDER_NAMED] = os.path.abspath(folder)
        given = context.params.get(parameter.name or "")
        there = set(given) if isinstance(given, tuple) else set()
        try:
            texts = [text for text in look(load(environ), context) if text.startswith(incomplete) and text not in there]
        except (ServiceError, Misconfigured, OSError):
            return []
        return [CompletionItem(text) for text in texts if _HARMLESS.fullmatch(text)][:MOST]

    return complete


@_complete
def services(settings: Settings, context: click.Context) -> Iterable[str]:
    """The names of the services, by the text of their files: none is imported."""
    from ..catalogue import catalogue

    return sorted(name for file in catalogue.files(settings.services) for name in catalogue.names_in(file))


def _newest(settings: Settings, active: bool) -> Iterable[str]:
    """Of the executions, the newest first. Those whose serviceIDs no folder can be called by are left out."""
    if settings.redis_url:
        from ..fleet import open_jobs

        records = open_jobs(settings).records
        times = {name: at for at, name in records.times()}
        names: Iterable[str] = records.names(active=True) if active else times
        return sorted(names, key=lambda name: -times.get(name, 0.0))
    from ..store.folder import Folder

    folder = Folder(settings.jobs_folder)
    there = {*folder.active_names()} if active else None
    return [name for _, name in sorted(folder.claimed(), reverse=True) if there is None or name in there]


@_complete
def executions(settings: Settings, context: click.Context) -> Iterable[str]:
    """The serviceIDs of executions."""
    return _newest(settings, active=False)


@_complete
def active_executions(settings: Settings, context: click.Context) -> Iterable[str]:
    """The serviceIDs of executions that have not ended."""
    return _newest(settings, active=True)


@_complete
def files(settings: Settings, context: click.Context) -> Iterable[str]:
    """What the execution that stands there has made."""
    from ..fleet import open_jobs
    from ..model.caller import SHELL

    jobs = open_jobs(settings)
    return [name for name, _ in jobs.files(jobs.record(context.params["service_id"], SHELL).name, SHELL)]


@_complete
def instruments(settings: Settings, context: click.Context) -> Iterable[str]:
    """The instruments of this machine; of a lab of many all, for who serves no machine."""
    from ..lab import labfile

    lab = labfile.load(settings.lab)
    return lab.on(settings.machine).entries or lab.entries


@_complete
def machines(settings: Settings, context: click.Context) -> Iterable[str]:
    """The machines that lab.toml names."""
    from ..lab import labfile

    return labfile.load(settings.lab).machines


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what has a shell complete commands, options, services, serviceIDs, instruments and machines.

    \b
    bash  labwaiter completion bash > ~/.local/share/bash-completion/completions/labwaiter
    zsh   labwaiter completion zsh > FOLDER/_labwaiter, a FOLDER of your fpath
    fish  labwaiter completion fish > ~/.config/fish/completions/labwaiter.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "labwaiter", "_LABWAITER_COMPLETE").source(), nl=False)
