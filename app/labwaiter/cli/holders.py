"""Who has a serial port: the programs that hold or have opened it, as far as this user may see.

pyserial and many others take a flock on the device (proc_locks(5)); for the rest every process' open files are looked
at (proc_pid_fd(5)).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def words(port: str) -> str:
    """ " It is opened by NAME (pid N).", or "" where nobody is seen."""
    found = [f"{name} (pid {pid})" for pid, name in of(port)]
    return f" It is opened by {', '.join(found)}." if found else ""


def of(port: str) -> list[tuple[int, str]]:
    """Pids and names of the programs that hold a device; of those that have it open where none holds it."""
    try:
        device = os.stat(port)
    except (OSError, ValueError):
        return []  # a URL, or not there
    pids = _lockers(device) or _openers(device)
    return [(pid, _name(pid)) for pid in sorted(pids) if pid not in (0, os.getpid())]


def _lockers(device: os.stat_result) -> set[int]:
    wanted = f"{os.major(device.st_dev):02x}:{os.minor(device.st_dev):02x}:{device.st_ino}"
    found = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == wanted:
                found.add(int(fields[4]))
    return found


def _openers(device: os.stat_result) -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit():
                for fd in os.scandir(f"/proc/{entry}/fd"):
                    with contextlib.suppress(OSError):
                        if os.path.samestat(os.stat(fd.path), device):
                            found.add(int(entry))
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"
