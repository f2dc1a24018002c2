"""Tasks as the guard sees them: they end with their session, and what one of them used is made safe if it was ended."""

from __future__ import annotations

import contextlib
import logging
import time

from ..errors import ServiceError
from ..model.lab_session import ENDED_BY
from ..model.lab_task import KILL_AFTER
from ..model.record import ENDED, State
from ..runner.task_line import LineToSession
from ..store import lab_tasks, timeline
from ..store.files import write_whole
from ..store.folder import Folder
from ..system.process import kill_marked, mark_of
from .faults import DAMAGED

log = logging.getLogger("labwaiter.supervisor")
GRACE = 10.0  # s that a task has to stop by itself once its session is over, at most
SETTLE = 3.0  # s for the supervisor to hear of it, and to say so
MAKE_SAFE_SECONDS = 40.0  # that a session's process may take to make safe what a task has used; then it is ended
SLOW = "A task was ended, and what it had used could not be made safe in time, so the session was ended."
LOOK_EVERY = 0.05  # s


def _left_of(store: Folder, session: str) -> list[str]:
    """The tasks of a session that have not ended."""
    own = lab_tasks.names_of(store, session)
    return [name for name in store.active_names() if name in own and not _has_ended(store, name)] if own else []


def _state(store: Folder, name: str) -> State | None:
    """None where that isn't known."""
    with contextlib.suppress(OSError, *DAMAGED):
        stored = store.stored_state(name)
        return State.QUEUED if stored is None else stored.state
    return None


def _has_ended(store: Folder, name: str) -> bool:
    return _state(store, name) in ENDED


def seconds_for(store: Folder, session: str) -> float:
    """How much longer the guard of a job may take for that."""
    return GRACE + KILL_AFTER + 3 * SETTLE if lab_tasks.names_of(store, session) else 0.0


def end_all(store: Folder, session: str) -> None:
    """Tell the tasks of a session that is over to stop, wait a moment, and end those that go on."""
    left = _left_of(store, session)
    if not left:
        return
    grace = 0.0
    for name in left:
        if _state(store, name) is State.QUEUED:
            store.mark(name, "abort")
            continue
        with contextlib.suppress(ServiceError):  # a full disk: it is ended all the same
            lab_tasks.tell_to_stop(store, name)
        with contextlib.suppress(OSError, *DAMAGED):
            request = store.request(name)
            grace = max(grace, min(GRACE, float(request.inputs["grace"]) if request is not None else 0.0))
    _wait(store, left, grace)
    for name in left:
        if not _has_ended(store, name):
            with contextlib.suppress(OSError):
                store.mark(name, "abort")
    _wait(store, left, KILL_AFTER + SETTLE)
    for name in left:
        if not _has_ended(store, name):  # no supervisor hears it, or it is slow
            kill_marked(mark_of(store.root, name))
    timeline.note(store.path(session), "tasks ended", number=len(left))


def _wait(store: Folder, names: list[str], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not all(_has_ended(store, name) for name in names):
        time.sleep(LOOK_EVERY)


def make_safe_after(store: Folder, name: str) -> None:
    """Have the session's process make safe what a task has used that was ended, or died.

    Where that can't be done in time the session is ended, so that its own guard does it.
    """
    if lab_tasks.came_to_its_end(store, name):
        return
    request = store.request(name)
    if request is None:
        return
    session = str(request.inputs["session"])
    try:
        line = LineToSession(store.path(session), patience=MAKE_SAFE_SECONDS - SETTLE)
    except ServiceError:  # the session is over: its own guard makes all safe
        return
    try:
        names = line.ask({"make safe after": name})["value"]
    except TimeoutError:
        log.warning("%s: what it used was not made safe in time: its session is ended", name)
        with contextlib.suppress(OSError):
            write_whole(store.path(session) / ENDED_BY, SLOW.encode(), exclusive=True)
        store.mark(session, "abort")
        return
    except ServiceError as error:  # the session ends by that
        timeline.note(store.path(name), "not made safe", why=error.message)
        return
    finally:
        line.close()
    for instrument in names:
        timeline.note(store.path(name), "made safe", instrument=instrument, why="")
