"""instruments take, read, set, do, ask, release: an instrument in somebody's hands, at the shell."""

from __future__ import annotations

import contextlib
import getpass
import json
import signal
import sys
import time
from types import FrameType
from typing import Any

import click

from .. import settings as settings_module
from ..errors import NotInHand
from ..fleet import open_direct_control
from ..model.caller import Caller, administrator
from ..model.panel import Item, What
from ..model.values import text_of
from ..verbs.as_data import of_done, of_in_hand
from ..verbs.control import WAIT, DirectControl, InHand
from . import completing, terminal
from .jobs import as_json

OPENS_SECONDS = 330.0  # lab.toml's settle may be 300
RENEW_EVERY = 1.0  # s: how often `take` asks, which keeps it


def _me(by: str | None = None) -> Caller:
    return administrator(getpass.getuser() if by is None else by)


def _verbs(using: bool = False) -> DirectControl:
    settings = settings_module.load()
    return open_direct_control(terminal.of_lab(settings) if using else settings)


by_option = click.option("--by", help="In whose hands it is; default: your user name.")


class _Let(Exception):
    """Ctrl-C, a SIGTERM or the terminal's end: it is let go."""


@click.command()
@click.argument("name", shell_complete=completing.instruments)
@click.option(
    "--minutes", type=click.FloatRange(0.1, 720), default=60.0, show_default=True, help="For so long at most."
)
@by_option
@as_json
def take(name: str, minutes: float, by: str | None, json_: bool) -> None:
    """Take a free instrument in hand, until Ctrl-C.

    It is yours as long as this runs: meanwhile `read`, `set` and `do` at another shell. However this ends, the
    instrument is made safe and read back; where it was killed, after 15 s. With --json, a line of JSON when it is open,
    one when it is over.
    """
    verbs, me = _verbs(using=True), _me(by)

    def let_go(number: int, frame: FrameType | None) -> None:
        raise _Let

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, let_go)
    held: InHand | None = None
    why, told = "", 0
    try:
        held = verbs.take(name, me, 60 * minutes, OPENS_SECONDS)
        if held.panel is None:
            raise _Let
        if json_:
            click.echo(json.dumps(of_in_hand(held)))
        else:
            _show_panel(held)
            click.echo(f"{name} is yours until {terminal.moment(held.until)}; Ctrl-C lets it go.")
        sys.stdout.flush()
        while True:
            for asked in held.asked[told:]:
                words = terminal.plain(f"{asked.by} asks for {name}: {asked.text}", 500)
                click.echo(words, err=json_)
            told = len(held.asked)
            time.sleep(RENEW_EVERY)
            held = verbs.look(name, me)
    except _Let:
        why = "Let go." if held is None or held.panel else f"It was not open within {OPENS_SECONDS:g} s, and is let go."
    except NotInHand:  # it ended by itself, or somebody ended it
        why = verbs.why_ended(name, held.service_id) if held else ""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is being made safe: that is waited for
    gone = False
    with contextlib.suppress(NotInHand):
        gone = verbs.release(name, me)
    until = time.monotonic() + WAIT
    while (standing := verbs.standing(name, me)).busy and time.monotonic() < until:
        time.sleep(0.1)
    safe = gone or standing.free
    if json_:
        click.echo(json.dumps({"instrument": name, "over": why, "safe": safe}))
    else:
        state = "was made safe and read back" if safe else f"is {standing.words}"
        click.echo(f"{terminal.plain(why, 500)} {name} {state}.")
    sys.exit(0 if safe else 3)


@click.command()
@click.argument("name", shell_complete=completing.instruments)
@by_option
@as_json
def read(name: str, by: str | None, json_: bool) -> None:
    """What an instrument in somebody's hands was last read: each second."""
    held = _verbs().look(name, _me(by))
    if json_:
        terminal.as_json(of_in_hand(held))
        return
    rows = []
    for item in held.panel.of(What.READING, What.CONTROL) if held.panel else ():
        one = held.readings.get(item.name, {})
        value = _value(one) if one else "not read yet"
        age = f"{max(0.0, time.time() - one['at']):.1f} s" if "value" in one else "-"
        rows.append((item.name, age, value))
    click.echo(f"{name} is in the hands of {terminal.plain(held.by, 60)} until {terminal.moment(held.until)}.")
    if held.panel is None:
        click.echo("It is being opened.")
    elif rows:
        terminal.table(("NAME", "AGE", "VALUE"), rows)


@click.command("set")
@click.argument("name", shell_complete=completing.instruments)
@click.argument("control")
@click.argument("value")
@by_option
@as_json
def set_(name: str, control: str, value: str, by: str | None, json_: bool) -> None:
    """Set a control of an instrument that you have in hand: set smu volts 1.5. Exit status: 0 done, 3 it goes on."""
    done = _verbs(using=True).set(name, control, value, _me(by))
    if json_:
        terminal.as_json(of_done(done))
    elif not done.done:
        click.echo(f"{name} has not answered yet; it goes on. `{terminal.command()} instruments read {name}` tells.")
    else:
        click.echo(f"{control}: {_value(done.read or {})}")
    sys.exit(0 if done.done else 3)


@click.command()
@click.argument("name", shell_complete=completing.instruments)
@click.argument("action")
@click.argument("inputs", nargs=-1, metavar="[INPUT=VALUE]...")
@by_option
@as_json
def do(name: str, action: str, inputs: tuple[str, ...], by: str | None, json_: bool) -> None:
    """Have an instrument that you have in hand do something: do relays switch number=2 on=true."""
    values: dict[str, Any] = {}
    for text in inputs:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"“{text}” is no input: write INPUT=VALUE.")
        values[key] = value
    done = _verbs(using=True).do(name, action, values, _me(by))
    if json_:
        terminal.as_json(of_done(done))
    else:
        click.echo("Done." if done.done else f"{name} has not answered yet; it goes on.")
    sys.exit(0 if done.done else 3)


@click.command()
@click.argument("name", shell_complete=completing.instruments)
@click.argument("text", default="")
@by_option
@as_json
def ask(name: str, text: str, by: str | None, json_: bool) -> None:
    """Ask whoever has an instrument in hand for it: ask smu "ten minutes, please"."""
    held = _verbs(using=True).ask_for(name, text, _me(by))
    if json_:
        terminal.as_json({"instrument": name, "by": held.by, "until": held.until})
        return
    click.echo(f"{terminal.plain(held.by, 60)} is told. {name} is theirs until {terminal.moment(held.until)} at most.")


@click.command()
@click.argument("name", shell_complete=completing.instruments)
@by_option
@as_json
def release(name: str, by: str | None, json_: bool) -> None:
    """Let go an instrument that is in hand: it is made safe. Exit status: 0 read back safe, 3 that goes on."""
    gone = _verbs(using=True).release(name, _me(by))
    if json_:
        terminal.as_json({"instrument": name, "safe": gone})
    else:
        click.echo(
            f"{name} was made safe and read back, and is free." if gone else f"{name} is being made safe; it goes on."
        )
    sys.exit(0 if gone else 3)


def _value(read: dict[str, Any]) -> str:
    """What was read, or why it could not be."""
    value = f"{text_of(read['value'])} {read.get('unit', '')}" if "value" in read else str(read.get("why", ""))
    return terminal.plain(value.strip(), 300)


def _show_panel(held: InHand) -> None:
    assert held.panel is not None
    rows = [(item.name, str(item.what), terminal.plain(_takes(item), 200)) for item in held.panel.items]
    if held.identity:
        click.echo(terminal.plain(held.identity, 200))
    if rows:
        terminal.table(("NAME", "WHAT", ""), rows)
    else:
        click.echo("Its driver declares nothing that can be read, set or done; lab.toml's panel lists it.")


def _takes(item: Item) -> str:
    """What an item takes, and what it is."""
    inputs = item.inputs
    if item.what is What.CONTROL:
        takes = inputs[0].limits or inputs[0].kind
    else:
        takes = ", ".join(f"{p.name} ({p.limits or p.kind})" for p in inputs) or item.unit
    return ". ".join(word.rstrip(".") for word in (takes, item.doc) if word)


COMMANDS = (take, read, set_, do, ask, release)
