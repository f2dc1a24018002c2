"""The verbs over instruments: how one stands, who may, and what is refused; no instrument is spoken to."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labwaiter.errors import InstrumentInUse, UnknownInstrument
from labwaiter.model.caller import SHELL, Caller, administrator
from labwaiter.settings import Settings, load
from labwaiter.store.leases import Held, Lease, Leases
from labwaiter.verbs.instruments import Holding, Instruments

TOML = """
[instruments.smu]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "/dev/null"
[instruments.bath]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "/dev/../dev/null"
[instruments.meter]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "/dev/zero"
"""
ADA, BOB = administrator("Ada"), administrator("Bob")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "lab.toml").write_text(TOML)
    names = {"LAB": "lab.toml", "WAITER_LOG_FOLDER": "jobs", "SERVICES": "services"}
    return load({name: str(tmp_path / path) for name, path in names.items()}, tmp_path / "env")


@pytest.fixture
def verbs(settings: Settings) -> Instruments:
    return Instruments(settings)


WORDS = [
    (Lease("smu", Held.BY_JOB, "job"), "id\n1", "held by the execution id\\n1"),
    (Lease("smu", Held.MAKING_SAFE, "job"), "id", "being made safe after the execution id"),
    (Lease("smu", Held.UNSAFE, "job", "It is silent."), "id", "unsafe since the execution id"),
    (Lease("smu", Held.UNSAFE, why="Its lease is damaged."), "", "unsafe"),
    (Lease("smu", Held.RESERVED, why="Ada"), "", "reserved by Ada"),
    (Lease("smu", Held.RESERVED, why=""), "", "reserved"),
    (Lease("smu", Held.RESERVED, why="A" * 99), "", f"reserved by {'A' * 60}…"),
]


@pytest.mark.parametrize(("lease", "service_id", "words"), WORDS)
def test_how_one_stands(lease: Lease, service_id: str, words: str) -> None:
    assert Holding(lease, service_id).words == words


def test_a_reservation_has_its_end() -> None:
    assert re.fullmatch(
        r"reserved by Ada until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        Holding(Lease("smu", Held.RESERVED, why="Ada", until=1.8e9)).words,
    )


HELD = [
    # the leases; then of each instrument the name under which it is held, and whether anybody has it
    ([], {"smu": ("smu", False), "bath": ("bath", False), "meter": ("meter", False)}),
    (["smu"], {"smu": ("smu", True), "bath": ("smu", True), "meter": ("meter", False)}),
    (["bath", "smu"], {"smu": ("smu", True), "bath": ("bath", True), "meter": ("meter", False)}),
    (["gone"], {"smu": ("smu", False), "bath": ("bath", False), "meter": ("meter", False), "gone": ("gone", True)}),
]


@pytest.mark.parametrize(("names", "states"), HELD)
def test_who_holds_what_and_under_which_name(
    verbs: Instruments, names: list[str], states: dict[str, tuple[str, bool]]
) -> None:
    for name in names:
        Leases(verbs.settings.jobs_folder).write(Lease(name, Held.UNSAFE, why="It is silent."))
    listed = verbs.list(SHELL)
    assert {state.name: (state.held_as, state.holding is not None) for state in listed} == states
    assert [state.entry is None for state in listed] == [state.name == "gone" for state in listed]
    assert [holding.lease.instrument for holding in verbs.not_safe()] == sorted(names)
    assert {state.name: state.twins for state in listed if state.name != "gone"} == {
        "smu": {"bath"},
        "bath": {"smu"},
        "meter": frozenset(),
    }


def test_a_reservation_is_the_caller_s_and_may_be_prolonged_by_nobody_else(verbs: Instruments) -> None:
    first = verbs.reserve("smu", 60, ADA).lease.until or 0.0
    assert (verbs.reserve("smu", 600, ADA).lease.until or 0.0) > first > time.time()
    with pytest.raises(InstrumentInUse, match="^smu can't be reserved now: it is reserved by Ada until .*[.]$"):
        verbs.reserve("smu", 60, BOB)
    with pytest.raises(InstrumentInUse, match="^bath can't be reserved now: smu, the same device, is reserved by Ada"):
        verbs.reserve("bath", 60, ADA)
    before = verbs.release("smu", BOB)
    assert before is not None and before.lease.why == "Ada" and verbs.release("smu", SHELL) is None


@pytest.mark.parametrize("how", [Held.BY_JOB, Held.MAKING_SAFE, Held.UNSAFE])
def test_what_is_no_reservation_is_not_given_back(verbs: Instruments, how: Held) -> None:
    lease = Lease("smu", how, "job", "It is silent.")
    Leases(verbs.settings.jobs_folder).write(lease)
    with pytest.raises(InstrumentInUse, match="^smu isn't reserved: it is "):
        verbs.release("smu", SHELL)
    assert Leases(verbs.settings.jobs_folder).of("smu") == lease


CALLS: list[Callable[[Instruments, str], Any]] = [
    lambda verbs, name: verbs.check([name], SHELL),
    lambda verbs, name: verbs.reserve(name, 60, SHELL),
    lambda verbs, name: verbs.release(name, SHELL),
    lambda verbs, name: verbs.make_safe([name], SHELL),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_name_that_is_none_is_refused_at_once(verbs: Instruments, call: Callable[[Instruments, str], Any]) -> None:
    with pytest.raises(UnknownInstrument, match="lab.toml has no instrument ../smu; there are: smu, bath, meter[.]"):
        call(verbs, "../smu")


def test_a_mistake_in_lab_toml_is_told_with_what_follows_of_it(verbs: Instruments) -> None:
    assert verbs.mistake() == ""
    Leases(verbs.settings.jobs_folder).write(Lease("smu", Held.UNSAFE, why="It is silent."))
    verbs.settings.lab.write_text("[devices.smu]\n")
    assert verbs.mistake().endswith(
        "[machines.NAME]. Until that is mended, no service can be started that takes an instrument."
    )
    assert [holding.words for holding in verbs.not_safe()] == ["unsafe"]


def test_none_says_why(verbs: Instruments, settings: Settings) -> None:
    settings.lab.write_text("")
    assert verbs.list(SHELL) == () and verbs.why_none().endswith(
        "lab.toml lists no instrument. LAB names another file."
    )
    settings.lab.unlink()
    assert verbs.list(SHELL) == () and "is not there, so there is no instrument. LAB names" in verbs.why_none()


def test_of_two_who_reserve_one_device_under_its_two_names_at_once_one_has_it(settings: Settings) -> None:
    for _ in range(20):
        both = threading.Barrier(2)
        had = []

        def take(name: str, who: Caller, both: threading.Barrier = both, had: list[str] = had) -> None:
            verbs = Instruments(settings)
            both.wait()
            with contextlib.suppress(InstrumentInUse):
                verbs.reserve(name, 60, who)
                had.append(name)

        threads = [threading.Thread(target=take, args=pair) for pair in (("smu", ADA), ("bath", BOB))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(had) == 1 and list(Leases(settings.jobs_folder).all()) == had
        Instruments(settings).release(had[0], ADA)
