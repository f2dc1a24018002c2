"""Old jobs: their folders go after KEEP_DAYS, a tombstone stays. Done in a child of the supervisor."""

from __future__ import annotations

import os
import shutil
import time

from ..jobs.folder import Folder
from ..record import ENDED


def every(keep_seconds: float) -> float:
    """Seconds between two rounds."""
    return min(3600.0, max(1.0, keep_seconds / 4))


def bury_old(store: Folder, keep_seconds: float, now: float) -> int:
    """Bury every job that ended more than `keep_seconds` before `now` (Unix time, s): how many."""
    count = 0
    for name in store.names():
        folder = store.path(name)
        try:
            # cheap first: the state was last written when the job ended
            if now - os.stat(folder / "state.json").st_mtime < keep_seconds:
                continue
            # of one that was half buried the request is gone, and the tombstone knows the service
            condition, known = store.condition(name), store.request(name) or store.tombstone(name)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if condition is not None and condition.state in ENDED and known is not None:
            store.bury(name, known.service, now)
            count += 1
    _forget_unfinished_claims(store, now)
    return count


def _forget_unfinished_claims(store: Folder, now: float) -> None:
    """Folders that a face had begun to fill when it died."""
    with os.scandir(store.ours / "new") as entries:
        for entry in entries:
            if now - entry.stat().st_mtime > 3600:
                shutil.rmtree(entry.path, ignore_errors=True)


def round_of(store: Folder, keep_seconds: float) -> None:
    """One round, as a child does it."""
    count = bury_old(store, keep_seconds, time.time())
    if count:
        print(f"{count} jobs were older than they are kept; their tombstones stay", flush=True)
