"""Old jobs: their folders go after KEEP_DAYS, a tombstone stays. Done in a child of the supervisor.

What a remote lab's student may still take home is kept for as long as that was promised: a session's folder, with its
tasks'.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time

from ..model import lab_session, lab_task
from ..model.record import ENDED, Request, StoredState, Tombstone
from ..store.audit import Audit
from ..store.files import read_record, write_whole
from ..store.folder import Folder
from ..system.process import boot_clock, boot_id

log = logging.getLogger("labwaiter.supervisor")
JUMP = 3600.0  # s that the machine's clock may be set on between two rounds and be believed
AWAY = 30 * 86400.0  # s, likewise, where the machine was started anew in between: it may have been off
STEADY = 86400.0  # s that a clock which has jumped must go on before anything is removed by it


def every(keep_seconds: float) -> float:
    """Seconds between two rounds."""
    return min(3600.0, max(1.0, keep_seconds / 4))


def bury_old(store: Folder, keep_seconds: float, now: float, session_seconds: float = 0.0) -> int:
    """Bury every job that ended more than `keep_seconds` before `now` (Unix time, s): how many.

    Args:
        session_seconds: for which a session that has ended is kept at least.
    """
    count, audit = 0, Audit(store.layout)
    for name in store.names():
        folder = store.path(name)
        try:
            # cheap first: the state was last written when the job ended
            if now - os.stat(folder / "state.json").st_mtime < keep_seconds:
                continue
            # of one that was half buried the request is gone, and the tombstone knows the rest
            condition, request = store.stored_state(name), store.request(name) or store.tombstone(name)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if isinstance(request, Request) and _is_promised(store, request, condition, now - session_seconds):
            continue
        if condition is not None and condition.state in ENDED and request is not None:
            # `serviceID` of one that was half buried has gone with its request
            known = {"serviceID": request.service_id} if isinstance(request, Request) else {"job": name}
            audit.try_to_add("remove", **known, service=request.service, face="retention")
            store.bury(name, Tombstone.of(request, now))
            count += 1
    _forget_unfinished_claims(store, now)
    return count


def _is_promised(store: Folder, request: Request, condition: StoredState | None, since: float) -> bool:
    """Whether a session's student may still want this: a session that has ended after that, or a task of one."""
    if request.service == lab_task.NAME:  # it goes after its session, whenever it ended itself
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return store.request(str(request.inputs["session"])) is not None
        return False
    ended = condition.ended if condition is not None else None
    return request.service == lab_session.NAME and ended is not None and ended > since


def _forget_unfinished_claims(store: Folder, now: float) -> None:
    """Folders that a face had begun to fill when it died."""
    with os.scandir(store.layout.new) as entries:
        for entry in entries:
            if now - entry.stat().st_mtime > 3600:
                shutil.rmtree(entry.path, ignore_errors=True)


def is_steady(store: Folder, now: float, clock: float, boot: str) -> bool:
    """Whether the machine's clock has not just jumped: one that is wrong for a while must not remove what is young.

    Args:
        now: Unix time, s. clock: the boot clock, s. boot: which boot that is.

    Raises:
        OSError: what the last round saw can't be read, or this can't be noted.
    """
    file = store.layout.clock
    try:
        before = json.loads(read_record(file, 1000) or b"{}")
        elapsed = now - float(before.get("now", now))
        most = clock - float(before["clock"]) + JUMP if before.get("boot") == boot else AWAY
        jumped = now if elapsed > most or elapsed < -JUMP else float(before.get("jumped", -STEADY))
    except (ValueError, TypeError, KeyError, AttributeError):
        jumped = now  # nobody knows
    write_whole(file, json.dumps({"now": now, "clock": clock, "boot": boot, "jumped": jumped}).encode())
    return not 0 <= now - jumped < STEADY


def round_of(store: Folder, keep_seconds: float, session_seconds: float) -> None:
    """One round, as a child does it."""
    if not is_steady(store, time.time(), boot_clock(), boot_id()):
        log.warning("the machine's clock has jumped: for a day nothing is removed by it")
        return
    count = bury_old(store, keep_seconds, time.time(), session_seconds)
    if count:
        log.info("%d jobs were older than they are kept; their tombstones stay", count)
