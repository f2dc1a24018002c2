"""What the engine has of a job beside the `Job` that its user sees: the ways to its runner, and what its page shows."""

from __future__ import annotations

import _thread
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import JobFailed
from ..model.program import Program
from ..model.record import Progress, Request
from ..store import messages
from ..store.artifacts import Artifacts
from ..store.folder import TOKEN_FILE, Folder
from ..system.channel import Channel
from .listening import Say
from .recorder import Recorder
from .stop import Stop

LOOK_EVERY = 0.2  # s between two calls of `Job.meanwhile`
REPLY_MAX = 20_000  # characters


def limited(fraction: float | None) -> float | None:
    """A fraction from 0 to 1; None where it says nothing."""
    return None if fraction is None or fraction != fraction else min(1.0, max(0.0, fraction))


class Message(str):
    """A message that a caller sent to the job; `number` counts from 1."""

    number: int

    def __new__(cls, text: str, number: int) -> Message:
        message = super().__new__(cls, text)
        message.number = number
        return message


class JobEngine:
    """The engine's side of one job, in its function's process.

    Attributes:
        run_program: runs a program for `Job.run`, and gives what it printed. Set by whoever calls the function.
        meanwhile: the user's, see `Job`.
        last_message: the last one that was read; None before.
        began: when its function was called, monotonic s. Set by whoever calls it.
    """

    run_program: Callable[[Program, Say], str]

    def __init__(
        self, store: Folder, name: str, request: Request, stop: Stop, artifacts: Artifacts, channel: Channel
    ) -> None:
        self.name, self.request = name, request
        self.folder: Path = store.path(name)
        self.data = self.folder / "data"
        self.stop = stop
        self.began = time.monotonic()
        self._recorder: Recorder | None = None
        self.progress = Progress()
        self.meanwhile: Callable[[], None] | None = None
        self.last_message: Message | None = None
        self._artifacts, self._channel = artifacts, channel
        self._looked_at = 0.0  # monotonic s: when `meanwhile` was last called
        self._bar = 0.0  # where it stands, without the parts of programs that run
        self._parts: dict[object, float] = {}  # of each of these, what it has of the bar so far
        self._lock = _thread.RLock()

    @property
    def recorder(self) -> Recorder:
        """What records values and draws them, made when it is first asked for."""
        if self._recorder is None:
            self._recorder = Recorder(self.data, lambda why: self._tell({"failed": why}), self.began)
        return self._recorder

    def close_recorder(self) -> None:
        """Draw the last of what was recorded."""
        if self._recorder is not None:
            self._recorder.close()

    # -- what the page shows --------------------------------------------------------------------

    def show(self, **changes: Any) -> None:
        """Change what the page shows: fields of `Progress`."""
        with self._lock:
            self.progress = replace(self.progress, **changes)
            self._tell({"say": changes})

    def show_progress(self, fraction: float | None, stage: str) -> None:
        """As `Job.progress`, but no stop arrives in it: for whoever reads what programs print."""
        with self._lock:
            fraction = limited(fraction)
            self._bar = self._bar if fraction is None else fraction - sum(self._parts.values())
            self.show(fraction=fraction, stage=stage)

    def _move_part(self, run: object, fraction: float | None, stage: str = "") -> None:
        """A program with a part of the bar has come so far, of the whole bar; None: it doesn't say."""
        with self._lock:
            self._parts[run] = self._parts.get(run, 0.0) if fraction is None else fraction
            whole = limited(round(self._bar + sum(self._parts.values()), 9))  # ten times 0.1 is all of it
            self.show(fraction=whole, stage=stage or self.progress.stage)

    def run_with_part(self, program: Program, part: float) -> str:
        """Run a program that has a part of the bar, of 1: what it printed."""
        run = object()

        def say(fraction: float | None, stage: str) -> None:
            fraction = limited(fraction)
            self._move_part(run, None if fraction is None else part * fraction, stage)

        try:
            printed = self.run_program(program, say)
            with self._lock:
                self._move_part(run, part)
                self._bar += self._parts.pop(run)
        finally:
            self._parts.pop(run, None)  # one that failed has none: another try may take it
        return printed

    # -- speaking with callers ------------------------------------------------------------------

    def new_messages(self) -> Iterator[Message]:
        """The messages that came since the last call, oldest first."""
        if not (self.folder / messages.FILE).exists():
            return
        for number, text in enumerate(messages.read(self.folder), 1):
            if self.last_message is None or number > self.last_message.number:
                self.last_message = Message(text, number)
                yield self.last_message

    def reply(self, number: int, text: str) -> None:
        """Answer the message of that number."""
        self._tell({"reply": [number, text[:REPLY_MAX]]})

    def address_of(self, file: Path | None) -> str:
        """The address of a file in data/; None: of all of them."""
        own = "" if file is None else quote(os.fsencode(file))
        return self.request.address + self._artifacts.link(self.name) + own

    def token(self) -> str:
        """The sessionToken that the job was given. Raises JobFailed: it was given none."""
        if not self.request.signature.get("session_token"):
            raise JobFailed(
                f"The service {self.request.service} doesn't ask for its caller's sessionToken: that is"
                " @service(…, session_token=True)."
            )
        try:
            return (self.folder / TOKEN_FILE).read_text("utf-8")
        except OSError:
            raise JobFailed(
                "This execution was started without a sessionToken, by the shell or a schedule: it has none to give."
            ) from None

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # without its runner a job is about to be ended
            self._channel.send(message)

    # -- waiting --------------------------------------------------------------------------------

    def check_while_waiting(self) -> None:
        """As `Job.check`, for the instruments: `meanwhile` has its turn, too, unless the work is over."""
        self.stop.check()
        look = self.meanwhile
        if look is None or not self.stop.armed or time.monotonic() - self._looked_at < LOOK_EVERY:
            return
        self.meanwhile = None  # not while it has its turn
        try:
            look()
        finally:
            self.meanwhile, self._looked_at = look, time.monotonic()
