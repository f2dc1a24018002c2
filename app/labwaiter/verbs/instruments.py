"""The verbs over the instruments of this machine, and over who has them. They know nothing of HTTP, XML or terminals.

No driver is imported here, whoever calls: instruments are asked, and made safe, by a process of their own
(`instruments.safety`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import (
    InstrumentInUse,
    InvalidParameter,
    Misconfigured,
    MissingParameter,
    ServiceError,
    Unavailable,
    UnknownInstrument,
)
from ..lab import labfile, simulation
from ..lab.lab import InstrumentEntry, Lab, missing
from ..model.caller import Caller
from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..model.record import ENDED, Happening
from ..model.sentences import N_, moment, plain
from ..settings import Settings
from ..store import supervisor_client
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..store.local_store import LocalStore
from ..store.readers import is_reader
from ..store.upkeep import NOTE_MAX, OutOfService, Upkeep, Use
from ..system.logs import utc
from ..system.process import start_thread
from .acts import Acts
from .permission import Action, permit

log = logging.getLogger("labwaiter.instruments")
STOP_SECONDS = 7.5  # in which STOP answers; what has not ended then goes on
REASON_MAX = 300  # characters of why one is out of service
LEAVES_SECONDS = 5.0  # for a driver that was asked to end its process
BEING_MADE_SAFE = "labwaiter instruments safe"  # who has an instrument while that asks it
# states beside those of a lease
FREE, MISSING, OUT, STOPPED, NOT_KNOWN = "free", "missing", "out of service", "stopped", "not known"
WHO_MAX = 100  # characters of the name of who reserves
ABSENT = "nothing is plugged in where lab.toml has its port"
BROKE = "the program that asks it broke; see above"  # its standard error is the caller's


@dataclass(frozen=True)
class Holding:
    """Who has a device, under which name, and how."""

    lease: Lease
    service_id: str = ""  # of the execution that has it, or had it; "" for a person
    in_hand_of: str = ""  # who has it by hand, or had; "" where an execution of a service has it
    session_of: str = ""  # who has it in a session of a remote lab, or had, and of which: “ada, diode”

    @property
    def words(self) -> str:
        """How it stands: held by the execution X, in the hands of Ada, reserved by Ada until …, unsafe."""
        who = plain(self.service_id or self.lease.why, 60)
        if self.in_hand_of:
            who = plain(self.in_hand_of, 60)
            return {
                Held.BY_JOB: N_(f"in the hands of {who} since {moment(self.lease.since)}"),
                Held.MAKING_SAFE: N_(f"being made safe after {who} had it in hand"),
            }.get(self.lease.how, N_(f"unsafe since {who} had it in hand"))
        if self.session_of:
            whose = plain(self.session_of, 100)
            return {
                Held.BY_JOB: N_(f"in a session ({whose}) since {moment(self.lease.since)}"),
                Held.MAKING_SAFE: N_(f"being made safe after a session ({whose})"),
            }.get(self.lease.how, N_(f"unsafe since a session ({whose})"))
        after = N_(f"being made safe after the execution {who}")
        return {
            Held.BY_JOB: N_(f"held by the execution {who}"),
            Held.MAKING_SAFE: after if self.service_id else N_("being made safe after its monitor"),
            Held.UNSAFE: N_("unsafe" + (f" since the execution {who}" if self.service_id else "")),
            Held.RESERVED: N_(
                f"reserved{f' by {who}' if who else ''}"
                f"{f' until {moment(self.lease.until)}' if self.lease.until else ''}"
            ),
        }[self.lease.how]

    @property
    def by_job(self) -> bool:
        """Whether an execution has it, or what clears up after one."""
        return self.lease.how in (Held.BY_JOB, Held.MAKING_SAFE)


@dataclass(frozen=True)
class InstrumentState:
    """An instrument of this machine."""

    name: str
    entry: InstrumentEntry | None  # None: it is no longer in lab.toml
    holding: Holding | None  # None: it is free
    twins: frozenset[str]  # the other names of lab.toml for the same device
    out: OutOfService | None = None  # it is out of service, and why
    machine: str = ""  # which has it, where that is another one
    absent: bool = False  # nothing is plugged in where lab.toml has it, as far as its machine sees
    far: str = ""  # why its machine tells nothing now, in a sentence: the rest is as it was told last

    @property
    def held_as(self) -> str:
        """The name under which its device is held: its own, or that of a twin."""
        return self.holding.lease.instrument if self.holding else self.name

    @property
    def state(self) -> str:
        """How it stands in a word, the same for all faces: a `Held`, else why it is not free, or that it is."""
        if self.far:
            return NOT_KNOWN
        return str(self.holding.lease.how) if self.holding else _idle(self.out, self.absent)

    @property
    def words(self) -> str:
        """How it stands: free, who has it, why it is out of service."""
        told = [each.words for each in (self.holding, self.out) if each]
        words = ", ".join(told) or (N_(f"unreachable: {ABSENT}") if self.absent else N_("free"))
        if self.held_as != self.name:
            words = N_(f"as {self.held_as}, the same device, {words}")
        return N_(f"not known now: {self.far} It was {words}.") if self.far else words


@dataclass(frozen=True)
class Checked:
    """What came of asking an instrument who it is."""

    name: str
    ok: bool  # it answers and could be cut off, or an execution has it
    words: str


@dataclass(frozen=True)
class MadeSafe:
    """What came of making an instrument safe."""

    name: str
    safe: bool  # it was read back
    why: str


@dataclass(frozen=True)
class Stopped:
    """What came of STOP for one instrument."""

    name: str
    safe: bool  # it was read back; False: it wasn't, or that goes on
    why: str
    machine: str = ""  # which has it, of many


@dataclass(frozen=True)
class UpkeepTold:
    """How an instrument was used and kept."""

    name: str
    use: Use
    out: OutOfService | None  # it is out of service, and why
    last_fault: Happening | None
    log: tuple[Happening, ...]  # oldest first


class Instruments:
    """The verbs over the instruments of this machine. Cheap to make; lab.toml is read again when it has changed.

    All that need lab.toml raise Misconfigured while it has a mistake, all that change who has one BlockingIOError where
    another program is at that and does not end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._leases = Leases(settings.jobs_folder)
        self._upkeep = Upkeep(settings.layout)
        self._acts = Acts(settings)
        self._watched = labfile.WatchedLab(settings.lab)

    # -- looking ------------------------------------------------------------------------------

    def mistake(self) -> str:
        """What is wrong with lab.toml, and what follows of it; "" if nothing is."""
        wrong = labfile.mistake(self.settings.lab)
        return wrong and f"{wrong} Until that is mended, no service can be started that takes an instrument."

    def list(self, caller: Caller) -> tuple[InstrumentState, ...]:
        """This machine's instruments as lab.toml lists them, then those that somebody has and it no longer lists."""
        permit(caller, Action.LIST_INSTRUMENTS)
        lab, leases, out = self.lab(), self._leases.all(), self._upkeep.out()
        states, all_twins = [], lab.all_twins()
        for name in dict.fromkeys([*lab.entries, *leases]):
            twins = all_twins.get(name, {name}) - {name}
            lease = leases.get(name) or next((leases[twin] for twin in sorted(twins) if twin in leases), None)
            entry = lab.entries.get(name)
            states.append(
                InstrumentState(
                    name, entry, self.holding(lease), frozenset(twins), out.get(name), absent=_is_absent(entry)
                )
            )
        return tuple(states)

    def revision(self) -> str:
        """Differs once `list` tells of something else, but for what moves with the clock; nothing is read for it."""
        layout, lab = self.settings.layout, self._watched.now()
        absent = [name for name, entry in lab.entries.items() if _is_absent(entry)] if lab is not None else None
        seen: list[object] = [absent]
        for folder in (layout.leases, layout.out_of_service, layout.instruments):  # files come there by renaming
            try:
                seen.append(os.stat(folder).st_ctime_ns)
            except OSError as error:
                seen.append(error.errno)
        return repr(seen)

    def states(self) -> dict[str, str]:
        """The state of each instrument of this machine in a word, as `InstrumentState.state` has it; of no job.

        Missing: nothing is plugged in where lab.toml has it, as far as that is seen without opening it. Instruments
        that lab.toml no longer lists, but somebody has, are among them; while it has a mistake, these alone.
        """
        leases = self._leases.all()
        lab, out, states = self._watched.now(), self._upkeep.out(), {}
        if lab is None:
            return {name: str(lease.how) for name, lease in leases.items()}
        lab = lab.on(self.settings.machine)
        all_twins = lab.all_twins()
        for name in dict.fromkeys([*lab.entries, *leases]):
            twins = all_twins.get(name, {name})
            lease = leases.get(name) or next((leases[twin] for twin in twins if twin in leases), None)
            states[name] = str(lease.how) if lease else _idle(out.get(name), _is_absent(lab.entries.get(name)))
        return states

    def why_none(self) -> str:
        """Why this machine has no instrument, where `list` gives none: a sentence for whoever keeps lab.toml."""
        lab, file = self.lab(), self.settings.lab
        if lab.elsewhere:
            others = ", ".join(f"{name} on {other}" for name, other in lab.elsewhere.items())
            return (
                f"{file} lists no instrument of this machine, {self.settings.machine}; there are {others}: ask there."
            )
        absence = "lists no instrument" if file.exists() else "is not there, so there is no instrument"
        return f"{file} {absence}. LAB names another file."

    def not_safe(self) -> tuple[Holding, ...]:
        """Those that wait for a person, or were not read back safe yet, by name. lab.toml isn't looked at."""
        leases = sorted(self._leases.all().items())
        return tuple(self.held(lease) for _, lease in leases if lease.how is not Held.RESERVED)

    # -- asking -------------------------------------------------------------------------------

    def check(self, names: Sequence[str], caller: Caller) -> Iterator[Checked]:
        """Open, identify and close these one after the other; all of this machine where none is named.

        What an execution has is not touched. Each comes once it is asked; closing the iterator ends the asking.

        Raises:
            UnknownInstrument: one of them isn't here; none was asked then.
        """
        for name in names or ("",):
            permit(caller, Action.CHECK, name)
        lab = self.lab()
        return self._checked([self.entry(lab, name) for name in names or lab.entries])

    def _checked(self, entries: Iterable[InstrumentEntry]) -> Iterator[Checked]:
        process: subprocess.Popen[str] | None = None
        try:
            for entry in entries:
                holding = self.holding(self._leases.of(entry.name))
                if holding is not None and holding.by_job:
                    yield Checked(entry.name, True, f"{holding.words}; not touched")
                    continue
                self._have(entry.name)
                if process is None or process.returncode is not None:
                    process = subprocess.Popen(
                        self._safety("--check"),
                        env=supervisor_client.environment(self.settings),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                yield _answer(process, entry.name)
            if process is not None and process.returncode is None and process.stdin is not None:
                process.stdin.close()  # nothing more is asked: it ends, and what its drivers printed is told
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVES_SECONDS)
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                process.wait()

    def make_safe(self, names: Sequence[str], caller: Caller) -> tuple[MadeSafe, ...]:
        """Make them safe, ask them, and free those that say that they are. Takes as long as the slowest of them.

        A free one is given to no execution meanwhile. One whose driver isn't there is left as it is, unless a relay can
        cut it off.

        Raises:
            UnknownInstrument: one of them isn't here.
            InstrumentInUse: an execution has one of them. Nothing was done then, in both cases.
        """
        for name in names or ("",):
            permit(caller, Action.MAKE_SAFE, name)
        lab = self.lab()
        entries = {name: self.entry(lab, name) for name in names}
        for name in entries:
            self._raise_if_at_work(lab, name)
        for name in entries:
            self._acts.go_on("make safe", caller, {"instrument": name}, durable=True)
        before = {name: self._leases.of(name) for name in entries}
        results = {
            name: MadeSafe(name, False, why)
            for name, entry in entries.items()
            if entry.power is None and (why := missing(entry.driver, self.settings.services))
        }
        asked = {name: entry for name, entry in entries.items() if name not in results}
        for name, entry in asked.items():
            if before[name] is None:  # no job shall begin with it meanwhile
                self._leases.reserve(name, BEING_MADE_SAFE, 2 * entry.safe_seconds + 30)
            self._have(name)
        results |= self._made_safe(asked)
        with self._leases.turn():
            for name in asked:
                now = self._leases.of(name)
                ours = before[name] is None and now is not None and now.why == BEING_MADE_SAFE
                as_it_was = now == before[name] and results[name].safe
                if now is not None and (ours or (as_it_was and now.how is not Held.RESERVED)):
                    self._leases.free(name)
        self._wake()
        for name, result in results.items():
            about = {"instrument": name, "safe": result.safe, "why": result.why}
            self._acts.go_on("made safe", caller, about)
            self._acts.tell("made safe", caller, about)
        return tuple(results[name] for name in entries)

    # -- STOP ---------------------------------------------------------------------------------

    def stop(self, names: Sequence[str], caller: Caller, wait: float = STOP_SECONDS) -> tuple[Stopped, ...]:
        """STOP: end whatever uses these, make them safe and ask them, all at once; without names all of this machine.

        They stay stopped: nothing begins with them until an operator puts them back into service (`put_back`). What has
        not ended after `wait` s goes on by itself. It asks for no queue and for no other machine.

        Raises:
            UnknownInstrument: one of them isn't here; the others are stopped all the same.
        """
        for name in names or ("",):
            permit(caller, Action.STOP, name)
        leases, entries = self._leases.all(), dict[str, InstrumentEntry]()
        with contextlib.suppress(Misconfigured):  # a mistake in lab.toml keeps nothing on
            entries = self.lab().entries
        known = dict.fromkeys([*entries, *leases])
        strange = [name for name in names if name not in known]
        stopped = [name for name in names or known if name in known]
        results: dict[str, Stopped] = {}
        lab = Lab(entries)
        threads = [start_thread(self._stop, name, lab, caller, wait, results) for name in stopped]
        until = time.monotonic() + wait
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if strange:
            self.entry(self.lab(), strange[0])
        goes_on = N_("It is being stopped and made safe; that goes on.")
        return tuple(results.get(name) or Stopped(name, False, goes_on) for name in stopped)

    def _stop(self, name: str, lab: Lab, caller: Caller, wait: float, results: dict[str, Stopped]) -> None:
        """Stop one, under whichever of its device's names it is used; `results` gets what came of it."""
        by, began = caller.who[:WHO_MAX], time.monotonic()
        try:
            with self._leases.turn():  # whoever takes it from now on sees that it is stopped, or is seen here
                self._upkeep.take_out(OutOfService(name, "STOP", by, time.time(), stopped=True))
        except OSError:  # a full disk, or somebody who hangs: what runs is ended all the same
            log.exception("%s: that it is stopped can't be noted", name)
        names = (name, *sorted(lab.twins(name) - {name}))
        lease = next((lease for other in names if (lease := self._leases.of(other)) is not None), None)
        try:
            if lease is not None and lease.job and lease.how in (Held.BY_JOB, Held.MAKING_SAFE):
                self._acts.go_on("STOP", caller, {"instrument": name, "execution": lease.job})
                result = self._stop_holder(lease, caller, wait)
            else:
                self._acts.go_on("STOP", caller, {"instrument": name})
                result = self._stop_idle(name, lab.entries.get(name), lease)
        except Exception as error:
            log.exception("%s can't be stopped", name)
            why = error.message if isinstance(error, ServiceError) else N_("The log says why.")
            result = Stopped(name, False, f"It could not be stopped: {why}")
        results[name] = result = replace(result, name=name)
        about = {"instrument": name, "safe": result.safe, "why": result.why}
        self._upkeep.note(name, "STOP", by=by, text=result.why)
        self._acts.tell("STOP", caller, about | {"seconds": round(time.monotonic() - began, 3)})

    def _stop_holder(self, lease: Lease, caller: Caller, wait: float) -> Stopped:
        """End the execution that has it; the guard makes safe what it had."""
        name, job, records = lease.instrument, lease.job, LocalStore(self.settings)
        try:
            gone = records.abort(records.record(job), wait, caller.in_words)
        except Unavailable:  # what can't be read is no reason to go on
            gone = bool(records.abort_unread(job, wait))
        left = self._leases.of(name)
        if left is not None and left.how is Held.UNSAFE:
            return Stopped(name, False, left.why)
        if gone:
            return Stopped(name, True, "What used it was ended; it was made safe and read back.")
        return Stopped(name, False, "What uses it is being ended, and it is made safe; that goes on.")

    def _stop_idle(self, name: str, entry: InstrumentEntry | None, lease: Lease | None) -> Stopped:
        """Make one safe that nobody uses, and ask it."""
        if entry is None:
            return Stopped(name, False, f"{name} isn't in lab.toml as it is now, so nobody knows how it is made safe.")
        if entry.power is None and (why := missing(entry.driver, self.settings.services)):
            return Stopped(name, False, why)
        self._have(name)
        result = self._made_safe([name])[name]
        if result.safe and lease is not None and lease.how is Held.UNSAFE:
            with contextlib.suppress(OSError), self._leases.turn():
                if self._leases.of(name) == lease:
                    self._leases.free(name)
        return Stopped(name, result.safe, f"Nobody used it; it was {result.why}." if result.safe else result.why)

    # -- upkeep -------------------------------------------------------------------------------

    def take_out(self, name: str, reason: str, caller: Caller) -> OutOfService:
        """Take an instrument out of service: executions that need it wait, and are told why. What has it goes on.

        Raises:
            UnknownInstrument: it isn't here.
            MissingParameter: there is no reason given.
            InvalidParameter: it is too long.
        """
        permit(caller, Action.MAINTAIN, name)
        self.entry(self.lab(), name)
        why = plain(bounded(reason.strip(), REASON_MAX), REASON_MAX)
        if not why:
            raise MissingParameter("Say why it is taken out of service: those who wait for it are told.")
        out = OutOfService(name, why, caller.who[:WHO_MAX], time.time())
        self._acts.begin("out of service", caller, {"instrument": name, "why": why}, durable=True)
        self._upkeep.take_out(out)
        self._upkeep.note(name, "out of service", by=out.by, text=why)
        self._acts.tell("out of service", caller, {"instrument": name, "why": why})
        return self._upkeep.out_of(name) or out

    def put_back(self, name: str, caller: Caller) -> OutOfService | None:
        """Put an instrument back into service, one that was stopped, too: why it was out; None where it wasn't.

        Raises:
            UnknownInstrument: it isn't here, and isn't out of service.
        """
        permit(caller, Action.MAINTAIN, name)
        before = self._upkeep.out().get(name)
        if before is None:
            self.entry(self.lab(), name)
        about = {"instrument": name, "was": before.words if before else "in service"}
        self._acts.begin("back in service", caller, about, durable=True)
        if before is not None:
            self._upkeep.put_back(name)
            self._upkeep.note(name, "back in service", by=caller.who[:WHO_MAX])
        self._wake()
        self._acts.tell("back in service", caller, about)
        return before

    def note(self, name: str, text: str, caller: Caller) -> None:
        """Add a note to an instrument's log. Raises UnknownInstrument, MissingParameter, InvalidParameter."""
        permit(caller, Action.MAINTAIN, name)
        self.entry(self.lab(), name)
        if not text.strip():
            raise MissingParameter("The note is empty.")
        text = bounded(text.strip(), NOTE_MAX)
        self._acts.begin("note", caller, {"instrument": name})
        self._upkeep.note(name, "note", by=caller.who[:WHO_MAX], text=text)

    def upkeep(self, name: str, caller: Caller, most: int = 100) -> UpkeepTold:
        """How much an instrument was used, its last fault, and the last events of its log. Raises UnknownInstrument."""
        permit(caller, Action.LIST_INSTRUMENTS, name)
        self.entry(self.lab(), name)
        upkeep = self._upkeep
        return UpkeepTold(name, upkeep.use(name), upkeep.out_of(name), upkeep.last_fault(name), upkeep.log(name, most))

    # -- what they share ----------------------------------------------------------------------

    def _raise_if_at_work(self, lab: Lab, name: str) -> None:
        for twin in sorted(lab.twins(name), key=lambda other: other != name):
            holding = self.holding(self._leases.of(twin))
            if holding is not None and holding.by_job and self._goes_on(holding.lease.job):
                raise InstrumentInUse(
                    f"{name}: {'it' if twin == name else f'{twin}, the same device,'} is {holding.words}: abort that"
                    " execution instead."
                )

    def _goes_on(self, job: str) -> bool:
        """Whether that execution, or what clears up after it, is still to be waited for."""
        try:
            stored = Folder(self.settings.jobs_folder).stored_state(job) if job else None
        except (ValueError, TypeError, KeyError):
            return False
        return stored is not None and stored.state not in ENDED

    def _made_safe(self, names: Iterable[str]) -> dict[str, MadeSafe]:
        results = {name: MadeSafe(name, False, BROKE) for name in names}
        if results:
            environment = supervisor_client.environment(self.settings)
            command = [*self._safety(), *results]
            process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            lines = [json.loads(line) for line in process.stdout.splitlines()]
            results |= {line["name"]: MadeSafe(line["name"], line["safe"], line["why"]) for line in lines}
        return results

    # -- reserving ----------------------------------------------------------------------------

    def reserve(self, name: str, seconds: float, caller: Caller) -> Holding:
        """Reserve an instrument for the caller, by its `user`, or prolong that: jobs pass it by for so long.

        Raises:
            UnknownInstrument: it isn't here.
            InstrumentInUse: somebody else has it, or its device under another name.
        """
        permit(caller, Action.RESERVE, name)
        lab = self.lab()
        self.entry(lab, name)
        who = caller.user[:WHO_MAX]
        about = {"instrument": name, "until": utc(time.time() + seconds)}
        self._acts.begin("reserve", caller, about, durable=True)
        lease = self._leases.reserve(name, who, seconds, sorted(lab.twins(name) - {name}))
        if lease is not None:
            twin, words = lease.instrument, self.held(lease).words
            self._acts.go_on("not reserved", caller, {"instrument": name, "why": "somebody else has it"})
            raise InstrumentInUse(
                f"{name} can't be reserved now: {'it' if twin == name else f'{twin}, the same device,'} is {words}."
            )
        self._acts.tell("reserve", caller, about)
        self._have(name)
        now = time.time()
        return self.held(Lease(name, Held.RESERVED, why=who, since=now, until=now + seconds))

    def release(self, name: str, caller: Caller) -> Holding | None:
        """Give a reserved instrument back, whoever reserved it: how it stood until then; None where it was free.

        Raises:
            UnknownInstrument: it isn't here.
            InstrumentInUse: it isn't reserved, but held, being made safe or unsafe.
        """
        permit(caller, Action.RELEASE, name)
        lab = self.lab()
        if name not in self._leases.all():
            self.entry(lab, name)
        with self._leases.turn():
            holding = self.holding(self._leases.of(name))
            if holding is not None and holding.lease.how is not Held.RESERVED:
                raise InstrumentInUse(f"{name} isn't reserved: it is {holding.words}.")
            about = {"instrument": name, "was": holding.words if holding is not None else "free"}
            self._acts.go_on("release", caller, about, durable=True)
            self._leases.free(name)
        self._wake()
        self._acts.tell("release", caller, about)
        return holding

    # -- what they share ----------------------------------------------------------------------

    def lab(self, machine: str = "") -> Lab:
        """What lab.toml has of this machine, or of that one. Raises Misconfigured."""
        return self._watched.load().on(machine or self.settings.machine)

    def entry(self, lab: Lab, name: str) -> InstrumentEntry:
        """An instrument of this machine. Raises UnknownInstrument."""
        if name in lab.entries:
            return lab.entries[name]
        shown = plain(name, 60)
        if name in lab.elsewhere:
            raise UnknownInstrument(f"{shown} is on the machine {lab.elsewhere[name]}: call this there.")
        if name in self._leases.all():
            raise UnknownInstrument(
                f"{shown} is no longer in lab.toml, so nobody knows how it is spoken to; put it back there, then free"
                " it."
            )
        raise UnknownInstrument(f"lab.toml has no instrument {shown}; there are: {', '.join(lab.entries) or 'none'}.")

    def held(self, lease: Lease) -> Holding:
        """A lease, with the serviceID by which an operator can ask for its job or abort it, or whose hands it is in."""
        service_id, in_hand_of, session_of = "" if is_reader(lease.job) else lease.job, "", ""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if lease.job and (request := Folder(self.settings.jobs_folder).request(lease.job)):
                service_id = request.service_id
                if request.service == DIRECT_CONTROL:
                    in_hand_of = str(request.inputs["holder"])
                elif request.service == LAB_SESSION:
                    session_of = f"{request.inputs['holder']}, {request.inputs['lab']}"
        return Holding(lease, service_id, in_hand_of, session_of)

    def holding(self, lease: Lease | None) -> Holding | None:
        """As `held`; None where it is free."""
        return None if lease is None else self.held(lease)

    def _have(self, name: str) -> None:
        """Have the monitor's process yield that reads it, if one does."""
        self._leases.readers.have((name,))

    def _wake(self) -> None:
        """A job may wait for what is free now."""
        supervisor_client.wake(self.settings, "")

    def _safety(self, *words: str) -> tuple[str, ...]:
        """The command of the process that asks: simulated ones in itself where no simulated lab is or comes."""
        settings = self.settings
        runs = supervisor_client.alive(settings) is not None or simulation.alive(settings.jobs_folder) is not None
        return sys.executable, "-m", "labwaiter.instruments.safety", *(() if runs else ("--alone",)), *words


def bounded(text: str, most: int) -> str:
    """A text that people write and keep, unless it is too long: InvalidParameter, so that no end of it is lost."""
    if (length := len(text)) > most:
        raise InvalidParameter(f"The text has {length} characters; {most} are the most.")
    return text


def _idle(out: OutOfService | None, absent: bool) -> str:
    """The state of one that nobody has."""
    if out is not None:
        return STOPPED if out.stopped else OUT
    return MISSING if absent else FREE


def _is_absent(entry: InstrumentEntry | None) -> bool:
    """Whether nothing is plugged in where lab.toml has it, as far as that is seen without opening it."""
    return entry is not None and entry.port.startswith("/") and not os.path.exists(entry.port)


def _answer(process: subprocess.Popen[str], name: str) -> Checked:
    """Have the process that asks check one instrument."""
    assert process.stdin is not None and process.stdout is not None
    line = ""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(name + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        process.kill()
        process.communicate()
        return Checked(name, False, BROKE)
    answer = json.loads(line)
    return Checked(name, answer["ok"], answer["words"])
