"""The nurseries of a supervisor: one that forks, and retired ones that leave with their last jobs."""

from __future__ import annotations

import contextlib
import logging
import resource
import selectors
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..settings import Settings
from ..store import supervisor_client
from ..system.backoff import Backoff
from ..system.channel import Channel, pair
from ..system.process import MARKER, NO_MARK, boot_clock
from .faults import SHORTAGE

log = logging.getLogger("labwaiter.supervisor")
LONGEST_PAUSE = 30.0  # s between two tries of a nursery that dies as soon as it is there
WANT_PAUSE = 5.0  # s, where none can be had for want of processes or memory


@dataclass
class NurseryHandle:
    """A nursery process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    ready: bool = False
    retired: bool = False

    @property
    def pid(self) -> int:
        """The nursery's pid."""
        return self.process.pid

    def retire(self) -> None:
        """No more forks: it leaves with its last job."""
        self.retired = True
        try:
            self.channel.send({"do": "retire"})
        except OSError:
            pass


class Nurseries:
    """Starts nurseries, hears them, replaces those that died."""

    def __init__(
        self,
        settings: Settings,
        selector: selectors.BaseSelector,
        descriptor_limits: tuple[int, int],
        on_event: Callable[[NurseryHandle, dict[str, Any], int | None], None],
        on_lost: Callable[[NurseryHandle], None],
    ) -> None:
        """
        Args:
            descriptor_limits: RLIMIT_NOFILE as jobs shall have it.
            on_event: called with a nursery's message, and the descriptor beside it.
            on_lost: called when a nursery is gone, retired or not.
        """
        self._settings, self._selector, self._descriptor_limits = settings, selector, descriptor_limits
        self._on_event, self._on_lost = on_event, on_lost
        self._nurseries: list[NurseryHandle] = []  # the last one is the one that forks
        self._backoff = Backoff(0.5, LONGEST_PAUSE)

    @property
    def pids(self) -> set[int]:
        """The nurseries' pids."""
        return {nursery.pid for nursery in self._nurseries}

    @property
    def descriptors(self) -> list[int]:
        """Our ends of their channels."""
        return [nursery.channel.fileno() for nursery in self._nurseries]

    def ready(self) -> NurseryHandle | None:
        """The nursery that forks; None while it isn't ready."""
        if not self._nurseries or self._nurseries[-1].retired:
            self.start()
            return None
        nursery = self._nurseries[-1]
        return nursery if nursery.ready else None

    def start(self) -> None:
        """Start one, unless the last one died so soon that it's better to wait."""
        now = boot_clock()
        if not self._backoff.is_due(now):
            return
        self._backoff.started(now)
        try:
            nursery = _spawn(self._settings)
        except SHORTAGE as error:
            log.warning("no nursery can be had now (%s); it is tried again", error)
            self._backoff.due = now + min(WANT_PAUSE, self._backoff.pause)
            return
        with contextlib.suppress(OSError):  # ours are raised; jobs have those that this deployment was started with
            resource.prlimit(nursery.pid, resource.RLIMIT_NOFILE, self._descriptor_limits)
        self._nurseries.append(nursery)
        self._selector.register(nursery.channel, selectors.EVENT_READ, lambda: self._receive(nursery))

    def _receive(self, nursery: NurseryHandle) -> None:
        received = nursery.channel.receive()
        if received is None:
            self._selector.unregister(nursery.channel)
            nursery.channel.close()
            self._nurseries.remove(nursery)
            if not nursery.retired:
                log.warning("the nursery (pid %d) is gone", nursery.pid)
            self._on_lost(nursery)
            return
        message, descriptors = received
        if message["event"] == "ready":
            nursery.ready = True
            self._backoff.succeeded()
            return
        self._on_event(nursery, message, descriptors[0] if descriptors else None)

    def retire(self) -> None:
        """No more forks at all."""
        for nursery in self._nurseries:
            nursery.retire()


def _spawn(settings: Settings) -> NurseryHandle:
    """Start a nursery; it says `ready` when it is."""
    ours, theirs = pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labwaiter.supervisor.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**supervisor_client.environment(settings), MARKER: NO_MARK},
            cwd="/",
            start_new_session=True,
        )
    finally:
        theirs.close()
    return NurseryHandle(process, Channel(ours))
