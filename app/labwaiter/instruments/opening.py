"""From an entry of lab.toml to an open instrument, whoever wrote its driver."""

from __future__ import annotations

import contextlib
import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..lab import simulation
from ..lab.lab import ITSELF, NOTHING_TO_DO, InstrumentEntry, resolve
from ..layout import Layout
from ..system.watch import until
from .errors import InstrumentError, NotOpened, Silent
from .holding import hold, release
from .instrument import Instrument
from .line import open_port

SERVED_WITHIN = 10.0  # s that the simulated lab may take to serve an instrument


class Opened:
    """An open instrument, and how it is made safe."""

    def __init__(
        self,
        entry: InstrumentEntry,
        jobs: Path | None = None,
        transcript: Path | None = None,
        check: Callable[[], None] = lambda: None,
        rescue: bool = False,
    ) -> None:
        """Open the line, see who answers.

        Args:
            jobs: the jobs folder of the deployment whose simulated lab serves the simulated ones; None: without one.
            transcript, check: see `Line`. rescue: see `Instrument`.

        Raises:
            NotOpened, Misconfigured: nothing was said to it: its port, its options, its driver can't be had.
            InstrumentError: it can't be opened, or another device answers.
        """
        self.entry = entry
        self._locks: list[int] = []
        self._port: Any = None  # pyserial's, where it is opened here for another library's driver
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
                rescue=rescue,
                settle=entry.settle,
                greeting=entry.greeting,
                **entry.line,
                **entry.options,
            )
            return
        adapted = _of_pymeasure(driver) and (port.startswith("/") or "://" in port)
        if entry.settle and not adapted:
            raise NotOpened(f"{entry.name}: {entry.driver} opens its port itself, so settle can't be waited for here.")
        if port.startswith("sim:///"):  # a foreign driver may know devices only
            port = simulation.served(Path(port.removeprefix("sim://"))) or port
        self._locks = hold(port, entry.name)
        try:
            if adapted:
                self.device = driver(self._adapter(port, check))
            else:
                self.device = driver(port, **entry.line, **entry.options)
        except InstrumentError:
            self.close()
            raise
        except Exception as error:
            self.close()
            words = " ".join(str(error).split())[:300]
            raise InstrumentError(f"{entry.name} can't be opened by {entry.driver}: {words}.") from error

    def _adapter(self, port: str, check: Callable[[], None]) -> Any:
        """pymeasure's serial adapter on a port of pyserial's: its drivers need no VISA library then.

        lab.toml's options write_termination, read_termination (both a line feed) and timeout (2 s) are for it.
        """
        adapters = importlib.import_module("pymeasure.adapters")
        options = {"timeout": 2.0, **self.entry.line, **self.entry.options}
        ends = {name: options.pop(name, "\n") for name in ("write_termination", "read_termination")}
        self._port = open_port(port, options)
        self._boot(check)
        self._port.reset_input_buffer()
        return adapters.SerialAdapter(self._port, **ends)

    def _boot(self, check: Callable[[], None]) -> None:
        """Wait for its greeting, or for as long as it may take to boot."""
        deadline, text = time.monotonic() + (self.entry.settle or 0.0), ""
        while time.monotonic() < deadline:
            check()
            if self._port.in_waiting:
                text = (text + self._port.read(self._port.in_waiting).decode("utf-8", "replace"))[-1000:]
                if self.entry.greeting is not None and re.search(self.entry.greeting, text):
                    return
            time.sleep(0.05)

    def make_safe(self) -> None:
        """Make it safe, as its driver or lab.toml says. Raises whatever goes wrong."""
        if self.entry.safe == NOTHING_TO_DO:
            return
        if self.entry.safe == ITSELF:
            self.device.make_safe()
        elif resolve(self.entry.safe)(self.device) is False:
            raise InstrumentError(f"{self.entry.name}: {self.entry.safe} says that it is not safe.")

    def ask(self) -> str | None:
        """What it answers to a harmless question; None where its driver has none. Raises InstrumentError."""
        try:
            if isinstance(self.device, Instrument):
                answer: str = self.device.identify()
                if not answer and self.device.identity is None:
                    answer = f"it is {'' if self.device.is_safe() else 'not '}safe"
                return answer
            if not _of_pymeasure(type(self.device)):
                return None
            if self._port is not None:
                self._port.reset_input_buffer()
            answer = str(self.device.id).strip()  # *IDN?
        except InstrumentError:
            raise
        except NotImplementedError:  # pymeasure's for one that has no *IDN?, and a driver of ours without is_safe
            return None
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            raise InstrumentError(
                f"{self.entry.name} does not answer *IDN?: {words or type(error).__name__}."
            ) from error
        if not answer:
            raise Silent(f"{self.entry.name} did not answer *IDN?.")
        return answer

    @property
    def identified_as(self) -> str:
        """What it said of itself as it was opened (serial number, firmware, …); "" where its driver didn't ask."""
        said = getattr(self.device, "identified_as", "") if isinstance(self.device, Instrument) else ""
        return said if isinstance(said, str) else ""

    def is_safe(self) -> bool:
        """Whether it says that it is safe; of a foreign driver its function has said so."""
        if self.entry.safe != ITSELF:
            return True
        return self.device.confirmed_safe() if isinstance(self.device, Instrument) else bool(self.device.is_safe())

    def close(self) -> None:
        """Close the device, whoever opened its port, and release it."""
        device = getattr(self, "device", None)
        for holder in (device, getattr(device, "adapter", None), self._port):  # pymeasure's have it on their adapter
            if callable(close := getattr(holder, "close", None)):
                with contextlib.suppress(Exception):
                    close()
                break
        release(self._locks)


def _of_pymeasure(driver: Any) -> bool:
    return any(base.__module__.startswith("pymeasure.") for base in getattr(driver, "__mro__", ()))


def served_port(entry: InstrumentEntry, jobs: Path, check: Callable[[], None] = lambda: None) -> str:
    """The URL of a simulated instrument in the simulated lab, which has a moment to come. Raises NotOpened."""
    link = Layout(jobs).simulated / entry.name

    def look() -> str | None:
        check()
        return simulation.served(link)

    if until(link.parent, look, SERVED_WITHIN) is None:
        raise NotOpened(
            f"{entry.name} is a simulated instrument, and the simulated lab that serves it did not come"
            f" within {SERVED_WITHIN:g} s: the supervisor's log says why."
        )
    return f"sim://{link}"
