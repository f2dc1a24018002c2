"""One nursery, as the supervisor sees it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from ..channel import Channel, pair
from ..jobs import supervisor_client
from ..process import MARKER, NO_MARK
from ..settings import Settings


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
