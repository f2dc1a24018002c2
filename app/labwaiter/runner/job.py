"""What a service's function holds while it works: its job."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from ..jobs import messages
from ..jobs.exchange import Exchange
from ..jobs.files import write_whole
from ..jobs.folder import Folder
from ..program import Program
from ..record import PLOT, Picture, Progress, Request
from .recorder import Recorder, current

LOOK_EVERY = 0.2  # s between two calls of `Job.meanwhile`
WRITE_EVERY = 0.1  # s between two writes of progress.json: pages are looked at every 6 s


class Aborted(BaseException):
    """The job is to stop now. No Exception, so that `except Exception` doesn't swallow it."""


class Stop:
    """The wish to stop, as it arrives in the job's process: SIGTERM, once."""

    def __init__(self) -> None:
        self.asked = False
        self.armed = False  # whether it may interrupt the work at any line

    def listen(self) -> None:
        """From now on a SIGTERM raises Aborted in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and self.armed:
            raise Aborted()

    def check(self) -> None:
        """Raises Aborted once the stop was asked, however often."""
        if self.asked and self.armed:
            raise Aborted()


class Message(str):
    """A message that a caller sent to the job; `number` counts from 1."""

    number: int

    def __new__(cls, text: str, number: int) -> Message:
        message = super().__new__(cls, text)
        message.number = number
        return message


class Job:
    """One execution, from inside. An abort arrives in any of its methods, or in any blocking call.

    Attributes:
        service_id: the workflow manager's name for this execution.
        folder: its folder. data: the folder in it for what the job makes, and where it works.
        status_file, result_file, notifications_file: for a wrapped program: its progress in percent
            and its result go into the first two, messages to it come in the third, a line each.
        extra_parameters: the caller's extraParameters, or None.
        meanwhile: a function of yours that is called some times a second while an instrument is waited for: it may
            hear messages and say how it goes, but not speak with that instrument. What it raises ends the wait.
    """

    def __init__(self, store: Folder, name: str, request: Request, stop: Stop, exchange: Exchange) -> None:
        self._store = store
        self._exchange = exchange
        self._name = name
        self._stop = stop
        self._address = request.address
        self.service_id = request.service_id
        self.extra_parameters = request.extra_parameters
        self.user = request.user
        self.folder: Path = store.path(name)
        self.data = self.folder / "data"
        self.status_file = self.folder / "status.txt"
        self.result_file = self.folder / "result.txt"
        self.notifications_file = self.folder / messages.FILE
        self._progress = Progress()
        self._written = 0.0  # monotonic s
        self.recorder = Recorder(self.data)
        self.meanwhile: Callable[[], None] | None = None
        self._looked = 0.0  # monotonic s: when that was last called
        self._pending = False
        self.on_pending: Callable[[], None] = lambda: None
        self.on_run: Callable[[Program], str]
        self._turn = threading.RLock()
        self._seen = 0
        self._last: Message | None = None

    # -- saying how it goes -------------------------------------------------------------------

    def progress(self, fraction: float | None, stage: str = "") -> None:
        """Say how far the work is.

        Args:
            fraction: from 0 to 1, cut to that; None when it isn't known.
            stage: what goes on, in a few words for the page.
        """
        self.check()
        self.heard(None if fraction is None else float(fraction), str(stage))

    def record(self, **values: float | int | str | bool) -> None:
        """Show these values on the page, by their names, and write them as a row into data/record.csv.

        A reading of an instrument that is older than 10 s is left out: it says nothing of now.
        """
        self.check()
        known = {name: current(value) for name, value in values.items()}
        self.recorder.record(known, self._progress.units)
        shown = {n: "—" if isinstance(v, float) and not math.isfinite(v) else v for n, v in known.items()}
        self._say(values={**self._progress.values, **shown})

    def plot(self, *names: str, against: str = "time") -> None:
        """Show a plot of recorded values on the page, drawn anew every 5 s: job.plot("amps", against="volts")."""
        self.recorder.plot(names, against)
        self.picture(PLOT, ", ".join(names) + f" against {against}")

    def units(self, **units: str) -> None:
        """The units of recorded values, e.g. units(temperature="°C")."""
        self._say(units={**self._progress.units, **units})

    def picture(self, file: str, caption: str = "") -> None:
        """Show data/`file` (.svg, .png or .jpg, at most 1 MB) on the page, as it is at each look."""
        self._say(picture=Picture(str(file), caption))

    def write(self, file: str, content: str | bytes) -> Path:
        """Put a whole file into data/: nobody sees a half one. Returns its path."""
        self.check()
        path = self.data / file
        write_whole(path, content.encode() if isinstance(content, str) else content)
        return path

    def heard(self, fraction: float | None, stage: str) -> None:
        """As `progress`, but no stop arrives in it: for the log's thread, which reads what programs print."""
        if fraction is not None:
            fraction = min(1.0, max(0.0, fraction)) if fraction == fraction else None
        self._put(fraction=fraction, stage=stage)

    def _say(self, now: bool = False, **changes: Any) -> None:
        self.check()
        self._put(now, **changes)

    def _put(self, now: bool = False, **changes: Any) -> None:
        with self._turn:
            self._progress = replace(self._progress, **changes)
            if now or time.monotonic() - self._written >= WRITE_EVERY:
                self._write()
            else:
                self._pending = True  # the log's thread writes it in a moment
                self.on_pending()

    def _write(self) -> None:
        self._pending = False
        self._written = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk costs the page, not the work
            self._store.write_progress(self._name, self._progress)

    def is_pending(self) -> bool:
        """Whether something was said that isn't on disk yet."""
        return self._pending

    def flush(self) -> None:
        """Write what was said but isn't on disk yet."""
        with self._turn:
            if self._pending:
                self._write()

    # -- having others work ---------------------------------------------------------------------

    def run(self, program: Program) -> str:
        """Run a program and wait for its end, to go on in Python then.

        Returns:
            What it printed, at most the last 100 000 bytes; all of it is in log.txt, too.

        Raises:
            JobFailed: it can't be started, or has failed; the message says how.
        """
        self.check()
        return self.on_run(program)

    def link(self, file: str | Path = "") -> str:
        """The address of a file in data/, for whoever is told it; of all of them without a name."""
        path = Path(file).relative_to(self.data) if Path(file).is_absolute() else Path(file)
        return self._address + self._exchange.link(self._name) + ("" if file == "" else quote(str(path)))

    # -- being told ---------------------------------------------------------------------------

    def messages(self) -> Iterator[Message]:
        """The messages that came since the last call, oldest first; never waits."""
        self.check()
        if not self.notifications_file.exists():
            return
        for number, text in enumerate(messages.read(self.folder), 1):
            if number > self._seen:
                self._seen = number
                self._last = Message(text, number)
                yield self._last

    def reply(self, message: Message | str, text: str | None = None) -> None:
        """Answer a message: reply(message, "text"), or reply("text") to the last one read.

        The caller gets it if it comes within a second; the page shows it.
        """
        to = message if isinstance(message, Message) else self._last
        said = str(message) if text is None else str(text)
        if to is not None:
            kept = dict(list(self._progress.replies.items())[-49:])
            self._say(now=True, replies={**kept, to.number: said[:20_000]})

    def check(self) -> None:
        """Raises Aborted when the job was asked to stop."""
        self._stop.check()

    def check_while_waiting(self) -> None:
        """As `check`, for the instruments: `meanwhile` has its turn, too, unless the work is over."""
        self.check()
        look = self.meanwhile
        if look is None or not self._stop.armed or time.monotonic() - self._looked < LOOK_EVERY:
            return
        self.meanwhile = None  # not while it has its turn
        try:
            look()
        finally:
            self.meanwhile, self._looked = look, time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; an abort ends it."""
        self.check()
        time.sleep(max(0.0, seconds))
        self.check()

    def every(self, step: float, lasting: float | None = None) -> Iterator[float]:
        """Paced work: yields the elapsed seconds at 0, step, 2·step, … and at `lasting`, then ends.

        A turn that takes longer than `step` skips the beats that it missed. Without `lasting` it
        goes on until the job stops.
        """
        if step <= 0:
            raise ValueError("job.every needs a step above 0 s")
        began = time.monotonic()
        elapsed = 0.0
        while True:
            self.check()
            yield elapsed
            if lasting is not None and elapsed >= lasting:
                return
            past = time.monotonic() - began
            beat = (int(past / step + 1e-9) + 1) * step
            if lasting is not None:
                beat = min(beat, lasting)
            self.sleep(began + beat - time.monotonic())
            elapsed = beat if lasting is not None and beat >= lasting else time.monotonic() - began

    def __repr__(self) -> str:
        return f"Job({self.service_id!r}, pid {os.getpid()})"
