"""Who gets an instrument, who waits, and what those who wait are told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchlab import DRIVERS, Plugged, bench_lab, energised, leases, let_go
from lab import PATIENCE, Lab, eventually
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.store import supervisor_client
from labwaiter.store.leases import Held, Lease

RACER = """
import os, sys
from pathlib import Path
from labwaiter.store.leases import Leases
jobs, who = Path(sys.argv[1]), sys.argv[2]
leases, won = Leases(jobs), 0
sys.stdin.readline()
for turn in range(300):
    if who.startswith("job"):
        got = leases.take(who, ("smu", "relays"))
    else:
        lasts = turn % 3 == 0  # the others are over at once, and anybody's
        got = leases.reserve("smu", who, 60 if lasts else -1) is None and lasts
    if got:
        os.close(os.open(jobs / "inside", os.O_CREAT | os.O_EXCL))  # a second holder fails here
        os.unlink(jobs / "inside")
        won += 1
        for name in ("smu", "relays") if who.startswith("job") else ("smu",):
            assert leases.of(name) is not None
            leases.free(name)
print(won)
"""


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "instruments", *words]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


def page(lab: Lab, service_id: str) -> str:
    """The page, once the supervisor has told the place."""
    view = eventually(lambda: (v := lab.jobs.view(service_id, SHELL)).place and v)
    return render(view, lab.services[view.record.request.service])


def test_of_jobs_and_people_who_race_for_an_instrument_one_has_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), who],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("job1", "job2", "Ada", "Bob")
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = [int(racer.communicate(timeout=PATIENCE)[0]) for racer in racers]
    assert all(racer.returncode == 0 for racer in racers) and sum(won) > 0


def test_somebody_who_is_stopped_while_changing_a_lease_keeps_no_heater_on(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    pid = energised(using, "one")
    with leases(using).turn():  # and nothing more comes of it
        using.start("Uses", "two", device="relays")
        os.kill(pid, signal.SIGKILL)
        eventually(bench.simulators["smu"].is_safe)
        using.start("UsesNone", "three")
        using.ended("three")
        assert using.record("two").state is State.QUEUED
        refused = shell(using, "reserve", "printer")
        assert refused.returncode == 3 and "Another program is changing the leases" in refused.stderr
    energised(using, "two")


def test_people_who_reserve_while_jobs_come_never_share_with_one(using: Lab, bench: Plugged) -> None:
    for number in range(3):
        using.start("Uses", f"job{number}", device="analyser")
    reserved = 0
    for number in range(3):
        energised(using, f"job{number}")
        refused = shell(using, "reserve", "analyser", "--by", "Ada")
        assert refused.returncode == 1 and f"held by the execution job{number}" in refused.stderr
        let_go(using, f"job{number}")
        if shell(using, "reserve", "analyser", "--by", "Ada").returncode == 0:  # between two jobs, or never
            reserved += 1
            lease = leases(using).of("analyser")
            assert lease is not None and lease.how is Held.RESERVED
            shell(using, "reserve", "analyser", "--free")
    for number in range(3):
        assert using.ended(f"job{number}").state is State.COMPLETED


def test_who_waits_is_told_for_what_and_at_which_place(using: Lab) -> None:
    using.start("Uses", "has it", device="smu")
    energised(using, "has it")
    using.start("Uses", "other", device="printer")
    energised(using, "other")
    for name in ("first", "second"):
        using.start("Uses", name, device="smu")
    eventually(lambda: using.jobs.view("second", SHELL).place)
    assert "Waiting at place 1" in page(using, "first") and "smu is in use by Uses, for " in page(using, "first")
    assert "Waiting at place 2" in page(using, "second")
    assert using.record("second").state is State.QUEUED
    let_go(using, "has it")
    energised(using, "first")
    let_go(using, "first")
    energised(using, "second")


def test_a_job_gets_all_its_instruments_or_waits_and_nobody_waits_for_ever(using: Lab) -> None:
    using.start("Uses", "smu", device="smu")
    energised(using, "smu")
    using.start("UsesTwo", "both")
    using.start("Uses", "relays", device="relays")
    assert "1 waits for relays before it" in page(using, "relays")
    assert leases(using).of("relays") is None  # nothing is held while waiting
    let_go(using, "smu")
    energised(using, "both")
    assert using.record("relays").state is State.QUEUED
    let_go(using, "both")
    energised(using, "relays")
    using.start("UsesTwo", "both again")
    using.start("Uses", "smu again", device="smu")
    let_go(using, "relays")
    energised(using, "both again")
    let_go(using, "both again")
    energised(using, "smu again")


def test_jobs_that_need_two_in_a_circle_all_get_them(using: Lab) -> None:
    for number in range(4):
        using.start("UsesTwo", f"two{number}", first="smu", second="relays")
        using.start("Uses", f"one{number}", device="smu" if number % 2 else "relays")
    names = [f"{kind}{number}" for number in range(4) for kind in ("two", "one")]
    for name in names:
        let_go(using, name)
    for name in names:
        assert using.ended(name).state is State.COMPLETED
    eventually(lambda: leases(using).all() == {})


def test_who_waits_for_a_person_keeps_nobody_from_the_rest(using: Lab) -> None:
    assert "reserved until" in shell(using, "reserve", "relays", "--by", "Ada").stdout
    using.start("UsesTwo", "both")
    using.start("Uses", "smu", device="smu")
    energised(using, "smu")
    assert re.search("relays is reserved by Ada for [0-9]+ (min|h|d)[ a-z0-9]* more", page(using, "both"))
    assert shell(using, "reserve", "relays", "--free").stdout.startswith("relays is free. It was reserved by Ada until")
    let_go(using, "smu")
    energised(using, "both")


def test_a_reservation_that_runs_out_is_none(using: Lab) -> None:
    assert leases(using).reserve("smu", "Ada", 3600) is None
    using.start("Uses", "one", device="smu")
    assert "reserved by Ada" in page(using, "one")
    assert leases(using).reserve("smu", "Ada", 0.2) is None  # one's own may be changed
    energised(using, "one")
    held = leases(using).reserve("smu", "Ada", 60)
    assert held is not None and held.job == "one"


def test_what_an_operator_frees_goes_to_who_waits(using: Lab, bench: Plugged) -> None:
    leases(using).write(Lease("smu", Held.UNSAFE, "before", "It was silent."))
    using.start("Uses", "one", device="smu")
    assert "smu is unsafe and waits for an operator" in page(using, "one")
    assert shell(using, "safe", "smu").stdout == "smu: made safe and read back.\n"
    energised(using, "one")
    refused = shell(using, "safe", "smu")
    assert refused.returncode == 1 and "held by the execution one: abort that" in refused.stderr


def test_a_damaged_lease_is_unsafe_and_not_free(using: Lab) -> None:
    leases(using).write(Lease("smu", Held.RESERVED, why="Ada", until=time.time() + 60))
    path = using.root / ".labwaiter" / "leases" / "smu.json"
    for damage in ("", "{", "[]", '{"how": "held"', '{"instrument": "smu", "how": "reserved", "until": "noon"}'):
        path.write_text(damage)
        lease = leases(using).of("smu")
        assert lease is not None and lease.how is Held.UNSAFE and "damaged" in lease.why, damage
    using.start("Uses", "one", device="smu")
    assert "unsafe" in page(using, "one")
    assert shell(using, "safe", "smu").returncode == 0
    energised(using, "one")


def test_an_instrument_that_vanished_from_lab_toml_ends_who_waits_and_stays_unsafe(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "has it", device="smu")
    energised(using, "has it")
    using.start("Uses", "waits", device="smu")
    page(using, "waits")
    text = bench.toml.read_text()
    bench.toml.write_text(text.replace("[instruments.smu]", "[instruments.renamed]"))
    assert "the instrument smu is no longer in lab.toml" in using.ended("waits").why
    let_go(using, "has it")
    assert using.ended("has it").state is State.COMPLETED
    assert bench.simulators["smu"].is_safe()  # the job did that itself; nobody outside could ask
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "no longer in lab.toml" in lease.why
    assert "put it back there" in shell(using, "safe", "smu").stderr
    bench.toml.write_text(text)
    assert shell(using, "safe", "smu").returncode == 0


def test_a_mistake_in_lab_toml_is_said_and_nothing_is_guessed(using: Lab, bench: Plugged) -> None:
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    text = bench.toml.read_text()
    bench.toml.write_text(text + "\n[instruments.\n")
    let_go(using, "one")
    using.ended("one")
    lease = leases(using).of("smu")
    assert lease is not None and lease.how is Held.UNSAFE and "is no TOML" in lease.why


def test_a_mistake_in_env_that_is_made_meanwhile_leaves_nothing_on(bench: Plugged, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    using = bench_lab(tmp_path / "jobs", bench, LABWAITER_ENV=str(tmp_path / "env"))
    using.supervise()
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    (tmp_path / "env").write_text("PROT=8080\n")
    os.kill(using.running("one"), signal.SIGKILL)
    using.ended("one")
    eventually(lambda: leases(using).of("smu") is None)
    assert bench.simulators["smu"].is_safe()
    using.close()


def test_a_lease_of_a_job_that_is_over_can_be_freed_by_hand(using: Lab) -> None:
    using.start("Uses", "one", device="smu")
    let_go(using, "one")
    using.ended("one")
    leases(using).write(Lease("smu", Held.MAKING_SAFE, "one"))
    assert shell(using, "safe", "smu").returncode == 0 and leases(using).of("smu") is None


def test_a_stop_waits_until_what_a_dead_one_left_is_safe(using: Lab, bench: Plugged) -> None:
    assert supervisor_client.stop(using.settings, 30)
    leases(using).write(Lease("smu", Held.BY_JOB, "long gone"))
    bench.simulators["smu"].on = True  # type: ignore[attr-defined]
    bench.simulators["smu"].moods.add("late")
    started = using.supervise()
    started.terminate()
    started.wait(PATIENCE)
    assert bench.simulators["smu"].is_safe() or leases(using).of("smu")
    assert (lease := leases(using).of("smu")) is None or lease.how is Held.UNSAFE


@pytest.mark.parametrize("name", list(DRIVERS))
def test_the_page_of_a_lab_tells_no_caller_whose_execution_it_is(using: Lab, name: str) -> None:
    using.start("Uses", "secret-serviceID", device=name)
    energised(using, "secret-serviceID")
    using.start("Uses", "one", device=name)
    assert "secret" not in page(using, "one")


def test_a_job_whose_leases_cannot_be_read_is_settled_once_they_can(using: Lab) -> None:
    using.start("Uses", "one", device="smu")
    eventually(lambda: using.status_progress("one").stage == "energised")
    leases = using.store.layout.folder / "leases"
    leases.rename(leases.with_name("aside"))
    leases.touch()
    (using.folder("one") / "data" / "go").touch()
    eventually(lambda: using.store.end("one") is not None)
    eventually(lambda: "how can't be read now" in (using.root.parent / f"{using.root.name}.supervisor.log").read_text())
    leases.unlink()
    leases.with_name("aside").rename(leases)
    assert using.ended("one").state.value == "completed"
