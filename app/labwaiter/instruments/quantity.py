"""What an instrument is asked for and set to: quantities with unit, limits and age."""

from __future__ import annotations

import contextlib
import math
import re
import string
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .errors import Garbled, InstrumentError, NotANumber, Overflow

if TYPE_CHECKING:
    from .instrument import Instrument

T = TypeVar("T")
# what devices write for a number: NR1, NR2 and NR3 of IEEE 488.2, section 7.7.2
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?: ?[Ee] ?[+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# SCPI-1999, 7.2.1.4 and 7.2.1.5: 9.9E37 and -9.9E37 are the infinities, 9.91E37 is "not a number"
_INFINITE, _NONE = 9.9e37 * (1 - 1e-6), 9.905e37
_NO_NUMBER_TO = 9.915e37


def number(text: str) -> float:
    """The number that a device has written: `float` for drivers.

    Raises:
        Overflow: 9.9E37, -9.9E37 or beyond, INF: it is out of the device's range.
        NotANumber: 9.91E37, NAN: the device has none.
        ValueError: anything else that is no decimal number, 1_000 and 0x10 too.
    """
    text = text.strip()
    word = text.upper().lstrip("+-")
    if word == "NAN":
        raise NotANumber(f"“{clean(text)}” is no number: the device has no value.")
    if word in ("INF", "INFINITY"):
        raise Overflow(f"“{clean(text)}” is out of the device's range.")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"“{clean(text)}” is no number")
    value = float(text.replace(" ", ""))
    if _NONE <= value < _NO_NUMBER_TO:
        raise NotANumber(f"“{clean(text)}” is no number: the device has no value.")
    if abs(value) >= _INFINITE:
        raise Overflow(f"“{clean(text)}” is out of the device's range.")
    return value


def whole(text: str) -> int:
    """The whole number that a device has written: `int` for drivers. Raises ValueError."""
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f"“{clean(text)}” is no whole number")
    return int(text)


KINDS: dict[Any, Callable[[str], Any]] = {float: number, int: whole}


class Reading(float):
    """A number that was read off an instrument: it knows its unit and how old it is."""

    unit: str
    taken: float  # monotonic s

    def __new__(cls, value: float, unit: str = "", taken: float | None = None) -> Reading:
        reading = super().__new__(cls, value)
        reading.unit = unit
        reading.taken = time.monotonic() if taken is None else taken
        return reading

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
        acknowledgement: str | bool | None = None,
    ) -> None:
        self.acknowledgement = acknowledgement
        self.get, self.put, self.kind = get, put, kind
        self.unit, self.low, self.high = unit, low, high
        self.__doc__ = doc
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instrument: None, owner: type) -> Quantity[T]: ...
    @overload
    def __get__(self, instrument: Instrument, owner: type) -> T: ...
    def __get__(self, instrument: Instrument | None, owner: type) -> Any:
        if instrument is None:
            return self
        text = instrument.ask(self.get)
        try:
            value = self.understood(text)
        except (Overflow, NotANumber) as error:
            problem = "is out of its range" if isinstance(error, Overflow) else "has no value"
            raise type(error)(
                f"{instrument.name}: its {self.name} {problem}: asked {self.get}, it answered “{clean(text)}”."
            ) from error
        except (ValueError, TypeError) as error:
            instrument.doubt(self.get)
            raise Garbled(
                f"{instrument.name}: asked {self.get}, it answered “{clean(text)}”, which is no {self.name}."
            ) from error
        return Reading(value, self.unit) if isinstance(value, float) else value

    def __set__(self, instrument: Instrument, value: T) -> None:
        if self.put is None:
            raise InstrumentError(f"{instrument.name}: {self.name} can only be read.")
        value = self.within(instrument.name, value)
        instrument.tell(self.put.format(value), self.acknowledgement)
        instrument._set_points[self.name] = value, self.sent(value)

    def understood(self, text: str) -> Any:
        """What an answer means. Raises ValueError, TypeError, Overflow, NotANumber."""
        return KINDS.get(self.kind, self.kind)(text)

    def sent(self, value: Any) -> str:
        """How `put` writes the value, without what stands around it: 0.0034 by "VOLT {:.3f}" is 0.003."""
        for _, field, form, conversion in string.Formatter().parse(self.put or ""):
            if field is not None:
                return ("{" + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "") + "}").format(
                    value
                )
        return str(value)

    def within(self, instrument: str, value: Any) -> Any:
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
            raise InstrumentError(f"{instrument}: {self.name} must be {wanted}, not {str(value)[:40]}.")
        return value

    def agrees(self, value: Any, wanted: Any, sent: str) -> bool:
        """Whether a device that was told `wanted`, written as `sent`, may answer `value`.

        Devices round: a number may differ by 1 %, or by half of the last digit that was sent.
        """
        if value == wanted:
            return True
        try:
            rounded = self.understood(sent)
            digits = len(sent.strip().lower().partition("e")[0].partition(".")[2])
            exponent = int(sent.lower().partition("e")[2] or 0)
            return bool(value == rounded) or math.isclose(
                float(value), float(rounded), rel_tol=0.01, abs_tol=0.5 * 10.0 ** (exponent - digits)
            )
        except (TypeError, ValueError, InstrumentError):
            return False


def reading(get: str, kind: Callable[[str], T], unit: str = "", doc: str = "") -> Quantity[T]:
    """A quantity that is asked for: what is sent, how the answer is understood, its unit.

    `float` and `int` take what devices write as numbers, as `number` and `whole` do.
    """
    return Quantity(get, kind, None, unit, doc=doc)


def control(
    get: str,
    put: str,
    kind: Callable[[str], T],
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    doc: str = "",
    acknowledgement: str | bool | None = None,
) -> Quantity[T]:
    """A quantity that can be set, too: `put` is a format of what is sent, "SET {:.1f}". Limits are inclusive.

    `acknowledgement` is what the device answers to it: see `Instrument.tell`.
    """
    return Quantity(get, kind, put, unit, low, high, doc, acknowledgement)


def action(method: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a driver's method as what whoever has the instrument in hand may do; its types say with which inputs."""
    method.__labwaiter_action__ = True  # type: ignore[attr-defined]
    return method


def clean(text: str) -> str:
    """A device's text on one line of a sentence: printable, at most 80 characters."""
    return "".join(letter if letter.isprintable() else "·" for letter in text.strip())[:80]
