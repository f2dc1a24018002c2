"""The environment of whoever starts it: nothing in it changes how labwaiter runs, and its jobs have all of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from callers import envelope
from lab import PATIENCE, eventually, wait_gone
from labwaiter.model.caller import SHELL
from labwaiter.settings import load
from labwaiter.store import supervisor_client
from labwaiter.verbs import Jobs

ELSEWHERE = {
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONIOENCODING": "ascii",
    "GRANIAN_PORT": "1",
    "GRANIAN_INTERFACE": "rsgi",
    "GRANIAN_URL_PATH_PREFIX": "/elsewhere",
    "GRANIAN_SSL_CERTIFICATE": "/nowhere",
    "GRANIAN_WORKERS_LIFETIME": "soon",
    "FLASK_DEBUG": "1",
    "MY_OWN": "kept",
}
SERVICES = """
from labwaiter import Command, Job, Outputs, Script, service

class Told(Outputs):
    result: str

@service("Env", namespace="http://lab.example/env/")
def startEnv(job: Job) -> Told:
    return Command("sh", "-c", "env > $0", job.result_file)

@service("Flags", namespace="http://lab.example/flags/")
def startFlags(job: Job) -> Told:
    return Script("flags.py", job.result_file)

@service("Docs", namespace="http://lab.example/docs/")
def startDocs(job: Job) -> Told:
    '''What it is for.'''
    return Told(result="told")
"""
FLAGS = """
import sys
open(sys.argv[1], "w").write(f"{sys.flags.optimize} {sys.warnoptions} {sys.flags.safe_path}")
"""


@pytest.fixture
def started(shell, port):
    """A deployment that was started from such an environment."""
    shell.write("env.py", SERVICES)
    (shell.folder / "flags.py").write_text(FLAGS)
    shell.environ |= ELSEWHERE
    done = shell.call("start", "--port", str(port))
    assert done.returncode == 0, done.stderr
    return load(shell.environ)


def result(settings, port: int, service: str, service_id: str) -> str:
    """What an execution gave that was started over the web."""
    name = service.lower()
    body = envelope(f"start{service}", ns=f"http://lab.example/{name}/", serviceID=service_id, sessionToken="t")
    call = urllib.request.Request(f"http://127.0.0.1:{port}/lab/{service}", body, {"Content-Type": "text/xml"})
    urllib.request.urlopen(call, timeout=PATIENCE).close()
    record = Jobs(settings).wait(service_id, 60, SHELL)
    assert record.outputs is not None, record.why
    return str(record.outputs["result"])


def test_it_runs_as_from_any_other_and_jobs_programs_have_all_of_it(started, port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/health", timeout=PATIENCE) as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/Docs?wsdl", timeout=PATIENCE) as answer:
        assert b"What it is for." in answer.read()
    given = result(started, port, "Env", "one").splitlines()
    assert {f"{name}={value}" for name, value in ELSEWHERE.items()} <= set(given)
    assert not any(line.startswith("LABWAITER_SET_ASIDE") for line in given)
    assert result(started, port, "Flags", "two") == "2 ['error'] True"  # as `python flags.py` has it there


def test_a_supervisor_that_a_web_worker_has_begun_gives_jobs_the_same(started, port):
    supervisor = eventually(lambda: supervisor_client.alive(started))
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    assert "PYTHONWARNINGS=error" in result(started, port, "Env", "one").splitlines()


def test_the_shell_s_words_work_there_too(started, shell):
    for words in (("services",), ("health",), ("instruments", "list"), ("run", "Docs")):
        done = shell.call(*words)
        assert done.returncode == 0, done.stderr


def test_ours_start_where_another_python_is_meant_and_jobs_programs_are_told_so(shell, port):
    shell.write("env.py", SERVICES)
    elsewhere = {"PYTHONHOME": "/nowhere", "PYTHONHASHSEED": "no seed", "PYTHONPLATLIBDIR": "x", "PYTHONMALLOC": "y"}
    shell.environ |= elsewhere
    # as a program does that holds its own Python apart from the environment, and uses this one's Client
    call = [sys.executable, "-E", "-m", "labwaiter", "start", "--port", str(port)]
    done = subprocess.run(call, env=shell.environ, cwd=shell.folder, capture_output=True, text=True, timeout=120)
    for name in elsewhere:
        del shell.environ[name]
    assert done.returncode == 0, done.stderr
    given = result(load(shell.environ), port, "Env", "one").splitlines()
    assert {f"{name}={value}" for name, value in elsewhere.items()} <= set(given)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/Docs?wsdl", timeout=PATIENCE) as answer:
        assert b"What it is for." in answer.read()
