"""`labwaiter up`: both sides in the foreground, as a container or a service manager runs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callers import Up
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter import shipped
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.store import supervisor_client


@pytest.fixture
def up(make_lab: Callable[..., Lab]) -> Iterator[Up]:
    one = Up(make_lab(WEB_CONCURRENCY="1"))
    eventually(one.answers)
    yield one
    one.close()


def test_told_to_stop_it_settles_the_jobs_and_leaves_nothing(up: Up) -> None:
    up.lab.start("Talk", "long")
    runner, supervisor = up.lab.running("long"), up.lab.supervisor
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE) == 0
    assert up.lab.record("long").state is State.ABORTED
    for pid in (runner, supervisor):
        wait_gone(pid)
    assert supervisor_client.alive(up.lab.settings) is None


def test_a_supervisor_that_was_killed_is_there_again_and_the_job_goes_on(up: Up) -> None:
    up.lab.start("Talk", "long")
    runner, supervisor = up.lab.running("long"), up.lab.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    assert eventually(lambda: (pid := supervisor_client.alive(up.lab.settings)) and pid != supervisor)
    assert up.lab.running("long") == runner
    assert up.lab.jobs.notify(up.lab.services["Talk"], "long", "bye", SHELL) == "you said bye"
    assert up.lab.ended("long").state is State.COMPLETED


def test_where_the_supervisor_is_somebody_else_s_nobody_here_starts_one(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SUPERVISOR="elsewhere", WEB_CONCURRENCY="1")
    web = Up(lab, "--only", "web")
    try:
        eventually(lambda: b"Started worker" in web.log.read_bytes())
        lab.start("Talk", "waits")
        assert lab.record("waits").state is State.QUEUED and supervisor_client.alive(lab.settings) is None
        lab.supervise()
        assert lab.running("waits")
    finally:
        web.close()
    stop = subprocess.run(
        [sys.executable, "-m", "labwaiter", "stop"], env=lab.environment, capture_output=True, text=True
    )
    assert stop.returncode == 2 and "SUPERVISOR=elsewhere" in stop.stderr


def test_supervisor_elsewhere_or_here_and_nothing_else() -> None:
    with pytest.raises(Misconfigured, match="SUPERVISOR must be here or elsewhere"):
        load({"SUPERVISOR": "somewhere"}, Path(os.devnull))


def test_a_service_manager_hears_that_it_is_ready_alive_and_stopping(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        lab = make_lab(NOTIFY_SOCKET=str(tmp_path / "notify"))
        started = lab.supervise()
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        started.terminate()
        heard = set()
        while b"STOPPING=1" not in heard:
            heard.add(manager.recv(100))


def test_health_tells_how_it_is(up: Up) -> None:
    def health(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "labwaiter", "health", *words]
        return subprocess.run(command, env=up.lab.environment, capture_output=True, text=True)

    assert health().returncode == 0 and "Echo" in health().stdout
    assert health("--only", "supervisor").returncode == 0
    up.process.terminate()
    up.process.wait(PATIENCE)
    assert health().returncode == 3 and "does not answer" in health().stderr
    assert health("--only", "supervisor").stderr == "Error: No supervisor runs.\n"


def test_the_systemd_units_are_well_formed(tmp_path: Path) -> None:
    import shutil

    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    program = tmp_path / "labwaiter"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in (shipped.FOLDER / "systemd").glob("*.service"):
        text = unit.read_text()
        assert "/opt/labwaiter/.venv/bin/labwaiter" in text
        (tmp_path / unit.name).write_text(text.replace("/opt/labwaiter/.venv/bin/labwaiter", str(program)))
    units = [str(unit) for unit in tmp_path.glob("*.service")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    # systemd before 254 does without it, and says so
    wrong = [line for line in done.stderr.splitlines() if "Unknown key 'DelegateSubgroup'" not in line]
    assert done.returncode == 0 and not wrong, wrong
