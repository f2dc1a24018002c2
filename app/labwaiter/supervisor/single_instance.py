"""Being the one supervisor of a jobs folder: its lock, its wake socket, its signals."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
from pathlib import Path

from ..layout import Layout
from ..store import supervisor_client
from ..store.files import open_ours, rights_in
from ..system import record_lock

log = logging.getLogger("labwaiter.supervisor")
SPARE_DESCRIPTORS = 64  # for what isn't a running job: the lock, the lines, what is being read
RESERVE = 1_000_000  # bytes kept on the disk, so that a full one can't hide how jobs ended
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FAR_DISKS = ("nfs", "cifs", "smb", "fuse", "9p", "afs", "ceph", "gluster")


class Taken(Exception):
    """Another supervisor serves this folder; the message names it."""


class SingleInstance:
    """What only one process may hold."""

    def __init__(self, layout: Layout, lock: int | None = None) -> None:
        """Take the lock and open the wake socket.

        Args:
            lock: the descriptor of the lock that this process held before it exec'd itself anew.

        Raises:
            Taken: somebody else holds it.
        """
        self._layout = layout
        # before the lock: whoever sees that it is held may tell us to stop, and must be heard
        self.signals, self._asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending: set[int] = set()  # signals that nobody has taken yet
        self._listen()
        # a POSIX lock: no child inherits it, so it ends with this process and no later
        self.lock = open_ours(layout.supervisor_lock, os.O_RDWR) if lock is None else lock
        if not record_lock.take(self.lock):
            raise Taken("Another supervisor serves this jobs folder already.")
        self.folder = os.open(layout.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.wake.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(layout.wake)
        self.wake.bind(supervisor_client.address(layout, self.folder))
        with contextlib.suppress(FileNotFoundError):  # the jobs folder may be removed under it: see `stands`
            os.chmod(layout.wake, rights_in(layout.folder) & 0o660)
        self.keep_reserve()
        self.descriptors_before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors_before[1],) * 2)

    def most_at_once(self, max_running: int) -> int:
        """MAX_RUNNING, or as many jobs as this process has descriptors to watch (`ulimit -n`)."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = max(1, limit - SPARE_DESCRIPTORS)
        if limit == resource.RLIM_INFINITY or max_running <= most:
            return max_running
        log.warning(
            "MAX_RUNNING=%d is more than %d descriptors can watch: %d jobs run at a time; raise the limit (ulimit -n,"
            " systemd's LimitNOFILE), or lower MAX_RUNNING",
            max_running,
            limit,
            most,
        )
        return most

    def _listen(self) -> None:
        """Turn signals into bytes for the loop; those that came while `exec_anew` was at work, too."""
        for number in _HEARD:
            signal.signal(number, lambda n, _: self._pending.add(n))
        signal.set_wakeup_fd(self._asleep, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

    def exec_anew(self) -> None:
        """Become the supervisor that the code on the disk and the settings are now, with the lock held throughout.

        Returns only where this one was told to stop before it could: that is still to be heard.

        Raises:
            OSError: that can't be now; this one goes on.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        # what comes from now on waits for the next one; what has come doesn't
        if self._pending & {signal.SIGTERM, signal.SIGINT}:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            return
        signal.set_wakeup_fd(-1)
        os.set_inheritable(self.lock, True)
        with contextlib.suppress(OSError, ValueError):  # the next one raises it itself, and knows what jobs shall have
            resource.setrlimit(resource.RLIMIT_NOFILE, self.descriptors_before)
        try:
            python, environ = supervisor_client.handed_on(self._layout)
            os.execve(python, [python, "-m", "labwaiter.supervisor", "--lock", str(self.lock)], environ)
        except OSError:
            os.set_inheritable(self.lock, False)
            self._listen()
            raise

    def stands(self) -> bool:
        """Whether the folder is still there, and the lock in it the one that we hold."""
        try:
            return os.path.samestat(os.stat(self._layout.supervisor_lock), os.fstat(self.lock))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a disk that doesn't answer now has removed nothing
            return True

    @property
    def has_signals(self) -> bool:
        """Whether `take_signals` would give any."""
        return bool(self._pending)

    def take_signals(self) -> set[int]:
        """The signals since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.signals, 4096)
        pending, self._pending = self._pending, set()
        return pending

    def put_back(self, number: int) -> None:
        """It can't be heeded yet: the next call of `take_signals` gives it again."""
        self._pending.add(number)

    def names(self) -> set[str]:
        """The jobs that somebody woke us for."""
        names = set()
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                names.add(self.wake.recv(1024).decode(errors="replace"))
        return names

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that no child may keep."""
        return [self.lock, self.folder, self.wake.fileno(), self.signals, self._asleep]

    def keep_reserve(self) -> None:
        """Have the reserve on the disk."""
        with contextlib.suppress(OSError):
            fd = os.open(self._layout.reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE)
            finally:
                os.close(fd)

    def use_reserve(self) -> None:
        """Give the reserve up: the disk is full, and a state must be written."""
        with contextlib.suppress(OSError):
            os.unlink(self._layout.reserve)


def far_disk(folder: Path) -> str | None:
    """The kind of file system if it is none of this machine's own disks: locks and renames differ there."""
    best, kind = "", ""
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split()[4]
        if (str(folder) + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return kind if kind.startswith(_FAR_DISKS) else None
