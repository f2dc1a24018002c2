"""A device that knows nothing but a written dialogue, on a real pty: what a driver is tried against."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

from ..instruments import transcript
from ..instruments.simulators import Simulator
from ..instruments.simulators.host import Host
from ..instruments.transcript import Exchange

LAST_BYTES = 0.3  # s in which what a driver has just sent arrives at the other end of the line, at the latest
LOOK_EVERY = 0.02  # s between two looks whether the port has been opened
BOOT = 0.1  # s from its opening to the first word of a device that speaks first: a port drops what comes while it opens


class Dialogue(Simulator):
    """Answers what it is sent as its dialogue has it, in that order; to anything else it is silent."""

    period = 0.005

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        """
        Args:
            exchanges: what is sent, and what is answered; None: it speaks by itself, or answers nothing.
        """
        super().__init__()
        self.exchanges = [_judged(number, exchange) for number, exchange in enumerate(exchanges, 1)]
        self.at = 0  # so many of these are over
        self.port: Path | None = None  # its name, where it speaks first
        self._opened: float | None = None  # `clock` when its port was first seen open

    def receive(self, data: bytes) -> None:
        """Bytes come in; as much of them as the dialogue has next is answered."""
        self._in += data
        while self.at < len(self.exchanges):
            sent, answered = self.exchanges[self.at]
            if sent and not self._in.startswith(sent):
                return
            self._in = self._in[len(sent or b"") :]
            self._out.append((self.clock, answered or b""))
            self.at += 1

    def due(self) -> float:
        """It looks whether its port is open as long as it has the first word."""
        return LOOK_EVERY if self._speaks_first() else math.inf

    def _speaks_first(self) -> bool:
        return self.at == 0 and bool(self.exchanges) and not self.exchanges[0][0] and self.port is not None

    def tick(self, seconds: float) -> None:
        """Say the first word, a moment after its port was opened."""
        if self._speaks_first():
            if self._opened is None and _is_open(self.port):
                self._opened = self.clock
            if self._opened is not None and self.clock >= self._opened + BOOT:
                self.receive(b"")

    def is_safe(self) -> bool:
        """A dialogue switches nothing on."""
        return True

    # -- how it went --------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether all of it was said, and nothing else."""
        return self.at == len(self.exchanges) and not self._in

    def in_words(self) -> str:
        """Where a driver went another way, and what of the dialogue is left; "" where it is over."""
        if self.is_over:
            return ""
        count, left = len(self.exchanges), self.exchanges[self.at :]
        told = []
        if self._in:
            told.append(
                f"The driver went another way at line {self.at + 1} of {count}:"
                if left
                else f"The driver says more than the {count} lines of the dialogue:"
            )
            told += [f"  expected {_in_line(left[0][0])}"] if left else []
            told += [f"  it sent  {_in_line(self._in)}"]
        else:
            told.append(f"The driver said {self.at} of the {count} lines of the dialogue.")
        if self.at:
            told += ["said before:", *_numbered(self.exchanges[: self.at], 1)[-6:]]
        if left:
            told += ["not said:", *_numbered(left, self.at + 1)]
        return "\n".join(told)


def _of_file(file: Path) -> list[Exchange]:
    if not file.exists():
        raise FileNotFoundError(f"There is no dialogue {file}: labwaiter instruments record NAME FILE makes one.")
    return transcript.dialogue(file.read_bytes(), file.name)


def _judged(number: int, exchange: Exchange) -> Exchange:
    fits = isinstance(exchange, (tuple, list)) and len(exchange) == 2
    if not fits or not all(part is None or isinstance(part, bytes) for part in exchange):
        raise TypeError(
            f"Line {number} of a dialogue is what is sent and what is answered, both bytes or None, as in"
            f" (b'VOLT?\\n', b'1.25\\n'): not {exchange!r}."
        )
    return exchange[0], exchange[1]


def _in_line(data: bytes | None) -> str:
    return f"> {transcript.written(data)}" if data else "nothing: there it speaks by itself"


def _numbered(exchanges: list[Exchange], first: int) -> list[str]:
    told = []
    for number, (sent, answered) in enumerate(exchanges, first):
        before = f"  {number:3}  {f'> {transcript.written(sent)}' if sent else '(by itself)':30}"
        told.append(f"{before} < {transcript.written(answered)}" if answered else before.rstrip())
    return told


def _is_open(port: Path | None) -> bool:
    """Whether this process has it open a second time: the first is the host's."""
    try:
        device = os.readlink(port or "")
        return sum(os.path.samefile(f"/proc/self/fd/{fd}", device) for fd in _descriptors()) > 1
    except OSError:
        return False


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]


class Wires:
    """The dialogues of one test. Called with one it gives the port on which a driver finds it."""

    def __init__(self, folder: Path, beside: Path = Path()) -> None:
        """
        Args:
            folder: for the ports.
            beside: the folder that files' names are relative to: the test's own, with pytest.
        """
        self._folder, self._beside = folder, beside
        self._host: Host | None = None
        self._dialogues: list[Dialogue] = []

    def __call__(self, dialogue: Iterable[Exchange] | str | os.PathLike[str]) -> str:
        """The port of a device that knows this dialogue.

        Args:
            dialogue: pairs of what is sent and answered; or a file with them, as `labwaiter instruments record` writes
                it: a driver's transcript is one, too.

        Raises:
            transcript.Unreadable: the file is none of these.
            TypeError: a pair is none.
            OSError: the file isn't there, or can't be read.
        """
        if isinstance(dialogue, (str, os.PathLike)):
            dialogue = _of_file(self._beside / dialogue)
        device = Dialogue(dialogue)
        device.port = self._folder / f"wire{len(self._dialogues) + 1}"
        self._host = self._host or Host()
        self._host.plug(device.port, device)
        self._dialogues.append(device)
        return str(device.port)

    def check(self) -> str:
        """Where a driver went another way, and what of a dialogue was not said; "" where all went as it is written."""
        until = time.monotonic() + LAST_BYTES
        while time.monotonic() < until and not all(device.is_over for device in self._dialogues):
            time.sleep(0.01)  # the other end of a line tells nobody that nothing more is on its way
        return "\n\n".join(told for device in self._dialogues if (told := device.in_words()))

    def close(self) -> None:
        """Unplug them all."""
        if self._host is not None:
            self._host.close()
