"""What a port ``sim://KIND?option=value`` means, and where a deployment serves it. Standard library only.

Within a deployment one process, the simulated lab, serves each of lab.toml's simulated instruments on a pty, so
that a job and the guard after it find the same device: ``.labwaiter/sim/<instrument>`` is a link to it. It holds
simulated.lock: byte 0 from its birth, byte 1 once no link of one before it is left: links of the dead are never used.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..layout import Layout
from ..system import record_lock

SCHEME = "sim://"
RELAYS = 8


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text) if re.fullmatch(r"\d*\.?\d+(e[+-]?\d+)?", text) else math.nan
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return read


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError("a whole number")
    return int(text)


def _one_of(values: dict[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in values:
            raise ValueError(" or ".join(values))
        return values[text]

    return read


def _relay(text: str) -> tuple[str, int]:
    relay = re.fullmatch(r"([A-Za-z][\w-]*)\.(\d)", text)
    if relay is None or not 1 <= int(relay[2]) <= RELAYS:
        raise ValueError(f"a relay board and the number of a relay, 1 to {RELAYS}, e.g. relays.1")
    return relay[1], int(relay[2])


ALL: dict[str, Callable[[str], Any]] = {"speed": _number(0.01, 1000), "seed": _whole}  # of every kind
KINDS: dict[str, dict[str, Callable[[str], Any]]] = {
    "smu": {"part": _one_of({"resistor": "resistor", "diode": "diode"})},
    "marlin": {},
    "sba5": {
        "warm": _one_of({"yes": True, "no": False}),
        "interval": _number(0.01, 3600),
        "fan": _relay,
    },
    "relays": {},
}


@dataclass(frozen=True)
class SimulatedPort:
    """A simulated instrument as its port describes it."""

    kind: str
    options: dict[str, Any] = field(default_factory=dict)  # of the simulator
    fan: tuple[str, int] | None = None  # the relay that ventilates its chamber: a board of the same lab, a number


def read(port: str) -> SimulatedPort:
    """What a sim:// URL says. Raises ValueError with a sentence's end for a mistake in it."""
    parts = urlsplit(port)
    if parts.netloc not in KINDS or parts.path not in ("", "/") or parts.fragment:
        kind = f"{parts.netloc}{parts.path}"
        raise ValueError(f"there is no simulator “{kind[:60]}”; there are: {', '.join(KINDS)}")
    known, options = KINDS[parts.netloc] | ALL, {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"sim://{parts.netloc} has no option “{name[:60]}”; there are: {', '.join(known)}")
        try:
            options[name] = known[name](text)
        except ValueError as error:
            raise ValueError(f"the option {name} of sim://{parts.netloc} is {error}, not “{text[:60]}”") from None
    return SimulatedPort(parts.netloc, options, options.pop("fan", None))


# -- where it is served -------------------------------------------------------------------------


def alive(jobs: Path) -> int | None:
    """The pid of this deployment's simulated lab (0: in another container); None without one."""
    return record_lock.holder(Layout(jobs).simulated_lock)


def served(link: Path) -> str | None:
    """The pty on which the simulated lab serves an instrument now; None where it doesn't, or not to us."""
    if not record_lock.holder(Layout(link.parents[2]).simulated_lock, byte=1):
        return None  # 0: in another container, whose ptys aren't ours
    try:
        return os.readlink(link)
    except OSError:
        return None
