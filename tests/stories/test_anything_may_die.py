"""kill -9 of each of ours, of several, of all: no job stays running, nothing written is lost."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from here import ROOT
from lab import PATIENCE, SAMPLES, Lab, eventually, wait_gone
from labwaiter.catalogue import catalogue
from labwaiter.errors import Unavailable
from labwaiter.model.caller import SHELL
from labwaiter.model.record import INTERRUPTED, Record, Request, State, StoredState
from labwaiter.store import supervisor_client
from labwaiter.store.codec import dump
from labwaiter.system.process import identify
from labwaiter.verbs import Jobs


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_gone(pid)


def program_of(lab: Lab, service_id: str) -> int:
    def is_it(pid: int) -> bool:  # and not the function's process, which leaves as soon as it has handed it over
        with contextlib.suppress(OSError):
            return b"unruly" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    lab.running(service_id)
    return eventually(lambda: next(filter(is_it, lab.left_of(service_id)), 0))


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


def test_a_killed_fork_server_is_replaced_and_its_jobs_go_on_to_their_results(lab: Lab) -> None:
    lab.start("Unruly", "before", word="hundred-but-running")
    lab.file("before", "status.txt")
    fork_server = lab.fork_server
    kill(fork_server)
    lab.start("Echo", "after", text="x")
    assert lab.ended("after").state is State.COMPLETED
    assert lab.fork_server != fork_server
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
    eventually(lambda: supervisor_client.alive(lab.settings) not in (None, supervisor))  # nobody asked for it
    assert lab.record("goes on").state is State.RUNNING
    lab.jobs.abort(lab.services["Unruly"], "aborted", SHELL)
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


def test_with_supervisor_and_fork_server_killed_the_next_look_brings_the_truth(lab: Lab) -> None:
    lab.start("Unruly", "lives", word="hundred-but-running")
    lab.start("Unruly", "dies", word="sleep")
    lab.file("lives", "status.txt")
    lab.file("dies", "status.txt")
    kill(lab.supervisor, lab.fork_server)
    kill(*lab.left_of("dies"))
    assert lab.record("dies").state is State.FAILED
    assert "interrupted" in lab.record("dies").why
    assert lab.record("lives").state is State.RUNNING
    assert supervisor_client.alive(lab.settings) is not None
    assert lab.ended("dies").state is State.FAILED
    (lab.folder("lives") / "go").touch()
    assert lab.ended("lives").state is State.COMPLETED


def test_who_waits_for_an_execution_is_told_when_everything_was_killed(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    told: list[Record] = []
    waiting = threading.Thread(target=lambda: told.append(lab.jobs.wait("one", 50, SHELL)))
    waiting.start()
    supervisor, fork_server, left = lab.supervisor, lab.fork_server, lab.left_of("one")
    os.kill(fork_server, signal.SIGSTOP)  # or it would start the next supervisor between two kills
    kill(supervisor, fork_server, *left)
    waiting.join(25)
    assert [(record.state, record.why) for record in told] == [(State.FAILED, INTERRUPTED)]


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
    fork_server, supervisor = lab.fork_server, lab.supervisor
    pids = [pid for number in range(5) for pid in lab.left_of(f"job {number}")]
    os.kill(fork_server, signal.SIGSTOP)  # or it would start the next supervisor between two kills
    kill(supervisor)
    kill(fork_server, *pids)
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
    assert supervisor_client.alive(lab.settings) == winner.pid
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED
    lab.close()
    winner.wait(PATIENCE)
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
    fork_server = lab.fork_server
    pid = lab.supervisor
    supervisor_client.replace(lab.settings)
    eventually(lambda: lab._fork_server() not in (None, fork_server))
    assert lab.supervisor == pid
    lab.start("Echo", "two", text="x")
    assert lab.ended("two").state is State.COMPLETED
    assert lab.running("one") == runner
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    wait_gone(fork_server)  # it left with its last job


STOPPED_AT_THE_LAST_MOMENT = """
import os, signal, sys
from labwaiter.layout import Layout
from labwaiter.supervisor.single_instance import SingleInstance

layout = Layout(sys.argv[1])
layout.folder.mkdir()
instance = SingleInstance(layout)
os.execve = lambda *_: sys.exit("it began anew")
os.kill(os.getpid(), signal.SIGHUP)
assert instance.take_signals() == {signal.SIGHUP}
os.kill(os.getpid(), signal.SIGTERM)
instance.exec_anew()
os.kill(os.getpid(), signal.SIGINT)  # it hears as before
assert os.read(instance.signals, 10) == bytes([signal.SIGTERM, signal.SIGINT])
assert instance.take_signals() == {signal.SIGTERM, signal.SIGINT}
"""


def test_a_stop_that_comes_while_the_supervisor_is_being_replaced_is_heard(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "app")}
    command = [sys.executable, "-c", STOPPED_AT_THE_LAST_MOMENT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
    lab.jobs.start(service, "one", {"word": "hi"}, SHELL)
    assert lab.ended("one").state is State.COMPLETED, lab.record("one").why
    assert "hi from" in lab.jobs.status(service, "one", SHELL).outputs["result"]


def test_a_service_removed_since_its_start_is_a_failed_job(lab: Lab) -> None:
    service = lab.services["Echo"]
    (lab.settings.services / "services.py").unlink()
    lab.jobs.start(service, "one", {"text": "x"}, SHELL)
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
    supervisor_client.wake(lab.settings, "one")
    lab.start("Echo", "after", text="x")
    assert lab.ended("after").state is State.COMPLETED
    with contextlib.suppress(Unavailable):  # whatever it says: it may just be settled once more
        lab.jobs.status(lab.services["Stalled"], "one", SHELL)
    assert lab.supervisor == supervisor


@pytest.mark.folder_way  # of many machines, one is asked for it through what Redis tells
def test_a_record_that_makes_no_sense_harms_no_other_job(lab: Lab) -> None:
    supervisor = lab.supervisor
    eventually(lambda: lab.fork_server)
    lab.start("Echo", "before", text="x")
    lab.ended("before")
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        (lab.store.root / "odd").mkdir()
        (lab.store.root / "odd" / "request.json").write_bytes(
            dump(Request("odd", "Limited", {}, signature=lab.services["Limited"].as_data()))
        )
        odd = StoredState(State.RUNNING, runner=identify(process.pid), started_boot="noon")  # type: ignore[arg-type]
        (lab.store.root / "odd" / "state.json").write_bytes(dump(odd))
        lab.store.mark_active("odd")
        supervisor_client.wake(lab.settings, "odd")
        log = lab.root.parent / f"{lab.root.name}.supervisor.log"
        eventually(lambda: "odd: its record is damaged, it is left alone" in log.read_text())
        lab.start("Limited", "after")
        assert "took longer than its limit" in lab.ended("after").why
        assert (
            log.read_text().count("odd: its record is damaged, it is left alone") == 1 and lab.supervisor == supervisor
        )
    finally:
        process.kill()
        process.wait()
    with pytest.raises(Unavailable, match="damaged"):
        lab.record("odd")


@pytest.mark.folder_way
def test_a_supervisor_that_can_t_be_started_does_not_hold_up_every_poll(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.store.make()
    lock, log = lab.store.layout.folder / "supervisor.lock", lab.store.layout.folder / "supervisor.log"
    lock.mkdir()
    lab.start("Echo", "one", text="x")
    tried = log.read_text()
    assert "supervisor.lock" in tried
    for _ in range(3):
        assert lab.status("Echo", "one").view.record.state is State.QUEUED
    assert log.read_text() == tried
    lock.rmdir()
    Jobs(lab.settings).status(lab.services["Echo"], "one", SHELL)  # another process, or a minute later
    assert lab.ended("one").state is State.COMPLETED


def test_in_a_folder_that_was_restored_without_ours_what_ran_is_told_as_interrupted(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    program_of(lab, "one")
    runner = lab.running("one")
    lab.start("Echo", "done", text="x")
    assert lab.ended("done").state is State.COMPLETED
    kill(lab.supervisor, lab.fork_server, runner)
    lab.take_away(lab.store.layout.folder)
    lab.supervise()  # nobody asks for any of them
    eventually(lambda: not lab.store.active_names())
    assert lab.record("one").why == INTERRUPTED
    assert lab.record("done").state is State.COMPLETED


def test_a_job_that_lost_its_active_mark_is_found_by_the_next_look(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    program_of(lab, "one")
    runner = lab.running("one")
    kill(lab.supervisor, lab.fork_server)
    (lab.store.active / "one").unlink()
    lab.supervise()
    kill(runner)
    record = eventually(lambda: (found := lab.record("one")).state is State.FAILED and found)
    assert record.why.startswith(INTERRUPTED)


def test_a_link_in_the_place_of_a_mark_is_the_mark(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    program_of(lab, "one")
    (lab.folder("one") / "abort").symlink_to("/nonexistent")
    assert lab.jobs.abort(lab.services["Unruly"], "one", SHELL) is True
    assert lab.record("one").state is State.ABORTED


def test_a_poll_does_not_wait_for_somebody_else_s_try_to_start_a_supervisor_and_guesses_nothing(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    program_of(lab, "one")
    runner = lab.running("one")
    kill(lab.supervisor, lab.fork_server, runner)
    with open(lab.store.layout.folder / "ensure.lock", "ab+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # somebody is at it, and it takes its time
        told = []
        asking = threading.Thread(target=lambda: told.append(lab.jobs.record("one", SHELL).state), daemon=True)
        asking.start()
        asking.join(30)
        assert told == [State.RUNNING]
    assert eventually(lambda: lab.record("one").state is State.FAILED)


DAEMON = """
from labwaiter import Command, Job, Outputs, service

class Left(Outputs):
    text: str

@service("Daemon", namespace="http://samples.example/")
def startDaemon(job: Job, pids: str) -> Left:
    \"\"\"Leave a daemon in a session and an environment of its own, and what that started.\"\"\"
    work = f'sleep 600 & echo $! >> "{pids}"; echo $$ >> "{pids}"; wait'
    return Command("bash", "-c", f"env -i setsid bash -c '{work}' & sleep 600")
"""


def test_a_daemon_without_a_mark_ends_though_supervisor_and_runner_were_killed_together(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    (tmp_path / "daemons").mkdir()
    (tmp_path / "daemons" / "daemon.py").write_text(DAEMON)
    lab = make_lab(services_folder=tmp_path / "daemons")
    lab.supervise()
    pids = tmp_path / "pids"
    lab.start("Daemon", "one", pids=str(pids))
    runner = lab.running("one")
    eventually(lambda: pids.exists() and pids.read_text().count("\n") == 2)
    left = [int(pid) for pid in pids.read_text().split()]
    for pid in (lab.supervisor, runner):
        os.kill(pid, signal.SIGKILL)
    for pid in left:
        wait_gone(pid)
