"""The instruments of one job: opened before the work, made safe and closed after it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path
from typing import Any

from ..errors import JobFailed, Misconfigured
from ..lab import labfile
from ..model.parameter import Parameter
from ..settings import Settings
from ..store import timeline
from ..store.leases import Leases
from ..system.process import start_thread
from .job_engine import JobEngine


class OpenInstruments:
    """Holds what it opened; `put_away` is called however the work ended."""

    def __init__(self, settings: Settings, engine: JobEngine) -> None:
        self._settings, self._engine = settings, engine
        self._leases = Leases(settings.jobs_folder)
        self._opened: list[Any] = []
        self.by_input: dict[str, Any] = {}  # what is open, by the names of the inputs: see `Opened`

    def set_up(self, parameters: tuple[Parameter, ...], inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs with the open instruments in their places.

        Raises:
            InstrumentError: one can't be opened or is another device; those before it are put away by the caller.
            JobFailed, Misconfigured: lab.toml has changed since the start, and not for the better.
        """
        if not parameters:
            return inputs
        from ..instruments.errors import NotOpened
        from ..instruments.opening import Opened  # pyserial is imported where it is needed

        lab_file = labfile.load(self._settings.lab)
        values = dict(inputs)
        for parameter in parameters:
            name = inputs[parameter.name]
            if name not in lab_file.entries:
                raise JobFailed(f"The instrument {name} is no longer in lab.toml.")
            entry = lab_file.entries[name]
            transcript: Path = self._engine.data / f"{entry.name}.line.txt"
            self._note(name)  # it may not be forgotten who had an instrument, whatever happens from here on
            try:
                opened = Opened(entry, self._settings.jobs_folder, transcript, self._engine.check_while_waiting)
            except (NotOpened, Misconfigured):
                self._note(name, opened=False)  # it is as it was: that is nothing to clear up after
                raise
            self._opened.append(opened)
            self.by_input[parameter.name] = opened
            said = opened.identified_as
            timeline.note(self._engine.folder, "opened", instrument=name, identity=said, port=entry.port)
            values[parameter.name] = opened.device
        return values

    def _note(self, name: str, opened: bool = True) -> None:
        try:
            is_ours = self._leases.note_opened(name, self._engine.name, opened)
        except OSError as error:
            raise JobFailed(f"{name} can't be used: its lease can't be written ({error.strerror}).") from error
        if not is_ours:
            raise JobFailed(f"{name} can't be used: it is somebody else's by now.")

    def put_away(self) -> None:
        """Make safe and close. What fails here, or hangs, is tried again from outside, by the guard."""
        for opened in reversed(self._opened):
            # a thread, because nobody can tell what another library's driver waits for; it ends with this process
            work = start_thread(self._put_away, opened, daemon=True)
            work.join(opened.entry.safe_seconds)
            if work.is_alive():
                print(f"{opened.entry.name} is not safe after {opened.entry.safe_seconds:g} s.", file=sys.stderr)
        self._opened.clear()
        self.by_input.clear()

    @property
    def opened(self) -> bool:
        """Whether it holds any."""
        return bool(self._opened)

    @property
    def first(self) -> Any:
        """The first one that it opened, and how it is made safe: see `Opened`."""
        return self._opened[0]

    def _put_away(self, opened: Any) -> None:
        try:
            opened.make_safe()
        except Exception:
            print(f"{opened.entry.name} could not be made safe from within the job:", file=sys.stderr)
            traceback.print_exc()
        with contextlib.suppress(Exception):
            opened.close()
