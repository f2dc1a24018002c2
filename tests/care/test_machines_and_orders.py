"""`labwaiter workers` and `clear-queue`: what an operator sees of the machines, and withdraws from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleetlab import FleetLab
from lab import PATIENCE, Lab, eventually
from labwaiter import __version__
from labwaiter.errors import JobAborted
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.testing.ports import free_port
from operators import Operator


def test_a_machine_is_told_from_before_it_was_seen_until_it_has_left(fleet: FleetLab, operator: Operator) -> None:
    (one,) = operator.json("workers")
    assert (one["name"], one["state"], one["seen"]) == ("one", "not seen yet", None)
    assert operator("workers").returncode == 3
    fleet.supervise()
    (one,) = operator.json("workers")
    assert (one["state"], one["version"], one["same_lab"], one["same_secret"]) == (
        "takes orders",
        __version__,
        True,
        True,
    )
    assert abs(one["clock"]) < 60 and "Echo" in one["offers"]
    assert operator("workers").returncode == 0
    fleet.start("Talk", "a talk")
    eventually(lambda: operator.json("workers")[0]["active"] == 1)
    assert fleet.machine.process is not None
    fleet.machine.process.send_signal(signal.SIGTERM)
    eventually(lambda: operator.json("workers")[0]["state"] == "drains")
    assert fleet.jobs.notify(None, "a talk", "bye", SHELL)
    fleet.machine.process.wait(PATIENCE)
    assert operator.json("workers")[0]["state"] == "left"


def test_a_machine_that_is_silent_is_unreachable_since_then(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    assert fleet.machine.process is not None
    fleet.machine.process.send_signal(signal.SIGSTOP)
    eventually(lambda: operator.json("workers")[0]["state"] == "unreachable", 40)
    assert "unreachable since 20" in operator("workers").stdout
    fleet.machine.process.send_signal(signal.SIGCONT)
    eventually(lambda: operator.json("workers")[0]["state"] == "takes orders")


def test_a_machine_that_lab_toml_forgot_and_one_that_differs_are_noted(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    other = fleet.root.parent / "other.toml"
    other.write_text("[machines.two]\n")
    said = operator("workers", LAB=str(other)).stdout
    assert "lab.toml does not name it; its lab.toml differs" in said and "not seen yet" in said


def test_orders_that_nobody_has_taken_are_withdrawn_and_what_runs_goes_on(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    fleet.start("Talk", "it runs")
    fleet.running("it runs")
    assert fleet.machine.process is not None
    fleet.machine.process.send_signal(signal.SIGSTOP)
    for name in ("first", "second"):
        fleet.start("Echo", name, text=name)
    asked = operator("clear-queue")
    assert asked.returncode == 1 and fleet.record("first").active
    wrong = operator("clear-queue", "three", "--yes")
    assert wrong.returncode == 2 and "There is no machine three; there are: one." in wrong.stderr
    gone = operator.json("clear-queue", "one", "--yes")
    # a worker that was stopped may hold one that it was just given
    assert set(gone) <= {"first", "second"} and "second" in gone
    fleet.machine.process.send_signal(signal.SIGCONT)
    assert fleet.record("second").state is State.ABORTED
    assert "withdrawn by an operator" in fleet.record("second").why
    assert fleet.record("it runs").state is State.RUNNING
    with pytest.raises(JobAborted):
        fleet.redis.client.hset("lab:job:second", "told", 1)
        fleet.status("Echo", "second")
    assert "Nothing was withdrawn" in operator("clear-queue", "--yes").stdout
    assert fleet.jobs.abort(None, "it runs", SHELL)


def test_on_one_machine_what_waits_in_the_queue_is_aborted(alone: Lab) -> None:
    if isinstance(alone, FleetLab):
        pytest.skip("this is the other way's")
    alone.supervise()
    operator = Operator(alone.environment)
    alone.start("Single", "runs")
    alone.running("runs")
    for name in ("waits", "waits too"):
        alone.start("Single", name)
    assert set(operator.json("clear-queue", "--yes")) == {"waits", "waits too"}
    assert alone.record("waits").state is State.ABORTED and alone.record("runs").state is State.RUNNING
    assert "Machines are named where there are many" in operator("clear-queue", "one").stderr


def test_rq_s_own_tool_shows_the_orders(fleet: FleetLab) -> None:
    """As docs/machines.md says it."""
    fleet.start("Echo", "an order", text="x")
    program = Path(sys.executable).parent / "rq"
    if not program.exists():
        pytest.skip("RQ's command is not beside this Python")
    environment = {**os.environ, "RQ_KEY_PREFIX": "lab:rq"}
    command = [str(program), "info", "--url", fleet.redis.url, "--raw"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "queue one 1" in said


def test_stop_tells_of_a_worker_that_goes_on_and_ends_what_it_left(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    fleet.start("Talk", "talk")
    fleet.running("talk")
    there = Operator(fleet.machine.environment)
    said = there("stop")
    assert said.returncode == 1 and "The worker of one goes on here, and its jobs." in said.stderr
    assert fleet.record("talk").state is State.RUNNING
    assert fleet.machine.process is not None
    fleet.machine.process.kill()
    fleet.machine.process.wait(PATIENCE)
    said = there("stop")
    assert (said.returncode, said.stdout) == (0, "labwaiter has stopped; every job is settled.\n")
    assert fleet.local.record("talk").state is State.ABORTED


def test_a_list_without_redis_says_that_it_is_not_whole(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    fleet.start("Echo", "one", text="x")
    fleet.ended("one")
    assert fleet.status("Echo", "one").completed
    assert operator("jobs", "list").returncode == 0
    fleet.redis.kill()
    said = operator("jobs", "list")
    assert said.returncode == 3 and "one  " in said.stdout and "Redis can't be reached" in said.stderr


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa/ss@127.0.0.1:1/0",
        "redis://:pa#ss@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?foo=bar",
        "redis://127.0.0.1:1/0?ssl_ca_certs=x",
        "redis://127.0.0.1:port/0",
    ],
)
def test_a_redis_url_that_is_none_is_told_in_a_sentence_without_its_password(operator: Operator, url: str) -> None:
    for words in (("init-db",), ("workers",), ("jobs", "list"), ("clear-queue", "one", "--yes"), ("worker",)):
        said = operator(*words, REDIS_URL=url, MACHINE="one")
        assert said.returncode in (1, 2, 3), words
        assert "REDIS_URL is not right" in said.stderr and "Traceback" not in said.stderr, (words, said.stderr)
        assert "ss@" not in said.stderr and "pa/" not in said.stderr


def test_on_a_web_machine_stop_says_that_executions_go_on(fleet: FleetLab, operator: Operator) -> None:
    fleet.supervise()
    fleet.start("Talk", "talk")
    fleet.running("talk")
    started = operator("start", "--port", str(free_port()))
    assert started.returncode == 0, started.stderr
    assert operator("stop").stdout == "The web side has ended; executions go on at their machines.\n"
    assert fleet.record("talk").state is State.RUNNING
