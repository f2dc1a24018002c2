"""What a job's processes may use, and as whom they run: worked out before its runner is forked, put on in each of them.

The runner itself has none of the limits: a log that is longer than a file of the job's may be is still written.
"""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..model.service import MOST, Service
from ..settings import Settings
from ..system.cgroup import Group, Groups
from ..system.process import APP, proc_status
from .account import Account, NotPossible, account_named

__all__ = ["Confinement", "NotPossible", "confinement_of"]

_TO_WIND_UP = 5  # s of CPU time between SIGXCPU, which a program may heed, and its end
# By keyword. RLIMIT_DATA counts what a process may write and has for itself; RLIMIT_AS would count what Go, Java and
# the C library's threads only set aside, too
_RESOURCES = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "memory": resource.RLIMIT_DATA,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "file_size": resource.RLIMIT_FSIZE,
}


@dataclass(frozen=True)
class Confinement:
    """What one job's processes may use, and as whom they run."""

    umask: int
    limits: tuple[tuple[int, int, int], ...] = ()  # resource, soft, hard: getrlimit(2)
    group: Group | None = None
    account: Account | None = None  # None: the supervisor's
    confined: dict[str, Any] = field(default_factory=dict)  # as the job's record tells it: `StoredState.confined`

    def enter(self, folder: str) -> None:
        """Have the runner of the job, and so all that it forks, in the job's group, and be the job's account.

        Args:
            folder: the job's.

        Raises:
            OSError.
        """
        os.umask(self.umask)
        if self.group is not None:
            self.group.enter()
        if self.account is not None:
            self.account.be(folder)

    def put_on(self) -> None:
        """Give its limits to this process and all that it starts. Raises OSError, ValueError."""
        for number, soft, hard in self.limits:
            resource.setrlimit(number, (soft, hard))


def confinement_of(settings: Settings, service: Service | None, mark: str, groups: Groups | None) -> Confinement:
    """That of a job.

    Args:
        service: None where it isn't known.
        groups: where a group can be made for it.

    Raises:
        NotPossible.
    """
    asked = {keyword: value for keyword in MOST if (value := _asked(settings, service, keyword)) is not None}
    umask = _umask(settings.jobs_mode)
    confined: dict[str, Any] = {"umask": f"{umask:03o}"}
    user = _asked(settings, service, "user")
    account = account_named(user) if user else None
    if account is not None:
        if service is not None and service.instruments:
            raise NotPossible(
                f"The execution can't be run as {user} (JOB_USER): it has instruments, which the supervisor's own"
                ' account alone may lease. Its service says so by user="".'
            )
        _judge_ways(account, settings)
        confined["user"] = user
    group, together = None, list[str]()
    if groups is not None:
        with contextlib.suppress(OSError):  # then it has none, and its record says so
            group, together = groups.make(mark, asked.get("memory"), asked.get("cpus"), asked.get("processes"))
            confined |= {"cgroup": True} | ({"together": together} if together else {})
    limits = []
    for keyword, number in _RESOURCES.items():
        if (value := asked.get(keyword)) is None or (keyword == "processes" and keyword in together):
            continue
        if keyword == "processes" and account is None and _may_have_any_number():
            continue
        _, most = resource.getrlimit(number)
        hard = value + (_TO_WIND_UP if keyword == "cpu_seconds" else 0)
        hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
        limits.append((number, min(value, hard), hard))
        confined[keyword] = min(value, hard)
    confined |= {keyword: asked[keyword] for keyword in together}
    return Confinement(umask, tuple(limits), group, account, confined)


def _asked(settings: Settings, service: Service | None, keyword: str) -> Any:
    own = getattr(service, keyword) if service is not None else None
    return getattr(settings, f"job_{keyword}") if own is None else own


def _judge_ways(account: Account, settings: Settings) -> None:
    """Raises NotPossible where an account may not go where its jobs have to."""
    places: dict[str, str | Path] = {
        "the jobs folder, which needs JOBS_MODE=711": settings.jobs_folder,
        "the service files": settings.services,
        "labwaiter": APP,
        "Python": os.path.dirname(os.__file__),
    }
    for words, place in places.items():
        if shut := account.may_reach(place):
            raise NotPossible(
                f"The execution can't be run as {account.name}: that account may not go to {words}; supervisor.log says"
                " which folder keeps it from there.",
                for_log=f"{account.name} can't run jobs: it may not go through {shut}",
            )


def _umask(jobs_mode: int) -> int:
    """077, but for those whom JOBS_MODE lets read the jobs folder: what jobs make is theirs to read, too."""
    rights = jobs_mode & 0o777
    readers = sum(7 << shift for shift in (6, 3, 0) if rights >> shift & 0o4)
    return 0o777 & ~(rights & readers)


def _may_have_any_number() -> bool:
    """Whether the kernel counts no processes for this one: root, or with CAP_SYS_ADMIN or CAP_SYS_RESOURCE."""
    return os.geteuid() == 0 or bool(int(proc_status("CapEff") or b"0", 16) & (1 << 21 | 1 << 24))
