"""What a service's function holds while it works: its job."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..model.program import Program
from ..model.record import PLOT, Picture, Progress, Request
from ..model.values import plain
from ..store import messages
from ..store.artifacts import Artifacts
from ..store.files import write_whole
from ..store.folder import Folder
from ..system.channel import Channel
from .listening import Say
from .recorder import Recorder, current
from .stop import Stop

LOOK_EVERY = 0.2  # s between two calls of `Job.meanwhile`


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

    def __init__(
        self, store: Folder, name: str, request: Request, stop: Stop, artifacts: Artifacts, channel: Channel
    ) -> None:
        self._channel = channel
        self._exchange = artifacts
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
        self.recorder = Recorder(self.data, lambda why: self._tell({"failed": why}))
        self.meanwhile: Callable[[], None] | None = None
        self._looked = 0.0  # monotonic s: when that was last called
        self.on_run: Callable[[Program, Say], str]
        self._stood = 0.0  # the bar, without the parts of programs that run
        self._parts: dict[object, float] = {}  # of each of these, what it has of the bar so far
        self._turn = threading.RLock()
        self._seen = 0
        self._last: Message | None = None

    # -- saying how it goes -------------------------------------------------------------------

    def progress(self, fraction: float | None, stage: str = "") -> None:
        """Say how far the work is.

        Args:
            fraction: from 0 to 1, cut to that; None when it isn't known.
            stage: what goes on, in a few words for the page.

        Raises:
            TypeError: the fraction is no number.
        """
        self.check()
        try:
            number = None if fraction is None else float(fraction)
        except (TypeError, ValueError):
            raise TypeError(f"The fraction of job.progress is {fraction!r:.100}: give a number from 0 to 1.") from None
        self.heard(number, str(stage))

    def record(self, **values: Any) -> None:
        """Show these values on the page, by their names, and write them as a row into data/record.csv.

        Numbers of any library are numbers; times, paths and Enums are texts, time spans seconds; None is an empty cell.

        A reading of an instrument that is older than 10 s is left out: it says nothing of now.

        Raises:
            TypeError: a value is none of these; the message names it.
        """
        self.check()
        known = {name: current(value, name) for name, value in values.items()}
        self.recorder.record(known, self._progress.units)
        shown = {n: "—" if isinstance(v, float) and not math.isfinite(v) else v for n, v in known.items()}
        self._say(values={**self._progress.values, **shown})

    def plot(self, *names: str, against: str = "time") -> None:
        """Show a plot of recorded values on the page, drawn anew every 5 s: job.plot("amps", against="volts")."""
        self.recorder.plot(names, against)
        self.picture(PLOT, ", ".join(names) + f" against {against}")

    def units(self, **units: str) -> None:
        """The units of recorded values, e.g. units(temperature="°C")."""
        known = {name: str(plain(unit, f"The unit of {name}")) for name, unit in units.items()}
        self._say(units={**self._progress.units, **known})

    def picture(self, file: str, caption: str = "") -> None:
        """Show data/`file` (.svg, .png or .jpg, at most 1 MB) on the page, as it is at each look."""
        self._say(picture=vars(Picture(str(file), caption)))

    def write(self, file: str, content: str | bytes) -> Path:
        """Put a whole file into data/, its folder too: nobody sees a half one. Returns its path."""
        self.check()
        path = self.data / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # a text of the system, a file's name for one, has its own bytes back
        write_whole(path, content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        return path

    def heard(self, fraction: float | None, stage: str) -> None:
        """As `progress`, but no stop arrives in it: for whoever reads what programs print."""
        with self._turn:
            known = limited(fraction)
            self._stood = self._stood if known is None else known - sum(self._parts.values())
            self._put(fraction=known, stage=stage)

    def _moved(self, run: object, by: float | None, stage: str = "") -> None:
        """A program with a part of the bar has come so far in it; None: it doesn't say."""
        with self._turn:
            self._parts[run] = self._parts.get(run, 0.0) if by is None else by
            whole = limited(round(self._stood + sum(self._parts.values()), 9))  # ten times 0.1 is all of it
            self._put(fraction=whole, stage=stage or self._progress.stage)

    def _say(self, **changes: Any) -> None:
        self.check()
        self._put(**changes)

    def _put(self, **changes: Any) -> None:
        with self._turn:
            self._progress = replace(self._progress, **changes)
            self._tell({"say": changes})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # without its runner a job is about to be ended
            self._channel.send(message)

    # -- having others work ---------------------------------------------------------------------

    def run(self, program: Program, part: float | None = None) -> str:
        """Run a program and wait for its end, to go on in Python then.

        Args:
            part: how much of the bar is its, of 1: 0 % of it is where the bar stands now, and at its end the bar has
                moved by that, whatever it says of its progress. None: what it says is the whole bar's.

        Returns:
            What it printed, at most the last 100 000 bytes; all of it is in log.txt, too.

        Raises:
            JobFailed: it can't be started, or has failed; the message says how.
        """
        self.check()
        if part is None:
            return self.on_run(program, self.heard)
        if not 0 < part <= 1:
            raise ValueError("job.run needs a part of the bar above 0 and at most 1, e.g. part=0.4")
        run = object()

        def say(fraction: float | None, stage: str) -> None:
            known = limited(fraction)
            self._moved(run, None if known is None else part * known, stage)

        try:
            printed = self.on_run(program, say)
            with self._turn:
                self._moved(run, part)
                self._stood += self._parts.pop(run)
        finally:
            self._parts.pop(run, None)  # one that failed has none: another try may take it
        return printed

    def link(self, file: str | Path = "") -> str:
        """The address of a file in data/, for whoever is told it; of all of them without a name."""
        path = Path(file).relative_to(self.data) if Path(file).is_absolute() else Path(file)
        return self._address + self._exchange.link(self._name) + ("" if file == "" else quote(os.fsencode(path)))

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
            self.check()
            self._tell({"reply": [to.number, said[:20_000]]})

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
