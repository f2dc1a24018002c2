"""What a service's function holds while it works: its job."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..model.program import Program
from ..model.record import PLOT, Picture
from ..model.values import plain
from ..store import messages
from ..store.files import write_whole
from ..store.folder import TOKEN_FILE
from .job_engine import JobEngine, Message
from .recorder import current


class Job:
    """One execution, from inside. An abort arrives in any of its methods, or in any blocking call.

    Attributes:
        service_id: the workflow manager's name for this execution.
        folder: its folder. data: the folder in it for what the job makes, and where it works.
        status_file, result_file, notifications_file: for a wrapped program: its progress in percent
            and its result go into the first two, messages to it come in the third, a line each.
        session_token_file: for a program that calls the platform: it holds `session_token`, and no argument list may.
        user: as the start named it, or "".
        extra_parameters: the caller's extraParameters, or None.
    """

    def __init__(self, engine: JobEngine) -> None:
        self._engine = engine
        self.service_id = engine.request.service_id
        self.extra_parameters = engine.request.extra_parameters
        self.user = engine.request.user
        self.folder = engine.folder
        self.data = engine.data
        self.status_file = self.folder / "status.txt"
        self.result_file = self.folder / "result.txt"
        self.notifications_file = self.folder / messages.FILE
        self.session_token_file = self.folder / TOKEN_FILE

    @property
    def session_token(self) -> str:
        """The sessionToken of the start, for what calls the platform: of a service with `session_token=True`.

        Raises:
            JobFailed: the service doesn't ask for it, or the start came without one.
        """
        return self._engine.token()

    @property
    def meanwhile(self) -> Callable[[], None] | None:
        """A function of yours that is called some times a second while an instrument is waited for; None: none.

        It may hear messages and say how it goes, but not speak with that instrument. What it raises ends the wait.
        """
        return self._engine.meanwhile

    @meanwhile.setter
    def meanwhile(self, look: Callable[[], None] | None) -> None:
        self._engine.meanwhile = look

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
        self._engine.show_progress(number, str(stage))

    def record(self, **values: Any) -> None:
        """Show these values on the page, by their names, and write them as a row into data/record.csv.

        Numbers of any library are numbers; times, paths and Enums are texts, time spans seconds; None is an empty cell.

        A reading of an instrument that is older than 10 s is left out: it says nothing of now.

        Raises:
            TypeError: a value is none of these; the message names it.
        """
        self.check()
        row = {name: current(value, name) for name, value in values.items()}
        self._engine.recorder.record(row, self._engine.progress.units)
        shown = {n: "—" if isinstance(v, float) and not math.isfinite(v) else v for n, v in row.items()}
        self._show(values={**self._engine.progress.values, **shown})

    def plot(self, *names: str, against: str = "time") -> None:
        """Show a plot of recorded values on the page, drawn anew every 5 s: job.plot("amps", against="volts")."""
        self._engine.recorder.plot(names, against)
        self.picture(PLOT, ", ".join(names) + f" against {against}")

    def units(self, **units: str) -> None:
        """The units of recorded values, e.g. units(temperature="°C")."""
        texts = {name: str(plain(unit, f"The unit of {name}")) for name, unit in units.items()}
        self._show(units={**self._engine.progress.units, **texts})

    def picture(self, file: str, caption: str = "") -> None:
        """Show data/`file` (.svg, .png or .jpg, at most 1 MB) on the page, as it is at each look."""
        self._show(picture=vars(Picture(str(file), caption)))

    def write(self, file: str, content: str | bytes) -> Path:
        """Put a whole file into data/, its folder too: nobody sees a half one. Returns its path."""
        self.check()
        path = self.data / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # a text of the system, a file's name for one, has its own bytes back
        write_whole(path, content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        return path

    def _show(self, **changes: Any) -> None:
        self.check()
        self._engine.show(**changes)

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
            return self._engine.run_program(program, self._engine.show_progress)
        if not 0 < part <= 1:
            raise ValueError("job.run needs a part of the bar above 0 and at most 1, e.g. part=0.4")
        return self._engine.run_with_part(program, part)

    def link(self, file: str | Path = "") -> str:
        """The address of a file in data/, for whoever is told it; of all of them without a name."""
        path = Path(file).relative_to(self.data) if Path(file).is_absolute() else Path(file)
        return self._engine.address_of(None if file == "" else path)

    # -- being told ---------------------------------------------------------------------------

    def messages(self) -> Iterator[Message]:
        """The messages that came since the last call, oldest first; never waits."""
        self.check()
        yield from self._engine.new_messages()

    def reply(self, message: Message | str, text: str | None = None) -> None:
        """Answer a message: reply(message, "text"), or reply("text") to the last one read.

        The caller gets it if it comes within a second; the page shows it.
        """
        answered = message if isinstance(message, Message) else self._engine.last_message
        if answered is not None:
            self.check()
            self._engine.reply(answered.number, str(message) if text is None else str(text))

    def check(self) -> None:
        """Raises Aborted when the job was asked to stop."""
        self._engine.stop.check()

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
