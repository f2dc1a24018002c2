"""From an entry of lab.toml to an open instrument, whoever wrote its driver."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import serial

from .. import simulation
from ..lab import ITSELF, NOTHING_TO_DO, Entry, resolve
from ..watch import until
from .instrument import Instrument
from .line import InstrumentError, Lost, hold

if "labwaiter.instruments.simulators" not in serial.protocol_handler_packages:
    serial.protocol_handler_packages.append("labwaiter.instruments.simulators")
SERVED_WITHIN = 10.0  # s that the simulated lab may take to serve an instrument


class Opened:
    """An open instrument, and how it is made safe."""

    def __init__(
        self,
        entry: Entry,
        jobs: Path | None = None,
        transcript: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the line, see who answers.

        Args:
            jobs: the jobs folder of the deployment whose simulated lab serves the simulated ones; None: without one.
            transcript, check: see `Line`.

        Raises:
            InstrumentError: it can't be opened, or another device answers.
        """
        self.entry = entry
        self._lock: int | None = None
        port = entry.port
        if jobs is not None and port.startswith(simulation.SCHEME):
            port = served_port(entry, jobs, check)
        driver = resolve(entry.driver)
        if isinstance(driver, type) and issubclass(driver, Instrument):
            self.device: Any = driver(
                port,
                name=entry.name,
                transcript=transcript,
                check=check,
                reconnect=entry.reconnect,
                **entry.line,
                **entry.options,
            )
            return
        if port.startswith("sim:///"):  # a foreign driver may know devices only
            port = simulation.served(Path(port.removeprefix("sim://"))) or port
        self._lock = hold(port, entry.name)
        try:
            self.device = driver(port, **entry.line, **entry.options)
        except InstrumentError:
            self.close()
            raise
        except Exception as error:
            self.close()
            words = " ".join(str(error).split())[:300]
            raise InstrumentError(f"{entry.name} can't be opened by {entry.driver}: {words}.") from error

    def make_safe(self) -> None:
        """Make it safe, as its driver or lab.toml says. Raises whatever goes wrong."""
        if self.entry.safe == NOTHING_TO_DO:
            return
        if self.entry.safe == ITSELF:
            self.device.make_safe()
        elif resolve(self.entry.safe)(self.device) is False:
            raise InstrumentError(f"{self.entry.name}: {self.entry.safe} says that it is not safe.")

    def is_safe(self) -> bool:
        """Whether it says that it is safe; of a foreign driver its function has said so."""
        return bool(self.device.is_safe()) if self.entry.safe == ITSELF else True

    def close(self) -> None:
        """Give it up."""
        device = getattr(self, "device", None)
        for name in ("close", "shutdown", "disconnect"):
            if device is not None and callable(getattr(device, name, None)) and name == "close":
                device.close()
                break
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def served_port(entry: Entry, jobs: Path, check: Callable[[], None] = lambda: None) -> str:
    """The URL of a simulated instrument in the simulated lab, which has a moment to come. Raises Lost."""
    link = simulation.folder(jobs) / entry.name

    def look() -> str | None:
        check()
        return simulation.served(link)

    if until(link.parent, look, SERVED_WITHIN) is None:
        raise Lost(
            f"{entry.name} is a simulated instrument, and the simulated lab that serves it did not come"
            f" within {SERVED_WITHIN:g} s: the supervisor's log says why."
        )
    return f"sim://{link}"
