"""What is written once stands, is on the disk, and names one process and no other."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from labwaiter.model.record import End, Request, State
from labwaiter.store.folder import Folder
from labwaiter.system.process import identify, lives, open_pidfd


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "jobs")
    made.make()
    assert made.claim("one", Request("one", "Echo", {}))
    return made


def test_an_execution_is_claimed_once(store: Folder) -> None:
    assert not store.claim("one", Request("one", "Echo", {"text": "other"}))
    request = store.request("one")
    assert request is not None and request.inputs == {}


def test_the_first_end_stands(store: Folder) -> None:
    assert store.write_end("one", End(State.COMPLETED, "", {"result": 1}))
    assert not store.write_end("one", End(State.FAILED, "too late"))
    end = store.end("one")
    assert end is not None and end.outcome is State.COMPLETED


def test_an_end_is_on_the_disk_before_it_has_its_name(store: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    named: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd))[1])
    monkeypatch.setattr(os, "link", lambda a, b, **more: (named.append(str(a)), link(a, b, **more))[1])
    assert store.write_end("one", End(State.COMPLETED, ""))
    folder = str(store.path("one"))
    assert named == synced[:1] and synced[-1] == folder, (named, synced)


def test_a_claim_is_on_the_disk_before_it_has_its_name_and_nothing_is_synced_twice(
    store: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def noting_sync(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        done.append("its folder" if os.path.dirname(path) == str(store.layout.new) else os.path.basename(path))
        sync(fd)

    def noting_rename(a: str, b: str) -> None:
        done.append(f"named {os.path.basename(b)}")
        rename(a, b)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "rename", noting_rename)
    assert store.claim("other", Request("other", "Echo", {}))
    assert done == ["request.json", "its folder", "named other", store.root.name]


def test_work_begins_once(store: Folder) -> None:
    store.begin("one")
    with pytest.raises(FileExistsError):
        store.begin("one")


def test_a_pid_alone_is_nobody(store: Folder) -> None:
    store.begin("one")
    begun = store.begun("one")
    assert begun is not None and begun.runner == identify(os.getpid()) and lives(begun.runner)
    before = replace(begun.runner, start_ticks=begun.runner.start_ticks - 1)  # the same pid, another process
    assert lives(before) is False and open_pidfd(before) is None
    assert lives(replace(begun.runner, boot_id="another")) is False
