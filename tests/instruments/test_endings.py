"""However a job ends: afterwards its instrument is safe, its lease free, and the story in its log.

What is believed is the simulator's own record, not ours: energised, then made safe, and nothing after that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import DRIVERS, Plugged, bench_lab, energised, leases, let_go, plugged, silent
from lab import Lab, eventually, wait_gone
from labwaiter.model.caller import EVERYBODY, SHELL, Caller
from labwaiter.model.record import State
from labwaiter.store import figures, supervisor_client
from labwaiter.store.leases import Held


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Plugged]]:
    """A deployment for the endings that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared")
    with plugged(folder / "bench") as bench:
        bench.write(**dict.fromkeys(DRIVERS, "unpolled = 60"))
        lab = bench_lab(folder / "jobs", bench, JOB_FOLDER_LIMIT="3000000")
        lab.supervise()
        yield lab, bench
        lab.close()


def told_safe(lab: Lab, service_id: str, name: str) -> None:
    """The lease is free and the job's log says why."""
    eventually(lambda: leases(lab).of(name) is None)
    assert f"{name}: made safe and read back" in lab.file(service_id, "log.txt")


# -- endings of one job ---------------------------------------------------------------------------


def go(lab: Lab, service_id: str) -> None:
    let_go(lab, service_id)


def abort(lab: Lab, service_id: str) -> None:
    assert lab.jobs.abort(lab.services["Uses"], service_id, SHELL, wait=20) is True
    assert leases(lab).of_job(service_id) == []  # true means: read back safe already


def abandon(lab: Lab, service_id: str) -> None:
    silent(lab, service_id)


def kill(lab: Lab, service_id: str) -> None:
    os.kill(lab.running(service_id), signal.SIGKILL)


def grow(lab: Lab, service_id: str) -> None:
    (lab.folder(service_id) / "data" / "large").write_bytes(os.urandom(4_000_000))


ENDINGS: dict[str, tuple[Callable[[Lab, str], None], State, str]] = {
    "done": (go, State.COMPLETED, ""),
    "raise": (go, State.FAILED, "the sample broke"),
    "fail": (go, State.FAILED, "The door is open."),
    "exit": (go, State.FAILED, "exit status 3"),
    "abort": (abort, State.ABORTED, "aborted"),
    "abandoned": (abandon, State.ABORTED, "abandoned by its workflow manager: that asked nothing for 1 min"),
    "grows": (grow, State.FAILED, "came to hold 4."),
    "kill": (kill, State.FAILED, "SIGKILL"),
}


@pytest.mark.parametrize("how", list(ENDINGS))
@pytest.mark.parametrize("name", list(DRIVERS))
def test_however_it_ends_the_instrument_is_safe(shared: tuple[Lab, Plugged], name: str, how: str) -> None:
    lab, bench = shared
    end_it, state, why = ENDINGS[how]
    service_id, begun = f"{name}-{how}", bench.count(name)
    caller = Caller(EVERYBODY, polls=how == "abandoned")  # as a workflow manager does
    lab.jobs.start(lab.services["Uses"], service_id, {"device": name, "how": how}, caller=caller)
    energised(lab, service_id)
    assert name == "analyser" or not bench.simulators[name].is_safe()
    end_it(lab, service_id)
    record = lab.ended(service_id)
    assert record.state is state and why in record.why, record.why
    bench.assert_made_safe(name, begun)
    told_safe(lab, service_id, name)


@pytest.mark.parametrize(
    ("service", "why"), [("Stalls", "made no progress for 2 s"), ("Limited", "longer than its limit of 4 s")]
)
def test_who_takes_too_long_leaves_every_instrument_safe(shared: tuple[Lab, Plugged], service: str, why: str) -> None:
    lab, bench = shared
    begun = {name: bench.count(name) for name in DRIVERS}
    for name in DRIVERS:
        lab.start(service, f"{service}-{name}", device=name)
    for name in DRIVERS:
        record = lab.ended(f"{service}-{name}")
        assert record.state is State.FAILED and why in record.why
        bench.assert_made_safe(name, begun[name])
        told_safe(lab, f"{service}-{name}", name)


# -- what takes more than the job with it ---------------------------------------------------------


def kill_all(lab: Lab, *more: int) -> None:
    supervisor, fork_server = lab.supervisor, lab.fork_server
    os.kill(fork_server, signal.SIGSTOP)  # it would start the next supervisor
    for one in (supervisor, fork_server, *more):
        os.kill(one, signal.SIGKILL)
    for one in (supervisor, fork_server, *more):
        wait_gone(one)


def supervisor_dies(lab: Lab, pids: list[int]) -> tuple[State, str]:
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    for name in DRIVERS:
        let_go(lab, name)
    return State.COMPLETED, ""


def fork_server_dies(lab: Lab, pids: list[int]) -> tuple[State, str]:
    fork_server = lab.fork_server
    os.kill(fork_server, signal.SIGKILL)
    wait_gone(fork_server)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return State.FAILED, "SIGKILL"


def all_but_the_jobs_die(lab: Lab, pids: list[int]) -> tuple[State, str]:
    kill_all(lab)
    for name in DRIVERS:
        let_go(lab, name)
    for pid in pids:
        wait_gone(pid)
    lab.supervise()
    return State.COMPLETED, ""


def everything_dies(lab: Lab, pids: list[int]) -> tuple[State, str]:
    kill_all(lab, *pids)
    assert all(lease.how is Held.BY_JOB for lease in leases(lab).all().values())  # a dead holder is not "free"
    lab.supervise()
    return State.FAILED, "interrupted"


def everything_dies_and_a_poll_comes(lab: Lab, pids: list[int]) -> tuple[State, str]:
    kill_all(lab, *pids)
    lab.record("smu")
    return State.FAILED, "interrupted"


def it_is_stopped(lab: Lab, pids: list[int]) -> tuple[State, str]:
    assert supervisor_client.stop(lab.settings, 30)
    return State.ABORTED, "this deployment was stopped"


@pytest.mark.parametrize(
    "end_it",
    [
        supervisor_dies,
        fork_server_dies,
        all_but_the_jobs_die,
        everything_dies,
        everything_dies_and_a_poll_comes,
        it_is_stopped,
    ],
)
def test_whatever_dies_with_it_every_instrument_is_safe(
    using: Lab, bench: Plugged, end_it: Callable[[Lab, list[int]], tuple[State, str]]
) -> None:
    for name in DRIVERS:
        using.start("Uses", name, device=name)
    pids = [energised(using, name) for name in DRIVERS]
    state, why = end_it(using, pids)
    for name in DRIVERS:
        record = using.ended(name)
        assert record.state is state and why in record.why, record.why
        bench.assert_made_safe(name)
        told_safe(using, name, name)


def test_a_supervisor_that_dies_while_its_guard_works_leaves_it_safe(using: Lab, bench: Plugged) -> None:
    begun = bench.simulators["smu"]
    using.start("Uses", "one", device="smu")
    pid = energised(using, "one")
    begun.moods.add("silent")  # the guard goes on trying
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (lease := leases(using).of("smu")) and lease.how is Held.MAKING_SAFE)
    supervisor = using.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    using.start("Uses", "two", device="smu")
    begun.moods.clear()
    assert using.ended("one").state is State.FAILED
    energised(using, "two")  # nobody made safe what the next one had by then
    assert (lease := leases(using).of("smu")) and lease.job == "two" and lease.how is Held.BY_JOB
    let_go(using, "two")
    assert using.ended("two").state is State.COMPLETED
    bench.assert_made_safe("smu")


def test_a_guard_that_is_killed_has_made_nothing_safe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    pid = energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (one := leases(using).of("smu")) and one.how is Held.MAKING_SAFE)
    asking = eventually(lambda: using.left_of("one"))[0]
    guard = int(Path(f"/proc/{asking}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    assert "could not be made safe" in using.ended("one").why
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "in the time that it has" in lease.why
    eventually(lambda: not using.left_of("one"))


def test_how_long_it_took_to_make_safe_is_counted(using: Lab) -> None:
    using.start("Uses", "one", device="smu")
    os.kill(energised(using, "one"), signal.SIGKILL)
    using.ended("one")
    told = eventually(lambda: figures.read(using.settings.layout.supervisor_figures).get("counted", {}).get("safe"))
    assert sum(told["under"].values()) == 1 and told["seconds"] > 0
