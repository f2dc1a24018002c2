"""What was captured in Redis and is put there again is done by nobody."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fleetlab import Fleet, captured
from lab import PATIENCE, eventually
from labwaiter.errors import Unavailable
from labwaiter.fleet import rpc
from labwaiter.fleet.used_calls import UsedCalls
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store.names import folder_name

BOX = "lab:errands:north"


def refused(fleet: Fleet) -> int:
    said = fleet.machines["north"].log.read_text()
    return sum(said.count(why) for why in ("was taken before, or has no number: it is", "comes after its time: it is"))


def running(fleet: Fleet, service: str) -> str:
    name = fleet.id_for("north", service)
    fleet.jobs.start(fleet.services[service], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    return name


def test_a_message_that_was_captured_reaches_the_job_once(fleet: Fleet) -> None:
    name = running(fleet, "Single")
    call = captured(lambda: fleet.jobs.notify(None, name, "dose.", SHELL))[-1]
    for number in range(3):
        fleet.redis.client.rpush(BOX, call)
        eventually(lambda number=number: refused(fleet) == number + 1)
    north = fleet.machines["north"]
    assert north.process is not None
    north.process.kill()  # and not by one that has begun anew either
    north.process.wait(PATIENCE)
    fleet.redis.client.rpush(BOX, call)
    north.start()
    eventually(lambda: refused(fleet) == 4)
    notes = fleet.labs["north"].folder(name) / "notifications.txt"
    assert notes.read_text().count("dose.") == 1
    eventually(lambda: fleet.jobs.notify(None, name, "again.", SHELL))
    assert notes.read_text().count("again.") == 1
    assert fleet.jobs.abort(None, name, SHELL, wait=10) is True


def test_every_kind_of_call_is_done_once(fleet: Fleet) -> None:
    name = running(fleet, "Talk")
    abort = captured(lambda: fleet.jobs.abort(None, name, SHELL, wait=10))[-1]
    eventually(lambda: fleet.state(name) == "aborted")
    read = captured(lambda: fleet.jobs.artifacts.listing(name, 5))[-1]
    remove = captured(lambda: fleet.jobs.remove(name, SHELL))[-1]
    for number, call in enumerate((abort, read, remove), 1):
        fleet.redis.client.rpush(BOX, call)
        eventually(lambda number=number: refused(fleet) == number)


def test_what_was_taken_back_is_not_done_when_somebody_puts_it_there_later(fleet: Fleet) -> None:
    name = running(fleet, "Single")
    north = fleet.machines["north"]
    assert north.process is not None
    north.process.kill()
    north.process.wait(PATIENCE)

    def send() -> None:
        with pytest.raises(Unavailable, match="not delivered"):
            fleet.jobs.notify(None, name, "late.", SHELL)

    call = captured(send)[-1]
    time.sleep(rpc.GRACE + 0.1)  # its time must have gone by
    fleet.redis.client.rpush(BOX, call)
    north.start()
    eventually(lambda: "comes after its time: it is refused" in north.log.read_text())
    assert not (fleet.labs["north"].folder(name) / "notifications.txt").exists()
    assert fleet.jobs.record(name, SHELL).state is State.RUNNING
    eventually(lambda: fleet.jobs.abort(None, name, SHELL, wait=10))


def test_what_is_older_than_all_that_is_remembered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwaiter.fleet.used_calls.KEPT", 10)
    file = tmp_path / "errands.used"
    used = UsedCalls(file)
    for number in range(1, 25):
        assert used.first(f"n{number}", float(number), "notify")
    for again in (used, UsedCalls(file)):
        assert not any(again.first(f"n{n}", float(n), "notify") for n in range(25))
        assert not again.first("new, but of long ago", 3.0)
        assert not again.first(None, None, "notify")
    assert again.first("n14b", 24.5)
    with open(file, "ab") as torn:
        torn.write(b'[24.7, "to')
    assert not UsedCalls(file).first("n14b", 24.5)
    assert len(file.read_text().splitlines()) <= 11


def test_what_a_face_knows_and_cannot_read_is_not_unknown(fleet: Fleet) -> None:
    name = running(fleet, "Single")
    known = fleet.jobs.settings.jobs_folder / ".labwaiter" / "known" / f"{folder_name(name)}.json"
    eventually(known.exists)
    kept = known.read_bytes()
    for machine in fleet.machines.values():
        assert machine.process is not None
        machine.process.kill()
        machine.process.wait(PATIENCE)
    fleet.redis.client.flushall()
    known.unlink()
    known.mkdir()  # or a broken disk, or no descriptors
    with pytest.raises(Unavailable, match="can't be read now"):
        fleet.jobs.record(name, SHELL)
    known.rmdir()
    known.write_bytes(kept)
    assert fleet.jobs.record(name, SHELL).state is State.RUNNING
    for machine in fleet.machines.values():
        machine.start()
    eventually(lambda: fleet.jobs.abort(None, name, SHELL, wait=10))
