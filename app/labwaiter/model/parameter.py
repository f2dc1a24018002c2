"""One input or output of a service as data, and the check of a value against it.

A value is judged here and nowhere else, whether it came by SOAP, by the shell or by Python.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

from ..errors import InvalidParameter, MissingParameter
from .sentences import N_
from .values import DIGITS_MAX, plain
from .values import text_of as text_of  # who writes inputs and outputs looks for it here

INT_MIN, INT_MAX = -(2**31), 2**31 - 1  # xs:int, as workflow editors know it
TEXT_MAX = 1_000_000  # characters; longer inputs belong in a file
UNSET = "UNSET"  # the tutorial's placeholder for a text that isn't there yet


@dataclass(frozen=True)
class Range:
    """Limits of a number, both inclusive; `unit` is shown beside the value ("°C")."""

    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Unit:
    """The unit of a number, as it's shown ("°C", "mbar")."""

    unit: str


@dataclass(frozen=True)
class Length:
    """Limits of a text in characters, both inclusive."""

    low: int = 0
    high: int = TEXT_MAX


@dataclass(frozen=True)
class Driver:
    """An instrument whose driver is another library's: Annotated[Any, Driver("pymeasure.instruments…:Keithley2400")].

    The name is the one in lab.toml; the library is imported where the job runs, and nowhere else.
    """

    name: str


@dataclass(frozen=True)
class Suffix:
    """The endings that a file's name may have: Suffix(".stl", ".obj")."""

    endings: tuple[str, ...]

    def __init__(self, *endings: str) -> None:
        object.__setattr__(self, "endings", tuple(ending.lower() for ending in endings))


Seconds = Annotated[float, Range(0, None, "s")]


def minutes(count: float) -> float:
    """`count` minutes in seconds, for `limit=minutes(90)`."""
    return count * 60


def hours(count: float) -> float:
    """`count` hours in seconds."""
    return count * 3600


@dataclass(frozen=True)
class Parameter:
    """One input or output of a service as data."""

    name: str
    # "text", "int", "float", "boolean", "file": a file's name, as `store.artifacts` understands it, or "instrument":
    # the name of one in lab.toml
    kind: str
    choices: tuple[str, ...] = ()  # a text that must be one of these
    drivers: tuple[str, ...] = ()  # an instrument's, as module:name
    endings: tuple[str, ...] = ()  # of a file's name, in lower case: (".stl", ".obj")
    low: float | None = None  # numbers: inclusive limits; text: length
    high: float | None = None
    unit: str = ""
    mandatory: bool = True
    default: Any = None  # for an optional one

    @property
    def placeholder(self) -> Any:
        """What stands in this output until the real one is there."""
        if self.choices:
            return self.choices[0]
        return {"text": UNSET, "file": UNSET, "instrument": UNSET, "int": 0, "float": 0.0, "boolean": False}[self.kind]

    @property
    def limits(self) -> str:
        """The limits in words ("between 0 and 86400 s"), or "" without any."""
        if self.kind == "instrument":
            return N_("the name of an instrument")
        if self.kind == "file":
            endings = " or ".join(self.endings)
            return N_(f"the name of a {endings} file") if endings else N_("the name of a file")
        if self.choices:
            choices = ", ".join(self.choices)
            return N_(f"one of {choices}")
        low, high = _number(self.low), _number(self.high)
        if self.kind == "text":
            if low is not None and high is not None:
                return N_(f"between {low} and {high} characters")
            if low is not None:
                return N_(f"at least {low} characters")
            return N_(f"at most {high} characters") if high is not None else ""
        unit = f" {self.unit}" if self.unit else ""
        least, most = f"{low}{unit}", f"{high}{unit}"
        if low is not None and high is not None:
            return N_(f"between {low} and {most}")
        if low is not None:
            return N_(f"at least {least}")
        return N_(f"at most {most}") if high is not None else ""

    def accept(self, value: Any, subject: str = "") -> Any:
        """`value` as the function will get it: checked against type, choices and limits.

        Args:
            value: of the parameter's own Python type, or its text as a caller wrote it. None
                or "nothing there" is the default of an optional one.
            subject: what a refusal says that it is about; "": the input of this name.

        Raises:
            MissingParameter: a mandatory one is None or a blank text.
            InvalidParameter: wrong type, not a choice, outside the limits.
        """
        try:
            return self._accepted(value, subject or N_(f"The input {self.name}"))
        except (InvalidParameter, MissingParameter) as error:
            error.of(self.name)
            raise

    def _accepted(self, value: Any, subject: str) -> Any:
        blank = isinstance(value, str) and not value.strip()
        if self.mandatory and (value is None or blank):
            raise MissingParameter(f"{subject} is {'empty' if blank else 'missing'}: give it a value.")
        if self.kind == "instrument":
            return str(value).strip() if value is not None and not blank else None  # lab.toml judges it
        if value is None:
            return self.default
        if blank and self.kind != "text":
            raise InvalidParameter(
                f"{subject} is empty: give {_ARTICLE[self.kind]}, or leave it out"
                f" for its default {text_of(self.default)}."
            )
        given = value if self.kind == "text" or not isinstance(value, str) else value.strip()
        value = self._typed(value, subject)
        if self.kind == "file":
            if self.endings and not value.lower().endswith(self.endings):
                raise InvalidParameter(f"{subject} must be {self.limits}, not {shown(given)}.")
            return value
        if self.choices and value not in self.choices:
            raise InvalidParameter(f"{subject} must be {self.limits}, not {shown(given)}.")
        size = len(value) if isinstance(value, str) else value
        low = INT_MIN if self.kind == "int" and self.low is None else self.low
        high = {"int": INT_MAX, "text": TEXT_MAX}.get(self.kind) if self.high is None else self.high
        measured = not self.choices and self.kind != "boolean"
        # NaN is neither below nor above anything: it is within no limits
        if measured and ((low is not None and not size >= low) or (high is not None and not size <= high)):
            limits = dataclasses.replace(self, low=low, high=high).limits
            got = N_(f"{size} characters") if self.kind == "text" else shown(given)
            raise InvalidParameter(f"{subject} must be {limits}, not {got}.")
        return value

    def _typed(self, value: Any, subject: str) -> Any:
        wrong = InvalidParameter(f"{subject} must be {_ARTICLE[self.kind]}, not {shown(value)}.")
        if self.kind == "file" and not isinstance(value, (str, PurePath)):
            raise wrong
        try:
            value = plain(value)
        except TypeError:
            raise wrong from None
        if self.kind in ("text", "file"):
            if not isinstance(value, str):
                raise wrong
            return value
        if isinstance(value, str):
            value = value.strip(" \t\r\n")
            if not _WRITTEN[self.kind].fullmatch(value):
                raise wrong
            if self.kind == "boolean":
                return value in ("true", "1")
            if self.kind == "int":
                if len(value) > DIGITS_MAX:
                    raise wrong
                return int(value)
            value = float(value)
        if self.kind == "boolean":
            if isinstance(value, bool):
                return value
        elif not isinstance(value, bool):
            if self.kind == "int" and isinstance(value, int):
                return value
            if self.kind == "float":
                try:
                    return float(value)
                except OverflowError:  # a whole number of Python's beyond the largest double
                    raise wrong from None
        raise wrong


_ARTICLE = {
    "text": N_("a text"),
    "file": N_("a file's name"),
    "instrument": N_("an instrument's name"),
    "int": N_("a whole number"),
    "float": N_("a number"),
    "boolean": N_("true or false"),
}
_WRITTEN = {
    "int": re.compile(r"[+-]?[0-9]+"),
    "float": re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?INF|NaN"),  # as XML Schema writes it
    "boolean": re.compile(r"true|false|1|0"),
}


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return str(int(value)) if float(value).is_integer() else text_of(value)


def same(value: Any, other: Any) -> bool:
    """Whether two values of an input are the same: NaN is the same as NaN, here."""
    return bool(value == other or (value != value and other != other))


def shown(value: Any, limit: int = 40) -> str:
    """A caller's value inside a message: quoted, and short."""
    text = text_of(value)
    return f"“{text[:limit]}…”" if len(text) > limit else f"“{text}”"
