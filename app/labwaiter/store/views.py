"""What a page shows of an execution of this machine: all that lies beside its record.

Its progress, messages, log and files; for what it waits in the queue; what is to be said of its instruments.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from pathlib import Path

from ..lab import labfile
from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..model.record import Holder, Owner, Record, Silence, State, View
from ..model.sentences import N_
from ..model.service import Service
from .artifacts import Artifacts
from .folder import Folder, ran
from .leases import Held, Lease, Leases
from .silence_watch import QUIET, silence
from .upkeep import OutOfService, Upkeep


class Views:
    """Makes the views of the executions of one jobs folder."""

    def __init__(self, folder: Folder, artifacts: Artifacts, leases: Leases, lab_file: Path) -> None:
        self._folder, self._artifacts, self._leases = folder, artifacts, leases
        self._lab = labfile.WatchedLab(lab_file)
        self._upkeep = Upkeep(folder.layout)

    def of(self, record: Record, service: Service | None) -> View:
        """The view of one execution; `service` says its limit."""
        name = record.name
        progress = self._folder.progress(name)
        place, ahead, holders = self._place(record) if record.state is State.QUEUED else (None, "", ())
        last_messages, count = self._folder.last_messages(name)
        return View(
            record=record,
            now=time.time(),
            ran=ran(record),
            progress=progress,
            place=place,
            ahead=ahead,
            holders=holders,
            limit=service.limit if service else None,
            messages=last_messages,
            message_count=count,
            log=self._folder.log_tail(name),
            own_page=self._folder.own_page(name) if record.active else None,
            picture=self._folder.picture(name, progress.picture.file) if progress.picture else None,
            files=self._artifacts.listing(name),
            silence=self._silence(record),
            hardware=self._hardware(record),
            timeline=() if record.active else self._folder.timeline(name),
        )

    def _silence(self, record: Record) -> Silence | None:
        """How silent its workflow manager is, once that is worth a word."""
        instruments = record.request.instruments
        if record.state is not State.RUNNING or record.stopping or not instruments:
            return None
        silent = silence(self._folder, self._lab.now(), record.name, instruments)
        return silent if silent is not None and silent.seconds >= QUIET else None

    def _hardware(self, record: Record) -> tuple[str, ...]:
        """What is to be said of the instruments of a job that ends or has ended."""
        sentences = []
        for name in record.request.instruments:
            lease = self._leases.of(name)
            if lease is None or lease.job != record.name:
                continue
            if lease.how is Held.UNSAFE:
                sentences.append(N_(f"{name} is UNSAFE and waits for an operator: {lease.why}"))
            elif lease.how is Held.MAKING_SAFE or not record.active:
                sentences.append(N_(f"{name} is being made safe."))
        return tuple(sentences)

    def _place(self, record: Record) -> tuple[int | None, str, tuple[Holder, ...]]:
        """Its place, and for what it waits: among all, or among those who wait for an instrument of its own."""
        queue = self._folder.queue()
        queued, needs, full = queue.get("queued"), queue.get("needs"), queue.get("full")
        if not isinstance(queued, list) or record.name not in queued:
            return None, "", ()
        before = queued[: queued.index(record.name)]
        own = record.request.instruments
        if own and isinstance(needs, dict):
            instruments = self._lab.now()  # one device may stand in lab.toml under two names
            names = {name: instruments.twins(name) if instruments else {name} for name in own}
            own_or_twins = set().union(*names.values())
            # those get an instrument by the times of their starts, whoever's turn it is
            first = itertools.takewhile(lambda name: name != record.name, needs)
            rivals = [name for name in first if not own_or_twins.isdisjoint(needs[name])]
            out = self._upkeep.out()
            holders = tuple(
                holder
                for name in own
                for twin in sorted(names[name], key=lambda twin: (twin != name, twin))
                for holder in (self._leased(twin, name), _out(out[twin], name) if twin in out else None)
                if holder is not None
            )
            if holders or rivals:
                return len(rivals) + 1, ", ".join(_before(names, [needs[rival] for rival in rivals])), holders
        service = record.request.service
        if isinstance(full, dict) and service in full:
            return len(before) + 1, N_(f"no more than {full[service]} of {service} run at a time"), ()
        if limit := _reached(record.request.owner, queue.get("full_owners")):
            return len(before) + 1, limit, ()
        return len(before) + 1, N_(f"{queue.get('running')} of {queue.get('max_running')} jobs are running"), ()

    def _leased(self, name: str, wanted: str) -> Holder | None:
        lease = self._leases.of(name)
        return None if lease is None else self._holder(lease, wanted)

    def _holder(self, lease: Lease, wanted: str) -> Holder:
        """Who has an instrument, for those who wait for it: what is run there, but not under whose serviceID."""
        name, service = lease.instrument, ""
        if name != wanted:
            name = f"{name}, the same device as {wanted},"
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            request = self._folder.request(lease.job) if lease.how is Held.BY_JOB and lease.job else None
            service = request.service if request else ""
            if request is not None and service == DIRECT_CONTROL:
                service = N_(f"{request.inputs['holder']}, by hand")
            elif request is not None and service == LAB_SESSION:
                service = f"a session of the lab {request.inputs['lab']}"
        words = {
            Held.BY_JOB: N_(f"{name} is in use" + (f" by {service}" if service else "")),
            Held.MAKING_SAFE: N_(f"{name} is being made safe"),
            Held.UNSAFE: N_(f"{name} is unsafe and waits for an operator"),
            Held.RESERVED: N_(f"{name} is reserved" + (f" by {lease.why}" if lease.why else "")),
        }[lease.how]
        return Holder(words, lease.since or None, lease.until)


def _out(out: OutOfService, wanted: str) -> Holder:
    """One that is out of service, for those who wait for it."""
    name = out.instrument if out.instrument == wanted else f"{out.instrument}, the same device as {wanted},"
    return Holder(N_(f"{name} is {out.words}"), out.since or None)


def _reached(owner: Owner, limits: object) -> str:
    """Which limit of an execution's owner is reached, in words; "" where none is."""
    with contextlib.suppress(ValueError, TypeError):
        for kind, authority, name, most in limits if isinstance(limits, list) else ():
            if (authority, name) == (owner.of_project if kind == "project" else owner.of_user):
                return N_(f"no more than {most} of one {kind} run at a time")
    return ""


def _before(own: dict[str, set[str]], others: list[list[str]]) -> list[str]:
    """For which of its instruments, under any of their names, others wait before it, in words."""
    counts = {name: sum(not names.isdisjoint(other) for other in others) for name, names in own.items()}
    return [N_(f"{n} {'waits' if n == 1 else 'wait'} for {name} before it") for name, n in counts.items() if n]
