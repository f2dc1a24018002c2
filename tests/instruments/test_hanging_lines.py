"""A line that hangs while its instrument is made safe: in time or unsafe, cut off if there is a way, never a guess."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from benchlab import DRIVERS, Plugged, bench_lab, energised, leases, let_go
from lab import Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.store.leases import Held


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
        assert f"{name} is UNSAFE and waits for an operator" in using.jobs.view(name, SHELL).hardware[0]
        assert using.jobs.abort(None, name, SHELL, wait=0) is False


def test_a_line_that_comes_back_in_time_is_made_safe(using: Lab, bench: Plugged) -> None:
    for name in DRIVERS:
        using.start("Uses", name, device=name)
    for name, pid in [(name, energised(using, name)) for name in DRIVERS]:
        bench.simulators[name].moods.add("silent")
        os.kill(pid, signal.SIGKILL)
    for name in DRIVERS:
        eventually(lambda name=name: (one := leases(using).of(name)) and one.how is Held.MAKING_SAFE)
        assert "is being made safe" in using.jobs.view(name, SHELL).hardware[0]
        bench.simulators[name].moods.clear()
    for name in DRIVERS:
        using.ended(name)
        bench.assert_made_safe(name)
        eventually(lambda name=name: leases(using).of(name) is None)


def test_an_abort_says_no_as_long_as_it_is_not_safe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    bench.simulators["smu"].moods.add("silent")
    assert using.jobs.abort(using.services["Uses"], "one", SHELL, wait=0.5) is False
    eventually(lambda: "smu is being made safe." in using.jobs.view("one", SHELL).hardware)
    bench.simulators["smu"].moods.clear()
    assert using.jobs.abort(using.services["Uses"], "one", SHELL, wait=20) is True
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
    assert "could not be cut off by relay 2 of relays" in lease.why
    assert "did not answer" in lease.why or "was silent" in lease.why  # as the time that it has ends


@pytest.mark.parametrize("how", ["done", "kill"])
def test_a_driver_that_hangs_while_making_safe_keeps_nobody_waiting(using: Lab, bench: Plugged, how: str) -> None:
    (using.settings.services / "hanging.py").write_text("import time\n\ndef hang(device):\n    time.sleep(1000)\n")
    bench.write(smu='safe = "hanging:hang"')
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    if how == "done":
        let_go(using, "one")
    else:
        os.kill(using.running("one"), signal.SIGKILL)
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
