"""Where executions are recorded: a promise kept by `here.Here` (this machine) and `fleet.there.There` (Redis)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..record import Record, Request, View
from ..service import Service
from .exchange import Exchange


class Records(Protocol):
    """What the verbs need of it. A `name` is an execution's folder name, see `names.folder_name`."""

    @property
    def exchange(self) -> Exchange:
        """The files that executions are given and make."""

    def serves(self) -> bool:
        """Whether what is started now begins: a supervisor lives, or Redis answers."""

    def request(self, name: str) -> Request | None:
        """What was asked; None where nothing was, or a tombstone is left. Raises Unavailable."""

    def buried(self, name: str) -> bool:
        """Whether retention has left a tombstone of it."""

    def admit(self, request: Request) -> None:
        """Raises Unavailable or TooManyJobs where a new execution can't be taken; nothing is recorded then."""

    def claim(self, name: str, request: Request) -> bool:
        """Record and order a new execution: True for exactly one of all who try. Raises Unavailable."""

    def record(self, name: str) -> Record:
        """One execution as everybody sees it. Raises UnknownServiceID, Unavailable."""

    def view(self, record: Record, service: Service | None) -> View:
        """All that a page shows of it."""

    def names(self) -> Iterable[str]:
        """Every execution, in no order."""

    def every(self) -> Iterable[Record]:
        """Every execution, in no order; those of which nothing can be known now are left out."""

    def polled(self, name: str) -> None:
        """A caller has asked for it."""

    def signed(self, anew: bool = False) -> None:
        """A call was answered just now: see `presence.sign`. Raises OSError."""

    def told(self, name: str) -> float | None:
        """Seconds since somebody was first told of its bad end: 0.0 for the first one; None where that isn't known."""

    def abort(self, record: Record, wait: float) -> bool:
        """Have it stopped: True once it is gone and its instruments read back safe, False after `wait` s."""

    def notify(self, record: Record, message: str, wait: float) -> str:
        """Hand a message to it: the reply, or the message's number if none comes in `wait` s.

        Raises InvalidParameter, Unavailable.
        """

    def ended(self, name: str, wait: float) -> Record | None:
        """The record once it has ended and nothing is left behind; None after `wait` s."""

    def bury(self, record: Record) -> None:
        """Leave only a tombstone of an ended one. Raises Unavailable."""
