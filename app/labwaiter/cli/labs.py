"""labs list, test, session new, status, end, tasks, task stop: remote labs at the shell, a pretended student of one."""

from __future__ import annotations

import contextlib
import getpass
import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from types import FrameType
from typing import Any

import click

from .. import settings as settings_module
from ..catalogue import remote_labs
from ..deployment.address import address
from ..deployment.web_processes import as_running
from ..errors import UnknownSession
from ..model.caller import Caller, administrator
from ..model.lab_session import LONGEST, SHORTEST, About
from ..model.span import span
from ..settings import Settings
from ..verbs.sessions import BY_STAFF, LabView, Sessions, SessionView, TaskView
from . import terminal
from .jobs import as_json

RENEW_EVERY = 1.0  # s: how often `--stay` gives a sign of life
GONE_SECONDS = 120.0  # that `end` waits by default until all is put away


@click.group()
def labs() -> None:
    """The remote labs that app/labs/ has, and the sessions of people who are in."""


@labs.group()
def session() -> None:
    """Sessions of remote labs; `new` pretends to be a remote-laboratory system."""


@labs.group()
def task() -> None:
    """The tasks of a session; `labwaiter labs tasks SESSION` lists them."""


def _me() -> Caller:
    return administrator(getpass.getuser())


def _verbs(using: bool = False) -> tuple[Settings, Sessions]:
    settings = as_running(settings_module.load())
    return settings, Sessions(terminal.of_lab(settings) if using else settings)


@labs.command("list")
@as_json
def list_(json_: bool) -> None:
    """Which there are, whether they are open, and who is in."""
    settings, verbs = _verbs()
    views, inside = verbs.labs(_me()), verbs.sessions(_me())
    if json_:
        terminal.as_json(
            [_lab_data(view) | {"inside": [_data(s) for s in inside if s.lab == view.name]} for view in views]
        )
        return
    if not views:
        click.echo(f"No remote lab yet: a file of {terminal.plain(str(settings.labs), 300)} is one (docs/labs.md).")
        return
    rows = [
        (view.name, "open" if view.is_open else "closed", str(view.sessions), terminal.plain(view.title, 200))
        for view in views
    ]
    terminal.table(("NAME", "STATE", "SESSIONS", "TITLE"), rows)
    for view in views:
        if not view.is_open:
            click.echo(f"{view.name} is closed: {terminal.plain(view.why_closed, 1000)}")
    if inside:
        click.echo("")
        _table(inside)


@labs.command()
@click.argument("name")
@as_json
def test(name: str, json_: bool) -> None:
    """Can somebody be let in, and is its file right? Exit status: 0 yes, 3 no."""
    settings, verbs = _verbs()
    reasons = verbs.test(name, _me())
    found = remote_labs.find(settings, name)
    places = found.places if isinstance(found, remote_labs.BrokenLab) else ()
    if json_:
        terminal.as_json({"lab": name, "open": not reasons, "why": reasons})
    elif not reasons:
        click.echo(f"{name} is open.")
    else:
        for reason in reasons:
            click.echo(terminal.plain(reason, 1000))
        for file, line, text in places:
            click.echo(f"  {terminal.plain(file, 200)}, line {line}: {terminal.plain(text, 200)}")
    sys.exit(3 if reasons else 0)


def _object(context: click.Context, parameter: click.Parameter, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"that is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise click.BadParameter('it must be an object, like {"level": 2}.')
    return value


class _Left(Exception):
    """Ctrl-C, a SIGTERM or the terminal's end: the student leaves."""


@session.command()
@click.argument("name")
@click.option("--minutes", type=click.FloatRange(SHORTEST / 60, LONGEST / 60), default=5.0, show_default=True)
@click.option("--user", help="The student's user name; default: yours.")
@click.option("--full-name", default="", help="The student's name.")
@click.option("--locale", default="", help="The student's language: de, es, …")
@click.option("--client", default="{}", callback=_object, help="client_initial_data, an object of JSON.")
@click.option("--server", default="{}", callback=_object, help="server_initial_data, an object of JSON.")
@click.option("--back", default="", help="The address to which the student goes afterwards.")
@click.option("--wait", type=click.FloatRange(0, 600), help="Seconds to wait for the instruments.")
@click.option(
    "--stay", is_flag=True, help="Be the student's browser, too: give signs of life until Ctrl-C, then leave."
)
@as_json
def new(
    name: str,
    minutes: float,
    user: str | None,
    full_name: str,
    locale: str,
    client: dict[str, Any],
    server: dict[str, Any],
    back: str,
    wait: float | None,
    stay: bool,
    json_: bool,
) -> None:
    """Let a pretended student into a lab, as a remote-laboratory system does.

    It tells the session's id and the address to open. Who opens nothing within WEBLAB_TIMEOUT is gone, unless this
    stays.
    """
    settings, verbs = _verbs(using=True)
    user = user or getpass.getuser()
    about = About(
        username=user,
        unique=user,
        full_name=full_name or user,
        locale=locale,
        length_s=60 * minutes,
        start=time.time(),
        back=back,
        client_data=client,
        server_data=server,
    )
    if not stay:
        _tell_new(settings, verbs.start(name, about, _me(), wait), json_)
        return
    view: SessionView | None = None
    with _leaving():  # before it begins: who has begun one sees to its end
        view = verbs.start(name, about, _me(), wait)
        _tell_new(settings, view, json_)
        while verbs.alive(view.session_id).state in ("starting", "running"):
            time.sleep(RENEW_EVERY)
    if view is None:  # it was withdrawn before it began
        raise click.Abort
    with contextlib.suppress(UnknownSession):
        verbs.leave(view.session_id)
    gone = verbs.gone(view.session_id, GONE_SECONDS)
    _say_over(verbs.status(view.session_id, _me()), gone, json_)


def _tell_new(settings: Settings, view: SessionView, json_: bool) -> None:
    """Whose session has begun, and where its page is."""
    at = f"{address(settings)}{view.lab}/weblab/callback/{view.session_id}"
    if json_:
        click.echo(json.dumps(_data(view) | {"session": view.session_id, "address": at}))
    else:
        click.echo(f"{terminal.plain(view.about.username, 100)} is in {view.lab}, for {span(view.time_left_s)}.")
        click.echo(f"Session: {view.session_id}")
        click.echo(f"Address: {at}")
    sys.stdout.flush()


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """Be left by Ctrl-C, a SIGTERM or the terminal's end; afterwards none of them interrupts what follows."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise _Left

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    except _Left:
        pass
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)  # it is being put away: that is waited for


def _say_over(view: SessionView, gone: bool, json_: bool) -> None:
    """What became of it; the exit status is 0 once all is put away, 3 while that goes on."""
    if json_:
        click.echo(json.dumps(_data(view)))
    else:
        state = "All is put away." if gone else "It is being put away; that goes on."
        click.echo(f"{terminal.plain(view.why_ended, 500)} {state}")
    sys.exit(0 if gone else 3)


@session.command()
@click.argument("session_id", metavar="SESSION", required=False)
@as_json
def status(session_id: str | None, json_: bool) -> None:
    """How a session stands; without SESSION all that have not ended. SESSION is its id, or its serviceID."""
    _, verbs = _verbs()
    views = [verbs.status(session_id, _me())] if session_id else verbs.sessions(_me())
    if json_:
        terminal.as_json(_data(views[0]) if session_id else [_data(view) for view in views])
    elif not views:
        click.echo("Nobody is in a lab.")
    elif not session_id:
        _table(views)
    else:
        view = views[0]
        left = f", {span(view.time_left_s)} left" if view.state == "running" else ""
        click.echo(f"{terminal.plain(view.about.username, 100)} in {view.lab}: {view.state}{left}.")
        if view.why_ended:
            click.echo(terminal.plain(view.why_ended, 500))


@session.command()
@click.argument("session_id", metavar="SESSION")
@click.option("--wait", type=click.FloatRange(0, 3600), default=GONE_SECONDS, help="Seconds to wait for its end.")
@as_json
def end(session_id: str, wait: float, json_: bool) -> None:
    """End a session: on_dispose is run, the instruments are made safe. Exit status: 0 put away, 3 that goes on."""
    _, verbs = _verbs(using=True)
    verbs.end(session_id, _me(), BY_STAFF)
    gone = verbs.gone(session_id, wait)
    _say_over(verbs.status(session_id, _me()), gone, json_)


@labs.command()
@click.argument("session_id", metavar="SESSION")
@as_json
def tasks(session_id: str, json_: bool) -> None:
    """The tasks of a session, ended ones too. SESSION is its id, or its serviceID."""
    _, verbs = _verbs()
    views = verbs.tasks_of(session_id, _me())
    if json_:
        terminal.as_json([_task_data(view) for view in views])
        return
    if not views:
        click.echo("This session has had no task.")
        return
    rows = []
    for view in views:
        status = "stopping" if view.stopping else view.status
        done = "-" if view.fraction is None else f"{100 * view.fraction:.0f} %"
        rows.append((view.name, status, done, view.task_id, terminal.plain(view.stage, 100)))
    terminal.table(("TASK", "STATUS", "DONE", "ID", "STAGE"), rows)
    for view in views:
        if view.error is not None:
            click.echo(f"{view.task_id}: {terminal.plain(view.error['message'], 500)}")


@task.command()
@click.argument("task_id", metavar="ID")
@click.option("--wait", type=click.FloatRange(0, 3600), default=GONE_SECONDS, help="Seconds to wait for its end.")
@as_json
def stop(task_id: str, wait: float, json_: bool) -> None:
    """Tell a task to stop; one that goes on is ended. Exit status: 0 it has ended, 3 it goes on."""
    _, verbs = _verbs(using=True)
    view = verbs.end_task(task_id, _me(), wait)
    if json_:
        terminal.as_json(_task_data(view))
    elif not view.finished:
        click.echo(f"{view.name} is told to stop, and goes on.")
    else:
        words = terminal.plain(view.error["message"], 500) if view.error is not None else "It has ended well."
        click.echo(f"{view.name} is {view.status}. {words}")
    sys.exit(0 if view.finished else 3)


def _task_data(view: TaskView) -> dict[str, Any]:
    return {
        "id": view.task_id,
        "task": view.name,
        "status": view.status,
        "stopping": view.stopping,
        "fraction": view.fraction,
        "stage": view.stage,
        "result": view.result,
        "error": view.error,
        "data": view.data,
        "created": view.created,
        "ended": view.ended,
    }


def _table(views: list[SessionView]) -> None:
    rows = []
    for view in views:
        left = span(view.time_left_s) if view.state == "running" else "-"
        who = terminal.plain(view.about.username or "somebody", 60)
        rows.append((view.lab, view.state, left, who, view.service_id))
    terminal.table(("LAB", "STATE", "LEFT", "STUDENT", "SERVICEID"), rows)


def _lab_data(view: LabView) -> dict[str, Any]:
    return {
        "name": view.name,
        "title": view.title,
        "open": view.is_open,
        "why": view.why_closed,
        "instruments": {name: list(choices) for name, choices in view.instruments.items()},
    }


def _data(view: SessionView) -> dict[str, Any]:
    about = asdict(view.about)
    kept = ("username", "unique", "full_name", "locale", "length_s", "category", "experiment", "reservation_id")
    return {
        "serviceID": view.service_id,
        "lab": view.lab,
        "state": view.state,
        "timeLeft": round(view.time_left_s, 1),
        "shouldFinish": view.should_finish,
        "began": view.began,
        "ends": view.ends,
        "ended": view.ended,
        "why": view.why_ended,
        "failed": view.failed,
        "instruments": view.instruments,
        "about": {name: about[name] for name in kept},
    }
