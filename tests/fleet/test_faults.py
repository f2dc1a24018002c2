"""Redis, a worker, a machine, a way between them: gone and back. No execution is lost, none runs twice."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from callers import Caller as HttpCaller
from callers import envelope
from fleetlab import Fleet, fleet_environment
from lab import Lab, eventually, wait_gone
from labwaiter.errors import Unavailable
from labwaiter.fleet.breaker import HUNG_SECONDS
from labwaiter.fleet.lab_redis import PATIENCE, LabRedis
from labwaiter.fleet.publisher import Publisher
from labwaiter.model.caller import SHELL, Caller, Identity
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.store.limits import measured
from labwaiter.store.local_store import LocalStore
from labwaiter.system.watch import Watch


def begun(fleet: Fleet, home: str = "north", service: str = "Talk") -> str:
    """An execution that runs on this machine until it is told bye."""
    name = fleet.id_for(home, service)
    fleet.jobs.start(fleet.services[service], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    return name


def say_bye(fleet: Fleet, name: str) -> None:
    """On the machine itself, where no Redis is needed."""
    home = next(lab for lab in fleet.labs.values() if name in set(lab.store.names()))
    home.jobs.notify(home.services["Talk"], name, "bye", SHELL, wait=5)


def test_what_runs_goes_on_without_redis_and_its_end_arrives_when_it_is_back(fleet: Fleet) -> None:
    name = begun(fleet)
    talk = fleet.services["Talk"]
    fleet.redis.kill()
    status = fleet.jobs.status(talk, name, SHELL)  # as of what was published last, with its age
    assert status.view.record.state is State.RUNNING and "this is as of" in status.view.note
    assert status.view.record.as_of is not None
    assert [(record.name, record.machine) for record in fleet.jobs.list(SHELL)] == [(name, "north")]
    with pytest.raises(Unavailable, match="can't be reached"):
        fleet.jobs.start(talk, "new", {}, SHELL)
    with pytest.raises(Unavailable, match="can't be reached"):
        fleet.jobs.notify(talk, name, "hello", SHELL)
    with pytest.raises(Unavailable, match="can't be reached"):
        fleet.jobs.abort(talk, name, SHELL)
    say_bye(fleet, name)
    assert fleet.labs["north"].ended(name).state is State.COMPLETED
    fleet.redis.start()  # with nothing in it: it had saved nothing
    assert fleet.jobs.wait(name, 30, SHELL).state is State.COMPLETED
    assert fleet.jobs.status(talk, name, SHELL).outputs == {"result": "bye"}


def test_an_end_that_a_face_knows_is_told_without_redis(fleet: Fleet) -> None:
    echo = fleet.services["Echo"]
    fleet.jobs.start(echo, "one", {"text": "x"}, SHELL)
    fleet.jobs.wait("one", 20, SHELL)
    assert fleet.jobs.status(echo, "one", SHELL).completed
    fleet.jobs.start(echo, "removed", {"text": "x"}, SHELL)
    fleet.jobs.wait("removed", 20, SHELL)
    fleet.jobs.remove("removed", SHELL)
    assert [record.name for record in fleet.jobs.list(SHELL)] == ["one"]
    fleet.redis.kill()
    status = fleet.jobs.status(echo, "one", SHELL)
    assert status.completed and status.outputs["text"] == "x"


def test_running_jobs_reappear_when_redis_is_flushed(fleet: Fleet) -> None:
    name = begun(fleet)
    fleet.redis.client.flushall()
    eventually(lambda: fleet.redis.client.hget(f"lab:job:{name}", "view"))
    other = fleet.face("other")  # it knows nothing but what Redis tells
    assert other.record(name, SHELL).state is State.RUNNING
    assert fleet.jobs.notify(fleet.services["Talk"], name, "still there?", SHELL, wait=5) == "you said still there?"


def test_an_end_that_comes_between_two_looks_of_the_publisher_is_told(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")  # its worker isn't there: its publisher looks when the test says so
    lab, settings = fleet.labs["north"], load(fleet.machines["north"].environment)
    lab.store.make()  # as its worker does
    publisher, talk = Publisher(settings, LabRedis(settings), LocalStore(settings), tuple), lab.services["Talk"]
    lab.supervise()
    with Watch(lab.store.active) as watch:
        seen: set[str] = set()
        publisher.look(watch, seen)
        lab.jobs.start(talk, "short", {}, SHELL)
        eventually(lambda: lab.jobs.record("short", SHELL).state is State.RUNNING)
        publisher.tell("short")
        assert fleet.state("short") == "running" and not seen
        lab.jobs.notify(talk, "short", "bye", SHELL, wait=5)
        lab.ended("short")
        eventually(lambda: "short" not in lab.store.active_names())
        publisher.look(watch, seen)
    assert fleet.state("short") == "completed"


def test_an_order_that_redis_lost_is_ordered_again_when_its_caller_asks(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")  # its worker isn't there yet
    echo = fleet.services["Echo"]
    fleet.jobs.start(echo, "one", {"text": "x"}, SHELL)
    fleet.redis.client.flushall()
    assert fleet.jobs.status(echo, "one", SHELL).view.record.state is State.QUEUED
    fleet.start()
    assert fleet.jobs.wait("one", 20, SHELL).state is State.COMPLETED


def test_the_same_order_delivered_twice_starts_one_job(fleet: Fleet, tmp_path: Path) -> None:
    register = tmp_path / "register"
    name = fleet.id_for("north", "Once")
    once = fleet.services["Once"]
    fleet.jobs.start(once, name, {"register": str(register)}, SHELL)
    fleet.jobs.wait(name, 20, SHELL)
    (key,) = list(fleet.redis.client.scan_iter("lab:rq:job:*"))
    order = Job.fetch(key.decode().rpartition(":")[2], connection=fleet.redis.client, serializer=JSONSerializer)
    fleet.redis.client.rpush("lab:rq:queue:north", order.id)
    last = fleet.id_for("north", "Echo", "last")
    fleet.jobs.start(fleet.services["Echo"], last, {"text": "x"}, SHELL)
    fleet.jobs.wait(last, 20, SHELL)  # it was taken after the second delivery
    fleet.redis.client.flushall()
    fleet.jobs.start(once, name, {"register": str(register)}, SHELL)  # and the start once more, after all was forgotten
    eventually(lambda: fleet.redis.client.hget(f"lab:job:{name}", "view"))
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED
    assert len(register.read_text().splitlines()) == 1


def test_an_order_that_was_being_taken_when_its_worker_died_is_taken_by_the_next(fleet: Fleet) -> None:
    worker = fleet.machines["north"].process
    assert worker is not None
    worker.kill()
    worker.wait()
    name = fleet.id_for("north", "Echo")
    fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL)
    moved = fleet.redis.client.lmove("lab:rq:queue:north", "lab:rq:queue:north:intermediate", "LEFT", "LEFT")
    assert moved is not None
    fleet.machines["north"].start()
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED


def test_an_order_that_a_broken_connection_gave_to_nobody_is_taken(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")  # another machine's worker would block as well
    fleet.start()
    worker, client = fleet.machines["north"].process, fleet.redis.client
    assert worker is not None
    worker.send_signal(signal.SIGSTOP)
    eventually(lambda: not any(one["cmd"] == "blmove" and "b" in one["flags"] for one in client.client_list()))
    name = fleet.id_for("north", "Echo")
    fleet.jobs.start(fleet.services["Echo"], name, {"text": "x"}, SHELL)
    assert client.lmove("lab:rq:queue:north", "lab:rq:queue:north:intermediate", "LEFT", "LEFT") is not None
    worker.send_signal(signal.SIGCONT)
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED


@pytest.mark.slow
def test_a_machine_whose_worker_died_is_unreachable_and_never_guessed_about(fleet: Fleet) -> None:
    name = begun(fleet)
    worker = fleet.machines["north"].process
    assert worker is not None
    worker.kill()
    worker.wait()
    eventually(lambda: fleet.jobs.record(name, SHELL).as_of is not None)
    status = fleet.jobs.status(fleet.services["Talk"], name, SHELL)
    assert status.view.record.state is State.RUNNING
    assert "north can't be reached since" in status.view.note
    assert fleet.jobs.abort(fleet.services["Talk"], name, SHELL, wait=1.0) is False  # the wish stays
    with pytest.raises(Unavailable, match="it was not delivered"):
        fleet.jobs.notify(fleet.services["Talk"], name, "hello", SHELL, wait=1.0)
    fleet.machines["north"].start()
    assert fleet.jobs.wait(name, 30, SHELL).state is State.ABORTED
    assert fleet.labs["north"].store.marked(name, "abort")
    assert not (fleet.labs["north"].folder(name) / "notifications.txt").exists()  # what was refused never comes


def test_the_supervisor_and_the_runner_die_and_the_truth_arrives_at_the_face(fleet: Fleet) -> None:
    name = begun(fleet)
    north = fleet.labs["north"]
    runner = north.running(name)
    eventually(lambda: (north.folder(name) / "begun").exists())  # else it would wait again, and run
    supervisor, fork_server = north.supervisor, north.fork_server
    for pid in (supervisor, fork_server, runner):
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    record = fleet.jobs.wait(name, 30, SHELL)
    assert record.state is State.FAILED and "interrupted" in record.why


def test_a_redis_that_hangs_keeps_no_caller_waiting_for_ever(fleet: Fleet) -> None:
    name = begun(fleet)
    fleet.redis.pause()
    try:
        status = fleet.jobs.status(fleet.services["Talk"], name, SHELL)
        assert status.view.record.as_of is not None
    finally:
        fleet.redis.go_on()
    eventually(lambda: fleet.jobs.record(name, SHELL).as_of is None)
    say_bye(fleet, name)
    assert fleet.jobs.wait(name, 20, SHELL).state is State.COMPLETED


def test_a_full_redis_refuses_starts_and_loses_nothing_that_runs(fleet: Fleet) -> None:
    name = begun(fleet)
    fleet.redis.client.config_set("maxmemory", "1mb")
    with pytest.raises(Unavailable, match="is full"):
        fleet.jobs.start(fleet.services["Echo"], "new", {"text": "x"}, SHELL)
    assert fleet.state(name) == "running"
    say_bye(fleet, name)
    assert fleet.labs["north"].ended(name).state is State.COMPLETED
    fleet.redis.client.config_set("maxmemory", "0")
    assert fleet.jobs.wait(name, 30, SHELL).state is State.COMPLETED
    fleet.jobs.start(fleet.services["Echo"], "new", {"text": "x"}, SHELL)
    assert fleet.jobs.wait("new", 20, SHELL).state is State.COMPLETED


def test_an_order_for_a_machine_whose_folder_may_hold_no_more_is_refused_in_its_words(
    make_fleet: Callable[..., Fleet],
) -> None:
    fleet = make_fleet("north", JOBS_FOLDER_LIMIT="5000000", MAX_RUNNING_PER_USER="1")
    fleet.start()
    name, north = begun(fleet), fleet.labs["north"]
    ada = Caller(Identity("ada", "optics"))
    for own in ("first", "second"):  # one of a user's runs at a time, on each machine
        fleet.jobs.start(fleet.services["Talk"], own, {}, ada)
    eventually(lambda: fleet.state("first") == "running")
    eventually(
        lambda: "no more than 1 of one user" in fleet.jobs.status(fleet.services["Talk"], "second", ada).view.ahead
    )
    north.folder(name).joinpath("data", "large").write_bytes(os.urandom(6_000_000))
    eventually(lambda: measured(north.settings) > 5_000_000)
    fleet.jobs.start(fleet.services["Echo"], "new", {"text": "x"}, SHELL)
    record = fleet.jobs.wait("new", 20, SHELL)
    assert (
        record.state is State.FAILED and "north: The execution was not started: all executions together" in record.why
    )
    assert "new" not in set(north.store.names())


def test_what_lands_in_redis_by_other_hands_starts_no_program(fleet: Fleet, tmp_path: Path) -> None:
    client = fleet.redis.client
    trap = tmp_path / "sprung"

    def forge(job_id: str, function: str, arguments: list[object], **fields: str) -> None:
        data = json.dumps([function, None, arguments, {}]).encode()
        client.hset(f"lab:rq:job:{job_id}", mapping={"data": data, "status": "queued", "origin": "north", **fields})
        client.rpush("lab:rq:queue:north", job_id)

    forge("a" * 64, "os.system", [f"touch {trap}"])
    forge("b" * 64, "labwaiter.fleet.order.carry_out", [json.dumps(['{"machine": "north"}', "0" * 64])])
    hook = {"success_callback_name": "os.system", "failure_callback_name": "os.system"}
    forge("c" * 64, "labwaiter.fleet.order.carry_out", ["nonsense"], **hook)
    good = fleet.id_for("south", "Echo", "good")
    fleet.jobs.start(fleet.services["Echo"], good, {"text": "x"}, SHELL)
    fleet.jobs.wait(good, 20, SHELL)
    (key,) = [k for k in client.scan_iter("lab:rq:job:*") if k.decode()[-64:] not in {c * 64 for c in "abc"}]
    sealed = Job.fetch(key.decode()[-64:], connection=client, serializer=JSONSerializer).args[0]
    forge("d" * 64, "labwaiter.fleet.order.carry_out", [sealed])  # signed, but for another machine
    client.rpush("lab:errands:north", json.dumps([json.dumps({"do": "remove", "name": good}), "0" * 64]))
    after = fleet.id_for("north", "Echo", "after")
    fleet.jobs.start(fleet.services["Echo"], after, {"text": "x"}, SHELL)
    assert fleet.jobs.wait(after, 30, SHELL).state is State.COMPLETED
    assert not trap.exists()
    assert set(fleet.labs["north"].store.names()) == {after}


def test_an_end_that_its_machine_could_not_read_for_a_while_is_told_afterwards(fleet: Fleet) -> None:
    name = begun(fleet)
    north, worker = fleet.labs["north"], fleet.machines["north"].process
    assert worker is not None
    worker.send_signal(signal.SIGSTOP)
    say_bye(fleet, name)
    assert north.ended(name).state is State.COMPLETED
    end = north.folder(name) / "end.json"
    os.rename(end, end.with_name("kept"))
    end.mkdir()  # as on a disk that can't be read just now
    worker.send_signal(signal.SIGCONT)
    # it has looked at that once it tells of what came later
    after = fleet.id_for("north", "Echo", prefix="after")
    fleet.jobs.start(fleet.services["Echo"], after, {"text": "x"}, SHELL)
    assert fleet.jobs.wait(after, 30, SHELL).state is State.COMPLETED
    assert fleet.state(name) == "running"
    end.rmdir()
    os.rename(end.with_name("kept"), end)
    assert fleet.jobs.wait(name, 30, SHELL).state is State.COMPLETED
    assert fleet.jobs.status(fleet.services["Talk"], name, SHELL).outputs == {"result": "bye"}


def test_polls_do_not_queue_behind_a_redis_that_hangs(fleet: Fleet) -> None:
    lab = Lab(fleet.folder / "web" / "jobs", fleet.services_folder, **fleet.settings)
    lab.face_environment = lab.environment | fleet_environment(fleet.redis.url, "web", fleet.toml)
    call, running = HttpCaller(lab), begun(fleet)
    names = [("Talk", running), ("Talk", "unknown")]
    for service, state, values in (
        ("Raises", State.FAILED, {}),
        ("Talk", State.ABORTED, {}),
        ("Echo", State.COMPLETED, {"text": "x"}),
    ):
        name = fleet.id_for("north", service, prefix=state)
        fleet.jobs.start(fleet.services[service], name, values, SHELL)
        if state is State.ABORTED:
            assert fleet.jobs.abort(fleet.services[service], name, SHELL)
        assert fleet.jobs.wait(name, 20, SHELL).state is state
        names.append((service, name))
    completed = names[-1][1]

    def poll(service: str, name: str) -> tuple[str, str, float]:
        began = time.monotonic()
        reply = call(f"/{service}", envelope("getServiceStatus", serviceID=name, sessionToken="t"))
        return name, reply.status, time.monotonic() - began

    def poll_all() -> float:
        """Eight polls of each at once: how long the slowest one took."""
        with ThreadPoolExecutor(8 * len(names)) as callers:
            replies = list(callers.map(poll, *zip(*names * 8, strict=True)))
        refused = {name for name, status, _ in replies if status != "200 OK"}
        assert "unknown" in refused and not refused & {running, completed}  # a bad end's page is shown for 20 s
        return max(seconds for *_, seconds in replies)

    assert poll_all() < PATIENCE
    fleet.redis.pause()
    # as long as Redis may take for one answer; those of a bad end asked it twice, and one after another took 24 s
    assert PATIENCE - 0.5 < poll_all() < PATIENCE + 2.0
    assert poll_all() < 2.0  # who has just seen it hang does not wait for it again
    began = time.monotonic()
    with pytest.raises(Unavailable, match="can't be reached"):
        fleet.jobs.abort(fleet.services["Talk"], running, SHELL)
    assert time.monotonic() - began < PATIENCE + 2.0
    fleet.redis.go_on()
    time.sleep(HUNG_SECONDS)
    assert fleet.jobs.record(running, SHELL).as_of is None
    assert poll_all() < PATIENCE
    reply = call("/Talk", envelope("getServiceStatus", serviceID=running, sessionToken="t"))
    assert b"this is as of" not in base64.b64decode(reply["status_base64"])


def test_a_face_tells_how_old_what_it_knows_of_the_machines_is(fleet: Fleet) -> None:
    lab = Lab(fleet.folder / "web" / "jobs", fleet.services_folder)
    lab.face_environment = lab.environment | fleet_environment(fleet.redis.url, "web", fleet.toml)
    caller = HttpCaller(lab)

    def value(sample: str) -> float:
        lines = caller("/metrics").body.decode().splitlines()
        found = [line.rpartition(" ")[2] for line in lines if line.startswith(sample)]
        return float(found[0]) if found else -1.0

    assert value("labwaiter_redis_answers") == 1 and 0 <= value('labwaiter_machine_age_seconds{machine="north"}') < 20
    assert value("labwaiter_supervised") == -1  # a face has none
    assert caller("/ready").status == "200 OK"
    fleet.redis.kill()
    assert value("labwaiter_redis_answers") == 0
    before = value('labwaiter_machine_age_seconds{machine="north"}')
    eventually(lambda: value('labwaiter_machine_age_seconds{machine="north"}') > before)
    reply = caller("/ready")
    assert reply.status[:3] == "503" and b"Redis" in reply.body
    assert caller("/alive").status == "204 No Content"
