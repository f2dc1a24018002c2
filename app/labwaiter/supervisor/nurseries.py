"""The nurseries of a supervisor: one that forks, and retired ones that leave with their last jobs."""

from __future__ import annotations

import contextlib
import logging
import resource
import selectors
from collections.abc import Callable
from typing import Any

from ..settings import Settings
from ..system.backoff import Backoff
from ..system.process import boot_clock
from .nursery_handle import NurseryHandle, spawn

log = logging.getLogger("labwaiter.supervisor")
LONGEST_PAUSE = 30.0  # s between two tries of a nursery that dies as soon as it is there
WANT_PAUSE = 5.0  # s, where none can be had for want of processes or memory


class Nurseries:
    """Starts nurseries, hears them, replaces those that died."""

    def __init__(
        self,
        settings: Settings,
        selector: selectors.BaseSelector,
        on_event: Callable[[NurseryHandle, dict[str, Any], int | None], None],
        on_lost: Callable[[NurseryHandle], None],
    ) -> None:
        """
        Args:
            on_event: called with a nursery's words, and the descriptor beside them.
            on_lost: called when a nursery is gone, retired or not.
        """
        self.settings = settings
        self.selector = selector
        self.on_event, self.on_lost = on_event, on_lost
        self.nursery_handles: list[NurseryHandle] = []  # the last one is the one that forks
        self.descriptors_before: tuple[int, int] | None = None  # RLIMIT_NOFILE that jobs shall have
        self._backoff = Backoff(0.5, LONGEST_PAUSE)

    @property
    def pids(self) -> set[int]:
        """The nurseries' pids."""
        return {nursery_handle.pid for nursery_handle in self.nursery_handles}

    @property
    def descriptors(self) -> list[int]:
        """Our ends of the lines."""
        return [nursery_handle.channel.fileno() for nursery_handle in self.nursery_handles]

    def ready(self) -> NurseryHandle | None:
        """The nursery that forks; None while it isn't ready."""
        if not self.nursery_handles or self.nursery_handles[-1].retired:
            self.start()
            return None
        nursery_handle = self.nursery_handles[-1]
        return nursery_handle if nursery_handle.ready else None

    def start(self) -> None:
        """Start one, unless the last one died so soon that it's better to wait."""
        now = boot_clock()
        if not self._backoff.is_due(now):
            return
        self._backoff.started(now)
        try:
            nursery_handle = spawn(self.settings)
        except (OSError, MemoryError) as want:
            log.warning("no nursery can be had now (%s); it is tried again", want)
            self._backoff.due = now + min(WANT_PAUSE, self._backoff.pause)
            return
        if self.descriptors_before is not None:  # ours is raised; jobs have what this deployment was started with
            with contextlib.suppress(OSError):
                resource.prlimit(nursery_handle.pid, resource.RLIMIT_NOFILE, self.descriptors_before)
        self.nursery_handles.append(nursery_handle)
        self.selector.register(nursery_handle.channel, selectors.EVENT_READ, lambda: self._hear(nursery_handle))

    def _hear(self, nursery_handle: NurseryHandle) -> None:
        received = nursery_handle.channel.receive()
        if received is None:
            self.selector.unregister(nursery_handle.channel)
            nursery_handle.channel.close()
            self.nursery_handles.remove(nursery_handle)
            if not nursery_handle.retired:
                log.warning("the nursery (pid %d) is gone", nursery_handle.pid)
            self.on_lost(nursery_handle)
            return
        message, descriptors = received
        if message["event"] == "ready":
            nursery_handle.ready = True
            self._backoff.succeeded()
            return
        self.on_event(nursery_handle, message, descriptors[0] if descriptors else None)

    def retire(self) -> None:
        """No more forks at all."""
        for nursery_handle in self.nursery_handles:
            nursery_handle.retire()
