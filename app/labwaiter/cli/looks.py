"""One look at the lab, for `labwaiter top`: instruments, what runs and waits, machines; as lines and as JSON."""

from __future__ import annotations

import contextlib
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..errors import Misconfigured, ServiceError
from ..fleet import open_jobs
from ..lab import labfile
from ..model.caller import SHELL, Identity, Role
from ..model.record import State, View
from ..model.span import span
from ..model.values import text_of
from ..page.words import waits_for, whole_percent
from ..settings import Settings
from ..store.leases import Held
from ..verbs.as_data import of_instrument, of_record, of_work
from ..verbs.control import DirectControl
from ..verbs.instruments import ABSENT, Instruments, InstrumentState
from .terminal import plain

MOST = 500  # executions that are looked at
BAR = 10  # characters
WIDE_ENOUGH = 100  # columns of a terminal that has room for bars
LOOKS = replace(SHELL, identity=Identity("shell", role=Role.GUEST, sees_all=True))  # keeps nothing in anybody's hands


class Tone(StrEnum):
    """What a line is about; a terminal with colours shows it so."""

    USUAL = ""
    HEAD = "head"
    RUNS = "runs"
    WAITS = "waits"
    BAD = "bad"
    GOOD = "good"
    SOFT = "soft"


@dataclass(frozen=True)
class Line:
    """A line of the screen, without what could steer one."""

    text: str
    tone: Tone = Tone.USUAL


@dataclass(frozen=True)
class Reading:
    """What an instrument, or the work that has it, told last of one quantity."""

    name: str
    value: Any
    unit: str = ""
    at: float | None = None  # Unix time, s; None: nobody says

    def words(self, now: float) -> str:
        """volts 1.5 V, 3 s ago."""
        ago = "" if self.at is None else f", {span(now - self.at)} ago"
        return plain(f"{self.name} {text_of(self.value)} {self.unit}".rstrip(), 100) + ago


@dataclass(frozen=True)
class Instrument:
    """An instrument with what was read of it last."""

    name: str
    word: str
    tone: Tone
    by: str = ""
    since: float | None = None  # Unix time, s
    readings: tuple[Reading, ...] = ()
    why: str = ""
    machine: str = ""  # another than this one
    state: InstrumentState | None = None  # None: of another machine

    def as_data(self) -> dict[str, Any]:
        """It as JSON has it."""
        of = {"name": self.name, "machine": self.machine} if self.state is None else of_instrument(self.state)
        return of | {"word": self.word, "readings": [vars(reading) for reading in self.readings]}


@dataclass(frozen=True)
class Look:
    """All that is shown, as it was at one moment."""

    at: float  # Unix time, s
    instruments: tuple[Instrument, ...] = ()
    executions: tuple[View, ...] = ()  # those that run or wait, the oldest first
    more: int = 0  # that run or wait, too, and were not looked at
    machines: tuple[dict[str, Any], ...] = ()  # `MachineState.as_data`
    notes: tuple[str, ...] = ()  # what is wrong with the lab, a sentence each

    def as_data(self) -> dict[str, Any]:
        """It as JSON has it."""
        executions = [
            of_record(view.record)
            | of_work(view)
            | {"place": view.place, "waitsFor": waits_for(view) if view.record.state is State.QUEUED else ""}
            for view in self.executions
        ]
        return {
            "at": self.at,
            "instruments": [each.as_data() for each in self.instruments],
            "executions": executions,
            "more": self.more,
            "machines": list(self.machines),
            "notes": list(self.notes),
        }


class Looker:
    """Looks at one lab again and again; what has not changed by its stamps is not read again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs = open_jobs(settings)
        self._instruments, self._control = Instruments(settings), DirectControl(settings)
        self._revision: str | None = None
        self._executions: tuple[tuple[View, ...], int] = ((), 0)

    def look(self) -> Look:
        """How it is now. Raises ServiceError where nothing can be known."""
        notes: list[str] = []
        if why := self._jobs.unserved():
            notes.append(f"Nothing that is started now begins: {plain(why, 300)}.")
        revision = self._jobs.records.revision()
        if revision is None or revision != self._revision:
            self._executions, self._revision = self._views(), revision
        views, more = self._executions
        instruments: tuple[Instrument, ...] = ()
        try:
            instruments = tuple(self._each(views))
        except Misconfigured as error:
            notes.append(plain(str(error), 500))
        machines: tuple[dict[str, Any], ...] = ()
        if self._settings.redis_url:
            machines, note = self._machines()
            notes += [note] if note else []
        return Look(time.time(), instruments, views, more, machines, tuple(notes))

    def _views(self) -> tuple[tuple[View, ...], int]:
        records, older = self._jobs.newest(MOST, SHELL, lambda record: record.active, brief=True, active=True)
        views = []
        for record in records:
            with contextlib.suppress(ServiceError):  # it was removed meanwhile, or can't be read
                view = self._jobs.view(record.request.service_id, SHELL)
                if view.record.active:
                    views.append(view)
        return tuple(views), older if len(records) == MOST else 0

    def _each(self, views: Sequence[View]) -> Iterable[Instrument]:
        uses = {
            name: view
            for view in views
            if view.record.state is State.RUNNING
            for name in view.record.request.instruments
        }
        for state in self._instruments.list(LOOKS):
            yield self._of(state, uses.get(state.held_as))
        for name, machine in labfile.load(self._settings.lab).on(self._settings.machine).elsewhere.items():
            view = uses.get(name)
            word, tone, by, since = f"on {machine}", Tone.SOFT, "", None
            if view is not None:
                word, tone, by, since = "in use", Tone.RUNS, _who(view), view.record.started
            yield Instrument(name, word, tone, by, since, _values(view), machine=machine)

    def _of(self, state: InstrumentState, view: View | None) -> Instrument:
        holding, out = state.holding, state.out
        if state.far:
            return Instrument(state.name, "not known now", Tone.BAD, why=state.words, state=state)
        if holding is None:
            if out is not None:
                since = out.since or None
                return Instrument(state.name, state.state, Tone.WAITS, since=since, why=out.words, state=state)
            if state.absent:
                why = f"{ABSENT.capitalize()}."
                return Instrument(state.name, "unreachable", Tone.BAD, why=why, state=state)
            return Instrument(state.name, "free", Tone.GOOD, state=state)
        lease = holding.lease
        since = lease.since or None
        match lease.how:
            case Held.UNSAFE:
                return Instrument(state.name, "UNSAFE", Tone.BAD, "", since, why=lease.why, state=state)
            case Held.RESERVED:
                return Instrument(state.name, "reserved", Tone.WAITS, lease.why, since, state=state)
            case Held.MAKING_SAFE:
                return Instrument(state.name, "made safe", Tone.WAITS, holding.service_id, since, state=state)
        if holding.in_hand_of:
            found = self._in_hand(state.held_as)
            return Instrument(state.name, "in hand", Tone.RUNS, holding.in_hand_of, since, found, state=state)
        by = _who(view) if view else holding.service_id
        return Instrument(state.name, "in use", Tone.RUNS, by, since, _values(view), state=state)

    def _in_hand(self, name: str) -> tuple[Reading, ...]:
        with contextlib.suppress(ServiceError, Misconfigured):
            read = self._control.look(name, LOOKS).readings
            return tuple(
                Reading(each, told["value"], str(told.get("unit", "")), told.get("at"))
                for each, told in read.items()
                if "value" in told
            )
        return ()

    def _machines(self) -> tuple[tuple[dict[str, Any], ...], str]:
        """How the machines are, and why that isn't known ("": it is)."""
        from ..fleet import machines
        from ..fleet.redis_faults import FAULTS, of
        from ..fleet.redis_store import RedisStore

        records = self._jobs.records
        assert isinstance(records, RedisStore)
        try:
            states = machines.states(records.store, labfile.load(self._settings.lab))
        except FAULTS as error:
            return (), plain(of(error).mend, 500)
        except (ServiceError, Misconfigured) as error:
            return (), plain(str(error), 500)
        return tuple(state.as_data() | {"words": state.in_words, "alive": state.alive} for state in states), ""


def _who(view: View) -> str:
    asked = view.record.request
    return asked.service + (f" of {asked.user}" if asked.user else "")


def _values(view: View | None) -> tuple[Reading, ...]:
    """What an execution has recorded last."""
    if view is None:
        return ()
    units = view.progress.units
    return tuple(Reading(name, value, units.get(name, "")) for name, value in view.progress.values.items())


# -- as lines ---------------------------------------------------------------------------------


def _percent(view: View) -> float:
    return -1.0 if view.progress.fraction is None else view.progress.fraction


SORTS: dict[str, Callable[[View], Any]] = {
    "queue": lambda view: (view.place or 0, view.record.request.created),  # those that run, then who is next
    "time": lambda view: -view.record.request.created,
    "service": lambda view: (view.record.request.service.lower(), view.record.request.created),
    "user": lambda view: (view.record.request.user.lower(), view.record.request.created),
    "progress": lambda view: -_percent(view),
}


@dataclass(frozen=True)
class Shown:
    """What of a look is shown, and how."""

    words: str = ""  # only rows that have each of these words
    sort: str = "queue"
    backwards: bool = False
    part: str = ""  # instruments, executions or machines alone; "": all


def lines(look: Look, how: Shown, columns: int) -> list[Line]:
    """The lines of a screen that is so wide."""
    made = [Line(fit(note, columns), Tone.BAD) for note in look.notes]
    now = look.at
    views = sorted(look.executions, key=SORTS[how.sort], reverse=how.backwards)
    parts: list[tuple[str, tuple[str, ...], Sequence[tuple[Tone, tuple[str, ...], str]]]] = [
        ("instruments", ("INSTRUMENT", "STATE", "FOR", "BY", "LAST READING"), [_of(i, now) for i in look.instruments]),
        (
            "executions",
            ("SERVICE", "SERVICEID", "STATE", "PROGRESS", "FOR", "USER", "NOW"),
            [_row(v, now, columns) for v in views],
        ),
        ("machines", ("MACHINE", "STATE", "RUN", "WAIT", "ORDERS", "VERSION"), [_machine(m) for m in look.machines]),
    ]
    asked = how.words.casefold().split()
    for name, heads, rows in parts:
        if (how.part and how.part != name) or (name == "machines" and not rows and how.part != name):
            continue
        kept = [(tone, cells) for tone, cells, more in rows if _has(asked, cells, more)]
        made += [Line("")] * bool(made)
        if not kept:
            nothing = {"executions": "Nothing runs and nothing waits.", "instruments": "There are no instruments."}
            told = nothing.get(name, "There are no machines.") if not rows else f"None of the {name} has “{how.words}”."
            made.append(Line(fit(plain(told), columns), Tone.SOFT))
            continue
        widths = _widths([heads, *(cells for _, cells in kept)], columns)
        made.append(Line(_laid(heads, widths, columns), Tone.HEAD))
        made += [Line(_laid(cells, widths, columns), tone) for tone, cells in kept]
        if name == "executions" and look.more:
            made.append(Line(fit(f"… and {look.more} older ones", columns), Tone.SOFT))
    return made


def _has(words: Sequence[str], cells: Sequence[str], more: str) -> bool:
    text = " ".join((*cells, more)).casefold()
    return all(word in text for word in words)


def _of(each: Instrument, now: float) -> tuple[Tone, tuple[str, ...], str]:
    told = "; ".join(reading.words(now) for reading in each.readings) or plain(each.why, 300)
    lasts = "" if each.since is None else span(now - each.since)
    return each.tone, (plain(each.name, 40), each.word, lasts, plain(each.by, 60), told), each.machine


def _row(view: View, now: float, columns: int) -> tuple[Tone, tuple[str, ...], str]:
    record = view.record
    asked, runs = record.request, record.state is State.RUNNING
    state = f"place {view.place}" if view.place else str(record.state)
    tone = Tone.RUNS if runs else Tone.WAITS
    if record.stopping:
        state, tone = "stopping", Tone.WAITS
    fraction = view.progress.fraction if runs else None
    bar = ""
    if fraction is not None:
        filled = round(BAR * min(1.0, max(0.0, fraction)))
        bar = f"{'#' * filled}{'.' * (BAR - filled)} " if columns >= WIDE_ENOUGH else ""
        bar += f"{whole_percent(fraction):3} %"
    does = record.stopping.why if record.stopping else view.progress.stage if runs else waits_for(view)
    if record.as_of:
        does, tone = f"unreachable for {span(now - record.as_of)}", Tone.BAD
    cells = (
        plain(asked.service, 40),
        plain(asked.service_id, 60),
        state,
        bar,
        span(now - (record.started or asked.created)),
        plain(asked.user, 30),
        plain(" ".join(does.split()), 300),
    )
    return tone, cells, " ".join((record.machine, *map(plain, asked.instruments)))


def _machine(state: dict[str, Any]) -> tuple[Tone, tuple[str, ...], str]:
    tone = Tone.GOOD if state["state"] == "takes orders" else Tone.WAITS if state["alive"] else Tone.BAD
    counts = (str(state["active"] - state["waiting"]), str(state["waiting"]), str(state["orders"]))
    return tone, (plain(state["name"], 40), plain(state["words"], 60), *counts, plain(state["version"], 20)), ""


# a column that is wider than its share is cut to it where the screen is too narrow for all
_SHARES = {"SERVICEID": 0.22, "SERVICE": 0.16, "BY": 0.25, "USER": 0.1, "INSTRUMENT": 0.2, "MACHINE": 0.3}


def _widths(rows: Sequence[Sequence[str]], columns: int) -> list[int]:
    """How wide each column but the last is."""
    widest = [max(map(width, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    if sum(widest) + 2 * len(widest) + 16 <= columns:
        return widest
    shares = [_SHARES.get(head) for head in rows[0][:-1]]
    return [
        most if share is None else min(most, max(6, int(share * columns)))
        for most, share in zip(widest, shares, strict=True)
    ]


def _laid(cells: Sequence[str], widths: Sequence[int], columns: int) -> str:
    *first, last = cells
    laid = "  ".join([*(fit(cell, wide, pad=True) for cell, wide in zip(first, widths, strict=True)), last])
    return fit(laid.rstrip(), columns)


def width(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return sum(_width_of(c) for c in text)


def _width_of(c: str) -> int:
    if c < "\u0300":
        return 1
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def fit(text: str, columns: int, pad: bool = False) -> str:
    """A text in so many columns, cut at its end where it is longer."""
    taken = width(text)
    if taken > columns:
        kept, at = [], 0
        for c in text:
            at += _width_of(c)
            if at > columns - 1:
                break
            kept.append(c)
        text = "".join(kept) + "…" * (columns > 0)
        taken = width(text)
    return text + " " * (columns - taken) * pad
