"""Resistance: what it measures, and what it leaves behind."""

import pytest

from labwaiter.testing import Lab


def test_it_measures_what_is_between_the_clamps(lab: Lab) -> None:
    measured = lab.run("Resistance", volts=2)
    assert measured.outputs["resistance"] == pytest.approx(1000, rel=0.01)
    assert len(measured.rows) == 10
    measured.assert_safe()


def test_however_it_ends_the_instrument_is_safe(lab: Lab) -> None:
    """Completed, failed, aborted, killed, stalled, over time, unplugged."""
    lab.endings("Resistance", readings=100).assert_safe()
