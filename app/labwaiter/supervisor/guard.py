"""After a job's process is gone: nothing of it may be left.

This runs in a short-lived child of the supervisor, because /proc and disks may keep it waiting,
and the supervisor waits for nobody.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..jobs.exchange import name_of
from ..jobs.folder import Folder
from ..jobs.leases import Held, Lease, Leases
from ..process import MARKER, NO_MARK, children, identify, kill, kill_marked, lives, mark_of, tell_group
from ..runner import ending
from .charge import Charge

log = logging.getLogger("labwaiter.supervisor")
SECONDS = 20.0  # a guard that isn't done by then is ended, and what it found so far stands


@dataclass(frozen=True)
class Duty:
    """What a guard is at."""

    job: str = ""
    instruments: tuple[str, ...] = ()  # that it makes safe
    charge: Charge | None = None  # the job that is settled afterwards


def in_a_child(work: Callable[[], None], close: list[int], seconds: float = SECONDS) -> int:
    """Fork a child that does `work` and leaves: its pid.

    Args:
        close: descriptors that only the supervisor may hold.
        seconds: after so many it is ended.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(math.ceil(seconds))
        for fd in close:
            os.close(fd)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def clear_up(store: Folder, charge: Charge) -> None:
    """End what the job left behind, and write the end that it didn't write itself."""
    mark = mark_of(store.root, charge.name)
    if lives(charge.runner):
        kill(charge.runner)
    # a group outlives its leader; where the leader's number is somebody else's, its group is, too
    if identify(charge.runner.pid) is None:
        tell_group(charge.runner.pid, signal.SIGKILL)
    left = kill_marked(mark)
    if left:
        log.warning("%s: %d processes could not be ended", charge.name, left)
    if charge.status is not None and charge.condition.stopping is None and store.end(charge.name) is None:
        result = store.path(charge.name) / "result.txt"
        hand_on = partial(name_of, store.root, charge.name)
        end = ending.of_program(charge.status, result, charge.rules.outputs, hand_on)
        try:
            store.write_end(charge.name, end)
        except OSError:  # a full disk keeps no heater on
            log.exception("%s: its end can't be written", charge.name)
    if charge.instruments:
        make_safe(store, charge.name, charge.instruments)


def after_orphan(store: Folder, job: str, instruments: tuple[str, ...]) -> None:
    """End what is left of a job whose supervisor died with it, then make safe what it had."""
    kill_marked(mark_of(store.root, job))
    make_safe(store, job, instruments)


def make_safe(store: Folder, job: str, instruments: tuple[str, ...]) -> None:
    """Have a process of its own make them safe and ask them; free those that are, and tell the job's log.

    It carries the job's mark: a guard that comes after one that died ends what that one had begun.
    """
    leases = Leases(store.root)
    ours = [name for name in instruments if _begin(leases, name, job)]
    if not ours:
        return
    command = [sys.executable, "-m", "labwaiter.instruments.safety", *ours]
    environment = {**os.environ, MARKER: mark_of(store.root, job)}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/", env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        said = json.loads(line)
        name, why = said["name"], said["why"]
        tell(store, job, f"{name}: {why}" if said["safe"] else f"{name} is UNSAFE: {why}")
        with contextlib.suppress(
            OSError
        ):  # then it stays closed, and the supervisor has room even on a full disk: `judge`
            if said["safe"]:
                leases.give_back(name, job)
            else:
                leases.hand_on(Lease(name, Held.UNSAFE, job, why, time.time()), durable=True)
    process.wait()


def _begin(leases: Leases, name: str, job: str) -> bool:
    """Note that it is being made safe; False where nothing is to be done: never opened, or somebody else's by now."""
    try:
        lease = leases.of(name)
        if lease is not None and lease.job == job and not lease.opened:
            leases.give_back(name, job)
            return False
        return leases.hand_on(Lease(name, Held.MAKING_SAFE, job, since=time.time()))
    except OSError:
        log.exception("%s: its lease can't be written", name)  # it stays held, which is not free either
        return True


def judge(store: Folder, job: str) -> None:
    """After the guard: what it did not get to is unsafe. We don't guess that a heater is off. Raises OSError."""
    leases = Leases(store.root)
    for lease in leases.of_job(job):
        if not lease.opened:
            leases.free(lease.instrument)
        elif lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
            why = f"{lease.instrument} could not be made safe in the time that it has for that."
            leases.write(Lease(lease.instrument, Held.UNSAFE, job, why, time.time()))
            tell(store, job, f"{lease.instrument} is UNSAFE: {why}")


def tell(store: Folder, job: str, text: str) -> None:
    """Add a line to a job's log."""
    with contextlib.suppress(OSError), open(store.path(job) / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")


def strays(known: set[int]) -> list[int]:
    """Children of this process that nobody knows: what jobs left behind, without any mark.

    A nursery carries NO_MARK and is none of them, whoever started it.
    """
    found = []
    for pid in children():
        if pid in known or identify(pid) is None:
            continue
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{MARKER}={NO_MARK}".encode() not in environ:
            found.append(pid)
    return found
