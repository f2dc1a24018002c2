"""However a job ends: afterwards its instrument is safe, its lease free, and the story in its log.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import SERVICES, Plugged, energised, leases, plugged
from lab import SAMPLES, Lab, eventually, wait_gone
from labwaiter.jobs.leases import Held
from labwaiter.record import State

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def using(make_lab: Callable[..., Lab], tmp_path: Path, bench: Plugged) -> Lab:
    """A lab whose services use the plugged instruments."""
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(SAMPLES / "benches.py", folder)
    lab = make_lab(services_folder=folder, LAB=str(bench.toml))
    lab.supervise()
    return lab


def let_go(lab: Lab) -> None:
    (lab.folder("one") / "data" / "go").touch()


def end_it(lab: Lab, how: str, pid: int) -> tuple[State, str]:
    """Have the job end so; the state and a word of the reason that must come."""
    if how in ("end", "raise", "fail", "exit"):
        let_go(lab)
        return {
            "end": (State.COMPLETED, ""),
            "raise": (State.FAILED, "the sample broke"),
            "fail": (State.FAILED, "The door is open."),
            "exit": (State.FAILED, "exit status 3"),
        }[how]
    if how == "abort":
        service = lab.record("one").request.service
        assert lab.jobs.abort(lab.services[service], "one", wait=15) is True
        return State.ABORTED, "aborted"
    if how == "stall":
        return State.FAILED, "no progress"
    if how == "kill the job":
        os.kill(pid, signal.SIGKILL)
        return State.FAILED, "SIGKILL"
    if how == "kill the supervisor":
        supervisor = lab.supervisor
        os.kill(supervisor, signal.SIGKILL)
        wait_gone(supervisor)
        let_go(lab)
        return State.COMPLETED, ""
    assert how == "kill both"
    supervisor, nursery = lab.supervisor, lab.nursery
    for one in (supervisor, nursery, pid):
        os.kill(one, signal.SIGKILL)
        wait_gone(one)
    lab.supervise()
    return State.FAILED, "interrupted"


ENDINGS = ["end", "raise", "fail", "exit", "abort", "stall", "kill the job", "kill the supervisor", "kill both"]


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("name", list(SERVICES))
def test_however_it_ends_the_instrument_is_safe(using: Lab, bench: Plugged, name: str, how: str) -> None:
    simulator = bench.simulators[name]
    using.start(SERVICES[name], "one", how="stall" if how == "stall" else how if how in ENDINGS[:4] else "end")
    pid = energised(using, "one")
    assert name == "analyser" or not simulator.is_safe()
    state, why = end_it(using, how, pid)
    record = using.ended("one")
    assert record.state is state and why in record.why, record.why
    assert simulator.is_safe()
    eventually(lambda: leases(using).all() == {})
    assert f"{name}: made safe and read back" in using.file("one", "log.txt")


def test_a_stop_of_the_deployment_leaves_it_safe(using: Lab, bench: Plugged) -> None:
    from labwaiter.jobs import link

    using.start("UsesSmu", "one")
    energised(using, "one")
    assert link.stop(using.settings, 30)
    assert bench.simulators["smu"].is_safe() and leases(using).all() == {}


def test_a_deadline_leaves_it_safe(using: Lab, bench: Plugged) -> None:
    using.start("Limited", "one")
    assert "longer than its limit" in using.ended("one").why
    assert bench.simulators["smu"].is_safe() and leases(using).all() == {}


@pytest.mark.parametrize("mood", ["silent", "garbage", "drip"])
def test_an_instrument_that_cannot_be_read_back_stays_unsafe_until_an_operator_frees_it(
    using: Lab, bench: Plugged, mood: str
) -> None:
    using.start("UsesSmu", "one")
    energised(using, "one")
    bench.simulators["smu"].moods.add(mood)
    using.ended("one")
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "smu" in lease.why
    assert "smu is UNSAFE" in using.file("one", "log.txt")
    using.start("UsesSmu", "two")
    eventually(lambda: using.record("two").state is State.QUEUED)


def test_a_board_whose_relay_is_welded_is_not_called_safe(using: Lab, bench: Plugged) -> None:
    relays = bench.simulators["relays"]
    relays.stuck.add(3)  # type: ignore[attr-defined]
    using.start("UsesRelays", "one")
    energised(using, "one")
    let_go(using)
    assert using.ended("one").state is State.COMPLETED
    lease = leases(using).of("relays")
    assert lease is not None and lease.how is Held.UNSAFE and "says that it is not" in lease.why


def test_what_cannot_be_made_safe_is_cut_off_by_its_relay(using: Lab, bench: Plugged) -> None:
    bench.write(smu='power = "relays.2"')
    relays = bench.simulators["relays"]
    relays.closed[1] = True  # type: ignore[attr-defined]
    using.start("UsesSmu", "one")
    energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    using.ended("one")
    assert relays.is_safe() and leases(using).all() == {}
    assert "cut off by relay 2 of relays" in using.file("one", "log.txt")
