"""After a job's process is gone: nothing of it may be left.

This runs in a short-lived child of the supervisor, because /proc and disks may keep it waiting,
and the supervisor waits for nobody.
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
from collections.abc import Iterator
from functools import partial

from ..model.sentences import N_
from ..runner import ending
from ..store import timeline
from ..store.audit import Audit
from ..store.events import Event, Events, Kind
from ..store.files import open_ours, stranger
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..store.readers import Reader, job_of
from ..store.upkeep import FAULT, Upkeep
from ..system.cgroup import Group, Groups
from ..system.process import MARKER, for_ours, identify, kill, kill_marked, lives, mark_of, tell_group, when_possible
from . import disposal, tasks
from .faults import DAMAGED
from .running_job import RunningJob

log = logging.getLogger("labwaiter.supervisor")


def clear_up(store: Folder, running_job: RunningJob, groups: Groups | None) -> None:
    """End what the job left behind, and write the end that it didn't write itself.

    Args:
        groups: where the job's control group is, if it has one.
    """
    mark = mark_of(store.root, running_job.name)
    disposal.take_over(store, running_job.name)
    group = groups.of(mark) if groups is not None else None
    if group is not None:
        group.kill()  # all at once, whatever it forks; what is not in it any more carries the mark
    if running_job.stored.runner is not None:
        with contextlib.suppress(OSError):  # what can't be seen now is looked for by its mark
            if lives(running_job.runner):
                kill(running_job.runner)
            # a group outlives its leader; where the leader's number is somebody else's, its group is, too
            if identify(running_job.runner.pid) is None:
                tell_group(running_job.runner.pid, signal.SIGKILL)
    _end_marked(mark, running_job.name)
    try:
        with _as_its_account(store, running_job.name):
            _write_missing_end(store, running_job, group)
    except (OSError, *DAMAGED) as error:  # what is there and can't be read is told where the job is settled
        log.warning("%s: its end can't be written (%s)", running_job.name, error)
    except Exception:  # a full disk, or a record that can't be read, keeps no heater on
        log.exception("%s: its end can't be written", running_job.name)
    if group is not None:
        group.remove()
    if running_job.rules.is_task:
        tasks.make_safe_after(store, running_job.name)
    if _dispose(store, running_job.name) and running_job.instruments:
        make_safe(store, running_job.name, running_job.instruments)


def _dispose(store: Folder, job: str) -> bool:
    """What a session's lab wants done after it, with its tasks ended first.

    Returns:
        False where another guard has taken over all that is left to do.
    """
    try:
        tasks.end_all(store, job)
    except Exception:
        log.exception("%s: its tasks could not be ended", job)
    try:
        return disposal.dispose(store, job)
    except Exception:  # it keeps nothing on
        log.exception("%s: its on_dispose could not be run", job)
        return True


@contextlib.contextmanager
def _as_its_account(store: Folder, job: str) -> Iterator[None]:
    """Be the account that a job ran as, if that is another one: nothing that it left leads us where it could not go.

    This process is a child of the supervisor that does nothing else. Raises OSError.
    """
    data = store.path(job) / "data"
    account = stranger(data)
    if account is None:
        yield
        return
    os.setgroups([])
    os.setegid(os.lstat(data).st_gid)
    os.seteuid(account)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _end_marked(mark: str, job: str) -> None:
    """End all that carries a job's mark; what could not be ended keeps no instrument from being made safe."""
    try:
        survivors = kill_marked(mark)
    except OSError:
        log.exception("%s: what it left behind can't be looked for", job)
        return
    if survivors:
        log.warning("%s: %d processes could not be ended", job, survivors)


def _write_missing_end(store: Folder, running_job: RunningJob, group: Group | None) -> None:
    """The end of a job whose process has ended without one, as far as its exit status tells it."""
    if running_job.status is None or running_job.stored.stopping is not None or store.end(running_job.name) is not None:
        return
    if store.never_began(running_job.name, running_job.stored):
        return
    confined = running_job.stored.confined
    if running_job.status == -signal.SIGKILL and group is not None and group.ran_out_of_memory():
        store.write_end(running_job.name, ending.of_memory(confined))
        return
    result = store.path(running_job.name) / "result.txt"
    hand_on = partial(ending.hand_on, store.root, running_job.name)
    end = ending.of_program(running_job.status, result, running_job.rules.outputs, hand_on, confined=confined)
    store.write_end(running_job.name, end)


def after_orphan(store: Folder, job: str, instruments: tuple[str, ...], groups: Groups | None) -> None:
    """End what is left of a job whose supervisor died with it, then make safe what it had."""
    disposal.take_over(store, job)
    if groups is not None:
        group = groups.of(mark_of(store.root, job))
        group.kill()
        group.remove()
    _end_marked(mark_of(store.root, job), job)
    if _dispose(store, job):
        make_safe(store, job, instruments)


def after_reader(store: Folder, reader: Reader) -> None:
    """Make safe what a process of the monitor's had open as it died; nobody gets it before."""
    leases, name, job = Leases(store.root), reader.instrument, job_of(reader.instrument)
    is_noted = True
    try:
        is_ours = leases.hand_on(Lease(name, Held.MAKING_SAFE, job, since=time.time()))
    except OSError:
        log.exception("%s: its lease can't be written", name)
        is_noted, is_ours = False, True  # the reader's file stays, which is a lease, too, until it is made safe
    if is_noted:
        leases.readers.forget(reader.names)
    if is_ours:
        make_safe(store, job, (name,))
    if not is_noted:
        leases.readers.forget(reader.names)


def _tell_unsafe(store: Folder, lease: Lease) -> None:
    """An instrument became unsafe: an event."""
    service_id = lease.job
    with contextlib.suppress(OSError, *DAMAGED):
        request = store.request(lease.job)
        service_id = request.service_id if request is not None else ""
    text = N_(f"{lease.instrument} is UNSAFE: {lease.why}")
    id = f"unsafe-{lease.instrument}-{lease.since:.3f}"
    Events(store.layout).try_to_add(Event(Kind.UNSAFE, text, lease.instrument, service_id, id=id))


def make_safe(store: Folder, job: str, instruments: tuple[str, ...]) -> None:
    """Have a process of its own make them safe and ask them; free those that are, and tell the job's log.

    It carries the job's mark: a guard that comes after one that died ends what that one had begun.
    """
    leases, audit, upkeep = Leases(store.root), Audit(store.layout), Upkeep(store.layout)
    to_make_safe = [name for name in instruments if _begin(leases, name, job)]
    if not to_make_safe:
        return
    command = [sys.executable, "-m", "labwaiter.instruments.safety", *to_make_safe]
    environment = {**for_ours(os.environ), MARKER: mark_of(store.root, job)}
    # want of processes leaves nothing on: our own time ends the waiting
    process = when_possible(
        lambda: subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/", env=environment
        )
    )
    assert process.stdout is not None
    for line in process.stdout:
        report = json.loads(line)
        name, why = report["name"], report["why"]
        outcome = "made safe" if report["safe"] else "unsafe"
        timeline.note(store.path(job), outcome, instrument=name, why=why)
        audit.try_to_add("made safe", instrument=name, safe=report["safe"], why=why, job=job, face="guard")
        tell(store, job, f"{name}: {why}" if report["safe"] else f"{name} is UNSAFE: {why}")
        if not report["safe"]:
            upkeep.note(name, FAULT, text=why, job=job)
        # where that can't be written it stays closed, and the supervisor has room even on a full disk: `judge`
        with contextlib.suppress(OSError):
            if report["safe"]:
                leases.give_back(name, job)
            else:
                lease = Lease(name, Held.UNSAFE, job, why, time.time())
                if leases.hand_on(lease, durable=True):
                    _tell_unsafe(store, lease)
    process.wait()


def _begin(leases: Leases, name: str, job: str) -> bool:
    """Note that it is being made safe; False where nothing is to be done: never opened, or somebody else's by now."""
    try:
        lease = leases.of(name)
        if lease is not None and lease.job == job and not lease.opened:
            leases.give_back(name, job)
            return False
        return leases.hand_on(Lease(name, Held.MAKING_SAFE, job, since=time.time()))
    except OSError:
        log.exception("%s: its lease can't be written", name)  # it stays held, which is not free either
        return True


def judge(store: Folder, job: str) -> None:
    """After the guard: what it did not get to is unsafe. We don't guess that a heater is off. Raises OSError."""
    leases = Leases(store.root)
    for lease in leases.of_job(job):
        if not lease.opened:
            leases.free(lease.instrument)
        elif lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
            why = N_(f"{lease.instrument} could not be made safe in the time that it has for that.")
            unsafe = Lease(lease.instrument, Held.UNSAFE, job, why, time.time())
            leases.write(unsafe)
            _tell_unsafe(store, unsafe)
            timeline.note(store.path(job), "unsafe", instrument=lease.instrument, why=why)
            Upkeep(store.layout).note(lease.instrument, FAULT, text=why, job=job)
            tell(store, job, f"{lease.instrument} is UNSAFE: {why}")


def tell(store: Folder, job: str, text: str) -> None:
    """Add a line to a job's log."""
    line = f"[{time.strftime('%H:%M:%S')}] {text}\n"
    with (
        contextlib.suppress(OSError),
        os.fdopen(open_ours(store.path(job) / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK), "ab") as file,
    ):
        file.write(line.encode("utf-8", "backslashreplace"))
