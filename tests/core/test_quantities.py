"""What a device has written, as a number, and what it may be set to."""

from __future__ import annotations

from typing import Any

import pytest

from labwaiter.instruments import InstrumentError, NotANumber, Overflow, control, number, whole

NUMBERS: list[tuple[str, Any]] = [
    ("1", 1.0),
    (" -2.50 ", -2.5),
    ("+.5", 0.5),
    ("5.", 5.0),
    ("+1.5E-03", 0.0015),
    ("1 E +3", 1000.0),
    ("9.8E37", 9.8e37),
    ("9.9E37", Overflow),
    ("-9.9E37", Overflow),
    ("1E400", Overflow),
    ("-INF", Overflow),
    ("infinity", Overflow),
    ("9.91E37", NotANumber),
    ("NaN", NotANumber),
    ("1_000", ValueError),
    ("0x10", ValueError),
    ("1,5", ValueError),
    ("1.5 V", ValueError),
    ("٣", ValueError),
    ("", ValueError),
]
WHOLE: list[tuple[str, Any]] = [
    ("12", 12),
    (" -3 ", -3),
    ("+0", 0),
    ("1.0", ValueError),
    ("1e3", ValueError),
    ("٣", ValueError),
]


@pytest.mark.parametrize(("read", "text", "value"), [(number, *n) for n in NUMBERS] + [(whole, *w) for w in WHOLE])
def test_what_a_device_has_written(read: Any, text: str, value: Any) -> None:
    if isinstance(value, type):
        with pytest.raises(value):
            read(text)
    else:
        assert read(text) == value


VOLTS = control("VOLT?", "VOLT {:.3f}", float, "V", -10, 10)
FROM_ZERO = control("RATE?", "RATE {:g}", float, low=0)
MODE = control("MODE?", "MODE {}", str)
WITHIN = [
    (VOLTS, 10, True),
    (VOLTS, -10.0, True),
    (VOLTS, 10.001, False),
    (VOLTS, float("nan"), False),
    (VOLTS, float("inf"), False),
    (VOLTS, "5", False),
    (VOLTS, True, False),
    (VOLTS, None, False),
    (VOLTS, 10**400, False),
    (FROM_ZERO, 1e9, True),
    (FROM_ZERO, -0.1, False),
    (MODE, "FAST", True),
]


@pytest.mark.parametrize(("quantity", "value", "allowed"), WITHIN)
def test_what_it_may_be_set_to(quantity: Any, value: Any, allowed: bool) -> None:
    if allowed:
        assert quantity.within("supply", value) is value
    else:
        with pytest.raises(InstrumentError, match="^supply: .* must be a number from"):
            quantity.within("supply", value)


SENT = [
    ("VOLT {:.3f}", 0.0034, "0.003"),
    ("VOLT {:.2e}", 1234.0, "1.23e+03"),
    ("MODE {!s:>4}", "A", "   A"),
    ("OUTP ON", 1, "1"),
]


@pytest.mark.parametrize(("put", "value", "text"), SENT)
def test_how_a_set_point_is_written(put: str, value: Any, text: str) -> None:
    assert control("Q?", put, float).sent(value) == text


AGREES = [
    (float, 1.0, 1.0, "1.0", True),
    (float, 1.009, 1.0, "1.000", True),  # 1 %
    (float, 1.02, 1.0, "1.000", False),
    (float, 0.0034, 0.0031, "0.003", True),  # half of the last digit that was sent
    (float, 0.0036, 0.0031, "0.003", False),
    (float, 0.0, 0.2, "0", True),
    (float, 1240.0, 1234.0, "1.23e+03", True),
    (float, 1300.0, 1234.0, "1.23e+03", False),
    (str, "FAST", "FAST", "FAST", True),
    (str, "SLOW", "FAST", "FAST", False),
]


@pytest.mark.parametrize(("kind", "value", "wanted", "sent", "agrees"), AGREES)
def test_whether_a_device_is_still_set_as_it_was(kind: Any, value: Any, wanted: Any, sent: str, agrees: bool) -> None:
    assert control("Q?", "SET {}", kind).agrees(value, wanted, sent) is agrees
