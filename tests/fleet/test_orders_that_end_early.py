"""Orders that are aborted, refused or removed before a machine has begun with them; and aborts without Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleetlab import Fleet
from lab import eventually
from labwaiter.errors import UnknownServiceID
from labwaiter.fleet import open_jobs
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.verbs import Jobs


def with_another_secret(fleet: Fleet) -> Jobs:
    """A face whose orders the machines refuse."""
    environment = fleet.labs["north"].environment | fleet.machines["north"].environment
    environment |= {
        "MACHINE": "odd",
        "REDIS_SECRET": "not the secret of this lab",
        "WAITER_LOG_FOLDER": str(fleet.folder),
    }
    return open_jobs(load(environment))


@pytest.mark.parametrize("withdrawn", [True, False])
def test_an_order_that_was_aborted_is_not_run_after_redis_was_emptied(
    make_fleet: Callable[..., Fleet], withdrawn: bool
) -> None:
    fleet = make_fleet("north")  # its worker isn't there yet
    echo, redis = fleet.services["Echo"], fleet.redis.client
    fleet.jobs.start(echo, "one", {"text": "x"}, SHELL)
    if not withdrawn:  # its machine has just taken it from the queue
        redis.rpoplpush("lab:rq:queue:north", "lab:rq:queue:north:intermediate")
    assert fleet.jobs.abort(echo, "one", SHELL, wait=0.2) is withdrawn
    redis.flushall()
    assert fleet.jobs.record("one", SHELL).state is State.ABORTED
    fleet.start()
    fleet.jobs.start(echo, "two", {"text": "x"}, SHELL)
    assert fleet.jobs.wait("two", 20, SHELL).state is State.COMPLETED
    assert fleet.jobs.record("one", SHELL).state is State.ABORTED
    assert "one" not in set(fleet.labs["north"].store.names())


def test_an_order_that_its_machine_refuses_says_so_and_can_be_aborted_and_removed(fleet: Fleet) -> None:
    odd, echo = with_another_secret(fleet), fleet.services["Echo"]
    name = fleet.id_for("north", "Echo")
    odd.start(echo, name, {"text": "x"}, SHELL)
    eventually(lambda: "refuses this order" in odd.status(echo, name, SHELL).view.note)
    assert odd.abort(echo, name, SHELL, wait=5) is True
    record = fleet.jobs.record(name, SHELL)
    assert record.state is State.ABORTED and "before it began" in record.why
    assert fleet.redis.client.scard("lab:active:north") == 0
    fleet.jobs.remove(name, SHELL)
    with pytest.raises(UnknownServiceID, match="removed"):
        fleet.jobs.record(name, SHELL)
    assert fleet.jobs.list(SHELL) == []


def test_one_that_was_withdrawn_is_forgotten_with_its_retention_or_removed(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet("north", KEEP_DAYS="2")
    echo = fleet.services["Echo"]
    fleet.jobs.start(echo, "one", {"text": "x"}, SHELL)
    assert fleet.jobs.abort(echo, "one", SHELL) is True
    assert 86400 < fleet.redis.client.ttl("lab:job:one") <= 2 * 86400
    fleet.start()
    fleet.jobs.remove("one", SHELL)
    with pytest.raises(UnknownServiceID, match="removed"):
        fleet.jobs.record("one", SHELL)


def test_an_abort_that_comes_while_the_order_is_being_taken_waits_for_its_end(fleet: Fleet) -> None:
    for number in range(20):
        name = fleet.id_for("north", "Talk", f"talk {number} ")
        fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
        assert fleet.jobs.abort(None, name, SHELL, wait=10) is True
        assert fleet.jobs.record(name, SHELL).state is State.ABORTED


@pytest.mark.parametrize("how", ["away", "full"])
def test_without_redis_an_execution_is_aborted_on_its_own_machine(fleet: Fleet, how: str) -> None:
    name = fleet.id_for("north", "Talk")
    fleet.jobs.start(fleet.services["Talk"], name, {}, SHELL)
    eventually(lambda: fleet.state(name) == "running")
    if how == "away":
        fleet.redis.kill()
    else:
        fleet.redis.client.config_set("maxmemory", "1mb")
    assert open_jobs(load(fleet.machines["north"].environment)).abort(None, name, SHELL, wait=10) is True
    assert fleet.labs["north"].ended(name).state is State.ABORTED
    if how == "away":
        fleet.redis.start()
    else:
        fleet.redis.client.config_set("maxmemory", "0")
    assert fleet.jobs.wait(name, 20, SHELL).state is State.ABORTED
