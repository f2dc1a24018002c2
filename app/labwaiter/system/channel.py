"""Messages between two processes of ours on one machine: JSON over a socket that keeps them apart, descriptors beside.

supervisor → fork server   {"do": "fork", "name": …}     {"do": "retire"}
fork server → supervisor   {"event": "ready"}
                       {"event": "refused", "name": …, "why": "record" or "processes"}   it was not forked
                       {"event": "forked", "name": …, "pid": …, "start_ticks": …}  + release pipe
                       {"event": "exited", "name": …, "status": …}
runner → function      {"do": "begin"}     {"do": "stop"}
function → runner      {"say": {…}}   changes of progress.json      {"end": {…}}   what end.json will hold
                       {"failed": …}   why a part of ours can't go on: the job ends
                       {"waits": text}   a program waits for a process
                       {"began": pgid}, {"ended": pgid}   a program's process group
                       {"reply": [number, text]}   to a message
                       {"run": {…}}   the program that the function gave: it has nothing more to do
                       {"script": {…}}  + its output, + a channel for {"status": …} or {"refused": …}
                       {"drain": null}  + a pipe that a program's descendants still hold
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

_SMALL = 60_000  # bytes of a message that is sent as it is: well below what a socket takes at once
_LARGEST = 100_000_000  # bytes of any message
_ROOM = socket.CMSG_LEN(8 * array.array("i").itemsize)  # for descriptors
# as a number: an Enum looks for a member, and makes one, each time that two are joined
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_FLAG = b"@"  # instead of a message: it lies in the descriptor beside this


class Channel:
    """One end. Several threads may send at the same time; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def fileno(self) -> int:
        """For a selector."""
        return self.end.fileno()

    def send(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one message, however long. Raises OSError when the other end is gone."""
        text = _encode(message).encode("utf-8", "surrogatepass")
        if len(text) <= _SMALL:
            socket.send_fds(self.end, [text], descriptors or [])
            return
        aside = os.memfd_create("message", os.MFD_CLOEXEC)
        try:
            with open(aside, "wb", closefd=False) as file:
                file.write(text)
            socket.send_fds(self.end, [_FLAG], [aside, *(descriptors or [])])
        finally:
            os.close(aside)

    def receive(self, flags: int = 0) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors; None when the other end is gone. Raises as recvmsg(2) does."""
        try:
            # not socket.recv_fds: it passes no flags on
            text, beside, _, _ = self.end.recvmsg(_SMALL, _ROOM, int(flags) | _CLOEXEC)
        except (ConnectionResetError, BrokenPipeError):
            return None
        numbers = array.array("i")
        for _, _, data in beside:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
        descriptors = numbers.tolist()
        if text == _FLAG:
            aside = descriptors.pop(0)
            try:
                text = os.pread(aside, min(_LARGEST, os.fstat(aside).st_size), 0)
            finally:
                os.close(aside)
        return (json.loads(text.decode("utf-8", "surrogatepass")), descriptors) if text else None

    def close(self) -> None:
        """Hang up."""
        self.end.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new one."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
