"""The nurseries of a supervisor: one that forks, and old ones that leave with their last jobs."""

from __future__ import annotations

import logging
import selectors
from collections.abc import Callable
from typing import Any

from ..process import boot_clock
from ..settings import Settings
from .brood import UNKNOWN, Brood, Rules, hatch

log = logging.getLogger("labwaiter.supervisor")
LONGEST_WAIT = 30.0  # s between two tries of a nursery that dies as soon as it is there


class Nurseries:
    """Starts nurseries, hears them, replaces those that died or whose code is old."""

    def __init__(
        self,
        settings: Settings,
        selector: selectors.BaseSelector,
        on_event: Callable[[Brood, dict[str, Any], int | None], None],
        on_lost: Callable[[Brood], None],
    ) -> None:
        """
        Args:
            on_event: called with a nursery's words, and the descriptor beside them.
            on_lost: called when a nursery is gone, retired or not.
        """
        self.settings = settings
        self.selector = selector
        self.on_event, self.on_lost = on_event, on_lost
        self.broods: list[Brood] = []  # the last one is the one that forks
        self._not_before = 0.0  # boot clock, s
        self._wait = 0.0

    @property
    def pids(self) -> set[int]:
        """The nurseries' pids."""
        return {brood.pid for brood in self.broods}

    @property
    def descriptors(self) -> list[int]:
        """Our ends of the lines."""
        return [brood.wire.fileno() for brood in self.broods]

    def ready(self) -> Brood | None:
        """The nursery that forks; None while it isn't ready. Changed code has a new one started."""
        if not self.broods or self.broods[-1].retired:
            self.start()
            return None
        brood = self.broods[-1]
        if brood.ready and brood.changed(self.settings):
            log.info("the services' code has changed: a new nursery")
            brood.retire()
            self.start()
            return None
        return brood if brood.ready else None

    def start(self) -> None:
        """Start one, unless the last one died so soon that it's better to wait."""
        now = boot_clock()
        if now < self._not_before:
            return
        self._not_before = now + self._wait
        self._wait = min(LONGEST_WAIT, self._wait * 2 or 0.5)
        brood = hatch(self.settings)
        self.broods.append(brood)
        self.selector.register(brood.wire, selectors.EVENT_READ, lambda: self._hear(brood))

    def _hear(self, brood: Brood) -> None:
        received = brood.wire.receive()
        if received is None:
            self.selector.unregister(brood.wire)
            brood.wire.close()
            self.broods.remove(brood)
            if not brood.retired:
                log.warning("the nursery (pid %d) is gone", brood.pid)
            self.on_lost(brood)
            return
        message, descriptors = received
        if message["event"] == "ready":
            brood.hear_ready(message)
            self._wait = self._not_before = 0.0
            log.info("services: %s", ", ".join(sorted(brood.offers)) or "none")
        self.on_event(brood, message, descriptors[0] if descriptors else None)

    def rules(self, service: str) -> Rules:
        """The rules of a service as far as they are known; else those without limits."""
        for brood in reversed(self.broods):
            if service in brood.offers:
                return brood.offers[service]
        return UNKNOWN

    def retire(self) -> None:
        """No more forks at all."""
        for brood in self.broods:
            brood.retire()
