"""One nursery, as the supervisor sees it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..jobs import link
from ..parameter import Parameter
from ..process import MARKER, NO_MARK
from ..settings import Settings
from .nursery import stamp, stamps_of
from .wire import Wire, pair


@dataclass(frozen=True)
class Rules:
    """What the supervisor must know of a service, whose code it never imports."""

    limit: float | None = None  # s
    stall: float | None = None  # s
    grace: float = 5.0  # s
    at_once: int | None = None
    outputs: tuple[Parameter, ...] = ()


UNKNOWN = Rules()  # of a service that no nursery has told of yet


@dataclass
class Brood:
    """A nursery process and what it offers."""

    process: subprocess.Popen[bytes]
    wire: Wire
    ready: bool = False
    retired: bool = False
    offers: dict[str, Rules] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[int]] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The nursery's pid."""
        return self.process.pid

    def hear_ready(self, message: dict[str, Any]) -> None:
        """The nursery has imported what there is."""
        self.offers = {name: _rules(rules) for name, rules in message["offers"].items()}
        self.broken = message["broken"]
        self.files = message["files"]
        self.ready = True

    def changed(self, settings: Settings) -> bool:
        """Whether the services' code is another than the one that was imported."""
        now = {path: stamp(Path(path)) for path in self.files}
        return now != self.files or not stamps_of(settings.services).keys() <= self.files.keys()

    def retire(self) -> None:
        """No more forks: it leaves with its last job."""
        self.retired = True
        try:
            self.wire.send({"do": "retire"})
        except OSError:
            pass


def _rules(said: dict[str, Any]) -> Rules:
    lists = ("choices", "endings", "drivers")
    outputs = tuple(Parameter(**{**p, **{name: tuple(p[name]) for name in lists}}) for p in said["outputs"])
    return Rules(said["limit"], said["stall"], said["grace"], said["at_once"], outputs)


def hatch(settings: Settings) -> Brood:
    """Start a nursery; it says `ready` when it is."""
    ours, its = pair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labwaiter.supervisor.nursery", str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            env={**link.environment(settings), MARKER: NO_MARK},
            cwd="/",
            start_new_session=True,
        )
    finally:
        its.close()
    return Brood(process, Wire(ours))
