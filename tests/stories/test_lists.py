"""The list of a folder with many executions: what is listed is read, and little else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from lab import Lab
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Request, State, StoredState, Tombstone

COUNT = 250


@pytest.fixture
def many(make_lab: Callable[..., Lab]) -> Lab:
    """One started each minute, until a minute ago; each tenth has failed."""
    lab = make_lab()
    lab.store.make()
    now = time.time()
    for number in range(COUNT):
        name, created = f"{number * 7 % COUNT:03}", now - 60 * (COUNT - number * 7 % COUNT)
        lab.store.claim(name, Request(name, "Echo", {}, created=created))
        os.utime(lab.folder(name) / "request.json", (created, created))
        state = State.FAILED if int(name) % 10 == 0 else State.COMPLETED
        lab.store.write_state(name, StoredState(state, started=created, ended=created + 1))
        lab.store.forget_active(name)
    return lab


def listed(lab: Lab, most: int | None, *states: State, left_out: list[str] | None = None) -> tuple[list[str], int]:
    found, older = lab.jobs.newest(
        most, SHELL, lambda record: not states or record.state in states, left_out, brief=True
    )
    return [record.name for record in found], older


@pytest.mark.folder_way
def test_the_last_ones_are_listed_newest_last_and_the_others_are_not_read(many: Lab) -> None:
    for name in ("000", "100"):
        (many.folder(name) / "request.json").write_text("{")
        os.utime(many.folder(name) / "request.json", (0, 0))
    damaged: list[str] = []
    assert listed(many, 3, left_out=damaged) == (["247", "248", "249"], COUNT - 3)
    assert damaged == []
    whole, older = listed(many, None, left_out=damaged)
    assert (len(whole), older, sorted(damaged)) == (COUNT - 2, 0, ["000", "100"]) and whole == sorted(whole)


@pytest.mark.folder_way
def test_the_last_ones_of_a_state_are_found_however_old_they_are(many: Lab) -> None:
    assert listed(many, 2, State.FAILED)[0] == ["230", "240"]
    assert listed(many, 24, State.FAILED)[0] == [f"{number:03}" for number in range(10, 250, 10)]
    assert listed(many, 99, State.FAILED)[0] == [f"{number:03}" for number in range(0, 250, 10)]


@pytest.mark.folder_way
def test_by_its_start_one_is_new_whenever_its_files_were_written(many: Lab) -> None:
    for number in range(0, COUNT, 2):  # of a backup that was copied back without its times
        os.utime(many.folder(f"{number:03}") / "request.json")
    assert listed(many, 3)[0] == ["247", "248", "249"]
    many.store.bury("249", Tombstone("Echo", time.time()))
    assert listed(many, 3)[0] == ["246", "247", "248"]


@pytest.mark.folder_way
def test_one_that_was_started_by_a_clock_ahead_of_this_one_is_not_missed(many: Lab) -> None:
    ahead = time.time() - 60 + 30
    many.store.claim("ahead", Request("ahead", "Echo", {}, created=ahead))
    many.store.write_state("ahead", StoredState(State.COMPLETED, started=ahead, ended=ahead))
    many.store.forget_active("ahead")
    os.utime(many.folder("ahead") / "request.json", (ahead - 50, ahead - 50))
    assert listed(many, 1)[0] == ["ahead"]
