"""Supervisor ⇄ nursery: small JSON messages over a socket that keeps them apart, with descriptors beside.

supervisor → nursery   {"do": "fork", "name": …, "service": …}     {"do": "retire"}
nursery → supervisor   {"event": "refused", "name": …}   its request can't be read
                       {"event": "ready", "offers": {…}, "broken": {…}, "files": {…}}
                       {"event": "forked", "name": …, "pid": …, "start_ticks": …}  + release pipe
                       {"event": "exited", "name": …, "status": …}
"""

from __future__ import annotations

import json
import socket
from typing import Any

_LARGEST = 200_000  # bytes of one message


class Wire:
    """One end of the line."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line

    def fileno(self) -> int:
        """For a selector."""
        return self.line.fileno()

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one message. Raises OSError when the other end is gone."""
        text = json.dumps(message, separators=(",", ":")).encode()
        if descriptors:
            socket.send_fds(self.line, [text], descriptors)
        else:
            self.line.sendall(text)

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors; None when the other end is gone."""
        try:
            text, descriptors, _, _ = socket.recv_fds(self.line, _LARGEST, 4)
        except (ConnectionResetError, BrokenPipeError):
            return None
        return (json.loads(text), descriptors) if text else None

    def close(self) -> None:
        """Hang up."""
        self.line.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new line."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _LARGEST)
    return ends
