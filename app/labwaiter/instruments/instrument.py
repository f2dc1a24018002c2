"""A driver's base: ask and tell in time, readings with units, limits and age, and a way to be safe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from .line import InstrumentError, Line, Lost, Silent, WrongDevice
from .quantity import Quantity, clean

T = TypeVar("T")
BACK_OFF = (0.2, 0.5, 1.0, 2.0)  # s between tries to reconnect; the last one repeats


class Instrument:
    """One device on a line. A driver says how it is spoken to, and how it is made safe."""

    __labwaiter_instrument__ = True  # a service's parameter of this type is an instrument
    identity: ClassVar[tuple[str, str] | None] = None  # what is asked, and a pattern that its answer must match
    line_settings: ClassVar[dict[str, Any]] = {}  # pyserial's, unless lab.toml says otherwise
    terminator: ClassVar[str] = "\n"
    timeout: ClassVar[float] = 2.0  # s for an answer
    may_resume: ClassVar[bool] = True  # whether work goes on after the line was lost and is back

    name: str
    line: Line
    reconnect: float
    check: Callable[[], None]

    def __init__(
        self,
        port: str,
        *,
        name: str = "",
        transcript: Path | None = None,
        check: Callable[[], None] = lambda: None,
        reconnect: float = 10.0,
        rescue: bool = False,
        **settings: Any,
    ) -> None:
        """Open the line and see who answers.

        Args:
            port: a device or any URL of pyserial's.
            check: called in every wait; what it raises ends the wait.
            reconnect: seconds in which a lost line must be back.
            rescue: it is opened to be made safe, so it is interrupted in whatever it does.
            settings: pyserial's, and dtr and rts.

        Raises:
            Lost, Silent, WrongDevice: with the instrument's name and what was expected.
        """
        name = name or type(self).__name__
        line = Line(port, name, {**self.line_settings, **settings}, transcript, check)
        self.__dict__.update(name=name, line=line, reconnect=reconnect, check=check)
        self._told: dict[str, Any] = {}  # what it was set to
        self._beginning = True
        self._owed = ""  # what it was asked and did not answer in time
        self.line.open()
        try:
            if rescue:
                self.interrupt()
            self.begin()
        except BaseException:
            self.line.close()
            raise
        self._beginning = False

    def __setattr__(self, name: str, value: Any) -> None:
        # a misspelt set point must not be lost in silence
        if not name.startswith("_") and not hasattr(type(self), name):
            quantities = {n: q for c in type(self).__mro__ for n, q in vars(c).items() if isinstance(q, Quantity)}
            known = ", ".join(n for n, q in quantities.items() if q.put) or "nothing"
            raise AttributeError(f"{type(self).__name__} has no {name}; what can be set: {known}.")
        super().__setattr__(name, value)

    # -- for drivers --------------------------------------------------------------------------

    def begin(self) -> None:
        """What is done once the line is open: resynchronise and identify."""
        self.line.drop()
        self.identify()

    def identify(self) -> str:
        """Who answers. Other lines are passed over until its time is up. Raises WrongDevice or Silent."""
        if self.identity is None:
            return ""
        asked, expected = self.identity
        self.line.write((asked + self.terminator).encode())
        until, said = time.monotonic() + self.timeout, ""
        while (got := self._line(until)) is not None:
            if re.search(expected, got):
                return got
            said = got or said
        if said:
            raise WrongDevice(
                f"{self.name}: expected a device that answers {asked} with {expected}, got “{clean(said)}”."
            )
        raise self._silent(asked)

    def interrupt(self) -> None:
        """Before `begin`, where it is opened to be made safe: end what keeps it from listening. Mostly nothing."""

    def resume(self) -> None:
        """It was away and is back: is it as it was left? Raises Lost if it isn't, e.g. because it was switched off.

        All `control`s that were set are asked; a driver that keeps more in its device asks for that, too.
        """
        for name, wanted in self._told.items():
            quantity = getattr(type(self), name)
            said = quantity.__get__(self, type(self))
            if not quantity.agrees(said, wanted):
                raise Lost(
                    f"{self.name} is back, but its {name} is {said} instead of {wanted}: was it switched off? The work"
                    " can't go on."
                )

    def ask(self, text: str) -> str:
        """Send a line and have its answer. A lost line is reconnected, and asked again.

        Raises:
            Silent, Garbled, Lost, WrongDevice.
        """

        def once() -> str:
            self._send(text)
            return self._answer(text)

        return self._persist(once)

    def tell(self, text: str) -> None:
        """Send a line that has no answer."""
        self._persist(lambda: self._send(text))

    def _send(self, text: str) -> None:
        if self._owed:
            # an answer is late and must not be taken for this question's. Devices answer in order, so what
            # comes before the identity is late; without one, or where it is owed itself, a silence must do
            barrier = self.identity is not None and self._owed != self.identity[0]
            self.identify()
            self.line.drop(0.05 if barrier else self.timeout)
            self._owed = ""
        self.line.write((text + self.terminator).encode())

    def _answer(self, asked: str) -> str:
        got = self._line(time.monotonic() + self.timeout)
        if got is None:
            raise self._silent(asked)
        return got

    def _line(self, until: float) -> str | None:
        got = self.line.read_line(max(0.0, until - time.monotonic()), self.terminator.encode())
        return None if got is None else got.decode("utf-8", "replace").strip()

    def _silent(self, asked: str) -> Silent:
        self._owed = self._owed or asked
        part = self.line.drop()
        told = f"; it only sent “{clean(part.decode('utf-8', 'replace'))}”" if part.strip() else ""
        return Silent(f"{self.name} did not answer {asked} within {self.timeout:g} s{told}.")

    def _persist(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Lost as lost:
            if self._beginning or not self.may_resume or not self.reconnect:
                raise
            self._come_back(lost)
            return work()

    def _come_back(self, lost: Lost) -> None:
        """Reconnect with back-off, identify, and see that it is as it was left. Raises Lost, WrongDevice."""
        until, turn, why = time.monotonic() + self.reconnect, 0, ""
        self._beginning = True
        try:
            while True:
                pause = BACK_OFF[min(turn, len(BACK_OFF) - 1)]
                if time.monotonic() + pause > until:
                    raise Lost(
                        f"{self.name} was lost and did not come back within {self.reconnect:g} s. {why}".strip()
                    ) from lost
                self.pause(pause)
                turn += 1
                try:
                    self.line.open()
                    self._owed = ""
                    self.begin()
                except WrongDevice:
                    self.line.close()
                    raise
                except InstrumentError as error:
                    why = error.message
                    self.line.close()
                    continue
                self.resume()
                return
        finally:
            self._beginning = False

    def pause(self, seconds: float) -> None:
        """Wait; what `check` raises ends it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.05))

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Bring it into the state in which it may be left alone. Each driver says how.

        What can't be done raises, and is tried again from outside.
        """
        raise NotImplementedError

    def is_safe(self) -> bool:
        """Whether it is in that state: asked over the line, never assumed."""
        raise NotImplementedError

    # -- the rest -----------------------------------------------------------------------------

    def close(self) -> None:
        """Give the line up; the instrument stays as it is."""
        self.line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.make_safe()
            if not self.is_safe():
                raise InstrumentError(f"{self.name} was told to be safe, but says that it is not.")
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.line.url!r}, name={self.name!r})"
