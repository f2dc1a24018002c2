"""The twin of `LabRedis` in the memory of one process: for tests of what needs the store's behaviour, but no Redis.

tests/core/test_fleet_store.py runs over both, so that they stay alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .fleet_store import (
    Beat,
    FaceNews,
    FleetStore,
    MachineEntry,
    Publication,
    Removal,
    Revision,
    ScheduleNote,
    Snapshot,
)
from .order import Order, order_id
from .signing import Seals


@dataclass
class _Shared:
    """What lies between the machines."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    fault: Exception | None = None
    ahead: float = 0.0  # s: the clock, of this machine's
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    expire: dict[str, float] = field(default_factory=dict)  # when an execution's record is gone
    created: dict[str, float] = field(default_factory=dict)
    active: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ended: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # how often that was published
    orders: dict[str, str] = field(default_factory=dict)  # id → sealed
    refused: set[str] = field(default_factory=set)  # ids
    queues: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    in_hand: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # given to a worker
    beats: dict[str, Beat] = field(default_factory=dict)
    polled: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    faces: dict[str, float] = field(default_factory=dict)
    instruments: dict[str, bytes] = field(default_factory=dict)  # what machines told of theirs
    lists: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))  # calls and answers
    files: dict[str, bytes] = field(default_factory=dict)
    notes: dict[str, ScheduleNote] = field(default_factory=dict)


class InMemoryFleetStore:
    """A `FleetStore`, as one machine's process has it; `at` is the same store at another machine."""

    fails_over = False

    def __init__(self, machine: str, seals: Seals, shared: _Shared | None = None) -> None:
        self.machine, self.seals = machine, seals
        self._shared = shared or _Shared()

    def at(self, machine: str, seals: Seals | None = None) -> InMemoryFleetStore:
        """The same store at another machine."""
        return InMemoryFleetStore(machine, seals or self.seals, self._shared)

    def fail(self, fault: Exception | None) -> None:
        """Have all calls raise this, as when Redis is away; None: it is back."""
        self._shared.fault = fault

    def advance(self, seconds: float) -> None:
        """Have that time go by."""
        self._shared.ahead += seconds

    def work(self, take: Callable[[str, object], object]) -> None:
        """Take all orders of this machine, as its worker does; what `take` raises ValueError for is refused."""
        with self._open() as shared:
            queue, shared.queues[self.machine] = shared.queues[self.machine], []
            orders = [(id_, shared.orders.get(id_)) for id_ in queue]
        for id_, sealed in orders:
            try:
                take(id_, sealed)
            except ValueError:
                shared.refused.add(id_)

    def lose_order(self) -> None:
        """Give the next order of this machine to nobody, as when a worker dies with it."""
        with self._open() as shared:
            shared.in_hand[self.machine].append(shared.queues[self.machine].pop(0))

    @contextlib.contextmanager
    def _open(self) -> Iterator[_Shared]:
        shared = self._shared
        with shared.changed:
            if shared.fault is not None:
                raise shared.fault
            now = time.time() + shared.ahead
            for name in [name for name, at in shared.expire.items() if at <= now]:
                del shared.expire[name]
                shared.executions.pop(name, None)
            yield shared
            shared.changed.notify_all()

    def ping(self) -> object:
        with self._open():
            return True

    def now(self) -> float:
        with self._open() as shared:
            return time.time() + shared.ahead

    def master(self) -> tuple[str, int] | None:
        return None

    def has_replica(self, name: str) -> bool:
        return True

    # -- looking at executions ----------------------------------------------------------------

    def snapshot(self, name: str, brief: bool = False) -> Snapshot:
        (snapshot,) = self.snapshots([name])
        if brief:
            return snapshot
        with self._open() as shared:
            fields = shared.executions.get(name, {})
            return replace(snapshot, picture=fields.get("picture"), page=fields.get("page"))

    def revision(self, name: str) -> Revision:
        return self.snapshot(name, brief=True).revision

    def snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        with self._open() as shared:
            now = time.time() + shared.ahead
            snapshots = []
            for name in names:
                fields = shared.executions.get(name, {})
                snapshots.append(
                    Snapshot(
                        name,
                        now,
                        fields.get("request"),
                        fields.get("machine", ""),
                        fields.get("view"),
                        fields.get("at"),
                        tombstone=fields.get("tombstone"),
                        abort="abort" in fields,
                        held="held" in fields,
                        settled="settled" in fields,
                        refused=order_id(name) in shared.refused and "view" not in fields,
                    )
                )
            return snapshots

    def started(self) -> list[tuple[float, str]]:
        with self._open() as shared:
            return sorted((created, name) for name, created in shared.created.items())

    def active(self, machine: str) -> frozenset[str]:
        with self._open() as shared:
            return frozenset(shared.active[machine])

    def count_active(self, machine: str) -> int:
        return len(self.active(machine))

    def untaken(self, machine: str) -> list[str]:
        with self._open() as shared:
            return sorted(name for name in shared.active[machine] if "view" not in shared.executions.get(name, {}))

    def seconds_told(self, name: str) -> float:
        with self._open() as shared:
            now = time.time() + shared.ahead
            return now - float(shared.executions.setdefault(name, {}).setdefault("told", now))

    @contextlib.contextmanager
    def endings(self, name: str) -> Iterator[Callable[[float], object]]:
        with self._open() as shared:
            seen = shared.ended[name]

        def wait(seconds: float) -> object:
            nonlocal seen
            with shared.changed:
                shared.changed.wait_for(lambda: shared.ended[name] != seen, seconds)
                seen = shared.ended[name]
            return None

        yield wait

    # -- orders -------------------------------------------------------------------------------

    def order(self, order: Order) -> bool:
        id_ = order_id(order.name)
        with self._open() as shared:
            if order.name in shared.executions or id_ in shared.orders:
                return False
            shared.executions[order.name] = {"request": order.request, "machine": order.machine}
            shared.created[order.name] = order.created
            shared.active[order.machine].add(order.name)
            shared.orders[id_] = order.sealed
            shared.queues[order.machine].append(id_)
            return True

    def place(self, machine: str, name: str) -> int | None:
        with self._open() as shared:
            queue = shared.queues[machine]
            return queue.index(order_id(name)) + 1 if order_id(name) in queue else None

    def wish_abort(self, name: str) -> None:
        with self._open() as shared:
            shared.executions.setdefault(name, {})["abort"] = True

    def abort_wished(self, name: str) -> bool:
        with self._open() as shared:
            return "abort" in shared.executions.get(name, {})

    def withdraw(self, name: str, machine: str, view: bytes, keep_seconds: int, taken: bool = False) -> bool:
        id_ = order_id(name)
        with self._open() as shared:
            queue = shared.queues[machine]
            if id_ in queue:
                queue.remove(id_)
            elif not taken:
                return False
            shared.executions.setdefault(name, {}).update(view=view, settled=True)
            shared.expire[name] = time.time() + shared.ahead + keep_seconds
            shared.active[machine].discard(name)
            shared.orders.pop(id_, None)
            shared.refused.discard(id_)
            shared.ended[name] += 1
            return True

    def remove_withdrawn(self, removal: Removal) -> bool:
        with self._open() as shared:
            if "settled" not in shared.executions.get(removal.name, {}):
                return False
            self._remove(shared, removal)
            return True

    def _remove(self, shared: _Shared, removal: Removal) -> None:
        shared.executions[removal.name] = {"tombstone": removal.tombstone}
        shared.expire.pop(removal.name, None)
        shared.created.pop(removal.name, None)

    def put_back_orders(self, machine: str) -> None:
        with self._open() as shared:
            shared.queues[machine][:0] = shared.in_hand[machine]
            shared.in_hand[machine].clear()

    def pass_over_order(self, machine: str, id_: str) -> None:
        with self._open() as shared:
            if id_ in shared.in_hand[machine]:
                shared.in_hand[machine].remove(id_)
            shared.refused.add(id_)

    # -- what machines tell -------------------------------------------------------------------

    def publish(self, machine: str, changes: Iterable[Publication | Removal]) -> None:
        with self._open() as shared:
            for change in changes:
                if isinstance(change, Removal):
                    self._remove(shared, change)
                    shared.active[machine].discard(change.name)
                else:
                    self._publish(shared, machine, change)

    def _publish(self, shared: _Shared, machine: str, change: Publication) -> None:
        fields: dict[str, Any] = {
            "request": change.request,
            "machine": machine,
            "view": change.view,
            "at": change.at,
            "settled": change.settled or None,
            "page": change.page.encode() if change.page else None,
            "held": change.held or None,
        }
        if not change.same_picture:
            fields["picture"] = change.picture
        execution = shared.executions.setdefault(change.name, {})
        execution.update(fields)
        for name in [name for name, value in execution.items() if value is None]:
            del execution[name]
        shared.created[change.name] = change.created
        (shared.active[machine].add if change.active else shared.active[machine].discard)(change.name)
        shared.ended[change.name] += change.settled

    def unended(self, names: Sequence[str]) -> dict[str, bool]:
        snapshots = self.snapshots(names)
        return {snapshot.name: snapshot.settled for snapshot in snapshots if not snapshot.tombstone}

    def beat(self, beat: Beat) -> Beat | None:
        with self._open() as shared:
            before = shared.beats.get(beat.machine)
            shared.beats[beat.machine] = beat
            return before

    def last_beat(self, machine: str) -> tuple[Beat | None, float]:
        with self._open() as shared:
            return shared.beats.get(machine), time.time() + shared.ahead

    def machines(self) -> frozenset[str]:
        with self._open() as shared:
            return frozenset(shared.beats)

    def machine_entries(self, machines: Sequence[str]) -> tuple[list[MachineEntry], float]:
        with self._open() as shared:
            entries = [MachineEntry(shared.beats.get(name), len(shared.queues[name])) for name in machines]
            return entries, time.time() + shared.ahead

    def tell_instruments(self, machine: str, text: bytes) -> None:
        with self._open() as shared:
            shared.instruments[machine] = text

    def instruments(self, machines: Sequence[str]) -> list[bytes | None]:
        with self._open() as shared:
            return [shared.instruments.get(name) for name in machines]

    # -- what faces tell ----------------------------------------------------------------------

    def polled(self, machine: str, names: Sequence[str]) -> None:
        with self._open() as shared:
            shared.polled[machine].update(names)

    def face_seen(self) -> None:
        with self._open() as shared:
            shared.faces[self.machine] = time.time() + shared.ahead

    def news(self, machine: str) -> FaceNews:
        with self._open() as shared:
            newest = max(shared.faces.values(), default=None)
            age = None if newest is None else time.time() + shared.ahead - newest
            return FaceNews(frozenset(shared.polled.pop(machine, ())), age)

    # -- calls --------------------------------------------------------------------------------

    def reply_box(self) -> str:
        return f"reply {secrets.token_hex(16)}"

    def post_call(self, machine: str, sealed: str, at_once: bool = False) -> None:
        with self._open() as shared:
            shared.lists[f"stops {machine}" if at_once else machine].append(sealed.encode())

    def take_back_call(self, machine: str, sealed: str) -> bool:
        with self._open() as shared:
            if sealed.encode() not in shared.lists[machine]:
                return False
            shared.lists[machine].remove(sealed.encode())
            return True

    def next_call(self, machine: str, wait: float, at_once: bool = False) -> bytes | None:
        return self._next(f"stops {machine}" if at_once else machine, wait)

    def post_answer(self, reply_box: str, parts: Sequence[bytes]) -> None:
        with self._open() as shared:
            shared.lists[reply_box] += parts

    def next_part(self, reply_box: str, wait: float) -> bytes | None:
        return self._next(reply_box, wait)

    def _next(self, list_: str, wait: float) -> bytes | None:
        with self._open() as shared:
            if not shared.changed.wait_for(lambda: shared.lists[list_], wait):
                return None
            return shared.lists[list_].pop(0)

    # -- files that orders bring along --------------------------------------------------------

    def file_key(self, name: str, content: bytes) -> str:
        return f"file {name} {hashlib.sha256(content).hexdigest()}"

    def put_file(self, name: str, content: bytes) -> str:
        key = self.file_key(name, content)
        with self._open() as shared:
            shared.files[key] = content
        return key

    def get_file(self, key: str) -> bytes | None:
        with self._open() as shared:
            return shared.files.get(key)

    def drop_files(self, keys: Iterable[str]) -> None:
        with self._open() as shared:
            for key in keys:
                shared.files.pop(key, None)

    # -- schedules ----------------------------------------------------------------------------

    def schedule_note(self, schedule: str) -> ScheduleNote:
        with self._open() as shared:
            return shared.notes.get(schedule, ScheduleNote())

    def note_schedule(self, schedule: str, note: ScheduleNote) -> None:
        with self._open() as shared:
            shared.notes[schedule] = note

    def clear(self) -> int:
        with self._open() as shared:
            count = sum(
                len(vars(shared)[kind]) for kind in ("executions", "orders", "beats", "faces", "files", "notes")
            )
            for value in vars(shared).values():
                if isinstance(value, dict | set):
                    value.clear()
            return count


if TYPE_CHECKING:
    _: type[FleetStore] = InMemoryFleetStore
