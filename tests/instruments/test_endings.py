"""However a job ends: afterwards its instrument is safe, its lease free, and the story in its log.

What is believed is the simulator's own record, not ours: energised, then made safe, and nothing after that.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import DRIVERS, Plugged, bench_lab, energised, leases, let_go, plugged, silent
from lab import Lab, eventually, wait_gone
from labwaiter.jobs import link
from labwaiter.jobs.leases import Held
from labwaiter.record import State

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Plugged]]:
    """A deployment for the endings that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared")
    with plugged(folder / "bench") as bench:
        bench.write(**dict.fromkeys(DRIVERS, "unpolled = 60"))
        lab = bench_lab(folder / "jobs", bench)
        lab.supervise()
        yield lab, bench
        lab.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        yield one


@pytest.fixture
def using(tmp_path: Path, bench: Plugged) -> Iterator[Lab]:
    """A deployment of the test's own."""
    lab = bench_lab(tmp_path / "jobs", bench)
    lab.supervise()
    yield lab
    lab.close()


def told_safe(lab: Lab, service_id: str, name: str) -> None:
    """The lease is free and the job's log says why."""
    eventually(lambda: leases(lab).of(name) is None)
    assert f"{name}: made safe and read back" in lab.file(service_id, "log.txt")


# -- endings of one job ---------------------------------------------------------------------------


def go(lab: Lab, service_id: str) -> None:
    let_go(lab, service_id)


def abort(lab: Lab, service_id: str) -> None:
    assert lab.jobs.abort(lab.services["Uses"], service_id, wait=20) is True
    assert leases(lab).of_job(service_id) == []  # true means: read back safe already


def abandon(lab: Lab, service_id: str) -> None:
    silent(lab, service_id)


def kill(lab: Lab, service_id: str) -> None:
    os.kill(lab.running(service_id), signal.SIGKILL)


ENDINGS: dict[str, tuple[Callable[[Lab, str], None], State, str]] = {
    "done": (go, State.COMPLETED, ""),
    "raise": (go, State.FAILED, "the sample broke"),
    "fail": (go, State.FAILED, "The door is open."),
    "exit": (go, State.FAILED, "exit status 3"),
    "abort": (abort, State.ABORTED, "aborted"),
    "abandoned": (abandon, State.ABORTED, "abandoned by its workflow manager: that asked nothing for 60 s"),
    "kill": (kill, State.FAILED, "SIGKILL"),
}


@pytest.mark.parametrize("how", list(ENDINGS))
@pytest.mark.parametrize("name", list(DRIVERS))
def test_however_it_ends_the_instrument_is_safe(shared: tuple[Lab, Plugged], name: str, how: str) -> None:
    lab, bench = shared
    end_it, state, why = ENDINGS[how]
    service_id, begun = f"{name}-{how}", bench.count(name)
    address = "http://lab.example" if how == "abandoned" else ""  # as if it came over the web
    lab.jobs.start(lab.services["Uses"], service_id, {"device": name, "how": how}, address=address)
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
    supervisor, nursery = lab.supervisor, lab.nursery
    for one in (supervisor, nursery, *more):  # the nursery second: it would start the next supervisor
        os.kill(one, signal.SIGKILL)
    for one in (supervisor, nursery, *more):
        wait_gone(one)


def supervisor_dies(lab: Lab, pids: list[int]) -> tuple[State, str]:
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)
    for name in DRIVERS:
        let_go(lab, name)
    return State.COMPLETED, ""


def nursery_dies(lab: Lab, pids: list[int]) -> tuple[State, str]:
    nursery = lab.nursery
    os.kill(nursery, signal.SIGKILL)
    wait_gone(nursery)
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
    assert link.stop(lab.settings, 30)
    return State.ABORTED, "this deployment was stopped"


@pytest.mark.parametrize(
    "end_it",
    [
        supervisor_dies,
        nursery_dies,
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


# -- lines that hang ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "names"),
    [("silent", list(DRIVERS)), ("garbage", list(DRIVERS)), ("drip", ["smu", "relays"])],  # "ok" drips in time
)
def test_what_cannot_be_read_back_stays_unsafe_and_everybody_is_told(
    using: Lab, bench: Plugged, mood: str, names: list[str]
) -> None:
    for name in names:
        using.start("Uses", name, device=name)
    for name, pid in [(name, energised(using, name)) for name in names]:
        bench.simulators[name].moods.add(mood)
        os.kill(pid, signal.SIGKILL)
    for name in names:
        record = using.ended(name)
        lease = leases(using).of(name)
        assert lease is not None and lease.how is Held.UNSAFE and name in lease.why, name
        assert f"{name} is UNSAFE" in using.file(name, "log.txt")
        assert f"Afterwards {name} could not be made safe." in record.why
        assert f"{name} is UNSAFE and waits for an operator" in using.jobs.view(name).hardware[0]
        assert using.jobs.abort(None, name, wait=0) is False


def test_a_line_that_comes_back_in_time_is_made_safe(using: Lab, bench: Plugged) -> None:
    for name in DRIVERS:
        using.start("Uses", name, device=name)
    for name, pid in [(name, energised(using, name)) for name in DRIVERS]:
        bench.simulators[name].moods.add("silent")
        os.kill(pid, signal.SIGKILL)
    for name in DRIVERS:
        eventually(lambda name=name: (one := leases(using).of(name)) and one.how is Held.MAKING_SAFE)
        assert "is being made safe" in using.jobs.view(name).hardware[0]
        bench.simulators[name].moods.clear()
    for name in DRIVERS:
        using.ended(name)
        bench.assert_made_safe(name)
        told_safe(using, name, name)


def test_an_abort_says_no_as_long_as_it_is_not_safe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    assert using.jobs.abort(using.services["Uses"], "one", wait=0.5) is False
    eventually(lambda: "smu is being made safe." in using.jobs.view("one").hardware)
    bench.simulators["smu"].moods.clear()
    assert using.jobs.abort(using.services["Uses"], "one", wait=20) is True
    bench.assert_made_safe("smu")


def test_a_board_whose_relay_is_welded_is_not_called_safe(using: Lab, bench: Plugged) -> None:
    relays = bench.simulators["relays"]
    relays.stuck.add(3)  # type: ignore[attr-defined]
    using.start("Uses", "one", device="relays")
    energised(using, "one")
    let_go(using, "one")
    assert using.ended("one").state is State.COMPLETED
    lease = leases(using).of("relays")
    assert lease is not None and lease.how is Held.UNSAFE and "says that it is not" in lease.why


# -- the second way -------------------------------------------------------------------------------


def test_what_cannot_be_made_safe_is_cut_off_by_its_relay(using: Lab, bench: Plugged) -> None:
    bench.write(smu='power = "relays.2"', analyser='power = "relays.5"')
    relays = bench.simulators["relays"]
    relays.closed[1] = relays.closed[4] = True  # type: ignore[attr-defined]
    for name in ("smu", "analyser"):  # two guards at one board
        using.start("Uses", name, device=name)
    for name, pid in [(name, energised(using, name)) for name in ("smu", "analyser")]:
        bench.simulators[name].moods.add("silent")
        os.kill(pid, signal.SIGKILL)
    for name, number in (("smu", 2), ("analyser", 5)):
        using.ended(name)
        assert f"cut off by relay {number} of relays" in using.file(name, "log.txt")
    assert relays.is_safe() and leases(using).all() == {}


def test_a_board_that_another_job_has_cannot_cut_off_and_that_is_said(using: Lab, bench: Plugged) -> None:
    bench.write(smu='power = "relays.2"')
    bench.simulators["relays"].closed[1] = True  # type: ignore[attr-defined]
    using.start("Uses", "boards", device="relays")
    using.start("Uses", "one", device="smu")
    energised(using, "boards")
    pid = energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    os.kill(pid, signal.SIGKILL)
    using.ended("one")
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE
    assert "did not answer" in lease.why and "could not be cut off by relay 2 of relays" in lease.why


@pytest.mark.parametrize("how", ["done", "kill"])
def test_a_driver_that_hangs_while_making_safe_keeps_nobody_waiting(using: Lab, bench: Plugged, how: str) -> None:
    (using.settings.services / "hanging.py").write_text("import time\n\ndef hang(device):\n    time.sleep(1000)\n")
    bench.write(smu='safe = "hanging:hang"')
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    (go if how == "done" else kill)(using, "one")
    using.ended("one")
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "did not end within 3 s" in lease.why
    eventually(lambda: not using.left_of("one"))


def test_where_the_disk_is_full_it_is_made_safe_all_the_same(tmp_path: Path, bench: Plugged, small_disk: Path) -> None:
    lab = bench_lab(small_disk / "jobs", bench)
    try:
        lab.supervise()
        for name in ("smu", "relays"):
            lab.start("Uses", name, device=name)
        pids = [energised(lab, name) for name in ("smu", "relays")]
        with contextlib.suppress(OSError), open(small_disk / "big", "wb", buffering=0) as big:
            while True:
                big.write(bytes(4096))
        bench.simulators["relays"].moods.add("silent")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: leases(lab).of("smu") is None)
        bench.assert_made_safe("smu")
        for name in ("smu", "relays"):
            assert lab.ended(name).state is State.FAILED
        lease = leases(lab).of("relays")
        assert lease is not None and lease.how is Held.UNSAFE
        lab.start("Uses", "next", device="smu")
    finally:
        (small_disk / "big").unlink(missing_ok=True)
        lab.close()
