"""A look at an execution of any machine, as a value: what Redis, or the cache, says of it at one moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeVar

from ..model.record import Record, Request, State, View, derive
from ..model.sentences import N_
from ..model.service import Service
from ..page.words import clock
from ..store import codec
from .cache import CacheEntry
from .fleet_store import SILENT_SECONDS, Snapshot

T = TypeVar("T")
LARGEST = 64_000  # bytes of a text in Redis of which is remembered what it says
REFUSED = (
    "The machine {} refuses this order, and its log says why; `labwaiter init-db` tells whether REDIS_SECRET differs."
)
WITHDRAWN = N_("The execution was aborted before it began.")


@dataclass(frozen=True)
class FleetLook:
    """What is known of one execution."""

    name: str
    request: Request
    machine: str  # that has it, or will
    published: View | None = None  # by that; None: it has not taken it yet
    picture: bytes | None = None
    page: str | None = None
    abort: bool = False  # a face wants it stopped
    held: bool = False  # an instrument of its is not safe
    settled: bool = False  # it has ended, and nothing is left behind
    now: float = 0.0  # by its machine's clock, Unix time in s; 0.0: not known
    refused: bool = False  # its machine took the order, and refused it
    place: int | None = None  # of its order in the machine's queue, from 1
    as_of: float | None = None  # Unix time, s: nothing newer can be known now
    note: str = ""  # for its page: what is to be said of the way to its machine
    at: float | None = None  # when its machine published it, by the store's clock; None: it hasn't, or that isn't known

    @cached_property
    def record(self) -> Record:
        """It, as everybody sees it."""
        if self.published is None:
            record = derive(self.name, self.request, None, None, self.abort)
        else:
            record = self.published.record
        return replace(record, machine=self.machine, as_of=self.as_of)

    @property
    def ended(self) -> bool:
        """Whether its machine has published its end."""
        return self.published is not None and not self.published.record.active

    def view(self, service: Service | None) -> View:
        """All that a page shows of it."""
        record, limit = self.record, service.limit if service else None
        if self.published is None:
            ahead = N_(f"{self.machine} takes it when it has room") if self.place else ""
            return View(record=record, now=time.time(), limit=limit, place=self.place, ahead=ahead, note=self.note)
        now = self.now if self.as_of is None and self.now else self.published.now
        ran = self.published.ran
        if ran is not None and record.active:
            ran += max(0.0, now - self.published.now)
        return replace(
            self.published,
            record=record,
            now=now,
            ran=ran,
            limit=limit,
            own_page=self.page if record.active and not self.note else None,
            picture=self.picture,
            note=self.note,
        )


def of_snapshot(snapshot: Snapshot) -> FleetLook:
    """What a snapshot says. Raises ValueError, TypeError or KeyError where it is damaged, or without a request."""
    view = None if snapshot.view is None else _read(codec.view, snapshot.view)
    now = snapshot.now
    if view is not None:  # two machines' clocks may differ by minutes; Redis' is one
        now = view.now + (0.0 if snapshot.at is None else max(0.0, snapshot.now - snapshot.at))
    return FleetLook(
        snapshot.name,
        _read(codec.request, snapshot.request or b""),
        snapshot.machine,
        view,
        snapshot.picture,
        snapshot.page.decode("utf-8", "replace") if snapshot.page else None,
        abort=snapshot.abort,
        held=snapshot.held,
        settled=snapshot.settled,
        now=now,
        refused=snapshot.refused and view is None,
        at=snapshot.at,
    )


def _read(read: Callable[[bytes], T], text: bytes) -> T:
    """What it gives, which is shared by all who ask: nobody may change it. Most looks find the texts as before."""
    return _read_once(read, text) if len(text) <= LARGEST else read(text)  # type: ignore[return-value]


@lru_cache(2000)
def _read_once(read: Callable[[bytes], object], text: bytes) -> object:
    return read(text)


def of_cache(name: str, entry: CacheEntry | None) -> FleetLook | None:
    """What was last known, for when nothing newer can be; None where that is nothing."""
    if entry is None:
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError):
        request = codec.request(entry.request.encode())
        view = codec.view(entry.view.encode()) if entry.view else None
        if view and not view.record.active:
            return FleetLook(name, request, entry.machine, view, settled=True)
        note = N_(f"The machines of this lab can't be asked: this is as of {clock(entry.at)}. What runs goes on.")
        return FleetLook(name, request, entry.machine, view, abort=entry.abort, as_of=entry.at, note=note)
    return None


def entry_of(look: FleetLook, request: bytes, view: bytes | None, before: CacheEntry) -> CacheEntry:
    """What is to be remembered of a look at Redis.

    Args:
        request, view: as they lie there.
        before: what was remembered until now.
    """
    return CacheEntry(
        request.decode(),
        look.machine,
        None if view is None else view.decode(),
        str(look.published.record.state) if look.published else "",
        at=time.time(),
        abort=look.abort,
        told=before.told,
        files=before.files if view is None else {},
    )


def reached(look: FleetLook, now: float, seen: float, left: bool) -> FleetLook:
    """With what is to be said of the way to its machine.

    Args:
        now: Redis' clock.
        seen: when the machine was last heard of, by that; 0.0: never.
        left: whether its worker has ended.
    """
    if look.ended:
        return look
    if look.refused:
        return replace(look, note=REFUSED.format(look.machine))
    if now - seen <= SILENT_SECONDS and not left:
        return look
    since = N_(f"since {clock(seen)}") if seen else N_("and has not been seen yet")
    if look.published is None:
        goes_on = N_("the execution begins there when it is back")
    else:
        goes_on = N_("what runs there goes on, and this page with it when it is back")
    return replace(look, as_of=seen or now, note=N_(f"The machine {look.machine} can't be reached {since}: {goes_on}."))


def withdrawn(name: str, request: Request, ended: float, why: str = WITHDRAWN) -> View:
    """The view of an order that no machine will take any more (`ended`: Unix time, s)."""
    record = derive(name, request, None, None)
    return View(record=replace(record, state=State.ABORTED, why=why, ended=ended), now=ended)
