"""`lab.endings`: a good driver is safe in each, and one whose author forgot something is found out."""

from __future__ import annotations

import pytest

from labfolder import Folder
from labwaiter.testing import ENDINGS, Lab, NotThatWay

pytestmark = pytest.mark.slow


def test_a_driver_of_one_s_own_is_safe_in_each(folder: Folder) -> None:
    said = folder.pytest(
        """
def test_it(lab):
    endings = lab.endings("Shine", seconds=2)
    print(endings)
    endings.assert_safe()
    assert {ending.how: ending.instruments["lamp"] for ending in endings if ending.instruments["lamp"] != "safe"} == {
        "unplugged": "held as unsafe"
    }
    assert all(ending.live == ("lamp",) for ending in endings[1:])
    assert [ending.state for ending in endings[:6]] == ["completed", "failed", "aborted"] + ["failed"] * 3
""",
    )
    assert "1 passed" in said, said


def test_one_that_leaves_its_lamp_on_is_found_out(folder: Folder) -> None:
    said = folder.pytest(
        """
def test_it(lab):
    ending = lab.ending("killed", "ShineOn", seconds=5)
    assert ending.instruments == {"bad": "NOT SAFE"} and not ending.safe
    assert ending.problem == "bad is free, and may not be left alone by its own record"
    lab.endings("ShineOn", seconds=1).assert_safe()
""",
    )
    assert "1 failed" in said
    assert "not every ending left the instruments safe:" in said
    assert "bad: NOT SAFE" in said and "bad is free, and may not be left alone by its own record" in said


def test_one_that_is_over_too_soon_is_told(lab: Lab) -> None:
    ending = lab.ending("aborted", "Waiter", secondsToWait=0)
    assert ending.problem == "it had completed before it was struck: give it inputs with which it lasts longer"


def test_a_program_ends_in_each_way_too(lab: Lab) -> None:
    for how in ENDINGS:
        if how not in ("completed", "unplugged"):
            ending = lab.ending(how, "Waiter", secondsToWait=60)
            assert not ending.problem and ending.safe and ending.instruments == {}, ending


def test_an_ending_that_there_isn_t_is_told(lab: Lab) -> None:
    with pytest.raises(
        ValueError, match="“burnt” is no ending; there are: completed, failed, aborted, killed, stalled"
    ):
        lab.ending("burnt", "Waiter")
    assert lab.executions() == []


def test_a_stage_that_it_never_comes_to_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwaiter.testing.endings.PATIENCE", 1.0)
    with pytest.raises(NotThatWay, match="did not come to “layer 2” within 1 s: it .*running"):
        lab.ending("killed", "Waiter", "layer 2", secondsToWait=60)
    assert lab.executions(running=True) == []
