"""A session: who has a lab, what can be done in it, and what is left of it.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from benchlab import Plugged, leases
from lab import PATIENCE, Lab, eventually
from labwaiter.errors import JobFailed, UnknownSession
from labwaiter.supervisor import retention
from labwaiter.verbs.sessions import Sessions
from remotelab import SYSTEM, disposed, let_in, wish


def test_somebody_is_let_in_measures_leaves_and_the_lab_is_put_away(here: Lab, bench: Plugged) -> None:
    verbs = Sessions(here.settings)
    session = let_in(here)
    assert session.state == "running" and session.should_finish == 5 and 290 < session.time_left_s <= 300
    look = verbs.look(session.session_id)
    [meter] = look.instruments
    assert [item.name for item in meter.panel.items] == ["volts", "current", "measured_volts", "output"]
    assert "SMU" in meter.identity and [item.name for item in look.actions] == ["curve"]
    done = verbs.set(session.session_id, "meter", "volts", "2", wait=PATIENCE)
    assert done.done and done.read is not None and done.read["value"] == 2
    assert verbs.do(session.session_id, "meter", "output", {"on": "true"}, wait=PATIENCE).done
    assert not bench.simulators["smu"].is_safe()
    acted = verbs.act(session.session_id, "curve", {"top": 1}, wait=PATIENCE)
    assert acted.done and len(acted.gave) == 5 and acted.gave[-1][0] == 1
    assert verbs.data(session.session_id)["runs"] == 1 and verbs.data(session.session_id)["greeting"] == "Hello Ada"
    verbs.leave(session.session_id)
    assert verbs.gone(session.session_id, PATIENCE)
    bench.assert_made_safe("smu")
    assert disposed(bench) == ["ada 1"] and leases(here).of("smu") is None
    after = verbs.status(session.session_id, SYSTEM)
    assert (after.state, after.should_finish, after.why_ended) == ("ended", -1, "You have left the lab.")
    assert verbs.look(session.session_id).files[0][0] == "curve.csv"
    assert verbs.file(session.session_id, "curve.csv").read_text().startswith("0.0,")
    eventually(lambda: not verbs.sessions(SYSTEM))


def test_what_was_promised_for_an_hour_is_kept_for_an_hour_and_no_longer_told_of_after_that(
    here: Lab, bench: Plugged
) -> None:
    verbs, session = Sessions(here.settings), let_in(here)
    verbs.act(session.session_id, "curve", {"top": 1}, wait=PATIENCE)
    verbs.leave(session.session_id)
    assert verbs.gone(session.session_id, PATIENCE)
    eventually(lambda: here.store.active_names() == [])
    now = time.time()
    retention.bury_old(here.store, 0, now + 3590, here.settings.session_kept)  # KEEP_DAYS is shorter than that
    assert verbs.file(session.session_id, "curve.csv").read_text() and verbs.look(session.session_id).results
    later = replace(here.settings, session_kept=0.0)  # as after that hour: of nothing anything is told
    forgotten = Sessions(later)
    for ask in (forgotten.alive, forgotten.look, forgotten.data, forgotten.tasks, forgotten.leave):
        with pytest.raises(UnknownSession, match="or it has ended long ago"):
            ask(session.session_id)
    with pytest.raises(UnknownSession):
        forgotten.file(session.session_id, "curve.csv")
    folder = here.folder(session.service_id)
    assert (folder / "data" / "files" / "curve.csv").exists()  # for the lab's staff, as any execution's
    retention.bury_old(here.store, 0, now + 3700, here.settings.session_kept)
    assert [path.name for path in folder.iterdir()] == ["tombstone.json"]


def test_an_action_that_calls_exit_has_failed_and_the_session_goes_on(here: Lab, bench: Plugged) -> None:
    verbs = Sessions(here.settings)
    session = let_in(here)
    wish(bench, "act", "exit")
    with pytest.raises(JobFailed, match="curve: 3"):
        verbs.act(session.session_id, "curve", {"top": 1}, wait=PATIENCE)
    wish(bench, "act")
    assert verbs.act(session.session_id, "curve", {"top": 1}, wait=PATIENCE).done
    assert verbs.status(session.session_id, SYSTEM).state == "running"
