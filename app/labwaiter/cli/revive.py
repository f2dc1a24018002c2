"""revive: a web side that should be there and is gone is started again, by the supervisor or the next command."""

from __future__ import annotations

import contextlib

import click

from .. import settings as settings_module
from ..deployment import Deployment, revive_if_gone
from ..errors import Misconfigured

# commands that say themselves what shall be there, or whose process is watched by somebody else
NO_BUSINESS = (
    *("start", "stop", "serve", "supervise", "up", "health", "worker", "revive", "export", "upgrade"),
    *("init", "wheel", "script"),  # these are of no deployment yet
)


def by_the_way(command: str | None) -> None:
    """A command has been called: with no supervisor there, it is on us to have the web side started again."""
    if command is None or command in NO_BUSINESS:
        return
    with contextlib.suppress(OSError, Misconfigured):
        revive_if_gone(settings_module.load())


@click.command(hidden=True)
def revive() -> None:
    """Start the web side again that was started here and not stopped, if it is gone."""
    Deployment(settings_module.load()).revive()
