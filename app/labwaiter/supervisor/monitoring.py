"""The supervisor's side of the monitor: it is there, its readers yield in time, and what they left is made safe."""

from __future__ import annotations

import logging
from collections.abc import Collection

from ..lab.labfile import WatchedLab
from ..settings import Settings
from ..store.leases import Leases
from ..store.readers import YIELD_SECONDS, Reader
from ..system.process import boot_clock
from .cleanup import Cleanup
from .companions import Companion

log = logging.getLogger("labwaiter.supervisor")
LOOK_EVERY = 1.0  # s between two looks whether a reader has died


class Monitoring:
    """Has instruments read that nobody uses, and has them yield to who wants them."""

    def __init__(self, settings: Settings, lab: WatchedLab, leases: Leases, cleanup: Cleanup) -> None:
        self._settings, self._lab, self._readers, self._cleanup = settings, lab, leases.readers, cleanup
        self._monitor = Companion(settings, "the monitor", ["labwaiter.monitor.process"], self._is_wanted)
        self._asked: dict[str, float] = {}  # instrument → when its reader was first asked to yield, boot clock, s
        self._knew = 0  # how many monitors had been started when all readers were last asked
        self._next = 0.0  # look at all readers, boot clock, s
        self._leaving = 0.0  # since when, boot clock, s

    def _is_wanted(self) -> bool:
        lab = self._lab.now()
        if lab is None:
            return True  # a mistake that somebody is just making ends nothing
        return any(entry.monitor_every_s for entry in lab.on(self._settings.machine).entries.values())

    @property
    def descriptors(self) -> list[int]:
        """Those that no child of the supervisor may keep."""
        return self._monitor.descriptors

    def begin(self) -> None:
        """At the supervisor's begin: the readers of a monitor before ours yield."""
        self._ask_all()

    def ask(self, instruments: Collection[str]) -> bool:
        """Have those who read these yield: whether any does still."""
        if not instruments or not self._readers.claimed(instruments):
            return False
        now = boot_clock()
        for reader in self._readers.want(instruments):
            self._asked.setdefault(reader.instrument, now)
        return True

    def look(self, now: float) -> None:
        """Have the monitor there while it is wanted (`now`: boot clock, s). Raises OSError."""
        self._monitor.look(now)
        if self._monitor.began != self._knew:
            self._knew = self._monitor.began
            if self._knew > 1:
                self._ask_all()

    def check(self, now: float) -> None:
        """End readers that haven't yielded in time, and clear up behind those that have died. Raises OSError."""
        if not self._asked and now < self._next:
            return
        self._next = now + LOOK_EVERY
        readers = {reader.instrument: reader for reader in self._readers.all()}
        for instrument in [each for each in self._asked if each not in readers]:
            del self._asked[instrument]
        for reader in readers.values():
            if reader.is_dead:
                self._clear_up(reader)
            elif now - self._asked.get(reader.instrument, now) >= YIELD_SECONDS:
                log.warning(
                    "%s: what reads it has not yielded within %g s; it is ended", reader.instrument, YIELD_SECONDS
                )
                reader.end()
                self._asked[reader.instrument] = now

    def _clear_up(self, reader: Reader) -> None:
        """Nobody knows what was with an instrument whose reader has died: it is made safe and asked."""
        if reader.instrument not in self._cleanup.instruments:
            log.warning("%s: what read it is gone and has not closed its line; it is made safe", reader.instrument)
            self._cleanup.after_reader(reader)

    def _ask_all(self) -> None:
        now = boot_clock()
        for reader in self._readers.all():
            self._readers.want(reader.names)
            self._asked.setdefault(reader.instrument, now)

    # -- leaving ------------------------------------------------------------------------------

    def leave(self) -> None:
        """Nothing is read any more."""
        self._leaving = boot_clock()
        self._monitor.tell_to_end()
        self._ask_all()

    def has_left(self) -> bool:
        """Whether no line is open any more; a file that nobody can remove is waited for no longer than is needed."""
        return not self._readers.all() or boot_clock() - self._leaving > 3 * YIELD_SECONDS

    def end(self) -> None:
        """End the monitor."""
        self._monitor.end()
