"""tokens: who may call, where TOKENS=file."""

from __future__ import annotations

import time

import click

from .. import settings as settings_module
from ..authentication.token_file import Entry, TokenFile, read
from ..model.caller import SHELL, Role
from ..verbs.acts import Acts
from . import terminal
from .jobs import as_json

DAY = 86400  # s


@click.group()
def tokens() -> None:
    """The tokens of people and workflow managers (docs/security.md): who may call, where TOKENS=file."""


@tokens.command()
@click.argument("user")
@click.option("--project", help="Whose members share executions; default: the user's own, of the same name.")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.USER.value, show_default=True)
@click.option("--days", type=click.FloatRange(0, 36500, min_open=True), default=365.0, show_default=True)
@as_json
def add(user: str, project: str | None, role: str, days: float, json_: bool) -> None:
    """Make a token for USER, and show it: now and never again, since only a hash of it is kept."""
    settings = terminal.of_lab(settings_module.load())
    file = TokenFile(settings.tokens_file)
    entry, token = file.add(user, project or user, Role(role), days * DAY)
    try:  # who may call is made before the first start, too, when there is no jobs folder yet
        Acts(settings).begin("token added", SHELL, _about(entry), durable=True)
    except BaseException:
        file.revoke(entry.id)  # nobody has been told it
        raise
    if json_:
        terminal.as_json({"token": token, **_as_data(entry)})
    else:
        click.echo(token)
        words = f"{entry.role} of {terminal.plain(entry.project)} until {terminal.moment(entry.expires)}"
        click.echo(f"That is the sessionToken of {terminal.plain(user)}, {words}; it is not shown again.", err=True)
    if settings.tokens != "file":
        click.echo("It counts once TOKENS=file is set and the deployment was started anew.", err=True)


@tokens.command(name="list")
@as_json
def list_(json_: bool) -> None:
    """Show whose tokens there are, and until when; no token."""
    entries = sorted(read(settings_module.load().tokens_file).values(), key=lambda entry: (entry.user, entry.created))
    if json_:
        terminal.as_json([_as_data(entry) for entry in entries])
        return
    if not entries:
        click.echo(f"There is no token; {terminal.command()} tokens add USER makes one.")
        return
    table = []
    for entry in entries:
        until = terminal.moment(entry.expires) + (" (has run out)" if entry.expires <= time.time() else "")
        table.append((entry.id, terminal.plain(entry.user), terminal.plain(entry.project), entry.role, until))
    terminal.table(("ID", "USER", "PROJECT", "ROLE", "UNTIL"), table)


@tokens.command()
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Let a token be good no longer, in every process and at once. Its executions go on."""
    settings = terminal.of_lab(settings_module.load())
    entry = TokenFile(settings.tokens_file).revoke(token_id)
    Acts(settings).go_on("token revoked", SHELL, _about(entry), durable=True)
    click.echo(f"The token {entry.id} of {terminal.plain(entry.user)} is good no longer.")


def _about(entry: Entry) -> dict[str, str]:
    return {"token": entry.id, "of": entry.user, "of_project": entry.project, "of_role": entry.role.value}


def _as_data(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "user": entry.user,
        "project": entry.project,
        "role": entry.role.value,
        "created": entry.created,
        "expires": entry.expires,
    }
