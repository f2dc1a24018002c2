"""Looking at an execution of any machine: one round trip to Redis, sometimes two, and what to say of the way there.

Where Redis is away, what this face last knew is told with its age; where a machine is, what it last mirrored.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import redis

from ..errors import Unavailable
from ..model.record import Request, State, View
from ..page.words import clock
from ..store import codec
from . import order, trouble
from .cache import Cache
from .lab_redis import FAULTS, SILENT, LabRedis
from .trouble import away
from .untaken_orders import withdrawn

log = logging.getLogger(__name__)
HUNG_SECONDS = 3.0  # after which a Redis that hangs is asked again: until then no poll waits for it
NOTE_EVERY = 5.0  # s between two notes of one execution's progress in the cache
ENDS = (str(State.COMPLETED), str(State.FAILED))  # that a machine has told: nothing comes after them
BATCH = 500
LISTED = ("request", "machine", "view", "tombstone", "abort", "at")
FIELDS = ("request", "machine", "view", "picture", "page", "tombstone", "abort", "held", "settled", "at")
REFUSED = (
    "The machine {} refuses this order, and its log says why; `labwaiter init-db` tells whether REDIS_SECRET differs."
)


@dataclass(frozen=True)
class Known:
    """What one look has found of an execution."""

    request: Request
    machine: str
    view: View | None = None  # None: its machine has not taken it yet
    picture: bytes | None = None
    page: str | None = None
    abort: bool = False
    held: bool = False  # an instrument of its is not safe
    settled: bool = False  # it has ended, and nothing is left behind
    now: float = 0.0  # by its machine's clock, Unix time in s
    refused: bool = False  # its machine has taken the order, and refused it
    as_of: float | None = None  # Unix time, s: nothing newer can be known now
    note: str = ""


class Look:
    """Looks at the executions of all machines."""

    def __init__(self, store: LabRedis, cache: Cache, order_again: Callable[[str, Request, str], object]) -> None:
        """
        Args:
            order_again: called with name, request and machine of what was ordered here, not taken, and lost by Redis.
        """
        self.store, self.cache, self._order_again = store, cache, order_again
        self._seen: dict[str, tuple[float, bool, float]] = {}  # machine → last heard of, left, asked (monotonic s)
        self.away = False  # that Redis is, was said already
        self._hung = -math.inf  # monotonic s: when Redis, which took the call, did not answer it in time

    def look(self, name: str) -> Known | None:
        """What is known of an execution; None where nothing was started, or a tombstone is left."""
        if time.monotonic() - self._hung < HUNG_SECONDS and (known_here := self._from_ledger(name)) is not None:
            return known_here
        key = self.store.key("job", name)
        try:
            with self.store.redis.pipeline(transaction=False) as asked:
                asked.hmget(key, FIELDS)
                asked.time()
                found, now = asked.execute()
            has = dict(zip(FIELDS, found, strict=True))
            if has["tombstone"] is not None:
                self.cache.forget(name)
                return None
            if has["request"] is None:
                return self._forgotten(name)
            clock_now = float(now[0]) + now[1] / 1e6
            known = self._known(name, has, clock_now)
            before = self.cache.read(name) or {}
            if before.get("state") in ENDS and (known.view is None or known.view.record.active):
                ended = self._from_ledger(name)  # a Redis that was put back to an earlier time is told soon
                if ended is not None:
                    return ended
            self._note(name, has, known, before)
            known = replace(known, **self._reached(name, known, clock_now))
            if self.away:
                self.away = False
                log.warning("Redis answers again")
            return known
        except FAULTS as error:
            if isinstance(error, redis.TimeoutError):
                self._hung = time.monotonic()
            if not self.away:
                self.away = True
                log.warning("What was last known is told. %s", trouble.of(error).mend)
            known_here = self._from_ledger(name)
            if known_here is None:
                raise away(error) from error
            return known_here

    def many(self, names: Iterable[str]) -> Iterator[tuple[str, Known]]:
        """What is known of each, without pages and pictures; those of which nothing is are left out."""
        waiting = list(names)
        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            try:
                with self.store.redis.pipeline(transaction=False) as asked:
                    for name in batch:
                        asked.hmget(self.store.key("job", name), LISTED)
                    asked.time()
                    *found, now = asked.execute()
                clock_now = float(now[0]) + now[1] / 1e6
                known = {name: self._listed(name, has, clock_now) for name, has in zip(batch, found, strict=True)}
            except FAULTS:
                batch, waiting = batch + waiting, []
                known = {name: self._from_ledger(name) for name in batch}
            yield from ((name, one) for name, one in known.items() if one is not None)

    def _listed(self, name: str, fields: list[Any], now: float) -> Known | None:
        has = dict.fromkeys(FIELDS) | dict(zip(LISTED, fields, strict=True))
        if has["tombstone"] is not None:
            return None
        if has["request"] is None:
            return self._from_ledger(name)
        with contextlib.suppress(Unavailable):
            known = self._known(name, has, now)
            return replace(known, **self._reached(name, known, now))
        return None

    def _known(self, name: str, has: dict[str, Any], now: float) -> Known:
        try:
            view = None if has["view"] is None else codec.view(has["view"])
            return Known(
                codec.request(has["request"]),
                (has["machine"] or b"").decode(),
                view,
                has["picture"],
                has["page"].decode("utf-8", "replace") if has["page"] else None,
                has["abort"] is not None,
                has["held"] is not None,
                has["settled"] is not None,
                # two machines' clocks may differ by minutes; Redis' is one
                (view.now + max(0.0, now - float(has["at"] or now))) if view else now,
            )
        except (ValueError, TypeError, KeyError) as error:
            log.exception("a record in Redis is damaged: %s", name)
            raise Unavailable("The record of this execution is damaged; tell the administrator.") from error

    def _note(self, name: str, has: dict[str, Any], known: Known, before: dict[str, Any]) -> None:
        """In the cache, that had `before`: each state as soon as it is seen, progress every 5 s."""
        view = has["view"].decode() if has["view"] is not None else None
        state = str(known.view.record.state) if known.view else ""
        same = (
            before.get("state") == state
            and before.get("abort", False) == known.abort
            and (view == before.get("view") or time.time() - before["at"] < NOTE_EVERY)
        )
        if not same:
            told = {"told": before["told"]} if "told" in before else {}
            files = {"files": before["files"]} if "files" in before and view is None else {}
            said = {"request": has["request"].decode(), "machine": known.machine, "view": view, "state": state}
            self.cache.write(name, **said, **told, **files, abort=known.abort, at=time.time())

    def _reached(self, name: str, known: Known, now: float) -> dict[str, Any]:
        """What a face has to say of the way to its machine (`now`: Redis' clock, s)."""
        if known.view is not None and not known.view.record.active:
            return {}
        seen, left, asked = self._seen.get(known.machine, (0.0, False, -math.inf))
        if time.monotonic() - asked > 1.0 or now - seen > SILENT:
            said, state = self.store.redis.hmget(self.store.key("machine", known.machine), "seen", "state")
            seen, left = float(said or 0.0), state == b"left"
            self._seen[known.machine] = (seen, left, time.monotonic())
        if known.view is None and self.store.redis.hget(*order.status_of(name)) == b"failed":
            return {"refused": True, "note": REFUSED.format(known.machine)}
        if now - seen <= SILENT and not left:
            return {}
        since = f"since {clock(seen)}" if seen else "and has not been seen yet"
        if known.view is None:
            goes_on = "the execution begins there when it is back"
        else:
            goes_on = "what runs there goes on, and this page with it when it is back"
        return {"as_of": seen or now, "note": f"The machine {known.machine} can't be reached {since}: {goes_on}."}

    def _forgotten(self, name: str) -> Known | None:
        """Redis knows nothing of it. What was ordered here is ordered again; what was taken, its machine tells anew."""
        known = self._from_ledger(name)
        if known is None:
            self.cache.certain(name)  # nothing is said of it where that can't be read
            return None
        if known.view is None and known.abort:
            view = withdrawn(name, known.request, known.as_of or 0.0)  # it was aborted before Redis forgot it
            return replace(known, view=view, settled=True, as_of=None, note="")
        if known.view is None:
            log.warning("%s is not in Redis any more; it is ordered again", name)
            self._order_again(name, known.request, known.machine)
            return replace(known, as_of=None, note="")
        return replace(known, note=f"Nothing is in Redis of this execution; this is as of {clock(known.as_of or 0.0)}.")

    def _from_ledger(self, name: str) -> Known | None:
        said = self.cache.read(name)
        if said is None:
            return None
        with contextlib.suppress(ValueError, TypeError, KeyError):
            view = said["view"] and codec.view(said["view"])
            at = float(said["at"])
            note = f"The machines of this lab can't be asked: this is as of {clock(at)}. What runs goes on."
            if view and not view.record.active:
                return Known(codec.request(said["request"]), said["machine"], view, settled=True)
            request, abort = codec.request(said["request"]), bool(said.get("abort"))
            return Known(request, said["machine"], view or None, abort=abort, as_of=at, note=note)
        return None
