"""A workflow manager that no longer asks: what may not run unwatched is stopped; but silence must be its own.

No test waits a minute: the marks' times are set into the past.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchlab import DRIVERS, Plugged, bench_lab, energised, leases, let_go, plugged, silent
from callers import Up, Web, envelope
from lab import PATIENCE, Lab, eventually
from labwaiter.deployment import web_processes
from labwaiter.model.caller import EVERYBODY, SHELL, Caller, administrator
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.store import web_side
from labwaiter.store.leases import Held
from labwaiter.system.process import boot_clock

START = envelope("startUses", serviceID="one", sessionToken="t", device="smu")
WORKFLOW_MANAGER = Caller(EVERYBODY, public_url="http://lab.example", polls=True)
STATUS = envelope("getServiceStatus", serviceID="one", sessionToken="t")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Plugged]:
    with plugged(tmp_path / "bench") as one:
        one.write(smu="unpolled = 60")
        yield one


def call(web: Web, body: bytes) -> None:
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(f"{web.url}/Uses", body, {"Content-Type": "text/xml"})) as got:
        assert got.status == 200


def looked_at(lab: Lab, service_id: str) -> None:
    """Two rounds of the supervisor's look at its jobs: each ends one whose limit is over."""
    for turn in range(2):
        lab.start("UsesNone", f"{service_id}-{turn}-{os.urandom(4).hex()}")
    for record in lab.jobs.list(SHELL):
        if record.request.service == "UsesNone":
            assert "limit" in lab.ended(record.request.service_id).why


def goes_on(lab: Lab) -> bool:
    """Whether nobody has so much as begun to stop it."""
    record = lab.record("one")
    return record.state is State.RUNNING and record.stopping is None


def signed_since(lab: Lab) -> float:
    return float(json.loads((lab.store.layout.folder / "web").read_text())["since"])


def test_who_is_no_longer_polled_is_stopped_and_made_safe(
    using: Lab, bench: Plugged, make_web: Callable[..., Web]
) -> None:
    web = make_web(using, 2)
    call(web, START)
    energised(using, "one")
    assert eventually(lambda: web_side.up_since(using.store.layout, boot_clock()))
    eventually(lambda: silent(using, "one") or using.record("one").stopping or not using.record("one").active)
    record = using.ended("one")
    assert record.state is State.ABORTED
    assert record.why == "The execution was abandoned by its workflow manager: that asked nothing for 1 min."
    bench.assert_made_safe("smu")
    eventually(lambda: leases(using).all() == {})


def test_one_poll_and_it_counts_anew(using: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(using)
    call(web, START)
    energised(using, "one")
    silent(using, "one", up=False)
    old = using.store.polled_at("one")
    assert old is not None

    def noted() -> bool:
        call(web, STATUS)
        return (using.store.polled_at("one") or 0.0) > old + 50

    eventually(noted)  # a second's polls are noted once
    using.jobs.view("one", SHELL)  # an operator's look is no poll
    using.jobs.record("one", SHELL)
    looked_at(using, "round")
    assert goes_on(using)


def test_while_the_web_side_is_down_nobody_is_abandoned_nor_when_it_is_back(
    using: Lab, bench: Plugged, make_web: Callable[..., Web]
) -> None:
    web = make_web(using)
    call(web, START)
    energised(using, "one")
    web.close()
    now = boot_clock()
    silent(using, "one", up=False)
    (using.store.layout.folder / "web").write_text(json.dumps({"since": now - 500, "last": now - web_side.FRESH}))
    looked_at(using, "down")
    assert goes_on(using) and using.jobs.view("one", SHELL).silence is None
    make_web(using)
    eventually(lambda: signed_since(using) > now)
    looked_at(using, "back")
    assert goes_on(using)


def test_a_web_side_that_hangs_signs_nothing_and_begins_anew(using: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(using)
    call(web, START)
    energised(using, "one")
    hanging = web_processes.find(using.settings)
    for who in hanging:
        os.kill(who.pid, signal.SIGSTOP)
    try:
        now = boot_clock()
        silent(using, "one", up=False)
        (using.store.layout.folder / "web").write_text(json.dumps({"since": now - 500, "last": now - web_side.FRESH}))
        looked_at(using, "hangs")
        assert goes_on(using)
    finally:
        for who in hanging:
            os.kill(who.pid, signal.SIGCONT)
    eventually(lambda: signed_since(using) > now)
    looked_at(using, "woke")
    assert goes_on(using)


def test_what_was_never_started_over_the_web_is_nobodys_to_abandon(using: Lab) -> None:
    using.start("Uses", "one", device="smu")  # as `labwaiter run` and Python do
    energised(using, "one")
    using.start("Uses", "one", device="smu")
    using.jobs.wait("one", 0, SHELL)
    now = boot_clock()
    (using.store.layout.folder / "web").write_text(json.dumps({"since": now - 500, "last": now}))
    looked_at(using, "round")
    assert goes_on(using) and using.store.polled_at("one") is None


def test_an_instrument_that_does_not_mind_goes_on(using: Lab) -> None:
    using.jobs.start(using.services["Uses"], "one", {"device": "relays"}, caller=WORKFLOW_MANAGER)
    energised(using, "one")
    silent(using, "one")
    looked_at(using, "round")
    assert goes_on(using)


def test_nobody_is_abandoned_for_the_time_in_the_queue(using: Lab) -> None:
    using.start("Uses", "before", device="smu")
    energised(using, "before")
    using.jobs.start(using.services["Uses"], "one", {"device": "smu"}, caller=WORKFLOW_MANAGER)
    silent(using, "one")
    looked_at(using, "round")
    assert using.record("one").state is State.QUEUED
    silent(using, "one")
    let_go(using, "before")
    energised(using, "one")
    looked_at(using, "later")
    assert goes_on(using)


def test_the_page_counts_down_while_a_workflow_manager_is_silent(using: Lab) -> None:
    using.jobs.start(using.services["Uses"], "one", {"device": "smu"}, caller=WORKFLOW_MANAGER)
    energised(using, "one")
    now = boot_clock()
    os.utime(using.folder("one") / "polled", (now - 30, now - 30))
    (using.store.layout.folder / "web").write_text(json.dumps({"since": now - 500, "last": now}))
    html = render(using.jobs.view("one", SHELL), using.services["Uses"])
    assert "The workflow manager has asked nothing for 3" in html and "this is aborted in " in html
    using.store.polled("one")
    assert "asked nothing" not in render(using.jobs.view("one", SHELL), using.services["Uses"])


def test_a_wall_clock_that_is_set_abandons_nobody(using: Lab) -> None:
    using.jobs.start(using.services["Uses"], "one", {"device": "smu"}, caller=WORKFLOW_MANAGER)
    polled = using.store.polled_at("one")
    assert polled is not None and abs(boot_clock() - polled) < 60  # the mark's time is no wall clock's


def test_a_container_s_stop_leaves_every_instrument_safe(tmp_path: Path, bench: Plugged) -> None:
    lab = bench_lab(tmp_path / "jobs", bench, WEB_CONCURRENCY="1", STOP_SECONDS="20")
    up = Up(lab)
    try:
        eventually(up.answers)
        for name in DRIVERS:
            lab.start("Uses", name, device=name)
        for name in DRIVERS:
            energised(lab, name)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(PATIENCE) == 0
        for name in DRIVERS:
            assert lab.record(name).state is State.ABORTED
            bench.assert_made_safe(name)
        assert leases(lab).all() == {}
    finally:
        up.close()
        lab.close()


def test_a_container_s_stop_ends_in_time_and_says_what_is_not_safe(tmp_path: Path, bench: Plugged) -> None:
    lab = bench_lab(tmp_path / "jobs", bench, WEB_CONCURRENCY="1", STOP_SECONDS="8")
    up = Up(lab)
    try:
        eventually(up.answers)
        lab.start("Uses", "one", device="smu")
        energised(lab, "one")
        bench.simulators["smu"].moods.add("silent")
        up.process.send_signal(signal.SIGTERM)
        up.process.wait(PATIENCE)
        lease = leases(lab).of("smu")
        assert lease is not None and lease.how in (Held.UNSAFE, Held.MAKING_SAFE)
        bench.simulators["smu"].moods.clear()
        lab.supervise()  # the next start goes on with it
        lab.ended("one")
        eventually(lambda: (one := leases(lab).of("smu")) is None or one.how is Held.UNSAFE)
    finally:
        up.close()
        lab.close()


def test_a_stop_that_may_be_too_short_for_the_instruments_is_said_at_the_start(tmp_path: Path, bench: Plugged) -> None:
    bench.write(smu="", printer="reconnect = 1")
    bench.toml.write_text(bench.toml.read_text().replace("safe_seconds = 3", "safe_seconds = 30", 1))
    lab = bench_lab(tmp_path / "jobs", bench, WEB_CONCURRENCY="1")
    up = Up(lab)
    try:
        eventually(up.answers)
        assert "Set STOP_SECONDS=36 at least" in up.log.read_text()
    finally:
        up.close()
        lab.close()


def test_what_a_shell_or_a_schedule_has_started_is_nobody_s_to_abandon(using: Lab) -> None:
    for caller in (
        administrator("shell", "http://lab.example"),
        administrator("schedule", "http://lab.example"),
    ):
        using.jobs.start(using.services["Uses"], caller.user, {"device": "smu"}, caller=caller)
        using.jobs.status(using.services["Uses"], caller.user, caller)
        assert using.store.polled_at(caller.user) is None
    using.jobs.start(using.services["Uses"], "wfm", {"device": "smu"}, caller=WORKFLOW_MANAGER)
    assert using.store.polled_at("wfm") is not None
