"""The verbs over the instruments of all machines of a lab: what is on another one is asked of that, by signed calls.

What is on this machine is done here, as where there is no Redis: that needs none. How the others stand is read from
what they tell (`instruments_told`); what is done to them is done there (`operations`), and judged there once more.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ..errors import ClientError, JobFailed, Misconfigured, NotInHand, ServiceError, Unavailable
from ..lab import labfile
from ..model.caller import Caller
from ..model.sentences import N_
from ..model.span import span
from ..page.words import clock
from ..settings import Settings
from ..store.upkeep import OutOfService
from ..system.process import start_thread
from ..verbs.control import WAIT, DirectControl, Done, InHand, Standing
from ..verbs.instruments import (
    STOP_SECONDS,
    Checked,
    Holding,
    Instruments,
    InstrumentState,
    MadeSafe,
    Stopped,
    UpkeepTold,
)
from ..verbs.permission import Action, permit
from . import as_json, instruments_told, operations, rpc
from .calls import Operate
from .fleet_store import LEFT, SILENT_SECONDS, Beat, FleetStore
from .redis_faults import FAULTS, away, of

log = logging.getLogger("labwaiter.instruments")
T = TypeVar("T")
Results = list[tuple[Stopped, ...] | Exception]  # of STOP, on this machine: one
ACT_SECONDS = 5.0  # that a machine has for what is asked; it answers then that it goes on
ON_THE_WAY = 0.7  # s more that a face waits for that answer
LOOK_SECONDS = 3.0  # for what is but read
SLOW_SECONDS = 60.0  # for asking an instrument who it is, and making it safe
STOP_THERE = N_("STOP it there!")
STOP_STAYS = 600.0  # s that a STOP waits for a machine that isn't heard of
SILENT_STOP = 1.0  # s that such a one is given to answer all the same
OPENING_EVERY = 0.5  # s between two looks at one that is being opened


class OtherMachines:
    """The way to what is on other machines: where an instrument is, whether that machine is heard of, and calls."""

    def __init__(self, settings: Settings, store: FleetStore) -> None:
        self._settings, self.store = settings, store

    def why_silent(self, machine: str, beat: Beat | None, now: float) -> str:
        """Why a machine can't be asked, in a sentence; "" where it can.

        Args:
            now: Redis' clock, s.
        """
        if beat is None:
            return N_(f"The machine {machine} has not been heard of yet.")
        if beat.state == LEFT:
            return N_(f"The worker of the machine {machine} has ended: nothing is heard of it.")
        if now - beat.seen > SILENT_SECONDS:
            span_, seen = span(now - beat.seen), clock(beat.seen)
            return N_(f"The machine {machine} was last heard of {span_} ago, at {seen}.")
        return ""

    def ask(
        self,
        function: Callable[..., T],
        machine: str,
        caller: Caller,
        patience: float = LOOK_SECONDS,
        advice: str = "Nothing was done: try again once it is heard of, or do it there.",
        **inputs: Any,
    ) -> T:
        """Have a machine do that: what came of it.

        Args:
            patience: s for an answer.
            advice: what to say where it isn't heard of.

        Raises:
            ServiceError: as the verb there; Unavailable, too, where the machine isn't heard of or Redis is away.
        """
        try:
            beat, now = self.store.last_beat(machine)
            if why := self.why_silent(machine, beat, now):
                raise Unavailable(f"{why} {advice}")
            answer = rpc.ask(self.store, machine, self.call(function, caller, inputs), patience)
        except FAULTS as error:
            raise away(error) from error
        if answer is None:
            raise Unavailable(f"The machine {machine} does not take this now; it was not done: try again.")
        return self._result(function, machine, answer.result)

    def leave(
        self, function: Callable[..., Any], machine: str, caller: Caller, patience: float, stays: float, **inputs: Any
    ) -> bool:
        """As `ask`, of what is to be done later, too: False where it waits there for a machine that isn't heard of.

        Args:
            stays: s that it waits.

        Raises:
            ServiceError: as the verb there; Unavailable, too, where Redis is away.
        """
        try:
            beat, now = self.store.last_beat(machine)
            seconds = SILENT_STOP if self.why_silent(machine, beat, now) else patience
            return rpc.ask(self.store, machine, self.call(function, caller, inputs), seconds, stays=stays) is not None
        except FAULTS as error:
            raise away(error) from error

    def call(self, function: Callable[..., Any], caller: Caller, inputs: dict[str, Any]) -> Operate:
        """That, as it travels."""
        name = function.__name__
        who = operations.who(caller, self.store.machine)
        return Operate(name, as_json.dumped(inputs), who, looks="yes" if name in operations.ONLY_LOOK else "")

    def stop(self, machine: str, names: Sequence[str], caller: Caller, until: float) -> tuple[Stopped, ...]:
        """STOP there: of these, or where none is named of all. What keeps a machine from it is told, not raised.

        Args:
            until: monotonic s, by which there is an answer.
        """
        inputs = {"names": list(names), "wait": max(0.5, until - time.monotonic() - ON_THE_WAY)}
        span_ = span(STOP_STAYS)
        later = N_(f"STOP it there! If it is heard of again within {span_}, it is stopped then.")
        why = N_(f"The machine {machine} has not answered.") + f" {later}"
        try:
            beat, now = self.store.last_beat(machine)
            silent = self.why_silent(machine, beat, now)
            seconds = SILENT_STOP if silent else max(0.1, until - time.monotonic())
            why = f"{silent} {later}" if silent else why
            call = self.call(operations.stop, caller, inputs)
            answer = rpc.ask(self.store, machine, call, seconds, stays=STOP_STAYS, at_once=True)
            if answer is not None:
                told = self._result(operations.stop, machine, answer.result)
                return tuple(replace(one, machine=machine) for one in told)
        except FAULTS as error:
            why = of(error).why
            why = N_(f"The machine {machine} can't be asked: the Redis between them {why}.") + f" {STOP_THERE}"
        except ServiceError as error:
            why = f"{error.message} {STOP_THERE}"
        return tuple(Stopped(name, False, why, machine) for name in names)

    def _result(self, function: Callable[..., T], machine: str, text: str) -> T:
        try:
            return operations.result(function, text)
        except (ValueError, TypeError, KeyError) as error:
            log.exception("what %s answered can't be understood", machine)
            raise Unavailable(
                f"The machine {machine} has another release and answers otherwise: look there whether it was done."
            ) from error

    def told(self, machines: Sequence[str]) -> tuple[dict[str, dict[str, instruments_told.Told]], dict[str, str]]:
        """By machine: how its instruments stand, and why nothing is heard of it now ("" where it is)."""
        try:
            texts = self.store.instruments(machines)
            entries, now = self.store.machine_entries(machines)
        except FAULTS as error:
            why = of(error).why
            why = N_(f"The Redis between the machines of this lab {why}.")
            return dict.fromkeys(machines, {}), dict.fromkeys(machines, why)
        heard = {name: instruments_told.heard(text) for name, text in zip(machines, texts, strict=True)}
        silent = {name: self.why_silent(name, entry.beat, now) for name, entry in zip(machines, entries, strict=True)}
        return heard, silent


class FleetInstruments(Instruments):
    """The verbs over the instruments of all machines."""

    def __init__(self, settings: Settings, store: FleetStore) -> None:
        super().__init__(settings)
        self._others = OtherMachines(settings, store)

    # -- looking ------------------------------------------------------------------------------

    def list(self, caller: Caller) -> tuple[InstrumentState, ...]:
        """This machine's, then those of the others as they told last."""
        mine, lab = super().list(caller), self.lab()
        if not lab.elsewhere:
            return mine
        entries = labfile.load(self.settings.lab).entries
        heard, silent = self._others.told(sorted(set(lab.elsewhere.values())))
        others = []
        for name, machine in lab.elsewhere.items():
            told, far = heard[machine].get(name), silent[machine]
            if told is None:
                nothing = N_(
                    f"The machine {machine} tells nothing of it: is its lab.toml the same, its release as new?"
                )
                far = far or nothing
                others.append(InstrumentState(name, entries[name], None, frozenset(), machine=machine, far=far))
                continue
            state = InstrumentState(name, entries[name], told.holding, told.twins, told.out, machine, told.absent, far)
            others.append(state)
        return (*mine, *others)

    def not_safe(self) -> tuple[Holding, ...]:
        """This machine's, then those of the others as they told last; where Redis is away, this machine's."""
        machines = self._machines()
        heard, _ = self._others.told(machines)
        held = [told.holding for machine in machines for told in heard[machine].values() if told.holding]
        theirs = {one.lease.instrument: one for one in held if not one.lease.until}
        return (*super().not_safe(), *theirs.values())

    def _machines(self) -> Sequence[str]:
        """The other machines, whatever lab.toml says just now."""
        names: set[str] = set()
        with contextlib.suppress(Misconfigured):
            names |= self.lab().machines.keys() | set(self.lab().elsewhere.values())
        with contextlib.suppress(*FAULTS):
            names |= self._others.store.machines()
        return sorted(names - {self.settings.machine})

    def _home(self, name: str) -> str:
        """The machine of an instrument, where that is another one; "" for one of this, and for one that nobody knows.

        Raises Misconfigured.
        """
        return self.lab().elsewhere.get(name, "")

    # -- asking -------------------------------------------------------------------------------

    def check(self, names: Sequence[str], caller: Caller) -> Iterator[Checked]:
        """As on one machine; of one that can't be asked, why."""
        for name in names or ("",):
            permit(caller, Action.CHECK, name)
        lab = self.lab()
        chosen = tuple(names) or (*lab.entries, *lab.elsewhere)
        for name in chosen:
            if name not in lab.elsewhere:
                self.entry(lab, name)
        return self._checked_anywhere(chosen, lab.elsewhere, caller)

    def _checked_anywhere(self, names: Sequence[str], elsewhere: dict[str, str], caller: Caller) -> Iterator[Checked]:
        if here := [name for name in names if name not in elsewhere]:
            yield from super().check(here, caller)
        for name in names:
            if name in elsewhere:
                try:
                    yield self._others.ask(operations.check, elsewhere[name], caller, SLOW_SECONDS, name=name)
                except Unavailable as error:
                    yield Checked(name, False, error.message)

    def make_safe(self, names: Sequence[str], caller: Caller) -> tuple[MadeSafe, ...]:
        """As on one machine, on one after the other; nothing is done on one where an execution has one of them."""
        homes = {name: self._home(name) for name in names}
        results: dict[str, MadeSafe] = {}
        for machine in sorted(set(homes.values())):  # this one first
            there = [name for name in homes if homes[name] == machine]
            if not machine:
                told = super().make_safe(there, caller)
            else:
                ask = partial(self._others.ask, operations.make_safe, machine, caller, SLOW_SECONDS)
                told = ask(names=there)
            results |= {one.name: one for one in told}
        return tuple(results[name] for name in homes if name in results)

    # -- STOP ---------------------------------------------------------------------------------

    def stop(self, names: Sequence[str], caller: Caller, wait: float = STOP_SECONDS) -> tuple[Stopped, ...]:
        """As on one machine; without names on all of them, at the same time.

        On this one it asks for no Redis. Of a machine that isn't heard of it is told that, and to stop it there.
        """
        for name in names or ("",):
            permit(caller, Action.STOP, name)
        until = time.monotonic() + wait
        mine: Results = []
        try:
            elsewhere: dict[str, str] | None = self.lab().elsewhere
            here = [name for name in names if name not in (elsewhere or {})]
        except Misconfigured:  # a mistake in lab.toml keeps nothing on
            elsewhere, leases = None, self._leases.all()
            here = [name for name in names if name in leases]
        threads = []
        if here or not names:
            threads.append(start_thread(self._stop_here, here, caller, wait, mine, daemon=True))
        told: dict[str, tuple[Stopped, ...]] = {}
        if len(here) < len(names) or not names:
            threads.append(start_thread(self._stop_others, names, elsewhere, caller, until, told, daemon=True))
        for thread in threads:
            thread.join(max(0.0, until + 0.2 - time.monotonic()))
        results = [one for answer in mine if not isinstance(answer, Exception) for one in answer]
        results += [one for _, there in sorted(dict(told).items()) for one in there]
        failed = next((answer for answer in mine if isinstance(answer, Exception)), None)
        if isinstance(failed, ClientError) or (failed is not None and not results):
            raise failed
        if not mine and (here or not names):
            results += [Stopped(name, False, "It is being stopped and made safe; that goes on.") for name in here]
        return tuple(results)

    def _stop_here(self, names: Sequence[str], caller: Caller, wait: float, results: Results) -> None:
        try:
            results.append(super().stop(names, caller, wait - 0.2))
        except Exception as error:
            log.exception("the instruments of this machine can't be stopped")
            results.append(error)

    def _stop_others(
        self,
        names: Sequence[str],
        elsewhere: dict[str, str] | None,
        caller: Caller,
        until: float,
        results: dict[str, tuple[Stopped, ...]],
    ) -> None:
        if elsewhere is None:  # lab.toml can't be read: the machines told which they have
            heard, _ = self._others.told(self._machines())
            elsewhere = {name: machine for machine, each in heard.items() for name in each}
        homes = {name: machine for name, machine in elsewhere.items() if not names or name in names}
        machines = {machine: [name for name in homes if homes[name] == machine] for machine in homes.values()}
        if not names:
            machines |= {machine: [] for machine in self._machines() if machine not in machines}

        def stop(machine: str, there: Sequence[str]) -> None:
            about = {"machine": machine, "instruments": ", ".join(there)}
            self._acts.go_on("STOP", caller, about)
            results[machine] = self._others.stop(machine, there, caller, until)

        for machine, there in machines.items():  # what has no answer in the end
            why = N_(f"The machine {machine} has not answered in time, and may not have heard of it.")
            results[machine] = tuple(Stopped(name, False, f"{why} {STOP_THERE}", machine) for name in there)
        threads = [start_thread(stop, machine, there, daemon=True) for machine, there in machines.items()]
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    # -- upkeep and reserving -----------------------------------------------------------------

    def take_out(self, name: str, reason: str, caller: Caller) -> OutOfService:
        if machine := self._home(name):
            return self._others.ask(operations.take_out, machine, caller, ACT_SECONDS, name=name, reason=reason)
        return super().take_out(name, reason, caller)

    def put_back(self, name: str, caller: Caller) -> OutOfService | None:
        if machine := self._home(name):
            return self._others.ask(operations.put_back, machine, caller, ACT_SECONDS, name=name)
        return super().put_back(name, caller)

    def note(self, name: str, text: str, caller: Caller) -> None:
        if machine := self._home(name):
            self._others.ask(operations.note, machine, caller, ACT_SECONDS, name=name, text=text)
            return
        super().note(name, text, caller)

    def upkeep(self, name: str, caller: Caller, most: int = 100) -> UpkeepTold:
        if machine := self._home(name):
            return self._others.ask(operations.upkeep, machine, caller, name=name, most=most)
        return super().upkeep(name, caller, most)

    def reserve(self, name: str, seconds: float, caller: Caller) -> Holding:
        if machine := self._home(name):
            return self._others.ask(operations.reserve, machine, caller, ACT_SECONDS, name=name, seconds=seconds)
        return super().reserve(name, seconds, caller)

    def release(self, name: str, caller: Caller) -> Holding | None:
        if machine := self._home(name):
            return self._others.ask(operations.release, machine, caller, ACT_SECONDS, name=name)
        return super().release(name, caller)


class FleetControl(DirectControl):
    """The verbs over instruments in somebody's hands, wherever they are."""

    def __init__(self, settings: Settings, store: FleetStore) -> None:
        super().__init__(settings)
        self._others = OtherMachines(settings, store)

    def _home(self, name: str) -> str:
        """As `FleetInstruments._home`; what is in hand here is so, whatever lab.toml says."""
        try:
            return self._instruments.lab().elsewhere.get(name, "")
        except Misconfigured:
            if name in self._leases.all():
                return ""
            raise

    def take(self, name: str, caller: Caller, seconds: float = 3600.0, wait: float = WAIT) -> InHand:
        machine = self._home(name)
        if not machine:
            return super().take(name, caller, seconds, wait)
        until = time.monotonic() + wait
        there = min(wait, ACT_SECONDS)
        ask = partial(self._others.ask, operations.take, machine, caller, there + ON_THE_WAY)
        held = ask(name=name, seconds=seconds, wait=there)
        while held.panel is None and time.monotonic() < until:
            time.sleep(OPENING_EVERY)
            try:
                held = self.look(name, caller)
            except NotInHand as error:
                raise JobFailed(self.why_ended(name, held.service_id) or error.message) from error
        return held

    def release(self, name: str, caller: Caller, wait: float = WAIT) -> bool:
        if machine := self._home(name):
            there = min(wait, ACT_SECONDS)
            ask = partial(self._others.ask, operations.let_go, machine, caller, there + ON_THE_WAY)
            return ask(name=name, wait=there)
        return super().release(name, caller, wait)

    def look(self, name: str, caller: Caller) -> InHand:
        if machine := self._home(name):
            return self._others.ask(operations.look, machine, caller, name=name)
        return super().look(name, caller)

    def why_ended(self, name: str, service_id: str) -> str:
        if machine := self._home(name):
            return self._others.ask(operations.why_ended, machine, Caller(), name=name, service_id=service_id)
        return super().why_ended(name, service_id)

    def standing(self, name: str, caller: Caller) -> Standing:
        if machine := self._home(name):
            return self._others.ask(operations.standing, machine, caller, name=name)
        return super().standing(name, caller)

    def set(self, name: str, control: str, value: Any, caller: Caller, wait: float = WAIT) -> Done:
        if machine := self._home(name):
            there = min(wait, ACT_SECONDS)
            ask = partial(self._others.ask, operations.set_control, machine, caller, there + ON_THE_WAY)
            return ask(name=name, control=control, value=value, wait=there)
        return super().set(name, control, value, caller, wait)

    def do(self, name: str, action: str, inputs: dict[str, Any], caller: Caller, wait: float = WAIT) -> Done:
        if machine := self._home(name):
            there = min(wait, ACT_SECONDS)
            ask = partial(self._others.ask, operations.do_action, machine, caller, there + ON_THE_WAY)
            return ask(name=name, action=action, inputs=inputs, wait=there)
        return super().do(name, action, inputs, caller, wait)

    def ask_for(self, name: str, text: str, caller: Caller) -> InHand:
        if machine := self._home(name):
            return self._others.ask(operations.ask_for, machine, caller, ACT_SECONDS, name=name, text=text)
        return super().ask_for(name, text, caller)
