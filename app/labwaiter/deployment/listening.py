"""Who listens on a port, and why this deployment can't. By the kernel's own tables, not psutil's: decision 0020.

Sources: proc_net(5), proc_pid_fd(5), socket(7).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from ..settings import Settings
from ..system.process import Identity
from .address import get, own_address

_LISTEN = "0A"  # a socket's state in proc_net(5)


def listening_sockets(port: int) -> set[int]:
    """The inodes of all sockets of this machine that listen to `port`."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(int(fields[9]))
    return inodes


def sockets_of(processes: Iterable[Identity]) -> set[int]:
    """The inodes of the sockets that these processes hold."""
    inodes = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{process.pid}/fd"):
                with contextlib.suppress(OSError):
                    if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path)):
                        inodes.add(int(match[1]))
    return inodes


def refusal(settings: Settings, own_processes: list[Identity]) -> str | None:
    """Why this deployment can't listen where it should (`address.resolved`), in a sentence; None when it can.

    Args:
        own_processes: those of its web side that runs, whose place it may take.
    """
    host, port = settings.host, settings.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            return None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"HOST={host} is no address of this machine."
            if error.errno == errno.EACCES:
                return f"Port {port} needs more rights than this user has: choose one from 1024 on."
            if error.errno != errno.EADDRINUSE:
                return f"{host} can't be listened on: {error.strerror}. HOST names another address."
    listening = listening_sockets(port)
    if listening and listening <= sockets_of(own_processes):
        return None
    if _labwaiter_answers(settings):
        return (
            f"Port {port} is taken by another deployment of labwaiter, with another jobs folder: stop it as"
            " it was started, or choose another port."
        )
    return f"Port {port} is taken by another program: end it, or choose another port."


def _labwaiter_answers(settings: Settings) -> bool:
    """Whether what answers where this deployment should is labwaiter."""
    with contextlib.suppress(OSError, ValueError), get(own_address(settings) + "health") as answer:
        return "deployment" in json.load(answer)
    return False
