"""When a machine tells what: the first status of an execution and its end at once, what comes between in turns."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fleetlab import SECRET
from labwaiter.fleet.in_memory import InMemoryFleetStore
from labwaiter.fleet.publisher import PUBLISH_EVERY, Publisher
from labwaiter.fleet.signing import Seals
from labwaiter.model.record import End, Progress, Request, State, StoredState
from labwaiter.settings import load
from labwaiter.store.local_store import LocalStore
from labwaiter.system.watch import Watch


def test_the_first_status_and_the_end_are_told_at_once_and_what_comes_between_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load({"WAITER_LOG_FOLDER": str(tmp_path / "jobs"), "SUPERVISOR": "elsewhere"})
    local, store = LocalStore(settings), InMemoryFleetStore("north", Seals("lab", SECRET))
    folder = local.folder
    folder.make()
    publisher = Publisher(settings, store, local, tuple)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    seen: set[str] = set()

    def told() -> tuple[str, float | None]:
        publisher.look(watch, seen)
        view = json.loads(store.snapshot("one").view or b"")
        return view["record"]["state"], view["progress"]["fraction"]

    with Watch(folder.active) as watch:
        folder.claim("one", Request("one", "Echo", {}, created=time.time()))
        assert told() == ("queued", None)
        folder.write_state("one", StoredState(State.RUNNING, since=time.time(), started=time.time()))
        assert told() == ("running", None)
        folder.write_progress("one", Progress(fraction=0.1))
        assert told() == ("running", 0.1)
        for fraction in (0.2, 0.3):
            folder.write_progress("one", Progress(fraction=fraction))
            assert told() == ("running", 0.1)
        now += 2 * PUBLISH_EVERY
        assert told() == ("running", 0.3)
        folder.write_end("one", End(State.COMPLETED, outputs={}))
        folder.write_state("one", StoredState(State.COMPLETED, since=time.time(), started=time.time()))
        folder.forget_active("one")
        assert told()[0] == "completed" and store.snapshot("one").settled


def test_the_end_of_one_whose_active_mark_was_lost_is_told(tmp_path: Path) -> None:
    settings = load({"WAITER_LOG_FOLDER": str(tmp_path / "jobs"), "SUPERVISOR": "elsewhere"})
    local, store = LocalStore(settings), InMemoryFleetStore("north", Seals("lab", SECRET))
    folder = local.folder
    folder.make()
    publisher = Publisher(settings, store, local, tuple)
    seen: set[str] = set()

    def told() -> str:
        publisher.look(watch, seen)
        return str(json.loads(store.snapshot("one").view or b"")["record"]["state"])

    with Watch(folder.active) as watch:
        folder.claim("one", Request("one", "Echo", {}, created=time.time()))
        assert told() == "queued"
        folder.forget_active("one")
        assert told() == "queued" and folder.is_active("one")  # the look itself has set it anew
        folder.write_state("one", StoredState(State.FAILED, "It broke.", since=time.time(), ended=time.time()))
        folder.forget_active("one")  # before the next look
        assert told() == "failed" and store.snapshot("one").settled
        publisher.look(watch, seen)
        assert not publisher._published
