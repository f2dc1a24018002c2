"""After a session, however it ended: its lab's on_dispose, in a process of its own with a time limit.

The session's process has written that it is due (dispose.json) before on_start was called, and the guard writes that it
is done (disposed.json): so it is done after a power cut, too, once more perhaps, but never not at all. Until it is over
the leases stay, so that nobody is let in.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time

from ..model.lab_session import DISPOSE, DISPOSED, DISPOSING
from ..model.remote_lab import DISPOSE_LIMIT, LIMIT_MAX
from ..model.sentences import N_
from ..settings import SECRETS
from ..store import timeline
from ..store.files import open_ours, read_bounded, write_whole
from ..store.folder import Folder
from ..system.process import MARKER, for_ours, identify, kill_marked, mark_of, tell_group, when_possible

log = logging.getLogger("labwaiter.supervisor")
MORE = 10.0  # s beside its limit, which the process itself keeps: to begin, to open instruments, to be ended


def limit_of(store: Folder, job: str) -> float:
    """How long the on_dispose that is due after a job may take, s; 0 where none is."""
    folder = store.path(job)
    if not (folder / DISPOSE).exists() or (folder / DISPOSED).exists():
        return 0.0
    with contextlib.suppress(ValueError, TypeError, KeyError):
        limit = float(json.loads(read_bounded(folder / DISPOSE, 10_000) or b"")["limit"])
        if 0 < limit <= LIMIT_MAX:
            return limit
    return DISPOSE_LIMIT


def seconds_for(store: Folder, job: str) -> float:
    """How much longer the guard of a job may take for that."""
    limit = limit_of(store, job)
    return limit + 2 * MORE if limit else 0.0


def take_over(store: Folder, job: str) -> None:
    """Note that it is this guard's to have it done: one before, whose process is ended now, has nothing more to do."""
    if limit_of(store, job):
        with contextlib.suppress(OSError):
            write_whole(store.path(job) / DISPOSING, _me())


def _me() -> bytes:
    return json.dumps(vars(identify(os.getpid()))).encode()


def dispose(store: Folder, job: str) -> bool:
    """Have it done, if it is due: False where another guard has taken that over, and what follows, too."""
    limit = limit_of(store, job)
    if not limit:
        return True
    folder = store.path(job)
    mark = mark_of(store.root, job)
    began = time.monotonic()
    why = _run(store, job, mark, limit)
    by = read_bounded(folder / DISPOSING, 10_000)
    if by and by != _me():
        return False
    kill_marked(mark)  # what it has left behind
    took = round(time.monotonic() - began, 1)
    timeline.note(folder, "disposed", why=why, took=took)
    if why:
        log.warning("%s: %s", job, why)
    with contextlib.suppress(OSError):  # else it is done once more: at least once is what is promised
        write_whole(folder / DISPOSED, json.dumps({"why": why, "at": time.time()}).encode(), durable=True)
    return True


def _run(store: Folder, job: str, mark: str, limit: float) -> str:
    """Run it: why it failed, in a sentence; "" where it is done."""
    environment = {name: value for name, value in for_ours(os.environ).items() if name not in SECRETS}
    command = [sys.executable, "-m", "labwaiter.runner.session", job]
    try:
        with os.fdopen(open_ours(store.path(job) / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK), "ab") as out:
            process = when_possible(
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=out,
                    cwd=store.path(job) / "data",
                    env=environment | {MARKER: mark},
                    start_new_session=True,
                )
            )
    except OSError as error:
        return N_(f"on_dispose was not run: no process could be started ({error.strerror}).")
    try:
        told, _ = process.communicate(timeout=limit + MORE)
    except subprocess.TimeoutExpired:
        tell_group(process.pid, signal.SIGKILL)
        kill_marked(mark)
        process.kill()
        process.wait()
        return N_(f"on_dispose took longer than its {limit:g} s, and was killed.")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(told)["why"])
    return N_(f"on_dispose ended its process (exit status {process.returncode}).")
