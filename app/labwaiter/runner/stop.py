"""The wish to stop, as it arrives in the function's process: a word of the runner's, and SIGTERM."""

from __future__ import annotations

import _thread
import os
import signal
import socket
from types import FrameType

from ..system.channel import Channel

_A_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class Aborted(BaseException):
    """The job is to stop now. No Exception, so that `except Exception` doesn't swallow it."""


class Stop:
    """Whether the job is to stop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._process = os.getpid()
        # the signals that a thread which forks had blocked before, by the thread
        self._blocked: dict[int, set[signal.Signals | int]] = {}
        self.asked = False
        self.armed = False  # whether it may interrupt the work at any line

    def listen(self) -> None:
        """From now on the runner's SIGTERM raises Aborted in the main thread, and ends forks as it ends any Python."""
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
        )
        signal.signal(signal.SIGTERM, self._on_signal)
        self.asked = self._is_told()

    # A fork with our handler could miss a SIGTERM: one that comes before the interpreter forgets what its parent was
    # sent, or just before it waits in C for a lock. So it has none, and the signal waits until then.

    def _before_fork(self) -> None:
        self._blocked[_thread.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked[_thread.get_ident()])

    def _after_fork_in_child(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._after_fork()

    def _is_told(self) -> bool:
        """Whether the runner has said so. The message stays where it is: forks of this process look there, too."""
        try:
            return bool(self._channel.end.recv(100, _A_LOOK))
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
