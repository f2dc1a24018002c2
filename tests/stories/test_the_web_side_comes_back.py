"""A web side that `labwaiter start` began is there again, whatever ended it: by the supervisor, or the next command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.deployment import web_processes
from labwaiter.model.record import State
from labwaiter.store import supervisor_client
from labwaiter.system.process import kill
from labwaiter.testing.ports import free_port

pytestmark = pytest.mark.folder_way


@pytest.fixture
def served(make_lab, tmp_path: Path) -> Iterator[tuple[Lab, int]]:
    """A lab that was started by `labwaiter start`, and its port."""
    lab, port = make_lab(WEB_CONCURRENCY="2"), free_port()
    call(lab, "start", "--port", str(port))
    yield lab, port
    call(lab, "stop")
    assert not web_processes.find(lab.settings)


def call(lab: Lab, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labwaiter", *words], env=lab.environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(lab: Lab, port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}{lab.settings.context_root}/echo/Echo?wsdl"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return b"startEcho" in answer.read()
    except OSError:
        return False


def whole(lab: Lab, port: int) -> bool:
    """Whether a main process and two workers are there, and nothing else."""
    return len(web_processes.find(lab.settings)) == 3 and answers(lab, port)


def main_of(lab: Lab) -> int:
    return int(json.loads(lab.store.layout.expected_web.read_text())["main"]["pid"])


def test_after_granian_gave_it_up_the_supervisor_starts_it_again(served: tuple[Lab, int]) -> None:
    lab, port = served
    main = main_of(lab)
    while main_of(lab) == main:  # the newest again and again: a crash loop to granian, which ends the healthy one, too
        workers = [who for who in web_processes.find(lab.settings) if who.pid != main]
        if len(workers) == 2:
            newest = max(workers, key=lambda who: who.start_ticks)
            kill(newest)
            wait_gone(newest.pid)
    eventually(lambda: whole(lab, port))
    assert lab.supervisor


def test_with_its_main_process_killed_it_is_replaced_and_the_orphans_end(served: tuple[Lab, int]) -> None:
    lab, port = served
    orphans = {who.pid for who in web_processes.find(lab.settings)}
    os.kill(main_of(lab), signal.SIGKILL)
    eventually(lambda: whole(lab, port) and not orphans & {who.pid for who in web_processes.find(lab.settings)})
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED


def test_with_everything_killed_the_next_command_brings_all_back(served: tuple[Lab, int]) -> None:
    lab, port = served
    fork_server, supervisor = lab.fork_server, lab.supervisor
    os.kill(fork_server, signal.SIGSTOP)
    for pid in [supervisor, fork_server, *(who.pid for who in web_processes.find(lab.settings))]:
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    assert not answers(lab, port)
    assert "No executions" in call(lab, "jobs", "list")
    eventually(lambda: whole(lab, port))
    eventually(lambda: supervisor_client.alive(lab.settings))


def test_what_was_stopped_on_purpose_stays_away(served: tuple[Lab, int]) -> None:
    lab, port = served
    call(lab, "stop")
    assert "No executions" in call(lab, "jobs", "list")
    lab.supervise()
    eventually(lambda: not supervisor_client.stopped(lab.settings))
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED
    assert not web_processes.find(lab.settings) and not lab.store.layout.expected_web.exists()


def test_one_that_can_t_be_started_is_tried_again_with_pauses_and_nothing_else_suffers(served: tuple[Lab, int]) -> None:
    lab, port = served
    broken = lab.settings.services / "services.py"
    log = lab.store.layout.folder / "web.log"
    kept = json.loads(lab.store.layout.expected_web.read_text())
    lab.store.layout.expected_web.write_text(json.dumps(kept | {"host": "203.0.113.7"}))  # no address of this machine
    for who in web_processes.find(lab.settings):
        kill(who)
    eventually(lambda: log.read_text().count("is no address of this machine") >= 3)
    lab.start("Echo", "one", text="x")
    assert lab.ended("one").state is State.COMPLETED and broken.exists()
    lab.store.layout.expected_web.write_text(json.dumps(kept))
    eventually(lambda: whole(lab, port))
