"""Where executions are recorded: `local_store.LocalStore` here, `fleet.redis_store.RedisStore` on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..model.record import Happening, Moment, Record, Request, Tombstone, View
from ..model.service import Service
from .artifacts import Artifacts

UNKNOWN = "Nothing was started under this serviceID."
REMOVED = "What was started under this serviceID has been removed, its results too."


@dataclass(frozen=True)
class Look:
    """One execution as one look at it has found it."""

    record: Record
    view: Callable[[Service | None], View]  # all that a page of this service shows of it


class Revision(Protocol):
    """What a view was made of."""

    def are_same(self) -> bool:
        """Whether a view that is made now would be the same, but for its moment and what only a look at it tells."""

    def look_again(self) -> bool:
        """Look at that: True where it is the same, False where all is to be looked at. Raises OSError."""

    def moment(self) -> Moment:
        """The moment of a view that is made now, if all else of it is the same."""

    def shown(self) -> tuple[int, int, float | None]:
        """As `moment().shown()`, for who asks with each poll."""


class Records(Protocol):
    """What the verbs need of it. A `name` is an execution's folder name, see `names.folder_name`."""

    @property
    def artifacts(self) -> Artifacts:
        """The files that executions are given and make."""

    def unserved(self) -> str:
        """Why nothing that is started now begins (no supervisor, no Redis), in some words; else ""."""

    def crowded(self) -> str:
        """Why a start that is taken now would have to wait, in some words; else ""."""

    def request(self, name: str) -> Request | None:
        """What was asked; None where nothing was, or a tombstone is left. Raises Unavailable."""

    def buried(self, name: str) -> Tombstone | None:
        """What retention has left of it; None where nothing was removed."""

    def admit(self, request: Request) -> Callable[[bool], None]:
        """Take a place for a new execution: what is returned is to be told whether that was recorded then.

        Raises Unavailable or TooManyJobs where it can't be taken; nothing is recorded then.
        """

    def claim(self, name: str, request: Request, token: str = "") -> bool:
        """Record and order a new execution: True for exactly one of all who try. Raises Unavailable.

        Args:
            token: the sessionToken that its job is given; "": none.
        """

    def keep(self, name: str) -> None:
        """See that what was started before is as certain as what `claim` has just recorded. Raises Unavailable."""

    def record(self, name: str) -> Record:
        """One execution as everybody sees it. Raises UnknownServiceID (Removed: a tombstone is left), Unavailable."""

    def look(self, name: str, judge: Callable[[Request], None] | None = None) -> Look:
        """Its record, and all that a page shows of it. Raises as `record`.

        Args:
            judge: raises for whoever may not look; asked before anything else of it is looked at, or done about it.
        """

    def timeline(self, name: str) -> tuple[Happening, ...]:
        """What it has been through so far, oldest first. Raises UnknownServiceID, Unavailable."""

    def stamps(self, view: View, read_from: float) -> Revision | None:
        """What tells that a view is still right, but for its moment; None where nothing can, or it may not be.

        Args:
            view: of one that runs or has completed.
            read_from: Unix time (s) before which nothing of it was read.
        """

    def revision(self, name: str = "") -> str | None:
        """Differs once what is told of the executions, or of this one, may be another: made of stamps, read of nothing.

        None where nothing tells that without a whole look. What moves with the clock alone is left out.
        """

    def names(self, active: bool = False) -> Iterable[str]:
        """Every execution, in no order.

        Args:
            active: those that have ended needn't be among them.
        """

    def times(self) -> list[tuple[float, str]]:
        """Every execution, in no order, by a Unix time (s) before which it was started; few of them are read for it."""

    def every(
        self, left_out: list[str] | None = None, brief: bool = False, names: Iterable[str] | None = None
    ) -> Iterable[Record]:
        """Every execution, in no order; those of which nothing can be known now are left out.

        Args:
            left_out: gets the names of those.
            brief: for a list: without the outputs of those that have completed.
            names: only these.
        """

    def polled(self, record: Record) -> None:
        """A caller has asked for it."""

    def signed(self, anew: bool = False) -> None:
        """A call was answered just now: see `web_side.sign`. Raises OSError."""

    def told(self, name: str) -> float | None:
        """Seconds since somebody was first told of its bad end: 0.0 for the first one; None where that isn't known."""

    def abort(self, record: Record, wait: float, by: str = "") -> bool:
        """Have it stopped: True once it is gone and its instruments read back safe, False after `wait` s.

        Args:
            by: who wants that, in words (`Caller.in_words`); so of the others.
        """

    def abort_unread(self, name: str, wait: float) -> bool | None:
        """As `abort`, of one whose record can't be read: it may run. None: it isn't here. Raises Unavailable."""

    def notify(self, record: Record, message: str, wait: float, by: str = "") -> str:
        """Hand a message to it: the reply, or the message's number if none comes in `wait` s.

        Raises InvalidParameter, Unavailable.
        """

    def ended(self, name: str, wait: float) -> Record | None:
        """The record once it has ended and nothing is left behind; None after `wait` s."""

    def bury(self, record: Record, by: str = "") -> None:
        """Leave only a tombstone of an ended one. Raises Unavailable."""
