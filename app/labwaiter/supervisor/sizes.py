"""How much the jobs' folders hold, and who has to stop for it: looked at by short-lived children of the supervisor.

A walk through folders takes as long as their files are many, so the supervisor starts one and reads what it has found.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterator
from functools import partial

from ..model.record import ENDED
from ..model.sentences import N_
from ..model.span import size
from ..settings import Settings
from ..store.files import read_record, write_whole
from ..store.folder import Folder
from .cleanup import Cleanup
from .faults import DAMAGED
from .running_job import StopReason

LOOK_EVERY = 2.0  # s between two looks while jobs run
IDLE_EVERY = 30.0  # s while none does
REST = 20.0  # times as long as a look takes nobody looks again
LOOK_SECONDS = 10.0  # that a look may take: what it has seen by then is told as what there is at least
GROWTH_MIN = 1_000_000  # bytes by which a folder has grown for its job to be stopped where all are too large together
READ_MAX = 10_000_000
TOO_LARGE = (
    "The folder of the execution came to hold {size}, and may hold {most_size}: it was stopped. Have it write less, or"
    " the administrator raise JOB_FOLDER_LIMIT."
)
ALL_TOO_LARGE = (
    "All executions together came to hold {size} on the disk, and may hold {most_size}; this one grew most, by"
    " {more_size} to {own_size}, and was"
    " stopped. Have the administrator remove old ones, or raise JOBS_FOLDER_LIMIT."
)


class SizeWatch:
    """Has the folders looked at, and says which jobs are to be stopped."""

    def __init__(self, settings: Settings, store: Folder, cleanup: Cleanup) -> None:
        self._most, self._most_of_all = settings.job_folder_limit, settings.jobs_folder_limit
        self._store, self._cleanup = store, cleanup
        self._look: tuple[int, int] | None = None  # the child that is at it, and the descriptor of its answer
        self._due = 0.0  # the next look, boot clock, s
        self._sizes: dict[str, int] = {}  # of the running jobs' folders, as they were read last
        self._stopped: str | None = None  # the job that was stopped for all: the next one is, once it is gone

    def check(self, now: float, running: Collection[str]) -> list[tuple[str, StopReason]]:
        """The jobs that are to be stopped, once a look is over; else have the next one begin when it is due.

        Args:
            now: boot clock, s.
            running: the names of the running jobs.
        """
        if self._most is None and self._most_of_all is None:
            return []
        if self._look is not None:
            child, answer = self._look
            if child in self._cleanup.pids:
                return []
            self._look, self._due = None, now + LOOK_EVERY
            with open(answer, "rb") as file:
                return self._judge(os.pread(file.fileno(), READ_MAX, 0), now, running)
        if now >= self._due and (running or self._most_of_all is not None):
            self._begin(now, list(running))
        return []

    def _begin(self, now: float, running: list[str]) -> None:
        self._due = now + LOOK_EVERY  # where no child can be had
        answer = os.memfd_create("sizes")  # no file: a full disk takes none
        look = partial(look_at, self._store, running, self._most_of_all is not None, LOOK_SECONDS, answer)
        child = self._cleanup.in_a_child(look, "a look at how much the jobs' folders hold", LOOK_SECONDS + 10)
        if child is None:
            os.close(answer)
        else:
            self._look = child, answer

    def _judge(self, answer: bytes, now: float, running: Collection[str]) -> list[tuple[str, StopReason]]:
        try:
            found = json.loads(answer)
            sizes = {name: int(count) for name, count in found["running"].items() if name in running}
            whole = int(found["whole"] or 0)
        except DAMAGED:  # it was ended before it was done: the next look tells
            return []
        self._due = now + max(LOOK_EVERY if running else IDLE_EVERY, REST * float(found["seconds"]))
        before, self._sizes = self._sizes, sizes
        too_large = [
            (name, StopReason("size", TOO_LARGE.format(size=size(count), most_size=size(self._most))))
            for name, count in sizes.items()
            if self._most is not None and count > self._most
        ]
        if too_large or self._most_of_all is None or whole <= self._most_of_all or self._stopped in running:
            return too_large
        growth = {name: count - before.get(name, count) for name, count in sizes.items()}
        name = max(growth, key=growth.__getitem__, default=None)
        if name is None or growth[name] < GROWTH_MIN:
            return []
        self._stopped = name
        why = N_(ALL_TOO_LARGE).format(
            size=size(whole),
            most_size=size(self._most_of_all),
            more_size=size(growth[name]),
            own_size=size(sizes[name]),
        )
        return [(name, StopReason("size", why))]


def look_at(store: Folder, running: list[str], whole: bool, seconds: float, answer: int) -> None:
    """Find how much the folders hold, as a child does it, and write it to sizes.json, too, for faces.

    Args:
        running: the jobs whose folders are looked at in any case.
        whole: all others, and what is the deployment's own, are looked at, too.
        seconds: that it may take.
        answer: the descriptor that gets it.
    """
    os.nice(10)
    began = time.monotonic()
    until = began + seconds
    sizes = {name: held(store.path(name), until) for name in running}
    of_all = sum(sizes.values()) + _of_others(store, set(running), until) if whole else None
    content = {"whole": of_all, "running": sizes, "seconds": round(time.monotonic() - began, 3)}
    text = json.dumps(content).encode()
    os.write(answer, text)
    if whole:
        with contextlib.suppress(OSError):
            write_whole(store.layout.sizes, text)


def _of_others(store: Folder, running: Collection[str], until: float) -> int:
    """What the folders of jobs that don't run hold: of one that has ended that is kept until the folder changes."""
    try:
        kept = json.loads(read_record(store.layout.kept_sizes, 10 * READ_MAX) or b"{}")
    except (OSError, ValueError):
        kept = {}
    seen: dict[str, tuple[int, int]] = {}
    total = held(store.layout.folder, until)
    for name in store.names():
        if name in running:
            continue
        try:
            stamp = os.stat(store.path(name)).st_mtime_ns
        except OSError:
            continue
        entry = kept.get(name)
        if entry is not None and entry[0] == stamp:
            seen[name] = (stamp, entry[1])
            total += entry[1]
            continue
        total += (count := held(store.path(name), until))
        if time.monotonic() < until and _has_ended(store, name):
            seen[name] = (stamp, count)
    if seen != {name: tuple(entry) for name, entry in kept.items()}:
        with contextlib.suppress(OSError):
            write_whole(store.layout.kept_sizes, json.dumps(seen).encode())
    return total


def _has_ended(store: Folder, name: str) -> bool:
    with contextlib.suppress(OSError, *DAMAGED):
        stored = store.stored_state(name)
        return stored is None or stored.state in ENDED  # None: a tombstone, or it waits
    return False


def held(folder: os.PathLike[str], until: float) -> int:
    """Bytes that a folder and all that lies in it take on its disk; a file of several names counts once.

    Links are not followed, and no other disk is looked at. What can't be seen counts nothing.

    Args:
        until: monotonic clock, s: then it is what was seen by then.
    """
    total, linked = 0, set()
    try:
        disk = os.lstat(folder).st_dev
    except OSError:
        return 0
    folders = [os.fspath(folder)]
    while folders and time.monotonic() < until:
        for entry in _entries(folders.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev != disk:
                continue
            if is_folder:
                folders.append(entry.path)
            elif status.st_nlink > 1:
                if status.st_ino in linked:
                    continue
                linked.add(status.st_ino)
            total += status.st_blocks * 512
    return total


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from entries
