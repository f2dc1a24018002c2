"""What an instrument is asked for and set to: quantities with unit, limits and age."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .line import Garbled, InstrumentError

if TYPE_CHECKING:
    from .instrument import Instrument

T = TypeVar("T")


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
                f"{of.name}: asked {self.get}, it answered “{clean(text)}”, which is no {self.name}."
            ) from error
        return Reading(value, self.unit) if isinstance(value, float) else value

    def __set__(self, of: Instrument, value: T) -> None:
        if self.put is None:
            raise InstrumentError(f"{of.name}: {self.name} can only be read.")
        text = self.put.format(self.within(of.name, value))
        of.tell(text)
        of._told[self.name] = value

    def within(self, who: str, value: Any) -> Any:
        """The value, if it may be set. Raises InstrumentError: nothing was sent then."""
        low, high = self.low, self.high
        if low is None and high is None and self.kind not in (int, float):
            return value
        number = math.nan
        if not isinstance(value, (str, bytes, bool)):  # those of numpy and decimal are welcome
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                number = float(value)
        if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
            limits = [f"{word} {limit:g}" for word, limit in (("from", low), ("to", high)) if limit is not None]
            wanted = " ".join(["a number", *limits, self.unit]).strip()
            raise InstrumentError(f"{who}: {self.name} must be {wanted}, not {str(value)[:40]}.")
        return value

    def agrees(self, said: Any, wanted: Any) -> bool:
        """Whether a device that was told `wanted` may say `said`: devices round."""
        try:
            return said == wanted or math.isclose(float(said), float(wanted), rel_tol=0.01)
        except (TypeError, ValueError):
            return False


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


def clean(text: str) -> str:
    """What a device said, fit for a sentence."""
    return "".join(letter if letter.isprintable() else "·" for letter in text.strip())[:80]
