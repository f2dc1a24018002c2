"""What machines and faces leave for each other: the values, and the store that has them.

`LabRedis` is the store of a lab; `InMemoryFleetStore` is its twin for tests, which behaves alike
(tests/core/test_fleet_store.py runs over both). Every method of `LabRedis` raises what `redis_faults.FAULTS` names.
Times are the store's own clock, Unix time in s: those of machines may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..model.record import Tombstone
from .order import Order
from .signing import Seals

SILENT_SECONDS = 10.0  # after which a machine that isn't heard of can't be reached
TAKES_ORDERS = "takes orders"  # the state of a machine whose worker does
LEFT = "left"  # the state of a machine whose worker has ended


@dataclass(frozen=True)
class Snapshot:
    """What the store has of one execution, read at one moment."""

    name: str
    now: float  # the store's clock at that moment
    request: bytes | None = None  # request.json; None: nothing is known of the execution
    machine: str = ""  # that has it, or will
    view: bytes | None = None  # as its machine published it; None: that has not taken it yet
    at: float | None = None  # when it did
    picture: bytes | None = None
    page: bytes | None = None  # the program's own
    tombstone: Tombstone | None = None  # its machine has removed it
    abort: bool = False  # a face wants it stopped
    held: bool = False  # an instrument of its is not safe
    settled: bool = False  # it has ended, and nothing is left behind
    refused: bool = False  # its machine took the order from the queue, and refused it

    @property
    def revision(self) -> Revision:
        """Its revision."""
        return Revision(self.at, self.abort, self.tombstone is not None)


class Revision(NamedTuple):
    """Fields of a snapshot: once its machine has published an execution, nothing of it changes without them."""

    at: float | None
    abort: bool
    tombstone: bool


@dataclass(frozen=True)
class Publication:
    """What a machine tells of one execution."""

    name: str
    request: bytes  # request.json
    created: float  # Unix time, s
    view: bytes
    at: float
    active: bool
    settled: bool
    held: tuple[str, ...] = ()  # instruments that are not safe
    page: str | None = None
    picture: bytes | None = None
    same_picture: bool = False  # the picture is as it was told before: it is not told again


@dataclass(frozen=True)
class Removal:
    """An execution of which only a tombstone is left."""

    name: str
    tombstone: Tombstone


@dataclass(frozen=True)
class Beat:
    """What a machine tells of itself."""

    machine: str
    seen: float  # the store's clock
    state: str  # "takes orders", "drains", "left"
    run: str = ""  # of its worker's process, random
    id: str = ""  # of its jobs folder: tells two machines of one name apart
    host: str = ""
    version: str = ""
    offers: tuple[str, ...] = ()  # services
    active: int = 0  # executions that run or wait there
    waiting: int = 0  # of these
    clock: float | None = None  # s: its clock minus the store's
    lab: str = ""  # digest of its lab.toml
    secret: str = ""  # fingerprint of its REDIS_SECRET


@dataclass(frozen=True)
class MachineEntry:
    """One machine as the store has it."""

    beat: Beat | None  # None: it has not been seen
    orders: int  # that it has yet to take


@dataclass(frozen=True)
class FaceNews:
    """What faces have left for a machine since it asked last."""

    polled: frozenset[str]  # executions that callers asked for
    face_age: float | None  # s since any face was last seen; None: there was none


@dataclass(frozen=True)
class ScheduleNote:
    """What is known of a schedule besides its runs."""

    skipped: int = 0  # times since its last run
    why: str = ""
    at: float | None = None  # the last of these times, Unix time in s

    @property
    def fields(self) -> dict[str, Any]:
        """As JSON; {} where there is nothing to say."""
        return {} if self == ScheduleNote() else {"skipped": self.skipped, "why": self.why, "at": self.at}

    @classmethod
    def of(cls, fields: Any) -> ScheduleNote:
        """Of such JSON; what is damaged says nothing."""
        try:
            return cls(int(fields.get("skipped", 0)), str(fields.get("why", "")), fields.get("at"))
        except (ValueError, TypeError, AttributeError):
            return cls()


class FleetStore(Protocol):
    """The store between the machines of one lab. Thread-safe. A `name` is an execution's folder name."""

    machine: str  # whose process this is
    seals: Seals  # what this lab signs with

    def ping(self) -> object:
        """Whether it answers at all."""

    def now(self) -> float:
        """The store's clock."""

    @property
    def fails_over(self) -> bool:
        """Whether another server may take its place."""

    def master(self) -> tuple[str, int] | None:
        """Which server it is now, asked anew; None where there is but one."""

    def has_replica(self, name: str) -> bool:
        """Whether what was last written of an execution is there, and a replica has it: no failover loses it then."""

    # -- looking at executions ----------------------------------------------------------------

    def snapshot(self, name: str, brief: bool = False) -> Snapshot:
        """What there is of an execution. `brief`: without picture and page."""

    def revision(self, name: str) -> Revision:
        """That of a snapshot."""

    def snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        """What there is of each, brief, in one go."""

    def started(self) -> list[tuple[float, str]]:
        """All executions by when they were started, the oldest first."""

    def active(self, machine: str) -> frozenset[str]:
        """The names of a machine's executions that have not ended."""

    def count_active(self, machine: str) -> int:
        """How many executions of a machine have not ended."""

    def untaken(self, machine: str) -> list[str]:
        """The names of those whose order it has yet to take, sorted."""

    def seconds_told(self, name: str) -> float:
        """Seconds since somebody was first told of its bad end: 0.0 for the first one."""

    def endings(self, name: str) -> AbstractContextManager[Callable[[float], object]]:
        """Gives a function that waits so many seconds, or less if the execution's end is published meanwhile."""

    # -- orders -------------------------------------------------------------------------------

    def order(self, order: Order) -> bool:
        """Record an execution and queue its order, both or neither; False where either is there already."""

    def place(self, machine: str, name: str) -> int | None:
        """The place of an order in its machine's queue, from 1; None where it isn't in it."""

    def wish_abort(self, name: str) -> None:
        """Note that a face wants an execution stopped."""

    def abort_wished(self, name: str) -> bool:
        """Whether a face wants an execution stopped."""

    def withdraw(self, name: str, machine: str, view: bytes, keep_seconds: int, taken: bool = False) -> bool:
        """Take an order out of the queue, and publish its end with it; False where its machine was faster.

        Args:
            view: how it has ended.
            keep_seconds: how long that is kept: no machine's retention knows of it.
            taken: its machine took it from the queue and refused it.
        """

    def remove_withdrawn(self, removal: Removal) -> bool:
        """Leave a tombstone of one that has ended; False where it hasn't."""

    def put_back_orders(self, machine: str) -> None:
        """Orders that were given to nobody, as when a worker died, are in the queue again."""

    def pass_over_order(self, machine: str, id_: str) -> None:
        """Leave out what is no order, or can't be read: it is refused."""

    # -- what machines tell -------------------------------------------------------------------

    def publish(self, machine: str, changes: Iterable[Publication | Removal]) -> None:
        """Tell of executions, all in one transaction."""

    def unended(self, names: Sequence[str]) -> dict[str, bool]:
        """Those of these of which no tombstone is known: whether their end is."""

    def beat(self, beat: Beat) -> Beat | None:
        """Tell of a machine: what was told before."""

    def last_beat(self, machine: str) -> tuple[Beat | None, float]:
        """What a machine last told of itself, and the clock now."""

    def machines(self) -> frozenset[str]:
        """The names of all machines that ever told of themselves."""

    def machine_entries(self, machines: Sequence[str]) -> tuple[list[MachineEntry], float]:
        """How each of these is, and the clock now."""

    def tell_instruments(self, machine: str, text: bytes) -> None:
        """Tell how a machine's instruments stand."""

    def instruments(self, machines: Sequence[str]) -> list[bytes | None]:
        """What each of these has told of its instruments."""

    # -- what faces tell ----------------------------------------------------------------------

    def polled(self, machine: str, names: Sequence[str]) -> None:
        """Tell a machine that callers asked for these executions."""

    def face_seen(self) -> None:
        """Note that a face is here to be asked."""

    def news(self, machine: str) -> FaceNews:
        """What faces have told a machine; it is told once."""

    # -- calls: signed texts, see `rpc` -------------------------------------------------------

    def reply_box(self) -> str:
        """Where the answer to a new call is to be put."""

    def post_call(self, machine: str, sealed: str, at_once: bool = False) -> None:
        """Leave a call for a machine; `at_once`: where nothing but a STOP waits."""

    def take_back_call(self, machine: str, sealed: str) -> bool:
        """Take a call away again; False where the machine has taken it."""

    def next_call(self, machine: str, wait: float, at_once: bool = False) -> bytes | None:
        """The oldest call for a machine, taken away; None if none comes in `wait` s."""

    def post_answer(self, reply_box: str, parts: Sequence[bytes]) -> None:
        """Leave the answer to a call, in parts."""

    def next_part(self, reply_box: str, wait: float) -> bytes | None:
        """The next part of an answer; None if none comes in `wait` s."""

    # -- files that orders bring along --------------------------------------------------------

    def file_key(self, name: str, content: bytes) -> str:
        """Where a file of this content lies that an execution is given."""

    def put_file(self, name: str, content: bytes) -> str:
        """Put a file where `file_key` says, for a week at most: that key."""

    def get_file(self, key: str) -> bytes | None:
        """The content of a file; None where there is none."""

    def drop_files(self, keys: Iterable[str]) -> None:
        """Delete files that an execution has by now."""

    # -- schedules ----------------------------------------------------------------------------

    def schedule_note(self, schedule: str) -> ScheduleNote:
        """What was noted of a schedule last."""

    def note_schedule(self, schedule: str, note: ScheduleNote) -> None:
        """Replace what was noted of a schedule."""

    def clear(self) -> int:
        """Delete all that this lab has, and nothing else: how many keys those were."""
