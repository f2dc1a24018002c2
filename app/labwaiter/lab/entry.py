"""What lab.toml says of one instrument, and of one machine, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import simulation

NOTHING_TO_DO, ITSELF = "nothing to do", "itself"


@dataclass(frozen=True)
class Entry:
    """One instrument of lab.toml."""

    name: str
    driver: str  # "module:callable"
    port: str
    line: dict[str, Any] = field(default_factory=dict)  # pyserial's settings
    note: str = ""
    unpolled: float | None = None  # s of its workflow manager's silence after which its job is aborted
    safe_seconds: float = 20.0
    reconnect: float = 10.0  # s
    settle: float | None = None  # s that it may take to boot when its line is opened; None: as its driver says
    greeting: str | None = None  # a pattern for what it says then
    power: tuple[str, int] | None = None  # a relay board and the number of a relay on it
    safe: str = ITSELF  # "module:function" for a foreign driver, or NOTHING_TO_DO
    options: dict[str, Any] = field(default_factory=dict)  # more keyword arguments of the driver
    machine: str = ""  # on which one it is, of many; "": on this one

    @property
    def simulated(self) -> simulation.Simulated | None:
        """What it simulates; None for a real one."""
        return simulation.read(self.port) if self.port.startswith(simulation.SCHEME) else None

    @property
    def ours(self) -> bool:
        """Whether the driver comes with labwaiter."""
        return self.driver.startswith("labwaiter.")

    @property
    def real(self) -> bool:
        """Whether something is plugged in that can do harm: simulators can't."""
        return not self.port.startswith("sim://") and self.safe != NOTHING_TO_DO


@dataclass(frozen=True)
class Machine:
    """One machine of lab.toml."""

    name: str
    services: tuple[str, ...] | None = None  # which it offers; None: all
    note: str = ""
