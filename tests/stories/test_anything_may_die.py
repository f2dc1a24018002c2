"""kill -9 of each of ours, of several, of all: no job stays running, nothing written is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import SAMPLES, Lab, eventually, wait_gone
from labwaiter import catalogue
from labwaiter.errors import Unavailable
from labwaiter.jobs import Jobs, link
from labwaiter.jobs.codec import dump
from labwaiter.process import identify
from labwaiter.record import Condition, Request, State


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_gone(pid)


def program_of(lab: Lab, service_id: str) -> int:
    runner = lab.running(service_id)
    return eventually(lambda: next((pid for pid in lab.left_of(service_id) if pid != runner), 0))


def test_a_killed_program_is_a_failed_job_with_the_signal_s_name(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    kill(program_of(lab, "one"))
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "SIGKILL" in record.why


@pytest.mark.parametrize("service", ["Unruly", "UnrulyScript"])
def test_a_killed_runner_is_a_failed_job_and_its_program_goes_with_it(lab: Lab, service: str) -> None:
    lab.start(service, "one", word="sleep")
    lab.file("one", "status.txt")
    kill(lab.running("one"))
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "SIGKILL" in record.why
    assert lab.left_of("one") == []


def test_a_killed_nursery_is_replaced_and_its_jobs_go_on_to_their_results(lab: Lab) -> None:
    lab.start("Unruly", "before", word="hundred-but-running")
    lab.file("before", "status.txt")
    nursery = lab.nursery
    kill(nursery)
    lab.start("Echo", "after", text="x")
    assert lab.ended("after").state is State.COMPLETED
    assert lab.nursery != nursery
    (lab.folder("before") / "go").touch()
    assert lab.ended("before").state is State.COMPLETED
    assert lab.status("Unruly", "before").outputs == {"result": "late"}


def test_a_killed_supervisor_is_replaced_at_once_and_the_next_one_adopts_what_lives(lab: Lab) -> None:
    lab.start("Unruly", "goes on", word="hundred-but-running")
    lab.start("Unruly", "aborted", word="deaf")
    lab.file("goes on", "status.txt")
    lab.file("aborted", "status.txt")
    supervisor = lab.supervisor
    kill(supervisor)
    eventually(lambda: link.alive(lab.settings) not in (None, supervisor))  # nobody asked for it
    assert lab.record("goes on").state is State.RUNNING
    lab.jobs.abort(lab.services["Unruly"], "aborted")
    assert lab.ended("aborted").state is State.ABORTED
    assert lab.left_of("aborted") == []
    (lab.folder("goes on") / "go").touch()
    assert lab.ended("goes on").state is State.COMPLETED


def test_the_next_supervisor_keeps_to_the_limits_of_jobs_that_it_adopted(lab: Lab) -> None:
    lab.start("Patient", "one")
    lab.running("one")
    kill(lab.supervisor)
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "limit of 2 s" in record.why


def test_with_supervisor_and_nursery_killed_the_next_look_brings_the_truth(lab: Lab) -> None:
    lab.start("Unruly", "lives", word="hundred-but-running")
    lab.start("Unruly", "dies", word="sleep")
    lab.file("lives", "status.txt")
    lab.file("dies", "status.txt")
    kill(lab.supervisor, lab.nursery)
    kill(*lab.left_of("dies"))
    assert lab.record("dies").state is State.FAILED
    assert "interrupted" in lab.record("dies").why
    assert lab.record("lives").state is State.RUNNING
    assert link.alive(lab.settings) is not None
    assert lab.ended("dies").state is State.FAILED
    (lab.folder("lives") / "go").touch()
    assert lab.ended("lives").state is State.COMPLETED


def test_an_end_that_was_written_before_everything_died_is_what_is_told(lab: Lab) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    runner = lab.running("one")
    os.kill(lab.supervisor, signal.SIGSTOP)  # it can't settle what now ends
    (lab.folder("one") / "go").touch()
    lab.file("one", "end.json")
    assert lab.status("Unruly", "one").completed
    wait_gone(runner)
    kill(lab.supervisor)
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("Unruly", "one").outputs == {"result": "late"}


def test_with_everything_killed_no_job_stays_running_and_none_is_run_twice(lab: Lab) -> None:
    for number in range(5):
        lab.start("Unruly", f"job {number}", word="sleep")
        lab.file(f"job {number}", "status.txt")
    nursery, supervisor = lab.nursery, lab.supervisor
    pids = [pid for number in range(5) for pid in lab.left_of(f"job {number}")]
    os.kill(nursery, signal.SIGSTOP)  # or it would start the next supervisor between two kills
    kill(supervisor)
    kill(nursery, *pids)
    for number in range(5):
        record = lab.record(f"job {number}")
        assert record.state is State.FAILED
        assert "interrupted" in record.why
        assert lab.ended(f"job {number}").state is State.FAILED
        assert lab.left_of(f"job {number}") == []


@pytest.mark.folder_way  # a supervisor knows nothing of many machines
def test_of_two_supervisors_started_at_once_one_serves(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.root.mkdir()
    command = [sys.executable, "-m", "labwaiter.supervisor"]
    both = [subprocess.Popen(command, env=lab.environment, stderr=subprocess.PIPE) for _ in range(2)]
    eventually(lambda: [p for p in both if p.poll() is not None])
    loser = next(p for p in both if p.poll() is not None)
    assert loser.returncode == 0
    assert b"Another supervisor" in (loser.stderr.read() if loser.stderr else b"")
    winner = next(p for p in both if p is not loser)
    assert link.alive(lab.settings) == winner.pid
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED
    lab.close()
    winner.wait(20)
    for process in both:
        if process.stderr:
            process.stderr.close()


@pytest.mark.folder_way  # of many machines, the worker does
def test_a_start_without_a_supervisor_starts_one(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED


def test_a_supervisor_replaced_by_new_code_leaves_running_jobs_alone(lab: Lab) -> None:
    lab.start("Unruly", "one", word="hundred-but-running")
    runner = lab.running("one")
    nursery = lab.nursery
    pid = lab.supervisor
    link.replace(lab.settings)
    eventually(lambda: lab._nursery() not in (None, nursery))
    assert lab.supervisor == pid
    lab.start("Echo", "two", text="x")
    assert lab.ended("two").state is State.COMPLETED
    assert lab.running("one") == runner
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    wait_gone(nursery)  # it left with its last job


def test_changed_service_code_is_what_the_next_job_runs(lab: Lab) -> None:
    lab.start("Steps", "old")
    lab.ended("old")
    file = lab.settings.services / "services.py"
    file.write_text(file.read_text().replace('result="counted"', 'result="counted anew"'))
    lab.start("Steps", "new")
    lab.ended("new")
    assert lab.status("Steps", "old").outputs == {"result": "counted"}
    assert lab.status("Steps", "new").outputs == {"result": "counted anew"}


def test_a_service_whose_import_starts_threads_works_all_the_same(lab: Lab, tmp_path: object) -> None:
    shutil.copy(SAMPLES / "threads.py", lab.settings.services)
    service = catalogue.load(lab.settings.services).services["Threads"]
    lab.jobs.start(service, "one", {"word": "hi"})
    assert lab.ended("one").state is State.COMPLETED, lab.record("one").why
    assert "hi from" in lab.jobs.status(service, "one").outputs["result"]


def test_a_service_removed_since_its_start_is_a_failed_job(lab: Lab) -> None:
    service = lab.services["Echo"]
    (lab.settings.services / "services.py").unlink()
    lab.jobs.start(service, "one", {"text": "x"})
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "Echo is not available" in record.why


@pytest.mark.parametrize("file", ["request.json", "state.json", "end.json", "progress.json"])
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"state":"running","runner":3,"replies":[]}',
        "[" * 100_000,
        '{"service_id":"one","service":"Stalled","inputs":{},"created":"now","instruments":[["x"]],"values":[1]}',
    ],
)
def test_a_record_that_is_none_ends_no_supervisor(lab: Lab, file: str, text: str) -> None:
    supervisor = lab.supervisor
    lab.start("Stalled", "one")  # for its stall limit its progress is read
    lab.running("one")
    (lab.folder("one") / file).write_text(text)
    eventually(lambda: not lab.store.active_names())
    (lab.folder("one") / file).write_text(text)
    lab.store.mark_active("one")
    link.wake(lab.settings, "one")
    lab.start("Echo", "after", text="x")
    assert lab.ended("after").state is State.COMPLETED
    with contextlib.suppress(Unavailable):
        lab.status("Stalled", "one")
    assert lab.supervisor == supervisor


def test_a_record_that_makes_no_sense_harms_no_other_job(lab: Lab) -> None:
    supervisor = lab.supervisor
    eventually(lambda: lab.nursery)
    lab.start("Echo", "before", text="x")
    lab.ended("before")  # the limits of all services are known
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        (lab.store.root / "odd").mkdir()
        (lab.store.root / "odd" / "request.json").write_bytes(dump(Request("odd", "Limited", {})))
        odd = Condition(State.RUNNING, runner=identify(process.pid), started_boot="noon")  # type: ignore[arg-type]
        (lab.store.root / "odd" / "state.json").write_bytes(dump(odd))
        lab.store.mark_active("odd")
        link.wake(lab.settings, "odd")
        log = lab.root.parent / f"{lab.root.name}.supervisor.log"
        eventually(lambda: "odd: this was not foreseen" in log.read_text())
        lab.start("Limited", "after")
        assert "took longer than its limit" in lab.ended("after").why
        assert log.read_text().count("odd: this was not foreseen") == 1 and lab.supervisor == supervisor
    finally:
        process.kill()
        process.wait()
    assert lab.ended("odd").state is State.FAILED


@pytest.mark.folder_way  # the worker imports the slow one, too, before it takes orders
def test_a_supervisor_killed_while_its_nursery_imports_is_replaced_too(
    make_lab: Callable[..., Lab], services: Path, tmp_path: Path
) -> None:
    go, begun = tmp_path / "go", tmp_path / "begun"
    go.touch()
    slow = f"""
import os, time
open({str(begun)!r}, "w").close()
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
"""
    (services / "a_slow_one.py").write_text(slow)
    lab = make_lab()
    go.unlink()
    begun.unlink()
    lab.supervise()
    eventually(begun.exists)
    before = lab.supervisor
    kill(before)
    go.touch()
    assert eventually(lambda: link.alive(lab.settings)) != before


@pytest.mark.folder_way
def test_a_supervisor_that_can_t_be_started_does_not_hold_up_every_poll(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.store.make()
    lock, log = lab.store.ours / "supervisor.lock", lab.store.ours / "supervisor.log"
    lock.mkdir()
    lab.start("Echo", "one", text="x")
    tried = log.read_text()
    assert "supervisor.lock" in tried
    for _ in range(3):
        assert lab.status("Echo", "one").view.record.state is State.QUEUED
    assert log.read_text() == tried
    lock.rmdir()
    Jobs(lab.settings).status(lab.services["Echo"], "one")  # another process, or a minute later
    assert lab.ended("one").state is State.COMPLETED
