"""How numbers are told."""

import pytest

from labwaiter.page.words import whole_percent


@pytest.mark.parametrize("percent", range(101))
def test_what_a_program_writes_as_whole_percent_is_shown_as_that(percent: int) -> None:
    assert whole_percent(percent / 100) == percent


@pytest.mark.parametrize(("fraction", "shown"), [(0.999999, 99), (0.0, 0), (0.5899, 58), (1.0, 100)])
def test_between_two_it_is_the_lower_and_100_only_at_the_end(fraction: float, shown: int) -> None:
    assert whole_percent(fraction) == shown
