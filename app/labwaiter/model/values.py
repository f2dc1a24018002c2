"""One value as our files, the wire and a program's arguments can hold it, whichever library it is of.

A value is judged when it is given, where whoever gave it can still be told: what can't be written down would
otherwise fail later and elsewhere, in the thread that writes. Libraries are known by their numbers' ways, and
never imported.
"""

from __future__ import annotations

import math
import operator
import os
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

Plain = str | int | float | bool

DIGITS_MAX = 1000  # of a whole number: Python writes 4300, and slower the more there are
SI = frozenset({"A", "F", "Hz", "J", "N", "Pa", "V", "W", "Ω"})  # units that are shown with a prefix: 20 mA
_BITS_MAX = int(DIGITS_MAX * math.log2(10))


def plain(value: Any, label: str = "The value") -> Plain:
    """`value` as exactly a str, int, float or bool.

    Numbers of any library are numbers, also arrays without a dimension; so are a Decimal and a Fraction (whole where
    they are written so). An Enum is its value, or its name where that is none; times are ISO 8601, time spans seconds,
    paths texts. A text may hold surrogates: names of files are bytes.

    Args:
        label: how the value is called in the error: "The recorded value temperature".

    Raises:
        TypeError: it is something else, or a number that is too large; the message names it and its type.
    """
    if isinstance(value, Enum):
        try:
            return plain(value.value, label)
        except TypeError:
            return value.name
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a subclass may write itself otherwise
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
        raise _refusal(value, label)
    try:
        number = _number(value)
    except OverflowError:
        raise TypeError(f"{label} is too large a number to be handed on.") from None
    except Exception as error:  # whatever a library's own number raises when it is none
        raise _refusal(value, label) from error
    if isinstance(number, int) and number.bit_length() > _BITS_MAX:
        raise TypeError(f"{label} is too large a number to be handed on: it has more than {DIGITS_MAX} digits.")
    return number


def plain_tree(value: Any, label: str = "The value") -> Any:
    """`value` as JSON can hold it: None, what `plain` gives, or lists and dicts of these; arrays are lists.

    Raises:
        TypeError: as `plain`.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return {str(plain(name, label)): plain_tree(one, label) for name, one in value.items()}
    if getattr(value, "shape", ()) != () and callable(as_list := getattr(value, "tolist", None)):  # numpy's, and alike
        value = as_list()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_tree(one, label) for one in value]
    return plain(value, label)


def _number(value: Any) -> Plain:
    """Raises whatever it likes for what is none."""
    if getattr(value, "shape", ()) != ():
        raise TypeError("an array is many numbers")
    if callable(item := getattr(value, "item", None)) and hasattr(value, "dtype"):  # numpy, and who follow it
        kind = getattr(value.dtype, "kind", "")
        if kind == "M":
            return str(value)  # item() gives a bare count of nanoseconds
        if kind == "m":
            return float(value[()] / type(value[()])(1, "s"))
        if kind == "c":
            raise TypeError("a complex number is two")
        single = item()
        if isinstance(single, (bool, str, int)):
            return single
    if isinstance(value, Decimal):
        if value.is_finite() and value.as_tuple().exponent == 0:
            return int(value)
        return _finite_if(value.is_finite(), float(value))
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    if hasattr(type(value), "__index__"):
        try:
            return int(operator.index(value))
        except TypeError:  # a tensor has this for its whole numbers only
            pass
    if not hasattr(type(value), "__float__"):
        raise TypeError("no number")
    return float(value)


def _finite_if(finite: bool, number: float) -> float:
    if finite and math.isinf(number):
        raise OverflowError
    return number


def _refusal(value: Any, label: str) -> TypeError:
    kind = type(value).__name__
    return TypeError(f"{label} is of the type {kind}: give a number, a text, a time, a path, true or false.")


def text_of(value: Any) -> str:
    """A value as XML Schema, and so the wire and our pages, write it: true, 3, 2.5, INF, text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    if isinstance(value, int) and value.bit_length() > _BITS_MAX:
        return f"a whole number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    return str(value)
