"""How a machine's instruments stand, as it tells all faces: a small JSON text in Redis, anew whenever it differs.

What lab.toml says of them each face reads for itself: options of a driver may be nobody else's business.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field

from ..errors import Misconfigured, Unavailable
from ..model.caller import SHELL
from ..store.history import LastReading
from ..store.upkeep import OutOfService
from ..verbs.instruments import Holding, Instruments
from ..verbs.monitoring import Monitoring
from . import as_json

LARGEST = 4_000_000  # bytes


@dataclass(frozen=True)
class Told:
    """What is told of one."""

    holding: Holding | None = None
    twins: frozenset[str] = frozenset()
    out: OutOfService | None = None
    absent: bool = False
    readings: tuple[LastReading, ...] = ()  # what it said last, where it is monitored


@dataclass(frozen=True)
class AllTold:
    """What is told of all of a machine, by name."""

    instruments: dict[str, Told] = field(default_factory=dict)


def tell(verbs: Instruments, monitoring: Monitoring) -> bytes:
    """How those of this machine stand. Where lab.toml has a mistake, those that somebody has."""
    said: dict[str, tuple[LastReading, ...]] = {}
    with contextlib.suppress(Unavailable):  # what is kept can't be read now
        said = monitoring.last(SHELL)
    try:
        listed = verbs.list(SHELL)
    except Misconfigured:
        told = {each.lease.instrument: Told(each) for each in verbs.not_safe()}
    else:
        told = {one.name: Told(one.holding, one.twins, one.out, one.absent, said.get(one.name, ())) for one in listed}
    return as_json.dumped(AllTold(told)).encode()


def heard(text: bytes | None) -> dict[str, Told]:
    """What a machine told; nothing where that can't be read."""
    try:
        told: AllTold = as_json.read(AllTold, json.loads((text or b"{}")[:LARGEST]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return told.instruments
