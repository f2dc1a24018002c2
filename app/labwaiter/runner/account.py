"""Another account for a job's processes, where the supervisor is root.

The job's folder stays root's, with a sticky bit: its account writes there, and replaces nothing of ours. What it puts
there is read as anything that strangers put somewhere: `store.files`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..store import messages, timeline
from ..store.folder import TOKEN_FILE
from ..system.process import read_proc


class NotPossible(Exception):
    """A job can't be run as it is to be; the message is for its user.

    Attributes:
        for_log: what the administrator is to know besides; "": nothing.
    """

    def __init__(self, message: str, for_log: str = "") -> None:
        super().__init__(message)
        self.for_log = for_log


@dataclass(frozen=True)
class Account:
    """An account of this machine."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    def may_reach(self, folder: str | Path) -> str | None:
        """The first folder on the way to this one that it may not go through; None where it may reach it.

        Raises:
            OSError: that can't be seen.
        """
        for place in [*reversed(Path(folder).resolve().parents), Path(folder)]:
            status = os.stat(place)
            if status.st_uid == self.uid:
                right = stat.S_IXUSR
            else:
                right = stat.S_IXGRP if status.st_gid in self.groups else stat.S_IXOTH
            if not status.st_mode & right:
                return os.fspath(place)
        return None

    def be(self, folder: str) -> None:
        """Have this process, which is root's, be the account's for ever, and the job's folder be for it.

        Args:
            folder: the job's.

        Raises:
            OSError.
        """
        os.chown(folder, 0, self.gid)
        os.chmod(folder, 0o1770)
        os.chown(f"{folder}/data", self.uid, self.gid, follow_symlinks=False)
        # messages are read by the job, and added to by the faces; its timeline is added to by its runner, too
        for name, mode in ((messages.FILE, 0o640), (timeline.FILE, 0o660)):
            shared = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            try:
                os.fchown(shared, 0, self.gid)
                os.fchmod(shared, mode)
            finally:
                os.close(shared)
        with contextlib.suppress(FileNotFoundError):
            os.chown(f"{folder}/{TOKEN_FILE}", self.uid, self.gid, follow_symlinks=False)
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        os.environ.update(HOME=self.home, USER=self.name, LOGNAME=self.name, SHELL=self.shell)


def account_named(name: str) -> Account:
    """The account of that name. Raises NotPossible: it can't be had."""
    import pwd  # where none is asked for nobody needs it

    if os.geteuid() != 0:
        raise NotPossible(
            f"The execution can't be run as {name}: that needs a supervisor that is root, and this one is user"
            f" {os.geteuid()}."
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise NotPossible(f"The execution can't be run as {name}: this machine has no such account.") from None
    if entry.pw_uid == 0:
        raise NotPossible(f"The execution can't be run as {name}: that is root, who may do everything.")
    try:
        guarded = read_proc("/proc/sys/fs/protected_hardlinks").strip() == b"1"
    except OSError:
        guarded = False
    if not guarded:
        raise NotPossible(
            f"The execution can't be run as {name}: this machine lets accounts link to others' files"
            " (fs.protected_hardlinks is 0)."
        )
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return Account(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)
