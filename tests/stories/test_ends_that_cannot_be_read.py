"""An end or a state that can't be read holds up neither leaving nor starting, and no abort."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually, gone, wait_gone
from labwaiter.deployment.deployment import clear_stopped
from labwaiter.errors import Unavailable, UnknownServiceID
from labwaiter.model.caller import EVERYBODY, SHELL, Caller
from labwaiter.model.record import State
from labwaiter.soap.operations import Operations
from labwaiter.store import supervisor_client

pytestmark = pytest.mark.folder_way


def log_of(lab: Lab) -> str:
    log = (lab.root.parent / f"{lab.root.name}.supervisor.log").read_text()
    rest = lab.store.layout.folder / "supervisor.log"  # of those that were started by `supervisor_client.ensure`
    return log + (rest.read_text() if rest.is_file() else "")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """This folder on a disk that takes nothing."""
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
        pytest.skip("a read-only disk takes the right to mount one")
    try:
        remount = ["mount", "-o", "remount,bind,ro", folder]
        # refused as busy while somebody writes there
        eventually(lambda: subprocess.run(remount, capture_output=True).returncode == 0, every=0.05)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def supervised(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab()
    lab.supervise()
    return lab


def stop(lab: Lab) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "stop", "--wait", "20"]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, check=False, timeout=PATIENCE)


def dead_with_an_unreadable_end(lab: Lab) -> None:
    """The job "one", whose runner was killed, with a folder where its end should be."""
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    runner = lab.running("one")
    (lab.folder("one") / "end.json").mkdir()
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: "how can't be read now" in log_of(lab))


def test_an_end_that_cannot_be_read_holds_up_neither_leaving_nor_the_next(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    dead_with_an_unreadable_end(lab)
    lab.start("Counted", "beside")
    assert lab.ended("beside").state is State.COMPLETED
    with pytest.raises(Unavailable):
        lab.record("one")
    stopped = stop(lab)
    assert stopped.returncode == 0 and "labwaiter has stopped.\n" in stopped.stdout, stopped
    assert "How these ended is not settled" in stopped.stderr and ": one." in stopped.stderr
    assert supervisor_client.alive(lab.settings) is None and lab.store.active_names() == ["one"]
    clear_stopped(lab.settings)
    lab.supervise()
    lab.start("Counted", "after")
    assert lab.ended("after").state is State.COMPLETED
    (lab.folder("one") / "end.json").rmdir()
    assert "interrupted" in lab.ended("one").why  # nothing else is known of it: its end was never written
    assert "Traceback" not in log_of(lab)
    assert log_of(lab).count("how can't be read now") <= 4  # once by each supervisor: two of them only settle


def test_an_end_that_can_be_read_again_is_told_as_it_was(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    (lab.folder("one") / "go").touch()
    end = lab.folder("one") / "end.json"
    eventually(end.is_file)
    os.rename(end, lab.folder("one") / "kept")
    end.mkdir()
    os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: "how can't be read now" in log_of(lab))
    assert supervisor_client.stop(lab.settings, 20) is True
    end.rmdir()
    os.rename(lab.folder("one") / "kept", end)
    clear_stopped(lab.settings)
    lab.supervise()
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("Unruly", "one").outputs == {"result": "late"}


@pytest.mark.parametrize("content", ["{", "[]", '{"outcome":"running"}', '{"outcome":7}', ""])
def test_a_damaged_end_is_an_end_of_which_only_its_damage_is_known(make_lab: Callable[..., Lab], content: str) -> None:
    lab = supervised(make_lab)
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    runner = lab.running("one")
    (lab.folder("one") / "end.json").write_text(content)
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: lab.store.active_names() == [])
    record = lab.ended("one")
    assert record.state is State.FAILED and "is damaged" in record.why
    assert lab.store.active_names() == []
    assert "is damaged" in lab.status("Unruly", "one").view.record.why


def test_nothing_is_started_below_a_supervisor_that_is_leaving(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGSTOP)  # one that takes long to leave
    (lab.store.layout.folder / "stopped").touch()
    with pytest.raises(TimeoutError, match=rf"Nothing was started: the supervisor \(pid {supervisor}\)"):
        clear_stopped(lab.settings, wait=0.2)
    assert supervisor_client.stopped(lab.settings)
    os.kill(supervisor, signal.SIGCONT)


SPOILT = ["folder", "garbage"]


def spoil(file: Path, how: str) -> None:
    file.unlink(missing_ok=True)
    if how == "folder":
        file.mkdir()
    else:
        file.write_text('{"state": "nonsense')


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("record", ["state.json", "request.json", "end.json"])
@pytest.mark.parametrize("restarted", [False, True])
def test_what_runs_can_be_aborted_whatever_became_of_its_records(
    make_lab: Callable[..., Lab], how: str, record: str, restarted: bool
) -> None:
    lab = supervised(make_lab)
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    runner, supervisor = lab.running("one"), lab.supervisor
    if restarted:
        os.kill(supervisor, signal.SIGSTOP)
    spoil(lab.folder("one") / record, how)
    if restarted:
        os.kill(supervisor, signal.SIGKILL)
        eventually(lambda: supervisor_client.alive(lab.settings) not in (None, supervisor))
    if record != "request.json":
        with pytest.raises(UnknownServiceID):
            lab.jobs.abort(lab.services["Echo"], "one", SHELL)
    assert not gone(runner)
    lab.jobs.abort(lab.services["Unruly"], "one", SHELL, wait=0.5)
    wait_gone(runner)
    eventually(lambda: not lab.left_of("one"))
    if how == "garbage":
        eventually(lambda: lab.store.active_names() == [])
    if record == "state.json" and how == "garbage":
        assert lab.record("one").state is State.ABORTED


def test_a_living_job_with_a_garbage_state_is_watched_to_its_end(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    runner, supervisor = lab.running("one"), lab.supervisor
    os.kill(supervisor, signal.SIGSTOP)
    spoil(lab.folder("one") / "state.json", "garbage")
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: "known by its process" in log_of(lab))
    assert lab.store.active_names() == ["one"] and not gone(runner)
    (lab.folder("one") / "go").touch()
    eventually(lambda: lab.store.active_names() == [])
    assert lab.record("one").state is State.COMPLETED
    assert lab.status("Unruly", "one").outputs == {"result": "late"}


def test_a_limit_counts_from_the_begin_where_the_state_was_lost(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    lab.start("Patient", "one")
    supervisor, runner = lab.supervisor, lab.running("one")
    eventually((lab.folder("one") / "begun").is_file)
    os.kill(supervisor, signal.SIGSTOP)
    spoil(lab.folder("one") / "state.json", "garbage")
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(runner)
    eventually(lambda: lab.store.active_names() == [])
    assert "limit" in lab.record("one").why


@pytest.mark.parametrize("queued", [False, True])
def test_an_abort_on_a_disk_that_takes_no_mark_reaches_the_supervisor(
    make_lab: Callable[..., Lab], queued: bool
) -> None:
    lab = make_lab(MAX_RUNNING="1")
    lab.supervise()
    lab.start("Unruly", "runs", word="hundred-but-running")
    lab.file("runs", "status.txt")
    lab.start("Counted", "waits")
    eventually(lambda: lab.store.queue().get("queued") == ["waits"])
    service, name = ("Counted", "waits") if queued else ("Unruly", "runs")
    runner = lab.running("runs")
    with read_only(lab.folder(name)):
        # nothing can be written of it, so nobody can be told that it is over
        assert lab.jobs.abort(lab.services[service], name, SHELL, wait=0.5) is False
        if queued:
            (lab.folder("runs") / "go").touch()
            assert lab.ended("runs").state is State.COMPLETED
        else:
            wait_gone(runner)
    assert lab.ended(name).state is State.ABORTED
    assert lab.jobs.abort(lab.services[service], name, SHELL) is True


def test_without_a_mark_and_without_a_supervisor_an_abort_says_so(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SUPERVISOR="elsewhere")
    supervisor = lab.supervise()
    lab.start("Unruly", "runs", word="hundred-but-running")
    lab.file("runs", "status.txt")
    fork_server = lab.fork_server
    os.kill(fork_server, signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait(PATIENCE)
    with read_only(lab.folder("runs")), pytest.raises(Unavailable, match="could not be told to stop"):
        lab.jobs.abort(lab.services["Unruly"], "runs", SHELL)
    os.kill(fork_server, signal.SIGCONT)


def test_a_poll_shows_its_page_where_the_key_of_the_links_cannot_be_had(make_lab: Callable[..., Lab]) -> None:
    lab = supervised(make_lab)
    (lab.store.layout.folder / "links.key").mkdir()
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.file("one", "status.txt")
    (lab.folder("one") / "data" / "made.txt").write_text("made")
    operations = Operations(lab.services["Unruly"], lab.jobs)
    call, caller = {"serviceID": "one", "sessionToken": "t"}, Caller(EVERYBODY, token="t")
    answer = operations.call("getServiceStatus", call, caller)
    page = base64.b64decode(answer[0]).decode()
    assert "<footer>one, begun" in page and "/files/" not in page
    (lab.store.layout.folder / "links.key").rmdir()
    answer = operations.call("getServiceStatus", call, caller)
    assert "/files/one/" in base64.b64decode(answer[0]).decode()


def test_what_the_disk_refuses_is_told_in_a_sentence_by_every_verb(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.store.make()
    active = lab.store.active
    active.rmdir()
    active.touch()  # a start can't see how many there are
    with pytest.raises(Unavailable, match="can't be done now: Not a directory"):
        lab.start("Counted", "one")
    active.unlink()
    active.mkdir()
    lab.supervise()
    lab.start("Counted", "one")
    lab.ended("one")
    with read_only(lab.folder("one")), pytest.raises(Unavailable, match="can't be done now: Read-only file system"):
        lab.jobs.remove("one", SHELL)
    assert lab.record("one").state is State.COMPLETED
    lab.start("Unruly", "two", word="hundred-but-running")
    lab.file("two", "status.txt")
    with read_only(lab.folder("two")):
        with pytest.raises(Unavailable, match="The message could not be kept"):
            lab.jobs.notify(lab.services["Unruly"], "two", "hello", SHELL)
        assert lab.status("Unruly", "two").view.record.state is State.RUNNING


@pytest.mark.parametrize("guarded", [True, False])
def test_a_stop_ends_what_runs_on_a_disk_that_takes_nothing(make_lab: Callable[..., Lab], guarded: bool) -> None:
    lab = supervised(make_lab)
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    runner = lab.running("one")
    if not guarded:
        for pid in (lab.supervisor, lab.fork_server):
            os.kill(pid, signal.SIGKILL)
            wait_gone(pid)
    with read_only(lab.root):
        stopped = stop(lab)
        assert stopped.returncode == 0 and "labwaiter has stopped.\n" in stopped.stdout, stopped
        assert "How these ended is not settled" in stopped.stderr and ": one." in stopped.stderr
        assert gone(runner) and lab.left_of("one") == []
        assert supervisor_client.alive(lab.settings) is None
