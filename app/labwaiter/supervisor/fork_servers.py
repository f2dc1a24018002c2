"""The fork servers of a supervisor: one that forks, and retired ones that leave with their last jobs."""

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
LONGEST_PAUSE = 30.0  # s between two tries of a fork server that dies as soon as it is there
WANT_PAUSE = 5.0  # s, where none can be had for want of processes or memory


@dataclass
class ForkServerHandle:
    """A fork server process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    ready: bool = False
    retired: bool = False

    @property
    def pid(self) -> int:
        """The fork server's pid."""
        return self.process.pid

    def retire(self) -> None:
        """No more forks: it leaves with its last job."""
        self.retired = True
        try:
            self.channel.send({"do": "retire"})
        except OSError:
            pass


class ForkServers:
    """Starts fork servers, hears them, replaces those that died."""

    def __init__(
        self,
        settings: Settings,
        selector: selectors.BaseSelector,
        descriptor_limits: tuple[int, int],
        on_event: Callable[[ForkServerHandle, dict[str, Any], int | None], None],
        on_lost: Callable[[ForkServerHandle], None],
    ) -> None:
        """
        Args:
            descriptor_limits: RLIMIT_NOFILE as jobs shall have it.
            on_event: called with a fork server's message, and the descriptor beside it.
            on_lost: called when a fork server is gone, retired or not.
        """
        self._settings, self._selector, self._descriptor_limits = settings, selector, descriptor_limits
        self._on_event, self._on_lost = on_event, on_lost
        self._fork_servers: list[ForkServerHandle] = []  # the last one is the one that forks
        self._backoff = Backoff(0.5, LONGEST_PAUSE)

    @property
    def pids(self) -> set[int]:
        """The fork servers' pids."""
        return {fork_server.pid for fork_server in self._fork_servers}

    @property
    def descriptors(self) -> list[int]:
        """Our ends of their channels."""
        return [fork_server.channel.fileno() for fork_server in self._fork_servers]

    def ready(self) -> ForkServerHandle | None:
        """The fork server that forks; None while it isn't ready."""
        if not self._fork_servers or self._fork_servers[-1].retired:
            self.start()
            return None
        fork_server = self._fork_servers[-1]
        return fork_server if fork_server.ready else None

    def start(self) -> None:
        """Start one, unless the last one died so soon that it's better to wait."""
        now = boot_clock()
        if not self._backoff.is_due(now):
            return
        self._backoff.started(now)
        try:
            fork_server = _spawn(self._settings)
        except SHORTAGE as error:
            log.warning("no fork server can be had now (%s); it is tried again", error)
            self._backoff.due = now + min(WANT_PAUSE, self._backoff.pause)
            return
        with contextlib.suppress(OSError):  # ours are raised; jobs have those that this deployment was started with
            resource.prlimit(fork_server.pid, resource.RLIMIT_NOFILE, self._descriptor_limits)
        self._fork_servers.append(fork_server)
        self._selector.register(fork_server.channel, selectors.EVENT_READ, lambda: self._receive(fork_server))

    def _receive(self, fork_server: ForkServerHandle) -> None:
        received = fork_server.channel.receive()
        if received is None:
            self._selector.unregister(fork_server.channel)
            fork_server.channel.close()
            self._fork_servers.remove(fork_server)
            if not fork_server.retired:
                log.warning("the fork server (pid %d) is gone", fork_server.pid)
            self._on_lost(fork_server)
            return
        message, descriptors = received
        if message["event"] == "ready":
            fork_server.ready = True
            self._backoff.succeeded()
            return
        self._on_event(fork_server, message, descriptors[0] if descriptors else None)

    def retire(self) -> None:
        """No more forks at all."""
        for fork_server in self._fork_servers:
            fork_server.retire()


def _spawn(settings: Settings) -> ForkServerHandle:
    """Start a fork server; it says `ready` when it is."""
    ours, theirs = pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labwaiter.supervisor.fork_server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**supervisor_client.environment(settings), MARKER: NO_MARK},
            cwd="/",
            start_new_session=True,
        )
    finally:
        theirs.close()
    return ForkServerHandle(process, Channel(ours))
