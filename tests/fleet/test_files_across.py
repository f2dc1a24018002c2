"""Files that orders bring along: each execution gets the content that its own start found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetlab import Fleet
from lab import eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store.artifacts import name_of
from labwaiter.store.names import folder_name


@pytest.fixture
def readers(make_fleet: Callable[..., Fleet]) -> Fleet:
    """A lab of one machine, whose worker is the test's to start."""
    return make_fleet("north")


def read(text: str) -> dict[str, str]:
    """What the service Reads gives for a file with this content."""
    return {"result": hashlib.sha256(text.encode()).hexdigest()}


def put(fleet: Fleet, where: str, text: str) -> None:
    """A file in the files folder of the face, or of a machine."""
    folder = fleet.jobs.settings.files_folder if where == "face" else fleet.labs[where].settings.files_folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.stl").write_text(text)


def left(fleet: Fleet) -> list[Path]:
    """What lies on the machine of files that orders brought."""
    given = fleet.labs["north"].store.layout.folder / "given"
    return list(given.iterdir()) if given.is_dir() else []


def test_a_file_that_was_changed_between_two_starts_is_new_to_the_second(readers: Fleet) -> None:
    fleet, reads = readers, readers.services["Reads"]
    fleet.start()
    put(fleet, "north", "of the machine's own")
    for text in ("first", "second"):
        put(fleet, "face", text)
        fleet.jobs.start(reads, text, {"file": "model.stl"}, SHELL)
        assert fleet.jobs.wait(text, 20, SHELL).state is State.COMPLETED
        assert fleet.jobs.status(reads, text, SHELL).outputs == read(text)
    eventually(lambda: not left(fleet))
    assert list(fleet.redis.client.scan_iter("lab:file:*")) == []


def test_two_orders_that_wait_have_each_their_own_content(readers: Fleet) -> None:
    fleet, reads = readers, readers.services["Reads"]
    for text in ("first", "second"):
        put(fleet, "face", text)
        fleet.jobs.start(reads, text, {"file": "model.stl"}, SHELL)
    (fleet.jobs.settings.files_folder / "model.stl").unlink()
    fleet.start()
    for text in ("first", "second"):
        assert fleet.jobs.wait(text, 20, SHELL).state is State.COMPLETED
        assert fleet.jobs.status(reads, text, SHELL).outputs == read(text)


def test_what_an_execution_has_made_is_found_by_the_next_one_on_its_own_machine(readers: Fleet) -> None:
    fleet, reads = readers, readers.services["Reads"]
    fleet.start()
    fleet.jobs.start(fleet.services["Talk"], "maker", {}, SHELL)
    made = fleet.labs["north"].folder("maker") / "data" / "made.txt"
    eventually(made.parent.is_dir)
    for text in ("grows", "grows and grows"):
        made.write_text(text)
        fleet.jobs.start(reads, text, {"file": "maker/made.txt"}, SHELL)
        assert fleet.jobs.wait(text, 20, SHELL).state is State.COMPLETED, fleet.jobs.record(text, SHELL).why
        assert fleet.jobs.status(reads, text, SHELL).outputs == read(text)
        assert (found := fleet.jobs.artifacts.find("maker/made.txt")) and found.read_text() == text
    assert list(fleet.redis.client.scan_iter("lab:file:*")) == []


def test_without_its_file_an_order_is_refused_and_no_other_file_is_used(readers: Fleet) -> None:
    fleet, reads = readers, readers.services["Reads"]
    put(fleet, "face", "the one that is meant")
    put(fleet, "north", "another one of that name")
    fleet.jobs.start(reads, "one", {"file": "model.stl"}, SHELL)
    assert fleet.redis.client.delete(*fleet.redis.client.scan_iter("lab:file:*")) == 1
    fleet.start()
    record = fleet.jobs.wait("one", 20, SHELL)
    assert record.state is State.FAILED and "“model.stl” that it is given has not arrived" in record.why
    fleet.jobs.remove("one", SHELL)
    assert fleet.jobs.list(SHELL) == []


def test_what_an_execution_gives_out_is_its_own_file_on_any_machine(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north", "south")
    fleet.start()
    reads, talk = fleet.services["Reads"], fleet.services["Talk"]
    long = "ü" * 200 + "x"  # its folder's name has its hash
    ids = ["ü1", "%C3%BC1", "%25C3%25BC1", "ü2", "%C3%BC2", long]  # the folder's name of one is another
    for service_id in ids:
        fleet.jobs.start(talk, service_id, {}, SHELL)
        home = fleet.labs[fleet.home_of(service_id)]
        eventually((home.folder(service_id) / "data").is_dir)
        (home.folder(service_id) / "data" / "50%.txt").write_text(service_id)
    for number, service_id in enumerate(ids):
        home = fleet.labs[fleet.home_of(service_id)]
        name = name_of(home.settings.jobs_folder, folder_name(service_id), "50%.txt")
        for target in ("north", "south"):
            reader = fleet.id_for(target, "Reads", f"reads{number}")
            fleet.jobs.start(reads, reader, {"file": name}, SHELL)
            assert fleet.jobs.wait(reader, 20, SHELL).state is State.COMPLETED, fleet.jobs.record(reader, SHELL).why
            assert fleet.jobs.status(reads, reader, SHELL).outputs == read(service_id), (name, target)
    assert fleet.jobs.artifacts.find("ü" * 300 + "/x") is None
