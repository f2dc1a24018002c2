"""The wish to stop, as it arrives in the function's process: a word of the runner's, and SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType

from ..system.channel import Channel


class Aborted(BaseException):
    """The job is to stop now. No Exception, so that `except Exception` doesn't swallow it."""


class Stop:
    """Whether the job is to stop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._process = os.getpid()
        self.asked = False
        self.armed = False  # whether it may interrupt the work at any line

    def listen(self) -> None:
        """From now on the runner's SIGTERM raises Aborted in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        self.asked = self._is_told()

    def _is_told(self) -> bool:
        """Whether the runner has said so. The message stays where it is: forks of this process look there, too."""
        try:
            return bool(self._channel.end.recv(100, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False
        except OSError:
            return False  # the work has closed what isn't its own

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            return
        if os.getpid() != self._process or not self._is_told():
            # nobody of ours sent it, or not to us: as in any Python
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self.asked = True
        if self.armed:
            raise Aborted()

    def check(self) -> None:
        """Raises Aborted once the stop was asked, however often."""
        if self.asked and self.armed:
            raise Aborted()
