"""One nursery, as the supervisor sees it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from ..settings import Settings
from ..store import supervisor_client
from ..system.channel import Channel, pair
from ..system.process import MARKER, NO_MARK


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


def spawn(settings: Settings) -> NurseryHandle:
    """Start a nursery; it says `ready` when it is."""
    ours, its = pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labwaiter.supervisor.nursery", str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            env={**supervisor_client.environment(settings), MARKER: NO_MARK},
            cwd="/",
            start_new_session=True,
        )
    finally:
        its.close()
    return NurseryHandle(process, Channel(ours))
