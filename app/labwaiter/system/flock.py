"""Taking turns: flock(2), held by an open file and all that inherit it. Who holds it is asked of nobody."""

from __future__ import annotations

import fcntl
import time

LOOK_EVERY = 0.01  # s: flock(2) waits for ever, or not at all


def lock(fd: int, patience: float | None = None, shared: bool = False) -> None:
    """Hold the lock of an open file, until that is closed; reading it is enough.

    Args:
        patience: s that another one who holds it is waited for; None: as long as it takes.
        shared: beside others who hold it shared.

    Raises:
        BlockingIOError: somebody else holds it still.
        OSError: this file system has no such locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if patience is None:
        fcntl.flock(fd, kind)
        return
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(LOOK_EVERY)
