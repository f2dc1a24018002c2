"""Two machines, a face, and a Redis between them: what a caller notices when all goes well."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetlab import Fleet
from lab import PATIENCE, eventually
from labwaiter.errors import ServiceIDInUse, Unavailable, UnknownInstrument, UnknownServiceID
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

SMUS = "\n".join(
    f'[instruments.smu_{name}]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'
    f'machine = "{name}"\n'
    for name in ("north", "south")
)


def test_every_execution_has_one_home_and_every_face_tells_of_it(fleet: Fleet) -> None:
    names = [f"job {number}" for number in range(20)]
    for name in names:
        fleet.jobs.start(fleet.services["Echo"], name, {"text": name}, SHELL)
    other = fleet.face("other")
    for name in names:
        assert other.wait(name, 20, SHELL).state is State.COMPLETED
        assert other.status(fleet.services["Echo"], name, SHELL).outputs["text"] == name
    homes = {fleet.home_of(name) for name in names}
    assert homes == {"north", "south"}
    on_disk = {home: set(lab.store.names()) for home, lab in fleet.labs.items()}
    assert sum(len(found) for found in on_disk.values()) == 20 and not on_disk["north"] & on_disk["south"]
    assert {record.request.service_id for record in other.list(SHELL)} == set(names)


def test_the_same_start_at_both_faces_at_once_is_one_execution(fleet: Fleet) -> None:
    faces = [fleet.jobs, fleet.face("other")]
    together = threading.Barrier(20)
    said: list[object] = []

    def start(number: int) -> None:
        together.wait()
        try:
            said.append(faces[number % 2].start(fleet.services["Echo"], "one", {"text": "x"}, SHELL).view.record.name)
        except Exception as error:
            said.append(error)

    racers = [threading.Thread(target=start, args=(number,)) for number in range(20)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert said == ["one"] * 20
    fleet.jobs.wait("one", 20, SHELL)
    assert sum("one" in set(lab.store.names()) for lab in fleet.labs.values()) == 1
    with pytest.raises(ServiceIDInUse, match="other inputs"):
        faces[1].start(fleet.services["Echo"], "one", {"text": "y"}, SHELL)
    with pytest.raises(UnknownServiceID):
        faces[1].status(fleet.services["Echo"], "two", SHELL)


def test_messages_aborts_and_files_reach_the_machine_that_has_it(fleet: Fleet) -> None:
    for home in ("north", "south"):
        name = fleet.id_for(home, "Talk")
        fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
        eventually(lambda name=name: fleet.state(name) == "running")
        said = "é 漢字 😀 <&>\"'\nline"
        assert fleet.jobs.notify(fleet.services["Talk"], name, said, SHELL, wait=10) == f"you said {said}"
        assert fleet.jobs.abort(fleet.services["Talk"], name, SHELL) is True
        assert fleet.jobs.record(name, SHELL).state is State.ABORTED


def test_what_an_execution_made_is_read_at_every_face_and_given_to_the_next_machine(fleet: Fleet) -> None:
    maker = fleet.id_for("north", "Binary", "maker")
    fleet.jobs.start(fleet.services["Binary"], maker, {}, SHELL)
    fleet.jobs.wait(maker, 20, SHELL)
    made = os.urandom(2_500_000)
    (fleet.labs["north"].folder(maker) / "data" / "part.bin").write_bytes(made)
    path = fleet.jobs.artifacts.made(maker, "part.bin")
    assert path is not None and path.read_bytes() == made
    assert ("part.bin", len(made)) in fleet.jobs.artifacts.listing(maker)
    assert fleet.jobs.artifacts.made(maker, "../request.json") is None
    assert fleet.jobs.artifacts.link(maker) == fleet.face("other").artifacts.link(maker)
    given = Path(fleet.jobs.settings.files_folder) / "parts" / "hook é.bin"  # of the web machine
    given.parent.mkdir(parents=True)
    given.write_bytes(made[::-1])
    for home in ("north", "south"):
        for name, content in ((f"{maker}/part.bin", made), ("parts/hook é.bin", made[::-1])):
            reader = fleet.id_for(home, "Reads", f"reader {name} ")
            fleet.jobs.start(fleet.services["Reads"], reader, {"file": name}, SHELL)
            record = fleet.jobs.wait(reader, 20, SHELL)
            assert record.outputs == {"result": hashlib.sha256(content).hexdigest()}, record.why


def test_an_instrument_s_machine_gets_the_execution_and_two_machines_instruments_are_refused(
    make_fleet: Callable[..., Fleet],
) -> None:
    fleet = make_fleet("north", "south", lab=SMUS + SMUS.replace("smu_", "board_").replace("SourceMeter", "RelayBoard"))
    fleet.start()
    for home in ("north", "south", "north"):
        name = f"{home} {len(list(fleet.labs[home].store.names()))}"
        fleet.jobs.start(fleet.services["Uses"], name, {"device": f"smu_{home}"}, SHELL)
        eventually(lambda name=name: fleet.jobs.view(name, SHELL).progress.stage == "energised")
        assert fleet.home_of(name) == home and name.replace(" ", "%20") in set(fleet.labs[home].store.names())
        assert fleet.jobs.abort(fleet.services["Uses"], name, SHELL, wait=15) is True
    with pytest.raises(UnknownInstrument, match="on several machines"):
        fleet.jobs.start(fleet.services["UsesTwo"], "both", {"first": "smu_north", "second": "board_south"}, SHELL)


def test_a_machine_offers_only_what_lab_toml_says(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north", "south", lab='[machines.north]\nservices = ["Echo"]\n[machines.south]\nservices = []\n')
    fleet.start()
    for number in range(5):
        fleet.jobs.start(fleet.services["Echo"], str(number), {"text": "x"}, SHELL)
        assert fleet.home_of(str(number)) == "north"
    with pytest.raises(Unavailable, match="Talk is not offered by any machine"):
        fleet.jobs.start(fleet.services["Talk"], "talk", {}, SHELL)


def test_an_order_that_nobody_has_taken_can_be_aborted(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")  # its worker isn't there yet
    echo = fleet.services["Echo"]
    answer = fleet.jobs.start(echo, "early", {"text": "x"}, SHELL)
    assert answer.view.record.state is State.QUEUED
    status = fleet.jobs.status(echo, "early", SHELL)
    assert "north can't be reached and has not been seen yet" in status.view.note
    assert fleet.jobs.abort(echo, "early", SHELL) is True
    assert "aborted before it began" in fleet.jobs.record("early", SHELL).why
    fleet.jobs.start(echo, "later", {"text": "x"}, SHELL)
    fleet.start()
    assert fleet.jobs.wait("later", 20, SHELL).state is State.COMPLETED
    assert set(fleet.labs["north"].store.names()) == {"later"}


def test_a_worker_takes_no_more_than_it_may_and_burst_ends_with_the_last(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")
    for number in range(6):
        fleet.jobs.start(fleet.services["Echo"], str(number), {"text": "x"}, SHELL)
    fleet.jobs.start(fleet.services["Steps"], "slow", {}, SHELL)
    worker = fleet.machines["north"].start("--burst", "--concurrency", "1")
    assert worker.wait(PATIENCE) == 0
    assert {record.state for record in fleet.jobs.list(SHELL)} == {State.COMPLETED}
    told = fleet.redis.client.hgetall("lab:machine:north")
    assert told[b"state"] == b"left"


def test_a_worker_told_to_stop_takes_no_new_order_and_leaves_with_its_last_job(fleet: Fleet) -> None:
    first, later = fleet.id_for("north", "Talk", "first"), fleet.id_for("north", "Talk", "later")
    talk = fleet.services["Talk"]
    fleet.jobs.start(talk, first, {}, SHELL)
    eventually(lambda: fleet.state(first) == "running")
    worker = fleet.machines["north"].process
    assert worker is not None
    worker.terminate()
    eventually(lambda: fleet.redis.client.hget("lab:machine:north", "state") == b"drains")
    fleet.jobs.start(talk, later, {}, SHELL)
    fleet.jobs.notify(talk, first, "bye", SHELL, wait=5)
    assert fleet.jobs.wait(first, 20, SHELL).state is State.COMPLETED
    assert worker.wait(PATIENCE) == 0
    assert later not in set(fleet.labs["north"].store.names())
    fleet.machines["north"].start()
    eventually(lambda: fleet.state(later) == "running")


def test_a_worker_told_twice_stops_everything_and_leaves(fleet: Fleet) -> None:
    name = fleet.id_for("north", "Talk")
    fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    worker = fleet.machines["north"].process
    assert worker is not None
    worker.terminate()
    eventually(lambda: fleet.redis.client.hget("lab:machine:north", "state") == b"drains")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    assert fleet.state(name) == "aborted"


def test_rq_shows_the_orders_and_they_are_json(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north")
    fleet.jobs.start(fleet.services["Echo"], "one", {"text": "x"}, SHELL)
    (order,) = list(fleet.redis.client.scan_iter("lab:rq:job:*"))
    function, _, arguments, _ = json.loads(zlib.decompress(fleet.redis.client.hget(order, "data")))
    assert function == "labwaiter.fleet.order.carry_out" and len(arguments) == 1
    assert fleet.redis.client.llen("lab:rq:queue:north") == 1
