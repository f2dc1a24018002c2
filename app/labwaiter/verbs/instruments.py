"""The verbs over the instruments of this machine, and over who has them. They know nothing of HTTP, XML or terminals.

No driver is imported here, whoever calls: instruments are asked, and made safe, by a process of their own
(`instruments.safety`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import InstrumentInUse, Misconfigured, UnknownInstrument
from ..lab import labfile, simulation
from ..lab.lab import InstrumentEntry, Lab, missing
from ..model.caller import Caller
from ..model.record import ENDED
from ..model.sentences import moment, plain
from ..settings import Settings
from ..store import supervisor_client
from ..store.folder import Folder
from ..store.leases import Held, Lease, Leases
from ..system.logs import utc
from .acts import Acts
from .permission import Action, permit

LEAVES_SECONDS = 5.0  # for a driver that was asked to end its process
BEING_MADE_SAFE = "labwaiter instruments safe"  # who has an instrument while that asks it
FREE, MISSING = "free", "missing"  # states beside those of a lease
WHO_MAX = 100  # characters of the name of who reserves
BROKE = "the program that asks it broke; see above"  # its standard error is the caller's


@dataclass(frozen=True)
class Holding:
    """Who has a device, under which name, and how."""

    lease: Lease
    service_id: str = ""  # of the execution that has it, or had it; "" for a person

    @property
    def words(self) -> str:
        """How it stands: held by the execution X, reserved by Ada until …, unsafe."""
        who = plain(self.service_id or self.lease.why, 60)
        until = f" until {moment(self.lease.until)}" if self.lease.until else ""
        return {
            Held.BY_JOB: f"held by the execution {who}",
            Held.MAKING_SAFE: f"being made safe after the execution {who}",
            Held.UNSAFE: "unsafe" + (f" since the execution {who}" if self.service_id else ""),
            Held.RESERVED: "reserved" + (f" by {who}" if who else ""),
        }[self.lease.how] + until

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

    @property
    def held_as(self) -> str:
        """The name under which its device is held: its own, or that of a twin."""
        return self.holding.lease.instrument if self.holding else self.name


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


class Instruments:
    """The verbs over the instruments of this machine. Cheap to make; lab.toml is read anew by each, but `states`.

    All that need lab.toml raise Misconfigured while it has a mistake, all that change who has one BlockingIOError where
    another program is at that and does not end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._leases = Leases(settings.jobs_folder)
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
        lab, leases = self._lab(), self._leases.all()
        states = []
        for name in dict.fromkeys([*lab.entries, *leases]):
            twins = lab.twins(name) - {name}
            lease = leases.get(name) or next((leases[twin] for twin in sorted(twins) if twin in leases), None)
            states.append(InstrumentState(name, lab.entries.get(name), self._holding(lease), frozenset(twins)))
        return tuple(states)

    def states(self) -> dict[str, str]:
        """The state of each instrument of this machine in a word: a `Held`, ``missing`` or ``free``; of nobody's job.

        Missing: nothing is plugged in where lab.toml has it, as far as that is seen without opening it. Instruments
        that lab.toml no longer lists, but somebody has, are among them; while it has a mistake, these alone.
        """
        leases = self._leases.all()
        lab, states = self._watched.now(), {}
        if lab is None:
            return {name: str(lease.how) for name, lease in leases.items()}
        lab = lab.on(self.settings.machine)
        for name in dict.fromkeys([*lab.entries, *leases]):
            lease = leases.get(name) or next((leases[twin] for twin in lab.twins(name) if twin in leases), None)
            entry = lab.entries.get(name)
            absent = entry is not None and entry.port.startswith("/") and not os.path.exists(entry.port)
            states[name] = str(lease.how) if lease else MISSING if absent else FREE
        return states

    def names(self) -> tuple[str, ...]:
        """Of this machine's instruments, as lab.toml lists them."""
        return tuple(self._lab().entries)

    def known(self, names: Iterable[str]) -> None:
        """Raises UnknownInstrument: one of these isn't here."""
        lab = self._lab()
        for name in names:
            self._entry(lab, name)

    def held_as(self, name: str, held: Collection[str]) -> str:
        """Under which of these names somebody has the device of an instrument; its own where nobody has."""
        if name in held:
            return name
        twins: Iterable[str] = ()
        with contextlib.suppress(Misconfigured):  # then nobody knows which they are
            twins = self._lab().twins(name)
        return next((twin for twin in sorted(twins) if twin in held), name)

    def why_none(self) -> str:
        """Why this machine has no instrument, where `list` gives none: a sentence for whoever keeps lab.toml."""
        lab, file = self._lab(), self.settings.lab
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
        return tuple(self._held(lease) for _, lease in leases if lease.how is not Held.RESERVED)

    # -- asking -------------------------------------------------------------------------------

    def check(self, names: Sequence[str], caller: Caller) -> Iterator[Checked]:
        """Open, identify and close these one after the other; all of this machine where none is named.

        What an execution has is not touched. Each comes once it is asked; closing the iterator ends the asking.

        Raises:
            UnknownInstrument: one of them isn't here; none was asked then.
        """
        for name in names or ("",):
            permit(caller, Action.CHECK, name)
        lab = self._lab()
        return self._checked([self._entry(lab, name) for name in names or lab.entries])

    def _checked(self, entries: Iterable[InstrumentEntry]) -> Iterator[Checked]:
        process: subprocess.Popen[str] | None = None
        try:
            for entry in entries:
                holding = self._holding(self._leases.of(entry.name))
                if holding is not None and holding.by_job:
                    yield Checked(entry.name, True, f"{holding.words}; not touched")
                    continue
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
        lab = self._lab()
        entries = {name: self._entry(lab, name) for name in names}
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

    def _raise_if_at_work(self, lab: Lab, name: str) -> None:
        for twin in sorted(lab.twins(name), key=lambda other: other != name):
            holding = self._holding(self._leases.of(twin))
            if holding is not None and holding.by_job and self._goes_on(holding.lease.job):
                state = f"{twin}, the same device, is" if twin != name else "is"
                raise InstrumentInUse(f"{name}: {state} {holding.words}: abort that execution instead.")

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
        lab = self._lab()
        self._entry(lab, name)
        who = caller.user[:WHO_MAX]
        about = {"instrument": name, "until": utc(time.time() + seconds)}
        self._acts.begin("reserve", caller, about, durable=True)
        lease = self._leases.reserve(name, who, seconds, sorted(lab.twins(name) - {name}))
        if lease is not None:
            state = "it is" if lease.instrument == name else f"{lease.instrument}, the same device, is"
            self._acts.go_on("not reserved", caller, {"instrument": name, "why": "somebody else has it"})
            raise InstrumentInUse(f"{name} can't be reserved now: {state} {self._held(lease).words}.")
        self._acts.tell("reserve", caller, about)
        now = time.time()
        return self._held(Lease(name, Held.RESERVED, why=who, since=now, until=now + seconds))

    def release(self, name: str, caller: Caller) -> Holding | None:
        """Give a reserved instrument back, whoever reserved it: how it stood until then; None where it was free.

        Raises:
            UnknownInstrument: it isn't here.
            InstrumentInUse: it isn't reserved, but held, being made safe or unsafe.
        """
        permit(caller, Action.RELEASE, name)
        lab = self._lab()
        if name not in self._leases.all():
            self._entry(lab, name)
        with self._leases.turn():
            holding = self._holding(self._leases.of(name))
            if holding is not None and holding.lease.how is not Held.RESERVED:
                raise InstrumentInUse(f"{name} isn't reserved: it is {holding.words}.")
            about = {"instrument": name, "was": holding.words if holding is not None else "free"}
            self._acts.go_on("release", caller, about, durable=True)
            self._leases.free(name)
        self._wake()
        self._acts.tell("release", caller, about)
        return holding

    # -- what they share ----------------------------------------------------------------------

    def _lab(self) -> Lab:
        return labfile.load(self.settings.lab).on(self.settings.machine)

    def _entry(self, lab: Lab, name: str) -> InstrumentEntry:
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

    def _held(self, lease: Lease) -> Holding:
        """A lease, with the serviceID by which an operator can ask for its job or abort it."""
        service_id = lease.job
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if lease.job and (request := Folder(self.settings.jobs_folder).request(lease.job)):
                service_id = request.service_id
        return Holding(lease, service_id)

    def _holding(self, lease: Lease | None) -> Holding | None:
        return None if lease is None else self._held(lease)

    def _wake(self) -> None:
        """A job may wait for what is free now."""
        supervisor_client.wake(self.settings, "")

    def _safety(self, *words: str) -> tuple[str, ...]:
        """The command of the process that asks: simulated ones in itself where no simulated lab is or comes."""
        settings = self.settings
        runs = supervisor_client.alive(settings) is not None or simulation.alive(settings.jobs_folder) is not None
        return sys.executable, "-m", "labwaiter.instruments.safety", *(() if runs else ("--alone",)), *words


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
