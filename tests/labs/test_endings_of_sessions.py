"""However a session ends: its lab is put away, its instrument is safe, and only then the next one is let in.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchlab import Plugged, leases
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.errors import NotInTime, ServiceError, SessionFailed
from labwaiter.languages import language
from labwaiter.model.lab_session import DISPOSED, DISPOSING, READINGS
from labwaiter.model.record import State
from labwaiter.page import words
from labwaiter.store import supervisor_client
from labwaiter.store.leases import Held
from labwaiter.system.process import boot_clock
from labwaiter.verbs.sessions import Sessions, SessionView
from remotelab import SYSTEM, alive, disposed, let_in, remote_lab, wish


def live(lab: Lab, session: SessionView) -> None:
    """Have it do what could do harm."""
    verbs = Sessions(lab.settings)
    verbs.set(session.session_id, "meter", "volts", 2, wait=PATIENCE)
    verbs.do(session.session_id, "meter", "output", {"on": True}, wait=PATIENCE)


def put_away(lab: Lab, bench: Plugged, session: SessionView, begun: int = 0) -> SessionView:
    """How it stands once all is put away; its instrument was made safe after `begun`, and is free."""
    verbs = Sessions(lab.settings)
    eventually(lambda: verbs.gone(session.session_id, 1.0))
    bench.assert_made_safe("smu", begun)
    assert leases(lab).of("smu") is None
    after = verbs.status(session.session_id, SYSTEM)
    assert after.state == "ended" and after.should_finish == -1
    return after


def next_is_let_in(lab: Lab, bench: Plugged) -> None:
    """And leaves: one more on_dispose."""
    before = len(disposed(bench))
    session = let_in(lab, user="eve")
    assert len(disposed(bench)) == before
    Sessions(lab.settings).leave(session.session_id)
    assert Sessions(lab.settings).gone(session.session_id, PATIENCE)
    assert disposed(bench)[before:] == ["eve 0"]


def leave(lab: Lab, session: SessionView) -> None:
    Sessions(lab.settings).leave(session.session_id)


def delete(lab: Lab, session: SessionView) -> None:
    for _ in range(2):  # again is nothing
        Sessions(lab.settings).end(session.session_id, SYSTEM)


def kill_its_process(lab: Lab, session: SessionView) -> None:
    os.kill(lab.working(session.service_id), signal.SIGKILL)


def kill_its_runner(lab: Lab, session: SessionView) -> None:
    os.kill(lab.running(session.service_id), signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (leave, "You have left the lab."),
        (delete, "The session was ended by whoever had begun it."),
        (kill_its_process, "was ended by the signal SIGKILL (9)."),
        (kill_its_runner, ""),
    ],
)
def test_whoever_ends_it_it_is_put_away(
    here: Lab, bench: Plugged, end: Callable[[Lab, SessionView], None], why: str
) -> None:
    session = let_in(here)
    live(here, session)
    end(here, session)
    after = put_away(here, bench, session)
    assert (why or after.why_ended) in after.why_ended and after.why_ended
    assert disposed(bench) == ["ada 0"]
    next_is_let_in(here, bench)


def test_its_time_is_over(here: Lab, bench: Plugged) -> None:
    session = let_in(here, length_s=6)
    live(here, session)
    with alive(here, session):
        after = put_away(here, bench, session)
    [ended] = [each for each in here.store.timeline(here.folder(session.service_id).name) if each.event == "disposed"]
    assert re.fullmatch(r"on_dispose has ended after [0-9.]+ s", words.happened(ended))
    assert after.why_ended == "Its time is over." and not after.failed and disposed(bench) == ["ada 0"]
    assert after.ended is not None and session.ends is not None and after.ended >= session.ends
    next_is_let_in(here, bench)


def test_a_student_who_gives_no_sign_of_life_is_gone(tmp_path: Any, bench: Plugged) -> None:
    lab = remote_lab(tmp_path, bench, WEBLAB_TIMEOUT="3")
    lab.supervise()
    try:
        session = let_in(lab)
        with alive(lab, session):
            live(lab, session)
            time.sleep(4.5)  # it is longer than that without a sign of life: the page's is what keeps it
            assert Sessions(lab.settings).status(session.session_id, SYSTEM).state == "running"
        after = put_away(lab, bench, session)
        assert after.why_ended == "Its student gave no sign of life for 3 s, so the session was ended."
        assert disposed(bench) == ["ada 0"]
        next_is_let_in(lab, bench)
    finally:
        lab.close()


def test_where_nobody_is_gone_for_want_of_a_sign_of_life_it_goes_on(here: Lab, bench: Plugged) -> None:
    """WEBLAB_TIMEOUT=-1, for the supervisor, which would end it, and for its own process."""
    session = let_in(here)
    folder, now = here.folder(session.service_id), boot_clock()
    os.utime(folder / "polled", (now - 90_000, now - 90_000))  # a day ago
    readings = folder / "data" / READINGS
    eventually(readings.exists)
    seen = {readings.stat().st_mtime_ns}
    eventually(lambda: seen.add(readings.stat().st_mtime_ns) or len(seen) > 3)  # turn after turn of its process
    assert Sessions(here.settings).status(session.session_id, SYSTEM).state == "running"
    leave(here, session)
    put_away_quietly(here, session)


def put_away_quietly(lab: Lab, session: SessionView) -> None:
    """Once all is put away of one that has switched nothing on."""
    assert Sessions(lab.settings).gone(session.session_id, PATIENCE) and leases(lab).of("smu") is None


def test_what_on_dispose_has_left_on_is_made_safe_behind_it(here: Lab, bench: Plugged) -> None:
    session = let_in(here)
    wish(bench, "dispose", "leave on")
    leave(here, session)
    put_away(here, bench, session)
    wish(bench, "dispose")
    next_is_let_in(here, bench)


def test_on_start_that_fails_is_put_away_before_the_caller_hears_of_it(here: Lab, bench: Plugged) -> None:
    wish(bench, "start", "raise")
    with pytest.raises(SessionFailed, match=r"on_start failed \(ValueError: the clamps are open\)"):
        let_in(here)
    assert len(disposed(bench)) == 1 and leases(here).of("smu") is None
    bench.assert_made_safe("smu")
    wish(bench, "start")
    next_is_let_in(here, bench)


@pytest.mark.parametrize(
    ("what", "why", "german"),
    [
        (
            "raise",
            "on_dispose failed (ValueError: the door is stuck).",
            "on_dispose ist fehlgeschlagen (ValueError: the door is stuck).",
        ),
        (
            "hang",
            "on_dispose took longer than its 2 s. It was ended.",
            "on_dispose dauerte länger als die 2 s, die es darf. Es wurde beendet.",
        ),
        (
            "hear nothing",
            "on_dispose took longer than its 2 s, and was killed.",
            "on_dispose dauerte länger als die 2 s, die es darf, und wurde abgebrochen.",
        ),
        (
            "kill",
            "on_dispose ended its process (exit status -9).",
            "on_dispose hat seinen Prozess beendet (Exit-Status -9).",
        ),
    ],
)
def test_on_dispose_that_fails_keeps_nothing_on(here: Lab, bench: Plugged, what: str, why: str, german: str) -> None:
    session = let_in(here)
    live(here, session)
    wish(bench, "dispose", what)
    leave(here, session)
    put_away(here, bench, session)
    assert disposed(bench) == ["ada 0"]
    happened = [each for each in here.store.timeline(here.folder(session.service_id).name) if each.event == "disposed"]
    assert [(each.about["why"], words.happened(each), words.happened(each, language("de"))) for each in happened] == [
        (why, why, german)
    ]
    if what == "raise":
        assert "the door is stuck" in (here.folder(session.service_id) / "log.txt").read_text()
    wish(bench, "dispose")
    next_is_let_in(here, bench)


def test_nobody_is_let_in_while_on_dispose_hangs(here: Lab, bench: Plugged) -> None:
    wish(bench, "dispose", "hear nothing")
    first, verbs = let_in(here), Sessions(here.settings)
    live(here, first)
    leave(here, first)
    eventually(lambda: disposed(bench))
    assert verbs.status(first.session_id, SYSTEM).should_finish == 2
    with pytest.raises(NotInTime, match=r"^The lab diode is taken: smu is in a session \(Ada, diode\) since"):
        let_in(here, user="bob", wait=0.5)
    second: list[SessionView] = []
    waiter = threading.Thread(target=lambda: second.append(let_in(here, user="bob")))
    waiter.start()
    waiter.join(PATIENCE)
    wish(bench, "dispose")
    assert len(second) == 1 and second[0].began is not None
    first_over = (here.folder(first.service_id) / DISPOSED).stat().st_mtime
    assert second[0].began > first_over and verbs.status(first.session_id, SYSTEM).state == "ended"
    leave(here, second[0])
    put_away(here, bench, second[0])
    assert verbs.gone(second[0].session_id, PATIENCE) and disposed(bench) == ["ada 0", "bob 0"]


def test_the_next_supervisor_takes_over_a_session(here: Lab, bench: Plugged) -> None:
    session = let_in(here)
    live(here, session)
    with alive(here, session):
        before = here.supervisor
        os.kill(before, signal.SIGKILL)
        wait_gone(before)
        assert here.supervisor != before
        verbs = Sessions(here.settings)
        assert verbs.status(session.session_id, SYSTEM).state == "running"
        assert verbs.set(session.session_id, "meter", "volts", 1, wait=PATIENCE).done
        leave(here, session)
        put_away(here, bench, session)
    assert disposed(bench) == ["ada 0"]
    next_is_let_in(here, bench)


def test_on_dispose_is_run_once_more_where_its_supervisor_died(here: Lab, bench: Plugged) -> None:
    session = let_in(here)
    live(here, session)
    wish(bench, "dispose", "hang at first")
    leave(here, session)
    eventually(lambda: disposed(bench))
    guard = (here.folder(session.service_id) / DISPOSING).read_text()
    before = here.supervisor
    os.kill(before, signal.SIGKILL)
    wait_gone(before)
    assert here.supervisor != before
    put_away(here, bench, session)
    assert disposed(bench) == ["ada 0", "ada 0"]
    assert (here.folder(session.service_id) / DISPOSING).read_text() != guard
    wish(bench, "dispose")
    next_is_let_in(here, bench)


def test_all_dies_at_once(here: Lab, bench: Plugged) -> None:
    """As where the machine loses power: nothing is left but what lies on the disk."""
    session = let_in(here)
    live(here, session)
    pids = [here.supervisor, here.fork_server, here.running(session.service_id), here.working(session.service_id)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_gone(pid)
    assert not bench.simulators["smu"].is_safe() and supervisor_client.alive(here.settings) is None
    lease = leases(here).of("smu")
    assert lease is not None and lease.how is Held.BY_JOB
    here.supervise()
    after = put_away(here, bench, session)
    assert after.failed and disposed(bench) == ["ada 0"]
    next_is_let_in(here, bench)


def test_an_instrument_that_can_not_be_made_safe_closes_the_lab(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), let_in(here)
    live(here, session)
    bench.simulators["smu"].moods.add("silent")
    leave(here, session)
    assert verbs.gone(session.session_id, PATIENCE)
    [reason] = verbs.test("diode", SYSTEM)
    assert reason.startswith("smu is unsafe: smu")
    with pytest.raises(ServiceError, match="smu is unsafe"):
        let_in(here)
    assert here.record(session.service_id).state is State.ABORTED
