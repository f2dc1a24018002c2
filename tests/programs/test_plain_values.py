"""What counts as one value, whichever library it is of: numbers are numbers, the rest is refused by name."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy
import pytest

from labwaiter.errors import InvalidParameter
from labwaiter.instruments import Reading
from labwaiter.model.parameter import Parameter, text_of
from labwaiter.model.values import plain
from labwaiter.runner.plot import picture
from labwaiter.runner.recorder import Recorder, current
from labwaiter.store.codec import dump


class Mode(Enum):
    FAST = "fast"
    TWO = 2
    PAIR = (1, 2)


class Level(IntEnum):
    HIGH = 3


class Colour(StrEnum):
    RED = auto()


class Mark(Flag):
    A = 1
    B = 2


class Named(str):
    def __str__(self) -> str:
        return "another text"


class Boiling:
    """A library's own number."""

    def __float__(self) -> float:
        return 100.0


class Counted:
    def __index__(self) -> int:
        return 7


VALUES: list[tuple[Any, Any]] = [
    (True, True),
    (3, 3),
    (2.5, 2.5),
    ("text", "text"),
    ("", ""),
    (math.inf, math.inf),
    (numpy.float32(21.5), 21.5),
    (numpy.float32(0.1), float(numpy.float32(0.1))),
    (numpy.float16(0.5), 0.5),
    (numpy.float64(2.5), 2.5),
    (numpy.longdouble(2.5), 2.5),
    (numpy.int64(10), 10),
    (numpy.uint8(255), 255),
    (numpy.uint64(2**64 - 1), 2**64 - 1),
    (numpy.bool_(True), True),
    (numpy.str_("volt"), "volt"),
    (numpy.array(4), 4),
    (numpy.array(4.5, dtype="float32"), 4.5),
    (numpy.array(False), False),
    (numpy.datetime64("2026-11-24T11:30:05.123456789"), "2026-11-24T11:30:05.123456789"),
    (numpy.datetime64("2026-11-24"), "2026-11-24"),
    (numpy.timedelta64(1500, "ms"), 1.5),
    (numpy.timedelta64(3, "ns"), 3e-9),
    (numpy.array(90, dtype="timedelta64[s]"), 90.0),
    (Decimal("10"), 10),
    (Decimal("10.0"), 10.0),
    (Decimal("1E+3"), 1000.0),
    (Decimal("-Infinity"), -math.inf),
    (Fraction(1, 4), 0.25),
    (Fraction(8, 2), 4),
    (Boiling(), 100.0),
    (Counted(), 7),
    (Mode.FAST, "fast"),
    (Mode.TWO, 2),
    (Mode.PAIR, "PAIR"),
    (Level.HIGH, 3),
    (Colour.RED, "red"),
    (Mark.A | Mark.B, 3),
    (datetime(2026, 11, 24, 11, 30, tzinfo=UTC), "2026-11-24T11:30:00+00:00"),
    (date(2026, 11, 24), "2026-11-24"),
    (time(11, 30), "11:30:00"),
    (timedelta(minutes=1, milliseconds=500), 60.5),
    (Path("plots/a.svg"), "plots/a.svg"),
    (PurePosixPath("/tmp/x"), "/tmp/x"),
    (Named("mine"), "mine"),
    (Reading(20.5, "°C"), 20.5),
    ("\udcff", "\udcff"),
]


@pytest.mark.parametrize(("value", "right"), VALUES, ids=lambda v: f"{type(v).__name__}")
def test_a_value_of_any_library_is_a_plain_one(value: Any, right: Any) -> None:
    got = plain(value)
    assert (type(got), got) == (type(right), right)
    assert json.loads(dump(got)) == right


@pytest.mark.parametrize("value", [math.nan, numpy.float32("nan"), Decimal("NaN"), numpy.array(math.nan)])
def test_what_is_not_a_number_stays_that(value: Any) -> None:
    got = plain(value)
    assert type(got) is float and math.isnan(got)


class Failing:
    def __float__(self) -> float:
        raise RuntimeError("no signal")


REFUSED = [
    None,
    b"bytes",
    bytearray(b"x"),
    [1, 2],
    (1,),
    {"a": 1},
    {1},
    object(),
    int,
    print,
    1j,
    numpy.complex64(1),
    numpy.array([1.0]),
    numpy.array([1, 2]),
    numpy.array([], dtype=float),
    numpy.bytes_(b"x"),
    numpy.timedelta64(1, "Y"),
    numpy.array(None),
    numpy.array({}, dtype=object),
    Decimal("sNaN"),
    Decimal("1E+999"),
    Decimal("1" * 2000),
    Fraction(10**400, 3),
    10**2000,
    Failing(),
    os.fspath(b"x"),
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda v: type(v).__name__)
def test_the_rest_is_refused_by_its_name_and_type(value: Any) -> None:
    with pytest.raises(TypeError) as refused:
        plain(value, "The recorded value temperature")
    sentence = str(refused.value)
    assert sentence.startswith("The recorded value temperature ") and sentence.endswith(".")
    assert type(value).__name__ in sentence or "too large" in sentence


def test_a_number_is_known_without_its_library() -> None:
    code = "import sys, labwaiter.model.values, labwaiter.model.parameter; print('numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert out.stdout == "False\n", out.stderr


# -- what a job records -----------------------------------------------------------------------


def test_a_recorded_value_is_judged_when_it_is_given() -> None:
    assert current(numpy.float32(21.5), "temperature") == 21.5
    assert current(None, "temperature") is None  # an empty cell
    with pytest.raises(TypeError, match="The recorded value image is of the type ndarray"):
        current(numpy.zeros((2, 2)), "image")
    with pytest.raises(TypeError, match="The recorded value points is of the type list"):
        current([1, 2], "points")


def test_names_and_texts_of_bytes_are_recorded_and_drawn(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.plot(("a\udcff", "$x^$"), "time")
    for n in range(3):
        recorder.record({"a\udcff": n, "$x^$": n, "note\nof two lines": "caf\udce9"}, {"a\udcff": "\udcb0C"})
    recorder.close()
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "record.csv", newline="", encoding="utf-8") as text:
        head, *body = csv.reader(text)
    assert head == ["time / s", r"a\udcff / \udcb0C", "$x^$", "note of two lines"]
    assert [row[3] for row in body] == [r"caf\udce9"] * 3


def test_a_name_with_signs_of_mathematics_is_drawn_as_it_is() -> None:
    assert picture({"$\\frac$": [(0.0, 1.0)], "b": [(0.0, 2.0)]}, {"b": "$^$"}, "time").startswith(b"\x89PNG")


# -- inputs and outputs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "right"),
    [
        ("int", numpy.int64(10), 10),
        ("int", numpy.uint8(3), 3),
        ("int", Decimal("10"), 10),
        ("int", Fraction(10), 10),
        ("int", Level.HIGH, 3),
        ("float", numpy.float32(21.5), 21.5),
        ("float", numpy.int64(3), 3.0),
        ("float", Decimal("2.50"), 2.5),
        ("float", Fraction(1, 4), 0.25),
        ("float", timedelta(minutes=1), 60.0),
        ("boolean", numpy.bool_(False), False),
        ("text", numpy.str_("volt"), "volt"),
        ("text", Colour.RED, "red"),
        ("text", datetime(2026, 11, 24, 11, 30), "2026-11-24T11:30:00"),
        ("file", Path("a.stl"), "a.stl"),
        ("file", "a\udcff.stl", "a\udcff.stl"),
    ],
)
def test_inputs_and_outputs_take_numbers_of_any_library(kind: str, value: Any, right: Any) -> None:
    got = Parameter("x", kind).accept(value)
    assert (type(got), got) == (type(right), right)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", True),
        ("int", numpy.bool_(True)),
        ("int", 10.0),
        ("int", numpy.float64(10)),
        ("int", Decimal("10.5")),
        ("int", numpy.array([10])),
        ("int", 10**5000),
        ("float", True),
        ("float", b"2.5"),
        ("float", [2.5]),
        ("boolean", 1),
        ("boolean", numpy.int64(1)),
        ("text", 3),
        ("text", numpy.float32(3)),
        ("text", ["a"]),
        ("text", b"a"),
        ("file", b"a.stl"),
        ("file", 3),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_what_is_no_such_value_is_refused_by_the_name_of_the_parameter(kind: str, value: Any) -> None:
    with pytest.raises(InvalidParameter, match="The input x must be"):
        Parameter("x", kind).accept(value)


def test_a_number_too_long_to_be_written_is_shown_by_its_size() -> None:
    assert text_of(-(10**5000)) == "a whole number of about 5001 digits"
