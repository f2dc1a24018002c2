"""The poll's lane at a face: an answer is kept for as long as Redis tells the same revision, and no longer."""

from __future__ import annotations

import base64
import time

import pytest

from callers import Caller, envelope
from fleetlab import Fleet, fleet_environment
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.store.names import folder_name
from polls import kept_answers


@pytest.fixture
def caller(fleet: Fleet) -> Caller:
    """A web machine of its own."""
    lab = Lab(fleet.folder / "web" / "jobs", fleet.services_folder, **fleet.settings)
    lab.face_environment = lab.environment | fleet_environment(fleet.redis.url, "web", fleet.toml)
    return Caller(lab)


def begun(fleet: Fleet) -> str:
    name = fleet.id_for("north", "Talk")
    fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    return name


def page(caller: Caller, service: str, name: str) -> str:
    reply = caller(f"/{service}", envelope("getServiceStatus", serviceID=name, sessionToken="t"))["status_base64"]
    return reply if reply == "COMPLETED" else base64.b64decode(reply).decode()


def commands(fleet: Fleet) -> dict[str, int]:
    """How often each command was asked of Redis by now."""
    return {name: about["calls"] for name, about in fleet.redis.client.info("commandstats").items()}


def test_a_poll_of_what_has_not_changed_is_one_small_command(fleet: Fleet, caller: Caller) -> None:
    running, done = begun(fleet), fleet.id_for("north", "Echo", "done")
    fleet.jobs.start(fleet.services["Echo"], done, {"text": "x"}, SHELL)
    fleet.jobs.wait(done, 20, SHELL)
    for service, name in (("Talk", running), ("Echo", done)):
        page(caller, service, name)
        before = commands(fleet)
        began = time.monotonic()
        for _ in range(200):
            page(caller, service, name)
        seconds = time.monotonic() - began
        after = commands(fleet)
        # a second look when an answer is kept; a running one's is made anew each second, or as its log grows
        made_anew = after["cmdstat_time"] - before["cmdstat_time"]
        assert made_anew < 20 + 20 * seconds < 200
        assert caller.application._soap.endpoint(service)._kept._answers


def test_what_is_published_is_in_the_next_poll(fleet: Fleet, caller: Caller) -> None:
    name = begun(fleet)
    key, client = f"lab:job:{folder_name(name)}", fleet.redis.client
    page(caller, "Talk", name)
    for number in range(40):
        before = client.hget(key, "at")
        fleet.jobs.notify(fleet.services["Talk"], name, f"message {number}", SHELL)
        # once Redis has it, no poll may show what was there before
        eventually(lambda before=before, number=number: f"message {number}".encode() in client.hget(key, "view"))
        assert client.hget(key, "at") != before
        for _ in range(3):
            assert f"message {number}" in page(caller, "Talk", name)
    soap = caller.application._soap
    assert kept_answers(caller.application) > 20 and soap.lane.is_open


def test_of_a_machine_that_falls_silent_nothing_that_was_kept_is_told(fleet: Fleet, caller: Caller) -> None:
    name = begun(fleet)
    worker = fleet.machines["north"].process
    assert worker is not None
    assert "be reached since" not in page(caller, "Talk", name)
    worker.kill()
    until = time.monotonic() + 30
    while "be reached since" not in page(caller, "Talk", name):
        assert time.monotonic() < until
    for _ in range(50):
        assert "be reached since" in page(caller, "Talk", name)
    assert caller.application._soap.lane.is_open
