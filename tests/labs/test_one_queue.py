"""Sessions and executions of services wait in one queue for the same instruments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from benchlab import Plugged, energised, leases, let_go
from lab import PATIENCE, Lab, eventually
from labwaiter.errors import LabClosed, NotInTime
from labwaiter.model.lab_session import DISPOSE, About
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.system.process import boot_clock
from labwaiter.verbs.instruments import Instruments
from labwaiter.verbs.sessions import Sessions, SessionView
from remotelab import SYSTEM, alive, disposed, let_in


def left(lab: Lab, session: SessionView) -> None:
    Sessions(lab.settings).leave(session.session_id)
    assert Sessions(lab.settings).gone(session.session_id, PATIENCE)


def test_twenty_at_once_for_one_instrument(here: Lab, bench: Plugged) -> None:
    came: list[SessionView] = []
    refused: list[NotInTime] = []
    begun = time.monotonic()

    def come(number: int) -> None:
        try:
            came.append(let_in(here, user=f"student{number}", wait=20.0))
        except NotInTime as error:
            refused.append(error)

    students = [threading.Thread(target=come, args=(number,)) for number in range(20)]
    for student in students:
        student.start()
    eventually(lambda: came)
    with alive(here, *came):
        for student in students:
            student.join(PATIENCE)
    assert time.monotonic() - begun < PATIENCE
    assert len(came) == 1 and len(refused) == 19
    assert {str(error) for error in refused} and all("The lab diode is taken: " in str(error) for error in refused)
    assert [view.service_id for view in Sessions(here.settings).sessions(SYSTEM)] == [came[0].service_id]
    left(here, came[0])
    assert disposed(bench) == [f"{came[0].about.username} 0"] and leases(here).of("smu") is None
    eventually(lambda: not here.store.active_names())


def test_whoever_was_told_that_a_lab_is_taken_is_told_so_again(here: Lab, bench: Plugged) -> None:
    here.start("Uses", "first", device="smu")
    energised(here, "first")
    verbs, session_id = Sessions(here.settings), "a session that nobody has"
    verbs.begin("diode", About("ada"), session_id, 0.0, SYSTEM)
    for _ in range(2):  # over Redis an answer may be lost
        with pytest.raises(NotInTime, match="The lab diode is taken: smu is held by the execution first"):
            verbs.beginning(session_id, 0.0, SYSTEM)
    let_go(here, "first")


def test_a_session_waits_for_an_execution_and_an_execution_for_a_session(here: Lab, bench: Plugged) -> None:
    here.start("Uses", "first", device="smu")
    energised(here, "first")
    with pytest.raises(NotInTime, match="The lab diode is taken: smu is held by the execution first"):
        let_in(here, wait=0.5)
    came: list[SessionView] = []
    waiter = threading.Thread(target=lambda: came.append(let_in(here)))
    waiter.start()
    eventually(lambda: [s for s in Sessions(here.settings).sessions(SYSTEM) if s.state == "starting"])
    here.start("Uses", "second", device="smu")  # it came after the session, and goes after it
    let_go(here, "first")
    waiter.join(PATIENCE)
    assert came and here.record("second").state is State.QUEUED
    with alive(here, *came):
        page = render(here.status("Uses", "second").view, here.services["Uses"])
        assert "smu is in use by a session of the lab diode" in page
    left(here, came[0])
    energised(here, "second")
    let_go(here, "second")
    assert here.ended("second").state is State.COMPLETED and disposed(bench) == ["ada 0"]


def test_several_are_in_where_a_lab_has_several_of_a_thing(here: Lab) -> None:
    first, second = let_in(here, "either"), let_in(here, "either", user="bob")
    assert {first.instruments["thing"], second.instruments["thing"]} == {"relays", "analyser"}
    with alive(here, first, second):
        with pytest.raises(NotInTime):
            let_in(here, "either", user="eve", wait=0.2)
        came: list[SessionView] = []
        waiter = threading.Thread(target=lambda: came.append(let_in(here, "either", user="eve")))
        waiter.start()
        eventually(lambda: len(Sessions(here.settings).sessions(SYSTEM)) == 3)
        waits_for = next(s for s in Sessions(here.settings).sessions(SYSTEM) if s.state == "starting").instruments
        other = first if first.instruments != waits_for else second
        left(here, other)  # it takes whichever is free first
        waiter.join(PATIENCE)
        assert came[0].instruments == other.instruments
    for session in (first, second, came[0]):
        left(here, session)


def test_whoever_waited_is_gone_and_nobody_is_let_in(here: Lab, bench: Plugged) -> None:
    here.start("Uses", "first", device="smu")
    energised(here, "first")
    code = (
        "from labwaiter.settings import load; from labwaiter.verbs.sessions import Sessions;"
        "from remotelab import SYSTEM; from labwaiter.model.lab_session import About;"
        "Sessions(load()).start('diode', About('ada'), SYSTEM, 1.0)"
    )
    path = os.pathsep.join([os.path.dirname(__file__) + "/..", here.environment["PYTHONPATH"]])
    web = subprocess.Popen([sys.executable, "-c", code], env=here.environment | {"PYTHONPATH": path})
    [waiting] = eventually(lambda: Sessions(here.settings).sessions(SYSTEM))
    asked = here.folder(waiting.service_id) / "polled"
    eventually(asked.exists)
    web.send_signal(signal.SIGKILL)
    web.wait()
    time.sleep(2.0)  # it was wanted for a second
    os.utime(asked, (boot_clock() - 6, boot_clock() - 6))  # as if that had been some seconds ago
    let_go(here, "first")
    record = here.ended(waiting.service_id)
    assert record.state is State.FAILED and "waits for it no longer" in record.why
    assert not (here.folder(waiting.service_id) / DISPOSE).exists() and disposed(bench) == []
    assert leases(here).of("smu") is None


def test_a_lab_whose_instrument_is_out_of_service_is_closed(here: Lab, bench: Plugged) -> None:
    verbs, instruments = Sessions(here.settings), Instruments(here.settings)
    instruments.take_out("smu", "new cables", SYSTEM)
    assert verbs.test("diode", SYSTEM) == ["smu is out of service: new cables (weblab)."]
    with pytest.raises(LabClosed, match="new cables"):
        let_in(here)
    view = verbs.lab("diode", SYSTEM)
    assert not view.is_open and "new cables" in view.why_closed
    instruments.put_back("smu", SYSTEM)
    left(here, let_in(here))
