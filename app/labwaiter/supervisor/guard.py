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

from ..runner import ending
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..system.process import MARKER, for_ours, identify, kill, kill_marked, lives, mark_of, once_there_is, tell_group
from .running_job import RunningJob

log = logging.getLogger("labwaiter.supervisor")
DAMAGED = (ValueError, TypeError, KeyError)  # what a record raises that is none
SECONDS = 20.0  # a guard that isn't done by then is ended, and what it found so far stands


@dataclass(frozen=True)
class CleanupTask:
    """What a guard is at."""

    job: str = ""
    instruments: tuple[str, ...] = ()  # that it makes safe
    running_job: RunningJob | None = None  # the job that is settled afterwards


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


def clear_up(store: Folder, running_job: RunningJob) -> None:
    """End what the job left behind, and write the end that it didn't write itself."""
    mark = mark_of(store.root, running_job.name)
    if running_job.condition.runner is not None:
        with contextlib.suppress(OSError):  # what can't be seen now is looked for by its mark
            if lives(running_job.runner):
                kill(running_job.runner)
            # a group outlives its leader; where the leader's number is somebody else's, its group is, too
            if identify(running_job.runner.pid) is None:
                tell_group(running_job.runner.pid, signal.SIGKILL)
    _end_marked(mark, running_job.name)
    try:
        _write_missing_end(store, running_job)
    except (OSError, *DAMAGED) as error:  # what is there and can't be read is told where the job is settled
        log.warning("%s: its end can't be written (%s)", running_job.name, error)
    except Exception:  # a full disk, or a record that can't be read, keeps no heater on
        log.exception("%s: its end can't be written", running_job.name)
    if running_job.instruments:
        make_safe(store, running_job.name, running_job.instruments)


def _end_marked(mark: str, job: str) -> None:
    """End all that carries a job's mark; what could not be ended keeps no instrument from being made safe."""
    try:
        left = kill_marked(mark)
    except OSError:
        log.exception("%s: what it left behind can't be looked for", job)
        return
    if left:
        log.warning("%s: %d processes could not be ended", job, left)


def _write_missing_end(store: Folder, running_job: RunningJob) -> None:
    """The end of a job whose process has ended without one, as far as its exit status tells it."""
    if (
        running_job.status is None
        or running_job.condition.stopping is not None
        or store.end(running_job.name) is not None
    ):
        return
    if store.never_began(running_job.name, running_job.condition):
        return
    result = store.path(running_job.name) / "result.txt"
    hand_on = partial(ending.hand_on, store.root, running_job.name)
    store.write_end(running_job.name, ending.of_program(running_job.status, result, running_job.rules.outputs, hand_on))


def after_orphan(store: Folder, job: str, instruments: tuple[str, ...]) -> None:
    """End what is left of a job whose supervisor died with it, then make safe what it had."""
    _end_marked(mark_of(store.root, job), job)
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
    environment = {**for_ours(os.environ), MARKER: mark_of(store.root, job)}
    # want of processes leaves nothing on: our own time ends the waiting
    process = once_there_is(
        lambda: subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/", env=environment
        )
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
    line = f"[{time.strftime('%H:%M:%S')}] {text}\n"
    with contextlib.suppress(OSError), open(store.path(job) / "log.txt", "ab") as log:
        log.write(line.encode("utf-8", "backslashreplace"))
