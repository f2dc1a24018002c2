"""Tasks: what a lab has done apart, what is told of it, and that it leaves nothing on.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged, leases
from lab import PATIENCE, SAMPLES, Lab, eventually, gone
from labwaiter.errors import AlreadyRunning, InvalidParameter, SessionFailed, SessionOver, TooManyJobs, UnknownTask
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.supervisor import retention
from labwaiter.verbs.instruments import Instruments
from labwaiter.verbs.sessions import Sessions, SessionView, TaskView
from remotelab import SYSTEM, disposed, let_in, remote_lab, wish


@pytest.fixture
def here(tmp_path: Path, bench: Plugged) -> Iterator[Lab]:
    """A deployment with the lab whose curves are tasks; nobody is gone for want of a sign of life."""
    lab = remote_lab(tmp_path, bench, WEBLAB_TIMEOUT="-1")
    shutil.copy(SAMPLES / "tasks" / "sweeps.py", tmp_path / "app" / "labs")
    lab.supervise()
    yield lab
    lab.close()


def enter(lab: Lab, user: str = "ada", **more: Any) -> SessionView:
    """A session of the lab whose curves are tasks."""
    return let_in(lab, "sweeps", user, unique=f"{user}@portal", **more)


def begun(lab: Lab, session: SessionView, task: str, **inputs: Any) -> TaskView:
    """A task that has begun to work."""
    verbs = Sessions(lab.settings)
    started = verbs.start_task(session.session_id, task, inputs, by_student=False)
    eventually(lambda: verbs.task(session.session_id, started.task_id).data or task == "alone")
    return verbs.task(session.session_id, started.task_id)


def ended(lab: Lab, session: SessionView, task: TaskView) -> TaskView:
    """That task once it has ended."""
    view = Sessions(lab.settings).join_task(session.session_id, task.task_id, PATIENCE)
    assert view.finished, view
    return view


def leave(lab: Lab, session: SessionView) -> None:
    verbs = Sessions(lab.settings)
    verbs.leave(session.session_id)
    assert verbs.gone(session.session_id, PATIENCE)


def test_a_student_s_task_measures_through_the_session_and_its_result_stays(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    assert [item.name for item in verbs.look(session.session_id).offered] == ["sweep", "hold"]
    started = verbs.start_task(session.session_id, "sweep", {"top": "1.5", "points": "3"})
    assert started.status in ("submitted", "running") and started.offered and started.result is None
    view = ended(here, session, started)
    assert (view.status, view.error, view.fraction, view.data) == ("done", None, 1.0, {"points": 3})
    assert [volts for volts, _ in view.result] == [0, 0.75, 1.5] and view.stage == "at 1.50 V"
    assert here.record(view.task_id).state is State.COMPLETED
    verbs.set(session.session_id, "meter", "volts", 1, wait=PATIENCE)  # the line is the student's as before
    leave(here, session)
    bench.assert_made_safe("smu")
    assert disposed(bench) == ["ada: sweep done"]
    assert [task.result for task in verbs.tasks(session.session_id)] == [view.result]
    assert "sweep.csv" in dict(verbs.look(session.session_id).files)
    with pytest.raises(SessionOver):
        verbs.start_task(session.session_id, "sweep", {"top": 1})


def test_what_can_not_be_started_is_told_in_a_sentence(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    for task, inputs, kind, words in (
        ("alone", {}, UnknownTask, "sweeps has no task alone to start; there are: sweep, hold."),
        ("sweep", {"top": 4}, InvalidParameter, "top"),
        ("sweep", {"top": 1, "bottom": 0}, InvalidParameter, "bottom"),
        ("sweep", {}, Exception, "top"),
    ):
        with pytest.raises(kind, match=words):
            verbs.start_task(session.session_id, task, inputs)
    with pytest.raises(UnknownTask, match="has no task task-0"):
        verbs.stop_task(session.session_id, "task-0")
    assert verbs.tasks(session.session_id) == []


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("none", "ValueError", "no such way: none"),
        ("limit", "", "smu"),
        ("private", "AttributeError", "meter: a task uses names that don't begin with _."),
        ("object", "TypeError", "What fails gave is of the type object"),
        ("unknown", "KeyError", "This lab has no instrument heater; it has: meter."),
        ("itself", "TimeoutError", "can't wait for its own end"),
    ],
)
def test_why_a_task_failed_is_told_in_three_fields(here: Lab, bench: Plugged, how: str, kind: str, words: str) -> None:
    session = enter(here)
    view = ended(here, session, begun_or_over(here, session, how))
    assert view.status == "failed" and view.result is None and view.error is not None
    assert sorted(view.error) == ["class", "code", "message"] and view.error["code"] == "exception"
    assert words in view.error["message"] and kind in view.error["class"]
    assert Sessions(here.settings).status(session.session_id, SYSTEM).state == "running"


def begun_or_over(lab: Lab, session: SessionView, how: str) -> TaskView:
    return Sessions(lab.settings).start_task(session.session_id, "fails", {"how": how}, by_student=False)


def test_a_task_that_hears_its_stop_ends_well_with_its_result(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold")
    assert verbs.stop_task(session.session_id, task.task_id).stopping
    view = ended(here, session, task)
    assert view.status == "done" and view.result["turns"] > 0 and view.result["left"] and not view.stopping
    assert not bench.simulators["smu"].is_safe()  # it has left it as it wanted it: the session goes on


def test_a_task_that_hears_nothing_is_killed_and_what_it_used_made_safe(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold", hears=False)
    assert not bench.simulators["smu"].is_safe()
    verbs.stop_task(session.session_id, task.task_id)
    view = ended(here, session, task)
    assert view.status == "failed" and view.error == {
        "code": "stopped",
        "class": "Stopped",
        "message": "It had not stopped 1 s after it was told to, and was ended.",
    }
    bench.assert_made_safe("smu")  # before it is told that it has ended
    assert gone(view.data["pid"])
    assert verbs.status(session.session_id, SYSTEM).state == "running"
    assert verbs.set(session.session_id, "meter", "volts", 1, wait=PATIENCE).done


@pytest.mark.parametrize("who", ["runner", "function"])
def test_a_task_whose_process_dies_is_made_safe_and_says_so(here: Lab, bench: Plugged, who: str) -> None:
    session = enter(here)
    task = begun(here, session, "hold")
    os.kill(here.running(task.task_id) if who == "runner" else here.working(task.task_id), signal.SIGKILL)
    view = ended(here, session, task)
    assert view.status == "failed" and view.error is not None and view.error["code"] == "died"
    bench.assert_made_safe("smu")


def test_a_task_that_can_not_be_made_safe_after_ends_its_session(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold")
    bench.simulators["smu"].moods.add("silent")
    os.kill(here.running(task.task_id), signal.SIGKILL)
    assert verbs.gone(session.session_id, PATIENCE)
    assert verbs.test("sweeps", SYSTEM)[0].startswith("smu is unsafe")
    assert leases(here).of("smu") is not None


def test_an_action_waits_for_a_task_that_needs_its_process(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    acted = verbs.act(session.session_id, "curve_now", {"top": 2}, wait=PATIENCE)
    status, result, names, is_there = acted.gave
    assert status == "done" and [volts for volts, _ in result] == [0, 1, 2]
    assert names == ["sweep"] and is_there


def test_on_start_waits_for_a_task(here: Lab, bench: Plugged) -> None:
    wish(bench, "sweep-at-start", "yes")
    session = enter(here)
    assert len(Sessions(here.settings).data(session.session_id)["first"]) == 5


def test_a_task_is_there_once_for_each_user_or_in_the_whole_lab(here: Lab, bench: Plugged, tmp_path: Path) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    first = begun(here, session, "hold")
    with pytest.raises(AlreadyRunning, match="hold is running already: it runs once at a time for each user."):
        verbs.start_task(session.session_id, "hold", {})
    started = verbs.act(session.session_id, "begin", {"task": "alone"}, wait=PATIENCE).gave
    assert started.startswith("task-")
    again = verbs.act(session.session_id, "begin", {"task": "alone"}, wait=PATIENCE).gave
    assert again == "alone is running already: it runs once at a time in the whole lab."
    with pytest.raises(AlreadyRunning):
        verbs.start_task(session.session_id, "alone", {}, by_student=False)
    (bench.folder / "door").touch()
    assert ended(here, session, verbs.task(session.session_id, started)).status == "done"
    verbs.start_task(session.session_id, "alone", {}, by_student=False)
    verbs.stop_task(session.session_id, first.task_id)
    ended(here, session, first)
    verbs.start_task(session.session_id, "hold", {})
    assert [task.name for task in verbs.tasks(session.session_id)] == ["hold", "alone", "alone", "hold"]
    assert [task.name for task in verbs.tasks(session.session_id, "hold")] == ["hold", "hold"]


def test_no_session_has_more_than_twenty_tasks_at_once(here: Lab, bench: Plugged, monkeypatch: Any) -> None:
    from labwaiter.model import lab_task

    monkeypatch.setattr(lab_task, "AT_ONCE", 1)
    session = enter(here)
    begun(here, session, "hold")
    with pytest.raises(TooManyJobs, match="This session has 1 tasks that have not ended"):
        Sessions(here.settings).start_task(session.session_id, "sweep", {"top": 1})


STARTS = """
import sys
from labwaiter import settings
from labwaiter.verbs.sessions import Sessions
verbs = Sessions(settings.load())
print(verbs.start_task(sys.argv[1], "hold", {}).task_id, flush=True)
sys.stdin.read()
"""


def test_a_task_outlives_the_web_worker_that_started_it(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    worker = subprocess.Popen(
        [sys.executable, "-c", STARTS, session.session_id],
        env=here.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    task_id = worker.stdout.readline().strip()
    worker.kill()
    worker.communicate()
    eventually(lambda: verbs.task(session.session_id, task_id).data.get("reads"))
    verbs.stop_task(session.session_id, task_id)
    assert ended(here, session, verbs.task(session.session_id, task_id)).status == "done"


def test_a_task_stays_as_long_as_its_session(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    view = ended(here, session, begun(here, session, "sweep", top=1.0))
    eventually(lambda: len(here.store.active_names()) == 1)
    retention.bury_old(here.store, 0, time.time() + 40_000, here.settings.session_kept)  # the session still runs
    assert verbs.task(session.session_id, view.task_id).result == view.result
    leave(here, session)
    eventually(lambda: here.store.active_names() == [])
    for _ in range(2):  # the one, then the other
        retention.bury_old(here.store, 0, time.time() + 40_000, here.settings.session_kept)
    for service_id in (session.service_id, view.task_id):
        assert [path.name for path in here.folder(service_id).iterdir()] == ["tombstone.json"]


def delete(lab: Lab, session: SessionView) -> None:
    Sessions(lab.settings).end(session.session_id, SYSTEM)


def time_over(lab: Lab, session: SessionView) -> None:
    """It ends by itself."""
    eventually(lambda: Sessions(lab.settings).status(session.session_id, SYSTEM).state in ("disposing", "ended"))


def kill_session(lab: Lab, session: SessionView) -> None:
    os.kill(lab.working(session.service_id), signal.SIGKILL)


def stop_instrument(lab: Lab, session: SessionView) -> None:
    """The operator's STOP."""
    Instruments(lab.settings).stop(["smu"], SYSTEM)
    Instruments(lab.settings).put_back("smu", SYSTEM)


@pytest.mark.parametrize("end", [delete, time_over, kill_session, stop_instrument])
def test_a_task_that_is_left_ends_before_on_dispose_whatever_ends_its_session(
    here: Lab, bench: Plugged, end: Any
) -> None:
    verbs, session = Sessions(here.settings), enter(here, length_s=8.0 if end is time_over else 300.0)
    task = begun(here, session, "hold", hears=False)
    end(here, session)
    eventually(lambda: verbs.gone(session.session_id, 1.0))
    assert gone(task.data["pid"]) and not here.left_of(task.task_id)
    assert disposed(bench) == ["ada: hold failed"]
    bench.assert_made_safe("smu")
    assert leases(here).of("smu") is None and enter(here, "bob").state == "running"


def test_a_task_that_on_start_left_when_it_failed_is_ended_before_that_is_told(here: Lab, bench: Plugged) -> None:
    file = here.settings.labs / "sweeps.py"
    file.write_text(
        file.read_text().replace(
            'session.instrument("meter").compliance = 0.01\n',
            'session.instrument("meter").compliance = 0.01\n    task = hold.delay(hears=False)\n'
            '    while not task.data.get("reads"):\n        task.status\n        time.sleep(0.02)\n'
            '    raise ValueError("no sample")\n',
            1,
        )
    )
    with pytest.raises(SessionFailed, match="no sample"):
        enter(here)
    assert disposed(bench) == ["ada: hold failed"]
    bench.assert_made_safe("smu")
    assert leases(here).of("smu") is None


@pytest.mark.parametrize("hears", [True, False])
def test_a_task_ends_with_its_session_before_on_dispose(here: Lab, bench: Plugged, hears: bool) -> None:
    session = enter(here)
    task = begun(here, session, "hold", hears=hears)
    pid = task.data["pid"]
    leave(here, session)
    assert gone(pid)
    assert disposed(bench) == ["ada: hold failed"]
    bench.assert_made_safe("smu")
    assert not here.left_of(task.task_id) and leases(here).of("smu") is None
    assert enter(here, "bob").state == "running"


def test_a_task_hears_that_its_session_s_process_was_killed(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold")
    for pid in (here.running(session.service_id), here.working(session.service_id)):
        os.kill(pid, signal.SIGKILL)
    view = ended(here, session, task)
    assert view.error == {
        "code": "exception",
        "class": "SessionOver",
        "message": "The session is over: its instruments can't be used any more.",
    }
    assert verbs.gone(session.session_id, PATIENCE)
    bench.assert_made_safe("smu")
    assert disposed(bench) == ["ada: hold failed"]


def test_a_task_and_its_session_end_though_the_supervisor_is_killed_too(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold", hears=False)
    pids = [here.supervisor, here.fork_server, here.running(session.service_id), here.working(session.service_id)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(gone(pid) for pid in pids))
    here.supervise()
    assert verbs.gone(session.session_id, PATIENCE)
    assert gone(task.data["pid"]) and disposed(bench) == ["ada: hold failed"]
    bench.assert_made_safe("smu")


def test_an_operator_ends_a_task_by_its_id(here: Lab, bench: Plugged) -> None:
    verbs, session = Sessions(here.settings), enter(here)
    task = begun(here, session, "hold")
    assert verbs.tasks_of(session.service_id, SYSTEM)[0].task_id == task.task_id
    assert verbs.end_task(task.task_id, SYSTEM, PATIENCE).status == "done"
    with pytest.raises(UnknownTask, match="There is no task nobody"):
        verbs.end_task("nobody", SYSTEM, 0)
    with pytest.raises(InvalidParameter):
        here.jobs.notify(None, task.task_id, "{}", SHELL)


def test_the_shell_lists_a_session_s_tasks_and_stops_one(here: Lab, bench: Plugged) -> None:
    session = enter(here)
    task = begun(here, session, "hold")

    def shell(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "labwaiter", "labs", *words]
        ran = subprocess.run(command, env=here.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in ran.stderr
        return ran.returncode, ran.stdout + ran.stderr

    code, said = shell("tasks", session.service_id)
    assert code == 0 and task.task_id in said and "running" in said, said
    code, said = shell("task", "stop", task.task_id)
    assert code == 0 and "hold is done. It has ended well." in said, said
    code, said = shell("tasks", session.session_id, "--json")
    assert code == 0 and '"status": "done"' in said and '"turns"' in said, said
    code, said = shell("task", "stop", "task-none")
    assert code and "There is no task task-none" in said, said
