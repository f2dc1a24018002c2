"""What other hands, or a mistake, put into Redis: it stops nobody's work."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetlab import Fleet, Machine
from lab import PATIENCE, Lab, eventually
from labwaiter.errors import Unavailable
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State


@pytest.mark.parametrize("what", ["a damaged hash", "another type"])
def test_what_is_no_order_keeps_no_order_behind_it_waiting(fleet: Fleet, what: str) -> None:
    if what == "another type":
        fleet.redis.client.set("lab:rq:job:poison", "x")
    else:
        fleet.redis.client.hset("lab:rq:job:poison", mapping={"data": "x", "created_at": "nonsense"})
    fleet.redis.client.rpush("lab:rq:queue:north", "poison")
    name = fleet.id_for("north")
    fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL)
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED
    assert "is no order, and was left out" in fleet.machines["north"].log.read_text()
    assert not fleet.redis.client.lrange("lab:rq:queue:north", 0, -1)


def test_a_call_that_is_none_is_refused_and_the_next_one_is_done(fleet: Fleet) -> None:
    name = fleet.id_for("north", "Talk")
    fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    for odd in ("[" * 200_000, "{}", '["{}", "signature"]', b"\xff\xfe", "x" * 1_000_000):
        fleet.redis.client.rpush("lab:errands:north", odd)
    assert fleet.jobs.abort(None, name, SHELL, wait=10) is True
    assert fleet.machines["north"].log.read_text().count("not signed by this lab for this machine") == 5


def test_a_message_that_was_told_to_be_undelivered_is_not_delivered(fleet: Fleet) -> None:
    name = fleet.id_for("north", "Single")  # it answers none, so each message takes a second
    fleet.jobs.start(fleet.services["Single"], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")

    def send(number: int) -> str:
        try:
            fleet.jobs.notify(None, name, f"message {number}.", SHELL)
            return "delivered"
        except Unavailable as error:
            if "is at it, and has not answered yet: look before you ask again" in error.message:
                return "taken"
            assert "it was not delivered" in error.message
            return "not delivered"

    worker = fleet.machines["north"].process
    assert worker is not None
    with ThreadPoolExecutor(50) as callers:
        assert {*callers.map(send, range(50))} == {"delivered"}
        worker.send_signal(signal.SIGSTOP)
        told = [*callers.map(send, range(50, 60))]
        worker.send_signal(signal.SIGCONT)
        assert send(60) == "delivered"  # whatever was left in Redis would have come before it
    # Redis hands what comes first to the machine, that asked for it before it was stopped: whose that is must look
    assert told.count("taken") <= 1 and told.count("not delivered") >= 9
    said = (fleet.labs["north"].folder(name) / "notifications.txt").read_text()
    assert not [number for number, what in enumerate(told, 50) if what != "taken" and f"message {number}." in said]
    assert all(f"message {number}." in said for number in (*range(50), 60))
    fleet.jobs.abort(None, name, SHELL, wait=10)


def test_a_second_machine_of_the_same_name_takes_no_orders(fleet: Fleet, tmp_path: Path) -> None:
    twin = Machine(Lab(tmp_path / "twin" / "jobs", fleet.services_folder), "north", fleet.redis.url, fleet.toml)
    twin.log = tmp_path / "twin.log"
    assert twin.start().wait(PATIENCE) != 0
    said = twin.log.read_text()
    assert "Another worker calls itself north: it was seen" in said and "Traceback" not in said
    north = fleet.machines["north"]
    assert north.process is not None
    north.process.kill()
    north.process.wait(PATIENCE)
    north.start()  # the machine itself goes on at once
    name = fleet.id_for("north")
    fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL)
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED
    twin.lab.close()


def test_two_machines_of_one_name_that_began_without_redis_say_so(fleet: Fleet, tmp_path: Path) -> None:
    twin = Machine(Lab(tmp_path / "twin" / "jobs", fleet.services_folder), "north", fleet.redis.url, fleet.toml)
    twin.log = tmp_path / "twin.log"
    fleet.redis.kill()
    twin.start()
    eventually(lambda: "Redis is away" in twin.log.read_text())
    fleet.redis.start()
    logs = (twin.log, fleet.machines["north"].log)
    eventually(lambda: any("another worker calls itself north, too" in log.read_text() for log in logs))
    twin.stop()
    twin.lab.close()
