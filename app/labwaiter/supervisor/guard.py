"""After a job's process is gone: nothing of it may be left.

This runs in a short-lived child of the supervisor, because /proc and disks may keep it waiting,
and the supervisor waits for nobody.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..jobs.exchange import name_of
from ..jobs.folder import Folder
from ..process import MARKER, NO_MARK, children, identify, kill, kill_marked, lives, mark_of, tell_group
from ..runner import ending
from .charge import Charge

SECONDS = 20.0  # a guard that isn't done by then is ended, and what it found so far stands


def in_a_child(work: Callable[[], None], close: list[int]) -> int:
    """Fork a child that does `work` and leaves: its pid.

    Args:
        close: descriptors that only the supervisor may hold.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(SECONDS))
        for fd in close:
            os.close(fd)
        work()
        status = 0
    except BaseException:
        import traceback

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
        print(f"{charge.name}: {left} processes could not be ended", flush=True)
    if charge.status is not None and charge.condition.stopping is None and store.end(charge.name) is None:
        result = store.path(charge.name) / "result.txt"
        hand_on = partial(name_of, store.root, charge.name)
        store.write_end(charge.name, ending.of_program(charge.status, result, charge.rules.outputs, hand_on))


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
