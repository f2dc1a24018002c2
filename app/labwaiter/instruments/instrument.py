"""A driver's base: ask and tell in time, readings with units, limits and age, and a way to be safe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from .line import Garbled, InstrumentError, Line, Lost, Silent, WrongDevice

T = TypeVar("T")
BACK_OFF = (0.2, 0.5, 1.0, 2.0)  # s between tries to reconnect; the last one repeats


class Reading(float):
    """A number that was read off an instrument: it knows its unit and how old it is."""

    unit: str
    taken: float  # monotonic s

    def __new__(cls, value: float, unit: str = "", taken: float | None = None) -> Reading:
        made = super().__new__(cls, value)
        made.unit = unit
        made.taken = time.monotonic() if taken is None else taken
        return made

    @property
    def age(self) -> float:
        """Seconds since it was read."""
        return time.monotonic() - self.taken


class Quantity(Generic[T]):
    """What can be read, and perhaps set. Made by `reading` and `control`."""

    def __init__(
        self,
        get: str,
        kind: Callable[[str], T],
        put: str | None = None,
        unit: str = "",
        low: float | None = None,
        high: float | None = None,
        doc: str = "",
    ) -> None:
        self.get, self.put, self.kind = get, put, kind
        self.unit, self.low, self.high = unit, low, high
        self.__doc__ = doc
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, of: None, owner: type) -> Quantity[T]: ...
    @overload
    def __get__(self, of: Instrument, owner: type) -> T: ...
    def __get__(self, of: Instrument | None, owner: type) -> Any:
        if of is None:
            return self
        text = of.ask(self.get)
        try:
            value = self.kind(text)
        except (ValueError, TypeError) as error:
            raise Garbled(
                f"{of.name}: asked {self.get}, it answered “{text[:80]}”, which is no {self.name}."
            ) from error
        return Reading(value, self.unit) if isinstance(value, float) else value

    def __set__(self, of: Instrument, value: T) -> None:
        if self.put is None:
            raise InstrumentError(f"{of.name}: {self.name} can only be read.")
        of.tell(self.put.format(self.within(of.name, value)))

    def within(self, who: str, value: Any) -> Any:
        """The value, if it may be set. Raises InstrumentError: nothing was sent then."""
        low, high = self.low, self.high
        number = isinstance(value, (int, float))
        if number and (value != value or (low is not None and value < low) or (high is not None and value > high)):
            limits = f"between {low:g} and {high:g}" if low is not None and high is not None else "a number"
            raise InstrumentError(f"{who}: {self.name} must be {limits} {self.unit}, not {value:g}.")
        return value


def reading(get: str, kind: Callable[[str], T], unit: str = "", doc: str = "") -> Quantity[T]:
    """A quantity that is asked for: what is sent, how the answer is understood, its unit."""
    return Quantity(get, kind, None, unit, doc=doc)


def control(
    get: str,
    put: str,
    kind: Callable[[str], T],
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    doc: str = "",
) -> Quantity[T]:
    """A quantity that can be set, too: `put` is a format of what is sent, "SET {:.1f}". Limits are inclusive."""
    return Quantity(get, kind, put, unit, low, high, doc)


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
        **settings: Any,
    ) -> None:
        """Open the line and see who answers.

        Args:
            port: a device or any URL of pyserial's.
            check: called in every wait; what it raises ends the wait.
            reconnect: seconds in which a lost line must be back.
            settings: pyserial's, and dtr and rts.

        Raises:
            Lost, Silent, WrongDevice: with the instrument's name and what was expected.
        """
        name = name or type(self).__name__
        line = Line(port, name, {**self.line_settings, **settings}, transcript, check)
        self.__dict__.update(name=name, line=line, reconnect=reconnect, check=check)
        self.line.open()
        try:
            self.begin()
        except BaseException:
            self.line.close()
            raise

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
        """Who answers. Raises WrongDevice or Silent."""
        if self.identity is None:
            return ""
        asked, expected = self.identity
        self._send(asked)
        said = self._answer(asked)
        if not re.search(expected, said):
            raise WrongDevice(
                f"{self.name}: expected a device that answers {asked} with {expected}, got “{said[:80]}”."
            )
        return said

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
        self.line.write((text + self.terminator).encode())

    def _answer(self, asked: str) -> str:
        got = self.line.read_line(self.timeout, self.terminator.encode())
        if got is None:
            self.line.drop()  # a late answer must not be taken for the next one's
            raise Silent(f"{self.name} did not answer {asked} within {self.timeout:g} s.")
        return got.decode("utf-8", "replace").strip()

    def _persist(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Lost as lost:
            if not self.may_resume or not self.reconnect:
                raise
            self._come_back(lost)
            return work()

    def _come_back(self, lost: Lost) -> None:
        """Reconnect with back-off, and identify. Raises Lost when it isn't back in time."""
        until, turn = time.monotonic() + self.reconnect, 0
        while True:
            pause = BACK_OFF[min(turn, len(BACK_OFF) - 1)]
            if time.monotonic() + pause > until:
                raise Lost(f"{self.name} was lost and did not come back within {self.reconnect:g} s.") from lost
            self.pause(pause)
            turn += 1
            try:
                self.line.open()
                self.begin()
                return
            except WrongDevice:
                raise
            except InstrumentError:
                self.line.close()

    def pause(self, seconds: float) -> None:
        """Wait; what `check` raises ends it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.05))

    # -- safety -------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Bring it into the state in which it may be left alone. Each driver says how."""
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
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.line.url!r}, name={self.name!r})"
