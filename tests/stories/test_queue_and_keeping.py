"""Waiting, stopping the deployment, and what is kept."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.errors import ServiceIDInUse, TooManyJobs, Unavailable, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State, Tombstone
from labwaiter.store import supervisor_client
from labwaiter.store.files import touch
from labwaiter.store.folder import Folder
from labwaiter.supervisor import retention


def test_jobs_beyond_the_limit_wait_and_know_their_place(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="2")
    lab.supervise()
    for name in "abcd":
        lab.start("Unruly", name, word="hundred-but-running")
    lab.running("a")
    lab.running("b")
    eventually(lambda: lab.status("Unruly", "d").view.place == 2)
    assert lab.status("Unruly", "c").view.place == 1
    assert "2 of 2" in lab.status("Unruly", "c").view.ahead
    (lab.folder("a") / "go").touch()
    lab.running("c")
    eventually(lambda: lab.status("Unruly", "d").view.place == 1)
    assert lab.jobs.abort(lab.services["Unruly"], "d", SHELL) is True
    assert lab.record("d").state is State.ABORTED
    assert lab.record("d").started is None


def test_a_service_may_limit_itself_without_holding_up_others(lab: Lab) -> None:
    lab.start("Single", "first")
    lab.running("first")
    lab.start("Single", "second")
    lab.start("Echo", "other", text="x")
    assert lab.ended("other").state is State.COMPLETED
    assert lab.record("second").state is State.QUEUED
    told = "no more than 1 of Single run at a time"
    eventually(lambda: lab.status("Single", "second").view.ahead == told)
    (lab.folder("first") / "go").touch()
    lab.running("second")
    (lab.folder("second") / "go").touch()
    assert lab.ended("second").state is State.COMPLETED


def test_a_full_queue_refuses_and_records_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1", MAX_QUEUED="2")
    lab.supervise()
    for name in "abc":
        lab.start("Unruly", name, word="sleep")
    with pytest.raises(
        TooManyJobs, match="3 executions are running or waiting( on one)? already, .* try again in 30 s"
    ):
        lab.start("Unruly", "d", word="sleep")
    with pytest.raises(UnknownServiceID):
        lab.record("d")
    assert lab.start("Unruly", "c", word="sleep").view.record.request.service_id == "c"


def test_the_queue_survives_its_supervisor(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    lab.supervise()
    for name in "abc":
        lab.start("Unruly", name, word="hundred-but-running")
    lab.running("a")
    supervisor = lab.supervisor
    os.kill(supervisor, 9)
    eventually(lambda: supervisor_client.alive(lab.settings) not in (None, supervisor))
    for name in "abc":
        lab.file(name, "status.txt")
        (lab.folder(name) / "go").touch()
        assert lab.ended(name).state is State.COMPLETED
    assert [r.request.service_id for r in sorted(lab.jobs.list(SHELL), key=lambda r: r.started or 0)] == [
        "a",
        "b",
        "c",
    ]


@pytest.mark.folder_way  # of many machines, an order waits in Redis for one that was stopped
def test_a_stopped_deployment_has_settled_every_job_and_stays_stopped(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    lab.supervise()
    lab.start("Unruly", "runs", word="deaf")
    lab.start("Unruly", "waits", word="sleep")
    lab.file("runs", "status.txt")
    supervisor, fork_server = lab.supervisor, lab.fork_server
    assert supervisor_client.stop(lab.settings, 20) is True
    wait_gone(fork_server)
    assert lab.left_of("runs") == []
    for name in ("runs", "waits"):
        late_poll = lab.status("Unruly", name)  # it starts no supervisor
        assert late_poll.view.record.state is State.ABORTED
        assert "deployment was stopped" in late_poll.view.record.why
    with pytest.raises(Unavailable, match="being stopped"):
        lab.start("Unruly", "new", word="sleep")
    assert supervisor_client.alive(lab.settings) is None
    assert not os.path.exists(f"/proc/{supervisor}") or lab.supervisors[0].wait(5) == 0


def test_stopping_settles_jobs_whose_supervisor_died_before(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    fork_server = lab.fork_server
    os.kill(fork_server, 19)  # it can't start the next supervisor
    os.kill(lab.supervisor, 9)
    eventually(lambda: supervisor_client.alive(lab.settings) is None)
    assert supervisor_client.stop(lab.settings, 20) is True
    os.kill(fork_server, 18)
    assert lab.record("one").state is State.ABORTED
    assert lab.left_of("one") == []
    eventually(lambda: not os.path.exists(f"/proc/{fork_server}"))


@pytest.mark.folder_way
def test_who_only_settles_what_is_left_starts_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(MAX_RUNNING="1")
    first = lab.supervise()
    lab.start("Unruly", "runs", word="sleep")
    lab.start("Echo", "waits", text="x")
    runner, fork_server = lab.running("runs"), lab.fork_server
    os.kill(fork_server, signal.SIGSTOP)  # it can't start the next supervisor
    first.kill()
    first.wait()
    os.kill(runner, signal.SIGKILL)
    touch(lab.store.layout.folder / "stopped")
    command = [sys.executable, "-m", "labwaiter.supervisor", "--leaving"]
    subprocess.run(command, env=lab.environment, timeout=PATIENCE, check=True)  # nobody tells it to leave
    os.kill(fork_server, signal.SIGCONT)
    assert not lab.store.active_names() and supervisor_client.stopped(lab.settings)
    waited = lab.record("waits")
    assert waited.state is State.ABORTED and waited.runner is None
    wait_gone(fork_server)


@pytest.mark.folder_way  # of many machines, a removal is told within ten minutes
def test_after_retention_a_tombstone_keeps_the_service_id_from_being_used_again(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(KEEP_DAYS=str(1 / 86400))
    lab.supervise()
    lab.start("Echo", "old", text="x")
    lab.ended("old")
    eventually((lab.folder("old") / "tombstone.json").exists)
    eventually(lambda: os.listdir(lab.folder("old")) == ["tombstone.json"])
    with pytest.raises(UnknownServiceID, match="removed"):
        lab.status("Echo", "old")
    with pytest.raises(ServiceIDInUse, match="used before"):
        lab.start("Echo", "old", text="x")


def test_a_job_is_removed_by_hand_only_after_its_end(lab: Lab) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.running("one")
    with pytest.raises(ServiceIDInUse, match="abort it first"):
        lab.jobs.remove("one", SHELL)
    lab.jobs.abort(None, "one", SHELL)
    lab.jobs.remove("one", SHELL)
    assert os.listdir(lab.folder("one")) == ["tombstone.json"]


@pytest.mark.folder_way
@pytest.mark.parametrize("after", range(1, 7))
def test_a_removal_that_dies_half_way_runs_no_job_again_and_is_finished_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    lab.start("UnrulyScript", "one", word="result-without-status")
    lab.ended("one")
    folder, left = lab.folder("one"), after
    whole = sorted(os.listdir(folder))

    def dies(real: Callable[..., None], *what: object, **how: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        real(*what, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "unlink", partial(dies, os.unlink))
        patch.setattr(shutil, "rmtree", partial(dies, shutil.rmtree))
        lab.store.bury("one", Tombstone("UnrulyScript", time.time()))
    assert "tombstone.json" in os.listdir(folder) and os.listdir(folder) != whole
    with pytest.raises(UnknownServiceID, match="removed"):
        lab.status("UnrulyScript", "one")
    eventually(lambda: lab.store.active_names() == [])  # the supervisor takes the mark away behind the end
    retention.bury_old(lab.store, 0, time.time() + 10)
    assert os.listdir(folder) == ["tombstone.json"]
    with pytest.raises(ServiceIDInUse, match="used before"):
        lab.start("UnrulyScript", "one", word="result-without-status")


def test_progress_stages_and_values_are_seen_while_a_function_works(lab: Lab) -> None:
    lab.start("Steps", "one", count="200", step="0.05")
    seen = lab.when("one", lambda: (p := lab.store.progress("one")).fraction and p)
    assert 0 < seen.fraction < 1  # type: ignore[operator]
    assert seen.stage.startswith("at ")
    assert "elapsed" in seen.values
    lab.jobs.abort(None, "one", SHELL)


def test_a_claim_that_was_never_finished_is_no_job(lab: Lab) -> None:
    half = lab.store.layout.folder / "new" / "half"
    (half / "data").mkdir(parents=True)
    os.utime(half, (time.time() - 7200,) * 2)
    assert lab.jobs.list(SHELL) == []
    retention.bury_old(lab.store, 3600, time.time())
    assert not half.exists()


def test_a_supervisor_whose_jobs_folder_was_removed_leaves(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    supervisor = lab.supervise()
    eventually(lambda: lab.fork_server)  # it holds its lock before it has begun its work
    while lab.root.exists():  # it may just be writing
        shutil.rmtree(lab.root, ignore_errors=True)
    assert supervisor.wait(PATIENCE) == 0


def test_a_clock_that_jumps_removes_nothing_for_a_day(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.make()
    day, hour = 86400.0, 3600.0
    rounds = [  # Unix time and boot clock, s; which boot; whether things are removed
        (1e9, 100.0, "a", True),
        (1e9 + hour, 100.0 + hour, "a", True),
        (1e9 + 400 * day, 100.0 + 2 * hour, "a", False),  # set wrong
        (1e9 + 400 * day + hour, 100.0 + 3 * hour, "a", False),
        (1e9 + 4 * hour, 100.0 + 4 * hour, "a", False),  # set right
        (1e9 + 20 * hour, 100.0 + 20 * hour, "a", False),
        (1e9 + 29 * hour, 100.0 + 29 * hour, "a", True),
        (1e9 + 20 * day, 50.0, "b", True),  # it was off for some weeks
        (1e9 + 90 * day, 50.0, "c", False),  # or its clock is wrong
        (1e9 + 92 * day, 50.0 + 2 * day, "c", True),
    ]
    assert [retention.is_steady(store, *told) for *told, _ in rounds] == [right for *_, right in rounds]
    (store.layout.folder / "clock.json").write_text("torn")
    assert not retention.is_steady(store, 1e9, 100.0, "a")
