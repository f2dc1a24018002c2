"""The instruments of one job, on its bench: opened before the work, made safe and closed after it."""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path
from typing import Any

from .. import lab
from ..parameter import Parameter
from ..settings import Settings
from .job import Job


class Bench:
    """Holds what it opened; `put_away` is called however the work ended."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self._settings, self._job = settings, job
        self._opened: list[Any] = []

    def set_up(self, parameters: tuple[Parameter, ...], inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs with the open instruments in their places.

        Raises:
            InstrumentError: one can't be opened or is another device; those before it are put away by the caller.
            Misconfigured: lab.toml has changed since the start, and not for the better.
        """
        if not parameters:
            return inputs
        from ..instruments.opening import Opened  # pyserial is imported where it is needed

        whole = lab.load(self._settings.lab)
        found = dict(inputs)
        for parameter in parameters:
            entry = whole.entries[inputs[parameter.name]]
            transcript: Path = self._job.data / f"{entry.name}.line.txt"
            opened = Opened(entry, self._settings.jobs_folder, transcript, self._job.check_while_waiting)
            self._opened.append(opened)
            found[parameter.name] = opened.device
        return found

    def put_away(self) -> None:
        """Make safe and close. What fails here is tried again from outside, by the guard."""
        for opened in reversed(self._opened):
            try:
                opened.make_safe()
            except Exception:
                print(f"{opened.entry.name} could not be made safe from within the job:", file=sys.stderr)
                traceback.print_exc()
            with contextlib.suppress(Exception):
                opened.close()
        self._opened.clear()
