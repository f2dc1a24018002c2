"""Telling systemd that the supervisor is ready and alive: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket


def tell(state: str) -> None:
    """Send READY=1, WATCHDOG=1, STOPPING=1 … where a service manager listens; else do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract name space
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        line.sendto(state.encode(), address)
