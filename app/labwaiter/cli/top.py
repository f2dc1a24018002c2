"""top: the lab live in a terminal, by the curses of Python's own library (decision 41)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from .. import settings as settings_module
from ..errors import Misconfigured, ServiceError
from ..model.span import span
from . import terminal
from .jobs import as_json
from .looks import SORTS, Line, Look, Looker, Shown, Tone, fit, lines

if TYPE_CHECKING:
    import curses

WIDE = 200  # columns of what is printed into a pipe
KEY_MS = 200  # for a key, before the screen is drawn again
OLD_SECONDS = 6.0  # by then a look is old, and said to be
PARTS = {"i": "instruments", "e": "executions", "m": "machines"}
KEYS = "q quit  / filter  s sort  r reverse  i e m one part  ↑↓ scroll"
MISREAD = 3  # reads of nothing from a terminal that says it has something: then it is gone


class _Over(Exception):
    """A signal, or the terminal's end."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.number = number


@click.command()
@click.option("--filter", "words", default="", help="Only rows that have each of these words.")
@click.option(
    "--sort", type=click.Choice(list(SORTS)), default="queue", show_default=True, help="The executions by it."
)
@click.option("--reverse", "backwards", is_flag=True, help="The other way round.")
@click.option("--only", "part", type=click.Choice(list(PARTS.values())), help="This part alone.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Print it once, and leave; so it is in a pipe, too.")
@as_json
def top(words: str, sort: str, backwards: bool, part: str | None, every: float, once: bool, json_: bool) -> None:
    """The lab, live: instruments, what runs and waits, machines.

    Keys: q quits, / filters, s sorts, r turns round, i, e and m show one part alone, the arrows scroll. It only looks,
    and keeps nothing in anybody's hands. NO_COLOR is followed.
    """
    looker = Looker(settings_module.load())
    how = Shown(words, sort, backwards, part or "")
    if json_:
        terminal.as_json(looker.look().as_data())
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        look = looker.look()
        columns = _columns()
        for line in (Line(_summary(look, how, 0.0)), *lines(look, how, columns)):
            click.echo(line.text.rstrip())
    else:
        _live(looker, how, every)


def _columns() -> int:
    """How wide what is printed may be."""
    with contextlib.suppress(OSError):
        if sys.stdout.isatty():
            return os.get_terminal_size(sys.stdout.fileno()).columns
    return WIDE


def _summary(look: Look, how: Shown, age: float) -> str:
    """The first line: how much there is, of when."""
    waiting = sum(view.place is not None for view in look.executions)
    bad = sum(each.tone is Tone.BAD for each in look.instruments)
    parts = [
        time.strftime("%H:%M:%S", time.localtime(look.at)),
        f"{len(look.executions) - waiting} running, {waiting} waiting",
        terminal.count(len(look.instruments), "instrument") + (f", {bad} to be seen to" if bad else ""),
    ]
    if age > OLD_SECONDS:
        parts.append(f"OLD: nothing was heard for {span(age)}")
    if how.words:
        parts.append(f"filter “{terminal.plain(how.words, 40)}”")
    if how.sort != "queue" or how.backwards:
        parts.append(f"by {how.sort}{', reversed' if how.backwards else ''}")
    return "   ".join(parts)


class _Looking:
    """The looks of a thread of its own: a lab that answers late keeps no key waiting."""

    def __init__(self, looker: Looker, every: float) -> None:
        self.look: Look | None = None
        self.wrong = ""  # why the last look told nothing
        self.broken: BaseException | None = None
        self.count = 0  # of looks, also of those that told nothing
        self._looker, self._every = looker, every
        threading.Thread(target=self._work, name="looks", daemon=True).start()

    def _work(self) -> None:
        try:
            while True:
                try:
                    self.look, self.wrong = self._looker.look(), ""
                except ServiceError as error:
                    self.wrong = error.message
                except (Misconfigured, OSError) as error:
                    self.wrong = str(error)
                self.count += 1
                time.sleep(self._every)
        except BaseException as error:
            self.broken = error


def _live(looker: Looker, how: Shown, every: float) -> None:
    import curses
    import locale

    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    for name in ("LINES", "COLUMNS"):  # curses would believe them, whatever the window is now
        os.environ.pop(name, None)
    os.environ.setdefault("ESCDELAY", "25")  # ms that Esc alone may take
    called = os.environ.get("TERM", "")
    try:
        curses.setupterm()
        if not curses.tigetstr("cup"):
            raise curses.error
    except curses.error:
        told = f"This terminal (TERM={terminal.plain(called, 40)}) can't be drawn on: set TERM, or say --once."
        raise click.UsageError(told) from None

    def over(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # the terminal is being put right
        raise _Over(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    ended = 0
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, over)
        window = curses.initscr()  # not curses.wrapper, which begins colours whatever NO_COLOR says
        try:
            curses.noecho()
            curses.cbreak()
            window.keypad(True)
            _Screen(_Looking(looker, every), how).run(window)
        finally:
            curses.endwin()
    except _Over as signalled:
        ended = signalled.number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended in (signal.SIGTERM, signal.SIGHUP):  # whoever waits for us is told how it ended
        signal.signal(ended, signal.SIG_DFL)
        os.kill(os.getpid(), ended)


class _Screen:
    """What is drawn, and what the keys do."""

    def __init__(self, looking: _Looking, how: Shown) -> None:
        self._looking, self._how = looking, how
        self._first = 0  # the line of the lab that is drawn uppermost
        self._body = 1  # lines of the screen for it
        self._typed: str | None = None  # the filter that is being written
        self._tones: dict[Tone, int] = {}

    def run(self, window: curses.window) -> None:
        """Draw and obey until somebody quits. Raises _Over."""
        import curses

        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        self._tones = _tones(curses)
        window.timeout(KEY_MS)
        misread, drawn, moved = 0, (-1, -1), True
        while True:
            now = (self._looking.count, int(time.time()))
            if moved or now != drawn:
                self._draw(window)
                drawn, moved = now, False
            if self._looking.broken is not None:
                raise self._looking.broken
            try:
                key = window.get_wch()
            except curses.error:  # none has come
                readable = bool(select.select([sys.stdin], [], [], 0)[0])
                misread = misread + 1 if readable else 0
                if misread > MISREAD:
                    raise _Over from None
                continue
            misread, moved = 0, True
            if not self._obeyed(key, curses):
                return

    def _obeyed(self, key: str | int, curses: Any) -> bool:
        """Do what a key says; False: leave."""
        if self._typed is not None:
            self._write(key, curses)
            return True
        page = max(1, self._body - 1)
        moves = {
            curses.KEY_UP: -1,
            curses.KEY_DOWN: 1,
            curses.KEY_PPAGE: -page,
            curses.KEY_NPAGE: page,
            curses.KEY_HOME: -(10**9),
            curses.KEY_END: 10**9,
            "k": -1,
            "j": 1,
        }
        if key in ("q", "Q"):
            return False
        if key in moves:
            self._first += moves[key]
        elif key == "/":
            self._typed = ""
        elif key == "\x1b":
            self._how = replace(self._how, words="")
        elif key == "s":
            names = list(SORTS)
            self._how = replace(self._how, sort=names[(names.index(self._how.sort) + 1) % len(names)])
        elif key == "r":
            self._how = replace(self._how, backwards=not self._how.backwards)
        elif key in PARTS:
            part = PARTS[str(key)]
            self._how = replace(self._how, part="" if self._how.part == part else part)
            self._first = 0
        return True

    def _write(self, key: str | int, curses: Any) -> None:
        """Take one key of a filter."""
        assert self._typed is not None
        if key in ("\n", "\r", curses.KEY_ENTER):
            self._typed = None
            return
        if key == "\x1b":
            self._typed, key = None, ""
        elif key in (curses.KEY_BACKSPACE, "\x7f", "\b"):
            self._typed, key = self._typed[:-1], ""
        if isinstance(key, str) and (not key or key.isprintable()):
            self._typed = None if self._typed is None else self._typed + key
            self._how = replace(self._how, words=self._typed or "")
            self._first = 0

    def _draw(self, window: curses.window) -> None:
        height, columns = window.getmaxyx()
        look, wrong = self._looking.look, self._looking.wrong
        columns -= 1  # the last cell of the last line can't be written without scrolling
        age = 0.0 if look is None else max(0.0, time.time() - look.at)
        old = age > OLD_SECONDS or bool(wrong)
        head = Line("Looking …") if look is None else Line(_summary(look, self._how, age))
        rows = [] if look is None else lines(look, self._how, columns)
        if wrong:
            rows.insert(0, Line(fit(terminal.plain(wrong, 500), columns), Tone.BAD))
        self._body = max(1, height - 2)
        self._first = max(0, min(self._first, len(rows) - self._body))
        shown = rows[self._first : self._first + self._body]
        below = len(rows) - self._first - len(shown)
        foot = (
            KEYS
            if self._typed is None
            else f"filter: {terminal.plain(self._typed, 60)}_  (Enter keeps it, Esc drops it)"
        )
        foot = f"{below} more below  {foot}" if below and self._typed is None else foot
        window.erase()
        self._put(window, 0, replace(head, tone=Tone.BAD if old else Tone.HEAD), columns)
        for at, line in enumerate(shown, 1):
            # what is old is shown so
            self._put(window, at, replace(line, tone=Tone.SOFT) if old and line.tone is not Tone.BAD else line, columns)
        if height > 2:
            self._put(window, height - 1, Line(foot, Tone.SOFT), columns)
        window.refresh()

    def _put(self, window: curses.window, at: int, line: Line, columns: int) -> None:
        import curses

        text = fit(line.text, columns).encode(window.encoding, "replace").decode(window.encoding, "replace")
        with contextlib.suppress(curses.error):  # the window is smaller by now
            window.addstr(at, 0, text, self._tones.get(line.tone, 0))


def _tones(curses: Any) -> dict[Tone, int]:
    """How each tone looks: without colours, or with NO_COLOR, by weight alone."""
    plain = {Tone.HEAD: curses.A_BOLD, Tone.BAD: curses.A_BOLD, Tone.SOFT: curses.A_DIM}
    if os.environ.get("NO_COLOR") or not curses.has_colors():
        return plain
    curses.start_color()
    ground = -1
    try:
        curses.use_default_colors()
    except curses.error:
        ground = curses.COLOR_BLACK
    colours = {
        Tone.RUNS: curses.COLOR_CYAN,
        Tone.WAITS: curses.COLOR_YELLOW,
        Tone.BAD: curses.COLOR_RED,
        Tone.GOOD: curses.COLOR_GREEN,
    }
    for number, (tone, colour) in enumerate(colours.items(), 1):
        curses.init_pair(number, colour, ground)
        plain[tone] = plain.get(tone, 0) | curses.color_pair(number)
    return plain
