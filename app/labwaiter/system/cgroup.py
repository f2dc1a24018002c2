"""Control groups, a job each: memory, processors and processes bounded for all of a job, which is killed as one.

Version 2 of cgroups(7). They are used where this process was put into a group named `supervisor` of a part of the tree
that is its own: systemd does so for a unit with Delegate=yes and DelegateSubgroup=supervisor (254 and later). Nobody is
moved out of a group here: a unit whose own group holds processes, or controls others, can't be started again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .process import read_proc

OWN = "supervisor"  # the group of the supervisor and its fork servers, beside those of the jobs
_WANTED = ("memory", "cpu", "pids")
_PERIOD = 100_000  # µs in which a share of the processors is counted
KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Groups:
    """Where the groups of jobs are made."""

    base: str  # the folder that they are in
    controllers: frozenset[str]  # of memory, cpu and pids those that can be bounded in them

    def of(self, mark: str) -> Group:
        """The group of a job, there or not."""
        return Group(f"{self.base}/job-{mark[:32]}")

    def make(self, mark: str, memory: int | None, cpus: float | None, processes: int | None) -> tuple[Group, list[str]]:
        """Make the group of a job: it, and what of the three is bounded in it.

        Args:
            memory: bytes.
            cpus: processors kept busy.

        Raises:
            OSError: it can't be made.
        """
        group = self.of(mark)
        with contextlib.suppress(FileExistsError):
            os.mkdir(group.path)
        held = []
        if memory is not None and "memory" in self.controllers:
            _write(f"{group.path}/memory.max", str(memory))
            with contextlib.suppress(OSError):  # without swap there is no such file
                _write(f"{group.path}/memory.swap.max", "0")
            held.append("memory")
        if cpus is not None and "cpu" in self.controllers:
            _write(f"{group.path}/cpu.max", f"{max(1000, round(cpus * _PERIOD))} {_PERIOD}")
            held.append("cpus")
        if processes is not None and "pids" in self.controllers:
            _write(f"{group.path}/pids.max", str(processes))
            held.append("processes")
        return group, held


@dataclass(frozen=True)
class Group:
    """The group of one job."""

    path: str

    def enter(self) -> None:
        """Be in it, with all that this process will start. Raises OSError."""
        _write(f"{self.path}/cgroup.procs", "0")

    def kill(self) -> bool:
        """SIGKILL all that is in it, also what forks meanwhile; False where something is left after 5 s, or none is."""
        try:
            _write(f"{self.path}/cgroup.kill", "1")
        except OSError:
            return False
        until = time.monotonic() + KILL_SECONDS
        while self._count("cgroup.events", "populated"):
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    def remove(self) -> None:
        """Remove it, and what its job made in it, once nothing runs there."""
        with contextlib.suppress(OSError):
            os.rmdir(self.path)
            return
        for folder in beneath(self.path):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed something in it because all together needed more than its memory."""
        return bool(self._count("memory.events", "oom_kill"))

    def _count(self, file: str, name: str) -> int:
        """A number of one of its files; 0 where there is none."""
        with contextlib.suppress(OSError, ValueError):
            for line in read_proc(f"{self.path}/{file}").splitlines():
                field, _, number = line.partition(b" ")
                if field == name.encode():
                    return int(number)
        return 0


def found() -> Groups | None:
    """Where this process may make groups, tried by making one; None where it can't."""
    try:
        own = own_folder()
        if own is None or os.path.basename(own) != OWN:
            return None
        base = os.path.dirname(own)
        trial = f"{base}/trial-{os.getpid()}"
        os.mkdir(trial)
        can_kill = os.path.exists(f"{trial}/cgroup.kill")  # Linux 5.14
        os.rmdir(trial)
        if not can_kill:
            return None
        for controller in _WANTED:
            with contextlib.suppress(OSError):  # this one isn't delegated
                _write(f"{base}/cgroup.subtree_control", f"+{controller}")
        controllers = read_proc(f"{base}/cgroup.subtree_control").decode().split()
        return Groups(base, frozenset(_WANTED) & frozenset(controllers))
    except OSError:
        return None


def own_folder() -> str | None:
    """The folder of this process' group; None where no version 2 is mounted. Raises OSError."""
    lines = read_proc("/proc/self/cgroup").decode("utf-8", "surrogateescape").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None:
        return None
    for line in read_proc("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        fields, _, more = line.partition(" - ")
        if more.startswith("cgroup2 "):
            root, place = fields.split(" ")[3:5]
            inside = own.removeprefix(root.rstrip("/"))
            return f"{place}{inside}" if own.startswith(root) else None
    return None


def beneath(folder: str) -> Iterator[str]:
    """A folder and all in it, the deepest first."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from beneath(entry.path)
    yield folder


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
