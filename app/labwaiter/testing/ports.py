"""Ports for deployments that run at the same time on one machine."""

from __future__ import annotations

import random
import socket

RANGE = range(20_000, 32_000)  # below those that the kernel gives to whoever connects (ip_local_port_range)
_taken: list[socket.socket] = []


def free_port() -> int:
    """A port of this machine that nobody has now, for this process's tests alone as long as it lives."""
    while True:
        port = random.SystemRandom().choice(RANGE)
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            ours.bind(f"\0labwaiter-tests-port-{port}")  # a name that goes with its process: unix(7), abstract
            with socket.socket() as trial:
                trial.bind(("", port))
        except OSError:
            ours.close()
            continue
        _taken.append(ours)
        return port
