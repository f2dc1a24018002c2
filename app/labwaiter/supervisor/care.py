"""The care of running jobs: told to stop, killed, cleared up after, settled.

Every end of every job is written here, by `record.move`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..jobs.folder import Folder
from ..jobs.leases import Held, Leases
from ..jobs.presence import silence
from ..lab import Kept
from ..process import boot_clock, tell_group
from ..record import Condition, State, move, settle
from . import guard
from .charge import Charge, duration
from .guard import Duty
from .hearth import Hearth

log = logging.getLogger("labwaiter.supervisor")
ABORTED = "The execution was aborted."
ABANDONED = "The execution was abandoned by its workflow manager: that asked nothing for {}."
PARENT_SECONDS = 1.0  # how long a parent may take to tell how its child ended
DAMAGED = (ValueError, TypeError, KeyError)  # what a record raises that can't be read


class Care:
    """The running jobs, those who clear up after them, and the ends that couldn't be written yet."""

    def __init__(
        self,
        store: Folder,
        hearth: Hearth,
        selector: selectors.BaseSelector,
        only_ours: Callable[[], list[int]],
        lab_file: Path,
    ) -> None:
        """
        Args:
            only_ours: the descriptors that no child of the supervisor may keep.
        """
        self.store, self.hearth, self.selector, self._only_ours = store, hearth, selector, only_ours
        self.leases, self.lab = Leases(store.root), Kept(lab_file)
        self.charges: dict[str, Charge] = {}
        self.guards: dict[int, Duty] = {}  # a guard's pid → what it is at
        self.unwritten: dict[str, Condition] = {}  # ends that a full disk refused so far
        self._odd: set[str] = set()  # jobs with which something went wrong that nobody foresaw

    @property
    def busy(self) -> bool:
        """Whether something is left to be done before this process may leave."""
        return bool(self.charges or self.unwritten or any(duty.instruments for duty in self.guards.values()))

    @property
    def instruments(self) -> set[str]:
        """Those that a running job has, or a guard is at."""
        held = [charge.instruments for charge in self.charges.values()]
        return set().union(*held, *(duty.instruments for duty in self.guards.values()))

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Whatever nobody foresaw in one job's data concerns that job alone: it is logged once, the others go on."""
        try:
            yield
        except Exception:
            if name not in self._odd:  # it may be so at every tick
                log.exception("%s: this was not foreseen; the others go on", name)
            self._odd.add(name)

    # -- watching ---------------------------------------------------------------------------------

    def take(self, charge: Charge) -> None:
        """Watch a running job from now on."""
        self.charges[charge.name] = charge
        if charge.pidfd is not None:
            self.selector.register(charge.pidfd, selectors.EVENT_READ, lambda: self._on_gone(charge))

    def _unwatch(self, charge: Charge) -> None:
        if charge.pidfd is not None:
            with contextlib.suppress(KeyError):
                self.selector.unregister(charge.pidfd)
            os.close(charge.pidfd)
            charge.pidfd = None

    def _on_gone(self, charge: Charge) -> None:
        """Its process has ended. Whoever is its parent knows how, and tells in a moment."""
        self._unwatch(charge)
        charge.gone_at = boot_clock()
        if charge.brood_pid is None:
            self.reap()
            if charge.name in self.charges and charge.status is None:
                with self.alone(charge.name):
                    self.clear_up(charge)

    def on_exited(self, name: str, status: int) -> None:
        """A parent tells how a runner ended (negative for a signal)."""
        charge = self.charges.get(name)
        if charge is None or charge.status is not None:
            return
        charge.status, charge.gone_at = status, charge.gone_at or boot_clock()
        self._unwatch(charge)
        if status == 0 and not charge.instruments and self._end_is_there(charge):
            self._settle(charge)  # it said itself that it left nothing behind
        else:
            self.clear_up(charge)

    def check(self, now: float) -> None:
        """What is due: wishes nobody woke us for, limits, the end of a grace (`now`: boot clock, s)."""
        for charge in list(self.charges.values()):
            with self.alone(charge.name):
                self._check(charge, now)
        for name, condition in list(self.unwritten.items()):
            with contextlib.suppress(OSError):
                self.write(name, condition)
                self.store.forget_active(name)
                del self.unwritten[name]
                self.hearth.keep_reserve()

    def _check(self, charge: Charge, now: float) -> None:
        if charge.gone_at is not None and now - charge.gone_at > PARENT_SECONDS:
            self.clear_up(charge)  # nobody told how it ended, or that went wrong before
        elif charge.condition.stopping is None:
            if self.store.marked(charge.name, "abort"):
                self.stop(charge, "abort", ABORTED)
            elif due := charge.overdue(self.store, now) or self._abandoned(charge):
                self.stop(charge, *due)
        elif charge.kill_at is not None and now >= charge.kill_at:
            self.kill(charge)

    def _abandoned(self, charge: Charge) -> tuple[str, str] | None:
        """The reason and the sentence, once its workflow manager has been silent for too long."""
        found = silence(self.store, self.lab.now(), charge.name, charge.instruments)
        if found is None or found.seconds < found.most:
            return None
        return "abandoned", ABANDONED.format(duration(found.most))

    # -- stopping ---------------------------------------------------------------------------------

    def stop(self, charge: Charge, reason: str, why: str) -> None:
        """The polite stop; the sure one follows after its grace."""
        if charge.condition.stopping is not None or charge.gone_at is not None:
            return
        log.info("%s is told to stop: %s", charge.name, reason)
        charge.stopping(reason, why, "told to stop")
        self._write_or_log(charge.name, charge.condition)
        charge.kill_at = boot_clock() + charge.rules.grace
        tell_group(charge.runner.pid, signal.SIGTERM)

    def kill(self, charge: Charge) -> None:
        """The sure stop."""
        charge.kill_at = None
        stopping = charge.condition.stopping
        if stopping is not None:
            charge.stopping(stopping.reason, stopping.why, "killed")
            self._write_or_log(charge.name, charge.condition)
        tell_group(charge.runner.pid, signal.SIGKILL)

    # -- ending -----------------------------------------------------------------------------------

    def clear_up(self, charge: Charge) -> None:
        """Have a child end what the job left behind; then the job is settled."""
        if any(duty.charge is charge for duty in self.guards.values()):
            return
        seconds = self._seconds_for(charge.instruments)
        pid = guard.in_a_child(lambda: guard.clear_up(self.store, charge), self._only_ours(), seconds)
        self.guards[pid] = Duty(charge.name, charge.instruments, charge)

    def _seconds_for(self, instruments: tuple[str, ...]) -> float:
        """How long clearing up may take: what lab.toml gives the instruments, and as much for a second way."""
        lab = self.lab.now()
        return guard.SECONDS + (2 * lab.safe_seconds(instruments) if lab else 0.0)

    def free_orphans(self) -> None:
        """Make safe what jobs held that nobody runs any more: their supervisor died with them."""
        orphans: dict[str, list[str]] = {}
        for lease in self.leases.all().values():
            if lease.job and lease.how in (Held.BY_JOB, Held.MAKING_SAFE) and lease.job not in self.charges:
                orphans.setdefault(lease.job, []).append(lease.instrument)
        for job, names in orphans.items():
            log.warning("%s had %s and is gone: it is made safe", job, ", ".join(names))
            duty = Duty(job, tuple(names))
            work = partial(guard.after_orphan, self.store, job, duty.instruments)
            pid = guard.in_a_child(work, self._only_ours(), self._seconds_for(duty.instruments))
            self.guards[pid] = duty

    def in_a_child(self, work: Callable[[], None]) -> None:
        """Have something done that may take its time."""
        self.guards[guard.in_a_child(work, self._only_ours())] = Duty()

    def _judge(self, duty: Duty) -> None:
        """After a guard: what it did not get to is unsafe, on a full disk, too."""
        for _ in range(2):
            try:
                guard.judge(self.store, duty.job)
                return
            except OSError:
                log.exception("%s: its leases can't be written", duty.job)
                self.hearth.use_reserve()

    def _end_is_there(self, charge: Charge) -> bool:
        try:
            return self.store.end(charge.name) is not None
        except DAMAGED:
            return False

    def _settle(self, charge: Charge) -> None:
        try:
            end = self.store.end(charge.name)
        except DAMAGED:
            log.exception("%s: its end is damaged", charge.name)
            end = None
        state, why = settle(charge.condition, end)
        if state is not State.COMPLETED and charge.instruments:
            unsafe = [one.instrument for one in self.leases.of_job(charge.name) if one.how is Held.UNSAFE]
            why += f" Afterwards {' and '.join(unsafe)} could not be made safe." if unsafe else ""
        del self.charges[charge.name]
        self.write_end(charge.name, charge.condition, state, why)

    def write_end(self, name: str, condition: Condition, state: State, why: str) -> None:
        """Make the last move of a job; on a full disk it's tried again until it's written."""
        now = time.time()
        ended = move(condition, state, why=why, since=now, ended=now)
        log.info("%s: %s%s", name, state, f" ({why})" if why else "")
        try:
            self.write(name, ended)
            self.store.forget_active(name)
        except FileNotFoundError:
            log.warning("%s: its folder is gone", name)
            self.store.forget_active(name)
        except OSError:
            log.exception("%s: its end can't be written yet", name)
            self.unwritten[name] = ended

    def write(self, name: str, condition: Condition) -> None:
        """state.json, on a full disk into the room that is kept for it. Raises OSError."""
        try:
            self.store.write_condition(name, condition)
        except FileNotFoundError:
            raise
        except OSError:
            self.hearth.use_reserve()
            self.store.write_condition(name, condition)

    def _write_or_log(self, name: str, condition: Condition) -> None:
        try:
            self.write(name, condition)
        except OSError:
            log.exception("%s: its state can't be written", name)

    def reap(self) -> None:
        """Bury children: guards, nurseries, runners whose nursery died, and what jobs left."""
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(raw)
            if duty := self.guards.pop(pid, None):
                with self.alone(duty.job):
                    if duty.instruments:
                        self._judge(duty)
                    if duty.charge is not None and duty.job in self.charges:
                        self._settle(duty.charge)
                continue
            for charge in list(self.charges.values()):
                if charge.runner.pid == pid:
                    if status:
                        tell_group(pid, signal.SIGKILL)
                    with self.alone(charge.name):
                        self.on_exited(charge.name, status)

    def end_strays(self, nurseries: set[int]) -> None:
        """Kill what jobs left behind without any mark: orphans of theirs become our children."""
        known = {*self.guards, *nurseries, *(c.runner.pid for c in self.charges.values())}
        for pid in guard.strays(known):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
