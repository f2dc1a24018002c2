"""Want of processes, of descriptors: waited out. Nobody is ended by it, and who never began stays queued."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually, gone, wait_gone
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store import supervisor_client
from labwaiter.system.process import start_thread

GROUPS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


class Pids:
    """A control group that says how many processes there may be in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def most(self, number: int | None) -> None:
        (self.folder / "pids.max").write_text("max" if number is None else str(number))

    def holding(self, *command: str) -> list[str]:
        """The command, as a process of this group."""
        return ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command]


@pytest.fixture
def pids() -> Iterator[Pids]:
    folder = None
    for group in GROUPS:
        with contextlib.suppress(OSError):
            folder = group / f"labwaiter-{os.getpid()}-{os.urandom(3).hex()}"
            folder.mkdir()
            (folder / "pids.max").write_text("max")
            break
        with contextlib.suppress(OSError, AttributeError):
            folder.rmdir()  # type: ignore[union-attr]
        folder = None
    if folder is None:
        pytest.skip("a limit of processes takes a control group of one's own")
    yield Pids(folder)

    def emptied() -> bool:
        living = (folder / "cgroup.procs").read_text().split()
        for line in living:  # a fork server whose supervisor was killed starts the next one
            with contextlib.suppress(OSError):
                os.kill(int(line), signal.SIGKILL)
        return not living

    eventually(emptied)
    folder.rmdir()


def supervise(lab: Lab, command: list[str]) -> int:
    """Start a supervisor by this command; its pid."""
    lab.root.mkdir(parents=True, exist_ok=True)
    with open(lab.root.parent / f"{lab.root.name}.supervisor.log", "ab") as log:
        lab.supervisors.append(subprocess.Popen(command, env=lab.environment, stdout=log, stderr=log))
    eventually(lambda: supervisor_client.alive(lab.settings) is not None)
    return lab.supervisor


def log_of(lab: Lab) -> str:
    return (lab.root.parent / f"{lab.root.name}.supervisor.log").read_text()


SUPERVISOR = [sys.executable, "-m", "labwaiter.supervisor"]


def at_work(make_lab: Callable[..., Lab], pids: Pids) -> tuple[Lab, int]:
    """A lab whose processes can be kept from having more, with the job "runs" running; its supervisor's pid."""
    lab = make_lab()
    supervisor = supervise(lab, pids.holding(*SUPERVISOR))
    lab.start("Unruly", "runs", word="hundred-but-running")
    lab.file("runs", "status.txt")
    return lab, supervisor


@pytest.mark.folder_way
def test_without_processes_the_supervisor_lives_and_who_waits_runs_once_there_are_some(
    make_lab: Callable[..., Lab], pids: Pids
) -> None:
    lab, supervisor = at_work(make_lab, pids)
    lab.start("Unruly", "aborted", word="deaf")
    lab.file("aborted", "status.txt")
    runner, fork_server = lab.running("runs"), lab.fork_server
    pids.most(1)  # what is there stays, and nothing new comes
    names = [f"waits {number}" for number in range(10)]
    for name in names:
        lab.start("Counted", name)
    aborted = lab.jobs.abort(lab.services["Unruly"], "aborted", SHELL, wait=2.0)
    assert aborted is False  # nobody can clear up after it now
    with contextlib.suppress(ProcessLookupError):
        os.kill(fork_server, signal.SIGKILL)  # and no other can be had
    eventually(lambda: "no fork server can be had now" in log_of(lab) and "that clears up after a job" in log_of(lab))
    assert lab.supervisor == supervisor and lab.supervisors[0].poll() is None
    assert {lab.record(name).state for name in names} == {State.QUEUED}
    assert lab.record("runs").state is State.RUNNING and not gone(runner)
    pids.most(None)
    for name in names:
        assert lab.ended(name).state is State.COMPLETED
        assert (lab.folder(name) / "log.txt").read_text().count("ran here") == 1
    assert lab.jobs.abort(lab.services["Unruly"], "aborted", SHELL) is True
    assert lab.record("aborted").state is State.ABORTED
    (lab.folder("runs") / "go").touch()
    assert lab.ended("runs").state is State.COMPLETED
    assert lab.supervisor == supervisor


@pytest.mark.folder_way
@pytest.mark.parametrize("room", [1, 2, 3])
def test_with_a_little_room_nobody_who_never_began_is_told_as_interrupted(
    make_lab: Callable[..., Lab], pids: Pids, room: int
) -> None:
    lab = make_lab()
    supervisor = supervise(lab, pids.holding(*SUPERVISOR))
    lab.start("Counted", "first")
    lab.ended("first")
    eventually(lambda: int((pids.folder / "pids.current").read_text()) == 2)  # it and its fork server
    pids.most(2 + room)  # a runner and its threads may not fit, nor who clears up
    names = [f"one {number}" for number in range(8)]
    for name in names:
        lab.start("Counted", name)
    time.sleep(3.0)  # there is nothing to be awaited: much is tried in it, and little may come of it
    assert {lab.record(name).state for name in names} <= {State.QUEUED, State.RUNNING, State.COMPLETED}
    pids.most(None)
    for name in names:
        assert lab.ended(name).state is State.COMPLETED, lab.record(name).why
        assert (lab.folder(name) / "log.txt").read_text().count("ran here") == 1
    assert lab.supervisor == supervisor


@pytest.mark.folder_way
def test_a_process_that_always_ends_before_the_work_begins_is_a_failed_job(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.start("Counted", "before")
    lab.ended("before")
    supervisor_client.stop(lab.settings)
    (lab.root / ".labwaiter" / "stopped").unlink()
    lab.store.make()
    lab.root.joinpath("one", "data").mkdir(parents=True)
    lab.root.joinpath("one", "log.txt").mkdir()  # nobody can write a log there
    request = (lab.folder("before") / "request.json").read_text().replace("before", "one")
    (lab.folder("one") / "request.json").write_text(request)
    lab.store.mark_active("one")
    lab.supervise()
    record = lab.ended("one")
    assert record.state is State.FAILED and "ended 5 times before the work began" in record.why


@pytest.mark.folder_way
def test_a_supervisor_with_few_descriptors_ends_no_job_that_it_can_t_watch(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.supervise()
    names = [f"job {number}" for number in range(40)]
    for name in names:
        lab.start("Unruly", name, word="hundred-but-running")
    runners = {name: lab.running(name) for name in names}
    for name in names:
        lab.file(name, "status.txt")
    os.kill(lab.fork_server, signal.SIGSTOP)  # or it would start the next one
    stopped = lab.fork_server
    lab.supervisors[0].kill()
    lab.supervisors[0].wait(PATIENCE)
    few = supervise(lab, ["prlimit", "--nofile=32:32", *SUPERVISOR])
    eventually(lambda: "can't be seen now" in log_of(lab))
    time.sleep(2.0)  # of what must not happen no event tells
    assert not [name for name, pid in runners.items() if gone(pid)]
    assert {lab.record(name).state for name in names} == {State.RUNNING}
    assert lab.supervisor == few and "MAX_RUNNING=100 is more than 32 descriptors can watch" in log_of(lab)
    for name in names:
        (lab.folder(name) / "go").touch()
    for name in names:  # as descriptors become free, it adopts the others
        assert lab.ended(name).state is State.COMPLETED, lab.record(name).why
    os.kill(stopped, signal.SIGKILL)
    wait_gone(stopped)


@pytest.mark.folder_way
def test_the_supervisor_raises_its_limit_of_descriptors_and_leaves_the_jobs_theirs(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab()
    supervise(lab, ["prlimit", "--nofile=300:4096", *SUPERVISOR])

    def limits() -> list[str]:
        text = Path(f"/proc/{lab.supervisor}/limits").read_text()
        return re.search(r"Max open files +(\d+) +(\d+)", text).groups()  # type: ignore[union-attr]

    for _ in range(2):
        eventually(lambda: limits() == ("4096", "4096"))
        name = os.urandom(4).hex()
        lab.start("Descriptors", name)
        lab.ended(name)
        assert lab.status("Descriptors", name).outputs == {"result": "(300, 4096)"}
        supervisor_client.replace(lab.settings)  # the next one, in the same process, knows it, too
        eventually(lambda: "beginning anew" in log_of(lab))


@pytest.mark.folder_way
def test_a_supervisor_that_dies_while_there_are_no_processes_has_a_next_one_once_there_are(
    make_lab: Callable[..., Lab], pids: Pids
) -> None:
    lab, supervisor = at_work(make_lab, pids)
    runner, fork_server = lab.running("runs"), lab.fork_server
    pids.most(1)
    os.kill(supervisor, signal.SIGKILL)
    lab.supervisors[0].wait(PATIENCE)
    # what a fork server says of the next one goes where it writes itself
    eventually(lambda: "the next supervisor can't be started now" in log_of(lab))
    assert not gone(fork_server) and not gone(runner) and supervisor_client.alive(lab.settings) is None
    pids.most(None)
    eventually(lambda: supervisor_client.alive(lab.settings) is not None)  # nobody polls meanwhile
    (lab.folder("runs") / "go").touch()
    assert lab.ended("runs").state is State.COMPLETED


PROGRAMS = """
import sys
from typing import Literal

from labwaiter import Command, Job, Outputs, Script, service


class Result(Outputs):
    result: str


@service("Through", namespace="http://want.example/", grace=0.5)
def startThrough(job: Job, kind: Literal["script", "command"], given: bool, plotted: bool = False) -> Result:
    \"\"\"Run a program once it may.\"\"\"
    job.progress(0.25, "on its way")
    while not (job.folder / "go").exists():
        job.sleep(0.01)
    if plotted:
        job.plot("x")
        job.record(x=1)
        return Result(result="did")
    program = Script if kind == "script" else Command
    if given:
        return program("write.py", job.result_file)
    job.run(program("write.py", job.result_file))
    return Result(result=job.result_file.read_text())
"""
PROGRAM = f"""#!{sys.executable}
import sys
open(sys.argv[1], "w").write("did")
"""


def without_room(lab: Lab, pids: Pids, **inputs: object) -> None:
    """The job "one" in the midst of its work, with no process for the program that it starts now."""
    services = lab.settings.services
    (services / "through.py").write_text(PROGRAMS)
    (services / "write.py").write_text(PROGRAM)
    (services / "write.py").chmod(0o755)
    supervise(lab, pids.holding(*SUPERVISOR))
    lab.start("Through", "one", **inputs)
    eventually(lambda: lab.status_progress("one").stage == "on its way")
    pids.most(1)
    (lab.folder("one") / "go").touch()


@pytest.mark.folder_way
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", ["script", "command"])
@pytest.mark.parametrize("aborted", [False, True])
def test_a_program_for_which_there_is_no_process_waits_for_one(
    make_lab: Callable[..., Lab], pids: Pids, kind: str, given: bool, aborted: bool
) -> None:
    lab = make_lab()
    without_room(lab, pids, kind=kind, given=given)
    words = "write.py waits for a process: this machine has none for it now (Resource temporarily unavailable)"
    eventually(lambda: lab.status_progress("one").stage == words)
    assert words in lab.file("one", "log.txt") and lab.status_progress("one").fraction == 0.25
    if aborted:
        assert lab.jobs.abort(lab.services["Through"], "one", SHELL) is True
        assert lab.record("one").state is State.ABORTED and lab.left_of("one") == []
        return
    pids.most(None)
    assert lab.ended("one").state is State.COMPLETED, lab.record("one").why
    assert lab.status("Through", "one").outputs == {"result": "did"}
    assert lab.status_progress("one").stage == "on its way"
    assert lab.file("one", "log.txt").count("waits for a process") == 1


@pytest.mark.folder_way
def test_a_plot_for_which_there_is_no_thread_is_drawn_once_there_is(make_lab: Callable[..., Lab], pids: Pids) -> None:
    lab = make_lab()
    without_room(lab, pids, kind="script", given=False, plotted=True)
    time.sleep(1.0)  # nothing tells that a thread is waited for
    assert lab.record("one").state is State.RUNNING
    pids.most(None)
    assert lab.ended("one").state is State.COMPLETED, lab.record("one").why


def test_a_thread_that_could_not_begin_is_another_one_at_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python 3.15 does on every Python: who failed to start is never started again."""
    tried: list[threading.Thread] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread in tried:
            raise RuntimeError("thread already started")
        tried.append(thread)
        if len(tried) < 3:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    said: list[str] = []
    start_thread(said.append, "did").join()
    assert said == ["did"] and len(tried) == 3


LOOKING = """
import logging, sys
from labwaiter.catalogue import catalogue
from labwaiter.settings import load

logging.disable()
offered = catalogue.of(load())
for line in sys.stdin:
    print(sorted(offered.now("Echo").services), flush=True)
"""


@pytest.mark.folder_way
def test_a_service_file_for_which_there_is_no_thread_is_imported_once_there_is(
    make_lab: Callable[..., Lab], pids: Pids
) -> None:
    lab = make_lab()
    with subprocess.Popen(
        pids.holding(sys.executable, "-c", LOOKING),
        env=lab.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as looking:
        assert looking.stdin is not None and looking.stdout is not None
        eventually(lambda: (pids.folder / "cgroup.procs").read_text().split())
        pids.most(1)
        print("look", file=looking.stdin)
        assert looking.stdout.readline() == "[]\n"
        pids.most(None)
        print("look", file=looking.stdin)
        assert "Echo" in looking.stdout.readline()
        looking.stdin.close()
