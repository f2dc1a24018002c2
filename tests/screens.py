"""A terminal that can be read: a real pty, and what a person would see of it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pexpect
import pyte

from lab import PATIENCE

TERM = "screen"  # has another screen to go to and to leave, colours, and nothing that the emulator doesn't know


class _Scrolling(pyte.Screen):
    """An emulated screen that knows how to scroll several lines at once, which pyte's own leaves out."""

    def scroll_up(self, count: int = 1) -> None:
        at = self.cursor.y
        self.cursor.y = self.margins.bottom if self.margins else self.lines - 1
        for _ in range(count or 1):
            self.index()
        self.cursor.y = at


class _Stream(pyte.ByteStream):
    csi = {**pyte.ByteStream.csi, "S": "scroll_up"}
    events = pyte.ByteStream.events | {"scroll_up"}


class Terminal:
    """A program in a terminal of its own.

    Attributes:
        written: every byte that it has written.
        at_first: how its line was set before the program began.
    """

    def __init__(
        self, words: list[str], environment: Mapping[str, str], *, lines: int = 24, columns: int = 80, **more: Any
    ) -> None:
        given = {name: text for name, text in environment.items() if name not in ("LINES", "COLUMNS", "NO_COLOR")}
        self.child = pexpect.spawn(
            words[0],
            words[1:],
            env={**given, "TERM": TERM, "LC_ALL": "C.UTF-8", **more},
            dimensions=(lines, columns),
            timeout=PATIENCE,
            echo=True,
        )
        self.at_first = termios.tcgetattr(self.child.child_fd)
        self._screen = _Scrolling(columns, lines)
        self._stream = _Stream(self._screen)
        self.written = b""

    def hear(self, seconds: float = 0.1) -> bool:
        """Take in what it writes within so many s; False once it has ended."""
        try:
            said = self.child.read_nonblocking(1 << 16, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.written += said
        self._stream.feed(said)
        return True

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without blanks at the lines' ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    def see(self, *words: str) -> str:
        """Until all of these stand there: the whole screen."""
        until = time.monotonic() + PATIENCE
        while not all(word in self.text for word in words):
            assert time.monotonic() < until, f"{words} are not on the screen:\n{self.text}"
            assert self.hear() or all(word in self.text for word in words), f"it has ended:\n{self.text}"
        return self.text

    def come(self, look: Callable[[str], bool]) -> str:
        """Until the screen is so: it."""
        until = time.monotonic() + PATIENCE
        while not look(self.text):
            assert time.monotonic() < until, f"it does not come to that:\n{self.text}"
            assert self.hear() or look(self.text), f"it has ended:\n{self.text}"
        return self.text

    def miss(self, *words: str) -> str:
        """Until none of these stands there: the whole screen."""
        until = time.monotonic() + PATIENCE
        while any(word in self.text for word in words):
            assert time.monotonic() < until, f"{words} are on the screen:\n{self.text}"
            assert self.hear(), f"it has ended:\n{self.text}"
        return self.text

    def press(self, keys: str) -> None:
        """Type."""
        self.child.send(keys)

    def resize(self, lines: int, columns: int) -> None:
        """Make the window another size."""
        self._screen.resize(lines, columns)
        self._screen.reset()
        self.child.setwinsize(lines, columns)

    def hang_up(self) -> None:
        """Close its window."""
        self.child.ptyproc.fileobj.close()
        self.child.child_fd, self.child.closed, self.child.ptyproc.closed = -1, True, True

    def end(self) -> int:
        """Until it has ended: its exit status; of a signal, that as a negative number."""
        while self.hear():
            pass
        self.child.wait()
        return -self.child.signalstatus if self.child.signalstatus else int(self.child.exitstatus or 0)

    def is_as_before(self) -> bool:
        """Whether its line is set as it was, the first screen is back, and its cursor."""
        attributes = termios.tcgetattr(self.child.child_fd)
        left = self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h")
        shown = self.written.rfind(b"\x1b[34h\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        return attributes == self.at_first and left and shown


@contextlib.contextmanager
def terminal(*words: str, environment: Mapping[str, str], **more: Any) -> Iterator[Terminal]:
    """`labwaiter` with these words in a terminal; what is left of it is ended."""
    one = Terminal([sys.executable, "-m", "labwaiter", *words], environment, **more)
    try:
        yield one
    finally:
        if one.child.isalive():
            os.kill(one.child.pid, signal.SIGKILL)
        one.child.close()
