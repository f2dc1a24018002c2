"""Remote labs whose instruments are on other machines: faces apart, real machines, a real Redis, real ptys.

What is believed is the simulators' own record, not ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from asking import each_second
from benchlab import Plugged, leases, plugged
from callers import Web
from callingsystem import LOGIN, System
from fleetlab import Fleet, fleet_environment
from lab import PATIENCE, SAMPLES, Lab, eventually, wait_gone
from labwaiter.deployment import web_processes
from labwaiter.errors import (
    AlreadyRunning,
    InvalidParameter,
    LabClosed,
    NotInTime,
    ServiceError,
    SessionFailed,
    SessionOver,
    Unavailable,
    UnknownTask,
)
from labwaiter.fleet import open_instruments, open_sessions
from labwaiter.fleet.sessions import NOBODY, FleetSessions
from labwaiter.model.caller import Caller, Identity, Role
from labwaiter.model.lab_session import About
from labwaiter.settings import load
from labwaiter.system.process import kill
from labwaiter.verbs.sessions import SessionView

pytestmark = pytest.mark.slow
SYSTEM = Caller(Identity("portal", role=Role.OPERATOR), face="lab server")
HOMES = {"smu": "north", "printer": "north", "relays": "south", "analyser": "north"}


class Labs:
    """Two machines with the instruments of several labs, and faces of machines that have none."""

    def __init__(self, fleet: Fleet, bench: Plugged) -> None:
        self.fleet, self.bench = fleet, bench
        self.verbs = open_sessions(fleet.jobs.settings, fleet.jobs)
        assert isinstance(self.verbs, FleetSessions)
        self._webs: list[Web] = []

    @property
    def north(self) -> Lab:
        return self.fleet.labs["north"]

    def web(self, name: str, **settings: str) -> Web:
        """A face with a web side of its own, on a machine that has no instrument."""
        lab = Lab(self.fleet.folder / name / "jobs", self.fleet.services_folder)
        lab.root.mkdir(parents=True)
        given = fleet_environment(self.fleet.redis.url, name, self.fleet.toml) | LOGIN | settings
        lab.face_environment = lab.environment | given
        self._webs.append(Web(lab))
        return self._webs[-1]

    def wish(self, name: str, what: str = "") -> None:
        """Have samples/labs/diode.py do that at its start or its end; "" for nothing."""
        path = self.fleet.folder / f"wish-{name}"
        if what:
            path.write_text(what)
        else:
            path.unlink(missing_ok=True)

    def disposed(self) -> list[str]:
        path = self.fleet.folder / "disposed"
        return path.read_text().splitlines() if path.exists() else []

    def let_in(self, lab: str = "diode", user: str = "ada", wait: float = PATIENCE, **more: Any) -> SessionView:
        about = About(**{"username": user, "full_name": user.capitalize(), "length_s": 300.0, **more})
        return self.verbs.start(lab, about, SYSTEM, wait)

    def live(self, session: SessionView) -> None:
        """Have it do what could do harm."""
        self.verbs.set(session.session_id, "meter", "volts", 2)
        self.verbs.do(session.session_id, "meter", "output", {"on": True})
        assert not self.bench.simulators["smu"].is_safe()

    def alive(self, *sessions: SessionView) -> AbstractContextManager[None]:
        """As pages that are open."""
        return each_second(self.verbs.alive, tuple(each.session_id for each in sessions), ServiceError)

    def put_away(self, session: SessionView, begun: int = 0) -> SessionView:
        """How it stands once all is put away; its instrument was made safe after `begun`, and is free."""
        eventually(lambda: self.verbs.gone(session.session_id, 1.0))
        self.bench.assert_made_safe("smu", begun)
        assert leases(self.north).of("smu") is None
        after = self.verbs.status(session.session_id, SYSTEM)
        assert after.state == "ended" and after.should_finish == -1
        return after

    def next_is_let_in(self) -> None:
        """And leaves: one more on_dispose."""
        before = len(self.disposed())
        session = self.let_in(user="eve")
        assert len(self.disposed()) == before
        self.verbs.leave(session.session_id)
        assert self.verbs.gone(session.session_id, PATIENCE)
        assert self.disposed()[before:] == ["eve 0"]

    def worker(self) -> int:
        process = self.fleet.machines["north"].process
        assert process is not None
        return process.pid

    def kill_worker(self) -> None:
        os.kill(self.worker(), signal.SIGKILL)
        process = self.fleet.machines["north"].process
        assert process is not None
        process.wait(PATIENCE)

    def kill(self, web: Web) -> None:
        """A face, with its workers."""
        web.process.kill()
        web.process.wait(PATIENCE)
        for who in web_processes.find(load(web.lab.face_environment)):
            kill(who)

    def close(self) -> None:
        for web in self._webs:
            web.close()


@pytest.fixture
def labs(make_fleet: Callable[..., Fleet], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Labs]:
    shutil.copytree(SAMPLES / "labs", tmp_path / "labs")
    shutil.copy(SAMPLES / "tasks" / "sweeps.py", tmp_path / "labs")
    with plugged(tmp_path / "bench") as bench:
        bench.write(**{name: f'machine = "{machine}"' for name, machine in HOMES.items()})
        fleet = make_fleet("north", "south", lab=bench.toml.read_text(), **getattr(request, "param", {}))
        fleet.start()
        one = Labs(fleet, bench)
        yield one
        one.close()
        fleet.close()  # before the devices are unplugged


# -- the calling system ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["weblab", "ldl"])
def test_a_session_is_begun_asked_of_and_ended_at_any_face(labs: Labs, form: str) -> None:
    first, second = labs.web("east"), labs.web("west")
    system, other = System(f"{first.url}/diode", form), System(f"{second.url}/diode", form)
    assert system.call("GET", "/api") == (200, {"api_version": "1"})
    assert system.call("GET", "/test") == (200, {"valid": True}) == other.call("GET", "/test")
    told = system.start()
    assert set(told) == {"url", "session_id"}, told
    session_id = told["session_id"]
    assert told["url"] == f"{system.at}/{form}/callback/{session_id}"
    assert labs.north.record(labs.verbs.status(session_id, SYSTEM).service_id).active
    assert system.status(session_id) == other.status(session_id) == 5
    body = {"session_ids": [session_id, "never", f"{session_id}x"], "timeout": "5"}
    many = other.call("POST", "/status/multiple", body)[1]
    assert many == {"status": {session_id: 5, "never": -1, f"{session_id}x": -1}}
    labs.live(labs.verbs.status(session_id, SYSTEM))
    if form == "weblab":
        assert other.delete(session_id) == "Deleted"
    else:
        eventually(lambda: other.call("DELETE", f"/{session_id}")[1]["should_finish"] == -1)
    # it was told once dispose had ended, and not before
    assert labs.disposed() == ["ada 0"] and leases(labs.north).of("smu") is None
    labs.bench.assert_made_safe("smu")
    assert system.status(session_id) == other.status(session_id) == -1
    assert system.delete(session_id) == "Deleted" and labs.disposed() == ["ada 0"]
    assert system.delete("never") == "Not found"


def test_who_has_it_is_told_who_waits_in_vain_and_why_it_could_not_begin(labs: Labs) -> None:
    system = System(f"{labs.web('east', WEBLAB_START_WAIT='1').url}/diode")
    first = labs.let_in()
    with labs.alive(first):
        refused = system.start("bob")
        assert refused["error"] is True and "smu is in a session (Ada, diode) since" in refused["message"], refused
        assert system.call("GET", "/test") == (200, {"valid": True})  # one can wait
        assert system.delete(first.session_id) == "Deleted"
    labs.wish("start", "raise")
    begun = labs.bench.count("smu")
    assert system.start("bob") == {"error": True, "success": False, "message": "Error initializing laboratory"}
    assert len(labs.disposed()) == 2 and leases(labs.north).of("smu") is None
    labs.bench.assert_made_safe("smu", begun)
    with pytest.raises(SessionFailed, match=r"on_start failed \(ValueError: the clamps are open\)"):
        labs.let_in()
    labs.wish("start")
    labs.next_is_let_in()


def test_twenty_at_two_faces_at_once_for_one_instrument(labs: Labs) -> None:
    webs = [labs.web(name, WEBLAB_START_WAIT="3") for name in ("east", "west")]
    systems = [System(f"{web.url}/diode") for web in webs]
    told: list[dict[str, Any]] = []

    def start(number: int) -> None:
        told.append(systems[number % 2].start(f"user{number}"))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    begun = [one for one in told if "session_id" in one]
    assert len(told) == 20 and len(begun) == 1, told
    assert all(one["error"] is True and "is taken" in one["message"] for one in told if one not in begun), told
    assert [view.about.username for view in labs.verbs.sessions(SYSTEM)] == [
        labs.verbs.status(begun[0]["session_id"], SYSTEM).about.username
    ]
    assert systems[1].delete(begun[0]["session_id"]) == "Deleted" and len(labs.disposed()) == 1
    labs.next_is_let_in()


def test_several_are_in_where_machines_have_one_each(labs: Labs) -> None:
    first, second = labs.let_in("either"), labs.let_in("either", "bob")
    assert {first.instruments["thing"], second.instruments["thing"]} == {"relays", "analyser"}
    homes = {view.instruments["thing"]: view for view in (first, second)}
    assert labs.fleet.labs["south"].record(homes["relays"].service_id).active
    with labs.alive(first, second):
        with pytest.raises(NotInTime):
            labs.let_in("either", "eve", wait=1)
        assert len(labs.verbs.sessions(SYSTEM, "either")) == labs.verbs.lab("either", SYSTEM).sessions == 2
        came: list[SessionView] = []
        waiter = threading.Thread(target=lambda: came.append(labs.let_in("either", "eve")))
        waiter.start()
        waits = eventually(lambda: [v for v in labs.verbs.sessions(SYSTEM) if v.state == "starting"])[0]
        other = first if first.instruments != waits.instruments else second
        labs.verbs.leave(other.session_id)  # it takes whichever is free first, on whichever machine
        waiter.join(PATIENCE)
        assert came and came[0].instruments == other.instruments
    for session in (first, second, came[0]):
        labs.verbs.end(session.session_id, SYSTEM)
        assert labs.verbs.gone(session.session_id, PATIENCE)


def test_a_lab_is_closed_by_what_is_unsafe_elsewhere_and_by_silence(labs: Labs) -> None:
    system = System(f"{labs.web('east').url}/diode")
    session = labs.let_in()
    labs.live(session)
    labs.bench.simulators["smu"].moods.add("silent")
    labs.verbs.leave(session.session_id)
    assert labs.verbs.gone(session.session_id, PATIENCE)
    code, told = system.call("GET", "/test")
    assert code == 401 and told["error_messages"][0].startswith("smu is unsafe: smu"), told
    assert system.start()["message"].startswith("smu is unsafe: smu")
    labs.bench.simulators["smu"].moods.clear()
    instruments = open_instruments(labs.fleet.jobs.settings, labs.fleet.jobs)
    assert instruments.make_safe(["smu"], SYSTEM)[0].safe
    assert system.call("GET", "/test") == (200, {"valid": True})
    labs.next_is_let_in()

    os.kill(labs.worker(), signal.SIGSTOP)
    code, told = eventually(lambda: (t := system.call("GET", "/test"))[0] == 401 and "last heard" in str(t) and t)
    [why] = told["error_messages"]
    assert why.startswith("The machine north was last heard of") and why.endswith(NOBODY)
    assert system.start()["message"].endswith(NOBODY)
    os.kill(labs.worker(), signal.SIGCONT)
    eventually(lambda: system.call("GET", "/test")[0] == 200)

    both = '"""Both"""\n\nfrom labwaiter import Lab\n\nlab = Lab(instruments=["smu", "relays"])\n'
    (labs.fleet.services_folder.parent / "labs" / "both.py").write_text(both)
    with pytest.raises(LabClosed, match=r"needs instruments of several machines \(smu on north, relays on south\)"):
        labs.let_in("both")


# -- endings --------------------------------------------------------------------------------------


def kill_its_process(labs: Labs, session: SessionView) -> None:
    os.kill(labs.north.working(session.service_id), signal.SIGKILL)


def kill_its_runner(labs: Labs, session: SessionView) -> None:
    os.kill(labs.north.running(session.service_id), signal.SIGKILL)


def kill_the_supervisor_and_leave(labs: Labs, session: SessionView) -> None:
    before = labs.north.supervisor
    os.kill(before, signal.SIGKILL)
    wait_gone(before)
    eventually(lambda: labs.north.supervisor != before)
    assert labs.verbs.status(session.session_id, SYSTEM).state == "running"
    labs.verbs.leave(session.session_id)


def test_however_a_session_ends_it_is_put_away(labs: Labs) -> None:
    for end in (kill_its_process, kill_its_runner, kill_the_supervisor_and_leave):
        before, begun = len(labs.disposed()), labs.bench.count("smu")
        session = labs.let_in()
        labs.live(session)
        with labs.alive(session):
            end(labs, session)
            after = labs.put_away(session, begun)
        assert after.why_ended and labs.disposed()[before:] == ["ada 0"], end
    labs.next_is_let_in()


def test_a_face_that_is_killed_leaves_nobody_in(labs: Labs) -> None:
    """A student is in, another waits at the door; both came by the face that dies."""
    web = labs.web("east")
    system = System(f"{web.url}/diode")
    session = labs.verbs.status(system.start()["session_id"], SYSTEM)
    labs.live(session)

    def wait_in_vain() -> None:
        with pytest.raises((OSError, HTTPException)):
            system.start("bob")

    waiter = threading.Thread(target=wait_in_vain)
    waiter.start()
    waiting = eventually(lambda: [v for v in labs.verbs.sessions(SYSTEM) if v.state == "starting"])[0]
    with labs.alive(session):  # by another face
        labs.kill(web)
        waiter.join(PATIENCE)
        assert labs.verbs.status(session.session_id, SYSTEM).state == "running"
    # no page is open any more: without a sign of life it is ended, and so is what waits
    eventually(lambda: labs.verbs.gone(session.session_id, 1.0))
    eventually(lambda: labs.verbs.gone(waiting.service_id, 1.0))
    labs.put_away(session)
    after = labs.verbs.status(waiting.service_id, SYSTEM)
    assert after.state == "ended" and after.began is None and labs.disposed() == ["ada 0"]
    labs.next_is_let_in()


def test_redis_away_for_a_moment_ends_nothing_and_for_long_what_nobody_asks_for(labs: Labs) -> None:
    system = System(f"{labs.web('east').url}/diode")
    session = labs.let_in()
    labs.live(session)
    with labs.alive(session):
        labs.fleet.redis.pause()
        assert system.status(session.session_id) > 0  # what is not known is not over
        labs.fleet.redis.go_on()
        eventually(lambda: knows(labs, session))
        assert labs.verbs.status(session.session_id, SYSTEM).state == "running"
        assert not labs.bench.simulators["smu"].is_safe()
        labs.fleet.redis.kill()
        assert system.status(session.session_id) > 0
        code, told = system.call("POST", f"/{session.session_id}", {"action": "delete"})
        assert code == 503 and "Redis" in told["message"], told
        eventually(labs.bench.simulators["smu"].is_safe)  # nobody was heard for WEBLAB_TIMEOUT
        eventually(lambda: labs.disposed() == ["ada 0"])
        assert system.status(session.session_id) > 0
        labs.fleet.redis.start()  # with nothing in it
        eventually(lambda: system.status(session.session_id) == -1)
    eventually(lambda: knows(labs, session))
    after = labs.put_away(session)
    assert "gave no sign of life" in after.why_ended
    labs.next_is_let_in()


def knows(labs: Labs, session: SessionView) -> bool:
    """Whether this process' face hears of it again."""
    try:
        return bool(labs.verbs.status(session.session_id, SYSTEM))
    except Unavailable:
        return False


def test_a_machine_that_loses_power_puts_away_before_anybody_is_let_in(labs: Labs) -> None:
    system = System(f"{labs.web('east').url}/diode")
    session = labs.let_in()
    labs.live(session)
    north = labs.north
    pids = [north.supervisor, north.fork_server, north.running(session.service_id), north.working(session.service_id)]
    labs.kill_worker()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_gone(pid)
    assert not labs.bench.simulators["smu"].is_safe()
    assert system.status(session.session_id) > 0
    assert labs.verbs.gone(session.session_id, 1.0) is False
    eventually(lambda: system.call("GET", "/test")[0] == 401)
    assert "session_id" not in system.start("bob")
    assert system.status(session.session_id) > 0
    labs.fleet.machines["north"].start()
    eventually(lambda: knows(labs, session))
    after = labs.put_away(session)
    assert after.failed and labs.disposed() == ["ada 0"]
    eventually(lambda: system.call("GET", "/test")[0] == 200)
    labs.next_is_let_in()


@pytest.mark.parametrize("labs", [{"WEBLAB_TIMEOUT": "60"}], indirect=True)  # s: a busy machine's worker begins late
def test_a_worker_that_is_killed_ends_no_session_and_holds_up_no_putting_away(labs: Labs) -> None:
    session = labs.let_in()
    labs.live(session)
    system = System(f"{labs.web('east').url}/diode")
    with labs.alive(session):
        labs.kill_worker()
        assert system.status(session.session_id) > 0
        labs.fleet.machines["north"].start()  # as Docker or systemd do
        eventually(lambda: knows(labs, session))
        assert labs.verbs.status(session.session_id, SYSTEM).state == "running"
        assert not labs.bench.simulators["smu"].is_safe()
        labs.wish("dispose", "hear nothing")
        labs.verbs.end(session.session_id, SYSTEM)
        eventually(lambda: labs.verbs.status(session.session_id, SYSTEM).state == "disposing")
        labs.kill_worker()
        eventually(lambda: leases(labs.north).of("smu") is None)  # it is put away with nobody to be told so
        labs.wish("dispose")
        labs.fleet.machines["north"].start()
        eventually(lambda: knows(labs, session))
    labs.put_away(session)
    labs.next_is_let_in()


def test_a_delete_that_meets_a_silent_machine_is_done_when_it_is_heard_of(labs: Labs) -> None:
    system = System(f"{labs.web('east').url}/diode", "ldl")
    session = labs.let_in()
    labs.live(session)
    os.kill(labs.worker(), signal.SIGSTOP)
    code, told = system.call("DELETE", f"/{session.session_id}")
    assert (code, told) == (200, {"should_finish": 2})
    os.kill(labs.worker(), signal.SIGCONT)
    after = labs.put_away(session)
    assert after.why_ended == "The calling system has ended it."
    assert system.call("DELETE", f"/{session.session_id}")[1] == {"should_finish": -1}


# -- students -------------------------------------------------------------------------------------


def test_a_student_uses_a_lab_and_its_tasks_by_any_face(
    labs: Labs, open_screen: Callable[..., Any], tmp_path: Path
) -> None:
    # both faces are one address to a browser, as behind a proxy: cookies know no ports
    east, west = labs.web("east"), labs.web("west")
    told = System(f"{east.url}/sweeps").start(back="https://portal.example/labs")
    session_id = told["session_id"]
    screen, other = open_screen(east), open_screen(west)
    page = screen.go(f"sweeps/weblab/callback/{session_id}")
    assert page.url == f"{east.url}/sweeps/page"
    page.fill("#set-meter-volts input[name=in-volts]", "1.5")
    page.click("#set-meter-volts button")
    screen.see("meter: volts is set to 1.5.")
    page.select_option("#do-meter-output select", "true")
    page.click("#do-meter-output button")
    screen.see("meter: output is done.")
    assert not labs.bench.simulators["smu"].is_safe()
    meter = eventually(  # it is read each second
        lambda: (m := labs.verbs.look(session_id).instruments[0]) and "value" in m.readings.get("current", {}) and m
    )
    assert meter.name == "meter" and "SMU" in meter.identity
    page.wait_for_selector("#plot canvas")
    page.fill("#start-sweep [name=in-top]", "1.5")
    page.fill("#start-sweep [name=in-points]", "3")
    page.click("#start-sweep button")
    screen.see("sweep has begun.")
    screen.see("0.75", ".lab-tasks td:has-text('0.75')")
    # the same session by another face
    there = other.go(f"sweeps/weblab/callback/{session_id}")
    other.see("0.75", ".lab-tasks td:has-text('0.75')")
    there.click("#start-hold button")
    other.see("hold running", ".lab-tasks")
    screen.see("hold running", ".lab-tasks")
    page.click(".lab-tasks form button")
    screen.see("hold done", ".lab-tasks")
    with page.expect_download() as download:
        page.evaluate("document.querySelector('a[href$=\"sweep.csv\"]').setAttribute('download', '')")
        page.click("a[href$='sweep.csv']")
    assert Path(download.value.path()).read_text().splitlines()[-1].startswith("1.5,")
    page.screenshot(path=tmp_path / "across.png", full_page=True)
    # a machine that isn't heard of for a moment: the page stays, and goes on afterwards
    os.kill(labs.worker(), signal.SIGSTOP)
    answer = page.request.get(f"{east.url}/sweeps/weblab/callback/{session_id}/poll")
    assert answer.status == 503 and answer.json()["success"] is False and "north" in answer.json()["reason"]
    os.kill(labs.worker(), signal.SIGCONT)
    eventually(lambda: page.request.get(f"{west.url}/sweeps/weblab/callback/{session_id}/poll").ok)
    there.click("form[action$='/page/leave'] button")
    other.see("Your session is over")
    screen.see("Your session is over")
    screen.see("0.75", ".lab-tasks td:has-text('0.75')")
    assert labs.verbs.gone(session_id, PATIENCE)
    assert labs.disposed() == ["ada: sweep done, hold done"]
    labs.bench.assert_made_safe("smu")


def test_tasks_run_where_their_session_is(labs: Labs) -> None:
    verbs = labs.verbs
    session = labs.let_in("sweeps", unique="ada@portal")
    session_id = session.session_id
    with labs.alive(session):
        started = verbs.start_task(session_id, "sweep", {"top": "1.5", "points": "3"})
        view = verbs.join_task(session_id, started.task_id, PATIENCE)
        assert (view.status, view.data, view.result[1][0]) == ("done", {"points": 3}, 0.75)
        assert labs.north.record(view.task_id).request.service == "lab task"
        hold = verbs.start_task(session_id, "hold", {}, by_student=False)
        eventually(lambda: verbs.task(session_id, hold.task_id).data.get("reads"))
        with pytest.raises(AlreadyRunning, match="once at a time for each user"):
            verbs.start_task(session_id, "hold", {}, by_student=False)
        verbs.start_task(session_id, "alone", {}, by_student=False)
        with pytest.raises(AlreadyRunning, match="once at a time in the whole lab"):
            verbs.start_task(session_id, "alone", {}, by_student=False)
        assert [task.name for task in verbs.tasks(session_id, "hold")] == ["hold"]
        assert [task.name for task in verbs.tasks_of(session.service_id, SYSTEM)] == ["sweep", "hold", "alone"]
        with pytest.raises(InvalidParameter, match="is stopped by the lab itself"):
            verbs.stop_task(session_id, verbs.tasks(session_id, "alone")[0].task_id)
        with pytest.raises(UnknownTask):
            verbs.task(session_id, "task-nothing")
        stopped = verbs.end_task(hold.task_id, SYSTEM, PATIENCE)
        assert stopped.status == "done" and stopped.result["turns"] > 0
        # a task that is killed leaves nothing on, and its session goes on
        begun = labs.bench.count("smu")
        again = verbs.start_task(session_id, "hold", {}, by_student=False)
        pid = eventually(lambda: verbs.task(session_id, again.task_id).data.get("pid"))
        os.kill(pid, signal.SIGKILL)
        view = verbs.join_task(session_id, again.task_id, PATIENCE)
        assert view.error is not None and view.error["code"] == "died"
        labs.bench.assert_made_safe("smu", begun)
        assert verbs.status(session_id, SYSTEM).state == "running"
        # what the lab's code keeps, as a blueprint's view has it
        data = verbs.data(session_id)
        data["mood"] = {"good": True}
        assert data["mood"] == {"good": True} and dict(data) == {"mood": {"good": True}} and len(data) == 1
        del data["mood"]
        with pytest.raises(KeyError):
            del data["mood"]
        with pytest.raises(TypeError):
            data["mood"] = object()
        with pytest.raises(ValueError, match="1,000,000 bytes"):
            data["mood"] = "x" * 1_000_001
        with pytest.raises(InvalidParameter, match="There is no file"):
            verbs.file(session_id, "../session.json")
        assert verbs.file(session_id, "sweep.csv").read_text().count("\n") == 2
        verbs.leave(session_id)
        assert verbs.gone(session_id, PATIENCE)
    with pytest.raises(SessionOver):
        verbs.start_task(session_id, "sweep", {"top": 1})
    assert labs.disposed() == ["ada: sweep done, hold done, alone done, hold failed"]


def test_labs_and_sessions_at_the_shell_of_a_face(labs: Labs) -> None:
    web = labs.web("east")

    def run(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "labwaiter", "labs", *words]
        ran = subprocess.run(
            command, env=web.lab.face_environment, capture_output=True, text=True, timeout=2 * PATIENCE
        )
        assert ran.returncode == code and "Traceback" not in ran.stderr, ran
        return ran.stdout + ran.stderr

    assert "diode is open." in run("test", "diode")
    told = json.loads(run("session", "new", "diode", "--user", "ada", "--json").splitlines()[0])
    assert told["address"].startswith(web.url.rpartition(":")[0]) and told["lab"] == "diode"
    with labs.alive(labs.verbs.status(told["session"], SYSTEM)):
        listed = run("list")
        assert "1 " in listed and "ada" in listed and told["serviceID"] in listed, listed
        assert "ada in diode: running" in run("session", "status", told["serviceID"])
        assert "This session has had no task." in run("tasks", told["serviceID"])
        assert "All is put away." in run("session", "end", told["session"])
    assert labs.disposed() == ["ada 0"]
    os.kill(labs.worker(), signal.SIGSTOP)
    eventually(lambda: labs.verbs.unheard())
    assert "The machine north was last heard of" in run("session", "status")
    assert NOBODY in run("test", "diode", code=3)
    os.kill(labs.worker(), signal.SIGCONT)
