"""What lab.toml says of monitoring, and what is said of a mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwaiter.errors import Misconfigured
from labwaiter.lab import labfile
from labwaiter.lab.lab import Limit

OVEN = '[instruments.oven]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'


def load(tmp_path: Path, more: str) -> labfile.Lab:
    (tmp_path / "lab.toml").write_text(OVEN + more)
    return labfile.load(tmp_path / "lab.toml")


def test_how_often_and_which_limits(tmp_path: Path) -> None:
    lab = load(
        tmp_path,
        "monitor_every_s = 10\n[instruments.oven.limits]\ncurrent = { low = 0, high = 2 }\n"
        "volts = { high = 5, hysteresis = 0.5 }\n",
    )
    entry = lab.entries["oven"]
    assert entry.monitor_every_s == 10
    assert entry.limits == {"current": Limit(0, 2, 0.04), "volts": Limit(None, 5, 0.5)}
    assert load(tmp_path, "").entries["oven"].monitor_every_s is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            "monitor_every_s = 0",
            "line 4: oven: monitor_every_s is a number of seconds from 1 to 86400; without it, never.",
        ),
        ('monitor_every_s = "10"', "line 4: oven: monitor_every_s is a number of seconds from 1 to 86400"),
        (
            "limits = { current = { high = 1 } }",
            "line 4: oven: it has limits, and nobody looks at them: say monitor_every_s",
        ),
        ("monitor_every_s = 1\nlimits = 3", "line 5: oven: limits is a table: limits = { temperature ="),
        (
            "monitor_every_s = 1\nlimits = { current = 3 }",
            "line 5: oven: the limits of current are none: write low, high",
        ),
        (
            "monitor_every_s = 1\n\n[instruments.oven.limits]\ncurrent = { hi = 3, low = 1 }",
            "line 6: oven: the limits of current know no “hi”: write low, high or both",
        ),
        (
            'monitor_every_s = 1\nlimits = { "" = { high = 1 } }',
            "line 5: oven: it has limits of a reading without a name: name it as its driver does.",
        ),
        ('monitor_every_s = 1\nlimits = { a = { low = "x" } }', "line 5: oven: low of a must be a number."),
        (
            "monitor_every_s = 1\nlimits = { a = { low = 2, high = 1 } }",
            "line 5: oven: low of a must be less than its high.",
        ),
        (
            "monitor_every_s = 1\nlimits = { a = { low = 1, high = 2, hysteresis = 3 } }",
            "hysteresis of a must be 0 or more",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, more: str, why: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        load(tmp_path, more)
    assert why in str(wrong.value)
