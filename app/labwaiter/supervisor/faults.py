"""What goes wrong with one job, or for want of resources, ends nothing: it is told to the log, and the rest goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ..system.process import boot_clock

log = logging.getLogger("labwaiter.supervisor")
SHORTAGE = (OSError, MemoryError)  # no processes, no descriptors, no memory, no disk: to be waited out
DAMAGED = (ValueError, TypeError, KeyError)  # what reading a record raises that is none
LOG_EVERY = 60.0  # s between two lines in the log that say the same of a shortage


class Faults:
    """Contains faults, and remembers which the log has been told of."""

    def __init__(self) -> None:
        self._jobs: set[str] = set()  # with which something went wrong that nobody foresaw
        self._logged: dict[str, float] = {}  # purposes that something was wanting for, and when the log was told

    @contextlib.contextmanager
    def of_job(self, name: str) -> Iterator[None]:
        """Whatever nobody foresaw in one job's data concerns that job alone: it is logged once, the others go on."""
        try:
            yield
        except Exception:
            if name not in self._jobs:  # it may be so at every tick
                log.exception("%s: this was not foreseen; the others go on", name)
            self._jobs.add(name)

    @contextlib.contextmanager
    def of_shortage(self, purpose: str) -> Iterator[None]:
        """Whatever the machine has too little of now ends nothing: it is logged, and tried again when it is due."""
        try:
            yield
        except SHORTAGE as error:
            now = boot_clock()
            if now - self._logged.get(purpose, -LOG_EVERY) >= LOG_EVERY:
                self._logged[purpose] = now
                log.warning("%s: not possible now (%s); it is tried again", purpose, error, exc_info=True)
