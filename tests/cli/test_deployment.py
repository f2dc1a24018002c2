"""start, stop, serve: a deployment with real supervisors, web sides and jobs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from lab import eventually
from labwaiter.cli import web
from labwaiter.jobs import Jobs, link
from labwaiter.process import identify, kill, lives
from labwaiter.record import Identity, State
from labwaiter.settings import ROOT, Settings, load

pytestmark = pytest.mark.skipif(not (ROOT / "app" / "main.py").exists(), reason="no application yet")


def settings_of(shell) -> Settings:
    return load(shell.environ)


def wsdl(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/count/Count?wsdl", timeout=20) as answer:
        return answer.read()


def refused(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def running_job(shell, service_id: str = "long") -> tuple[subprocess.Popen[str], Identity]:
    """A job that runs, and its runner's identity."""
    run = shell.process("run", "Count", "seconds=60", "--id", service_id)
    assert "Started" in run.stderr.readline()
    jobs = Jobs(settings_of(shell))
    while True:  # its state is written by another process: wait for it, half a second a look
        record = jobs.wait(service_id, 0.5)
        assert record.active, record.why
        if record.runner is not None:
            return run, record.runner


def started(shell, *words: str) -> dict:
    done = shell.call("start", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_start_serves_the_wsdl_and_says_where_everything_is(shell, port):
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0, done.stderr
    assert f"http://localhost:{port}/lab/count/Count?wsdl" in done.stdout
    assert str(shell.jobs) in done.stdout and "labwaiter 0." in done.stdout
    assert "Every sessionToken is accepted" in done.stdout
    assert b"startCount" in wsdl(port)
    assert f"http://localhost:{port}/lab/count/Count" in shell("services").stdout
    assert settings_of(shell).files_folder.is_dir()  # to put files for inputs into


def test_a_second_start_replaces_the_web_side_and_leaves_running_jobs_alone(shell, port):
    started(shell, "--port", str(port))
    before = web.processes(settings_of(shell))
    run, runner = running_job(shell)
    started(shell, "--port", str(port))
    after = web.processes(settings_of(shell))
    assert not {who.pid for who in before} & {who.pid for who in after} and after
    assert wsdl(port)
    assert lives(runner) and Jobs(settings_of(shell)).record("long").state is State.RUNNING
    assert shell("jobs", "abort", "long").exit_code == 0
    run.communicate(timeout=30)
    assert run.returncode == 1


def test_the_web_side_can_move_to_another_port(shell, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        second = other.getsockname()[1]
    started(shell, "--port", str(port))
    started(shell, "--port", str(second))
    assert refused(port) and wsdl(second)


def test_a_port_that_somebody_else_has_is_told_before_anything_is_replaced(shell, port):
    started(shell, "--port", str(port))
    before = web.processes(settings_of(shell))
    supervisor = link.alive(settings_of(shell))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        done = shell.call("start", "--port", str(taken))
    assert done.returncode == 1
    assert done.stderr == f"Error: Port {taken} is taken by another program: end it, or choose another port.\n"
    assert web.processes(settings_of(shell)) == before and wsdl(port)
    assert link.alive(settings_of(shell)) == supervisor


def test_an_address_of_another_machine_is_told(shell, port):
    done = shell.call("start", "--port", str(port), "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "192.0.2.1 is no address of this machine" in done.stderr


def test_a_web_side_that_does_not_start_leaves_the_old_one_and_says_why(shell, port, tmp_path):
    started(shell, "--port", str(port))
    before = web.processes(settings_of(shell))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "spyne.py").write_text("raise ImportError('spyne has been taken away')")
    shell.environ["PYTHONPATH"] += os.pathsep + str(broken)
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 1
    assert "What ran before runs on" in done.stderr and "spyne has been taken away" in done.stderr
    assert web.processes(settings_of(shell)) == before and wsdl(port)


def test_workers_whose_main_process_was_killed_are_found_and_ended(shell, port):
    started(shell, "--port", str(port))
    there = web.processes(settings_of(shell))
    parents = {who.pid for who in there} & {parent_of(who.pid) for who in there}
    for who in there:
        if who.pid in parents:
            kill(who)
    orphans = [who for who in web.processes(settings_of(shell)) if who.pid not in parents]
    assert orphans
    started(shell, "--port", str(port))
    assert not any(lives(who) for who in orphans) and wsdl(port)


def test_stop_settles_running_jobs_and_leaves_nothing_behind(shell, port):
    started(shell, "--port", str(port))
    run, runner = running_job(shell)
    done = shell.call("stop")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "labwaiter has stopped; every job is settled.\n"
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 1 and "deployment was stopped" in out
    assert refused(port) and not lives(runner)
    assert web.processes(settings_of(shell)) == [] and link.alive(settings_of(shell)) is None
    assert shell.call("stop").stdout == "Nothing was running.\n"


def test_after_a_stop_run_says_what_to_do_first(shell):
    assert shell("run", "Count", "seconds=0").exit_code == 0
    assert shell("stop").exit_code == 0
    refused_run = shell("run", "Count", "seconds=0")
    assert refused_run.exit_code == 3 and "labwaiter start" in refused_run.output


def test_after_a_stop_start_takes_jobs_again(shell, port):
    started(shell, "--port", str(port))
    shell.call("stop")
    started(shell, "--port", str(port))
    assert shell("run", "Count", "seconds=0").exit_code == 0


def test_serve_runs_in_the_foreground_and_brings_a_supervisor(shell, port):
    with shell.process("serve", "--port", str(port), start_new_session=True) as serving:
        eventually(lambda: serving.poll() is not None or not refused(port))
        assert wsdl(port)
        assert link.alive(settings_of(shell))
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=30)
    assert refused(port)
    assert link.alive(settings_of(shell)), "jobs do not depend on the web side"


def test_supervise_runs_in_the_foreground(shell):
    with shell.process("supervise") as supervising:
        assert f"pid {supervising.pid}" in supervising.stderr.readline()
        assert shell("run", "Count", "seconds=0").exit_code == 0
        supervising.send_signal(signal.SIGTERM)
        supervising.communicate(timeout=30)
    assert identify(supervising.pid) is None


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
