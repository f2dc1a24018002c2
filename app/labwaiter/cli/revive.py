"""revive: a web side that should be there and is gone is started again, by the supervisor or the next command."""

from __future__ import annotations

import contextlib
import dataclasses
import os

import click

from .. import settings as settings_module
from ..errors import Misconfigured
from ..layout import Layout
from ..settings import HANDED_ON, Settings
from ..store import supervisor_client, web_side
from ..supervisor import webside
from ..system.process import identify
from . import web
from .deploy import one_at_a_time

READY_SECONDS = 30.0
# commands that say themselves what shall be there, or whose process is watched by somebody else
NO_BUSINESS = ("start", "stop", "serve", "supervise", "up", "health", "worker", "revive", "export")


def expect(settings: Settings, main_pid: int) -> None:
    """From now on this web side should be there: `settings` are those that it serves with. Raises OSError."""
    who = identify(main_pid)
    if who is None:
        return
    environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    expected = web_side.WebSide(who, settings.host, settings.port, settings.web_concurrency, environment)
    web_side.expect(Layout(settings.jobs_folder), expected)


def by_the_way(command: str | None) -> None:
    """A command has been called: with no supervisor there, it is on us to have the web side started again."""
    if command is None or command in NO_BUSINESS:
        return
    with contextlib.suppress(OSError, Misconfigured):
        settings = settings_module.load()
        expected = web_side.expected(Layout(settings.jobs_folder))
        if expected is not None and expected.gone and supervisor_client.alive(settings) is None:
            webside.revive(settings)


@click.command(hidden=True)
def revive() -> None:
    """Start the web side again that was started here and not stopped, if it is gone."""
    layout = Layout(settings_module.load().jobs_folder)
    with one_at_a_time(settings_module.load()):
        expected = web_side.expected(layout)
        if expected is None or not expected.gone:
            return
        os.environ.update(expected.environment)
        settings = dataclasses.replace(
            settings_module.load(), host=expected.host, port=expected.port, web_concurrency=expected.workers
        )
        old = web.processes(settings)
        if why := web.refusal(settings, old):
            raise Misconfigured(why)
        if not settings.supervisor_elsewhere and not settings.redis_url:
            supervisor_client.ensure(settings)
        started = web.spawn(settings)
        if not web.ready(settings, old, started, READY_SECONDS):
            web.end([who for who in web.processes(settings) if who not in old])
            raise click.ClickException("The web side did not start again; the lines above say why.")
        expect(settings, started.pid)
        web.end(old)  # workers that were left without a main process
