"""Instruments of another machine, in somebody's hands and stopped: real machines, a real Redis, real ptys.

What is believed is the simulators' own record, not ours.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from asking import each_second
from benchlab import Plugged, leases, plugged
from fleetlab import Fleet, captured
from lab import PATIENCE, eventually, wait_gone
from labwaiter.errors import (
    InstrumentInUse,
    InvalidParameter,
    JobFailed,
    MissingParameter,
    NotInHand,
    NotPermitted,
    ServiceError,
    Unavailable,
    UnknownInstrument,
)
from labwaiter.fleet import open_direct_control, open_instruments, operations, rpc
from labwaiter.fleet.calls import Notify, NumberedCall, Operate
from labwaiter.fleet.instruments import FleetControl, FleetInstruments
from labwaiter.fleet.signing import Seals
from labwaiter.model.caller import SHELL, Caller, Identity, Role
from labwaiter.model.direct_control import UNATTENDED
from labwaiter.settings import load
from labwaiter.store.audit import Audit
from labwaiter.verbs.control import InHand

pytestmark = pytest.mark.slow
ADA = Caller(Identity("ada", "optics", Role.OPERATOR), face="page", address="192.0.2.7", token="hers alone")
BOB = Caller(Identity("bob", "optics", Role.OPERATOR), face="page")
GUEST = Caller(Identity("guy", "optics", Role.GUEST), face="page")
ANSWERS = 8.0  # s in which a STOP answers
HOMES = {"smu": "north", "printer": "north", "relays": "south", "analyser": "south"}


class Across:
    """Two machines with two instruments each, and the verbs of a third one, that has none."""

    def __init__(self, fleet: Fleet, bench: Plugged) -> None:
        self.fleet, self.bench = fleet, bench
        settings = fleet.jobs.settings
        self.control = open_direct_control(settings, fleet.jobs)
        self.instruments = open_instruments(settings, fleet.jobs)
        assert isinstance(self.control, FleetControl) and isinstance(self.instruments, FleetInstruments)

    def took(self, name: str = "smu", caller: Caller = ADA) -> InHand:
        held = self.control.take(name, caller, wait=PATIENCE)
        assert held.panel is not None and held.is_own
        return held

    def live(self, name: str = "smu", caller: Caller = ADA) -> InHand:
        """Take one in hand and have it do what could do harm."""
        held = self.took(name, caller)
        if name == "smu":
            self.control.set(name, "volts", 2, caller)
            self.control.do(name, "output", {"on": "true"}, caller)
        else:
            self.control.do(name, "switch", {"number": 3, "on": True}, caller)
        assert not self.bench.simulators[name].is_safe()
        return held

    def asking(self, *names: str) -> AbstractContextManager[None]:
        """As a page that is open."""
        return each_second(lambda name: self.control.look(name, ADA), names, ServiceError)

    def is_free(self, name: str) -> None:
        eventually(lambda: leases(self.fleet.labs[HOMES[name]]).of(name) is None)

    def worker(self, name: str) -> int:
        process = self.fleet.machines[name].process
        assert process is not None
        return process.pid

    def kill_worker(self, name: str) -> None:
        os.kill(self.worker(name), signal.SIGKILL)
        process = self.fleet.machines[name].process
        assert process is not None
        process.wait(PATIENCE)

    def audit(self, machine: str, act: str) -> list[dict[str, Any]]:
        return [line for line in Audit(self.fleet.labs[machine].store.layout).entries() if line["event"] == act]


@pytest.fixture
def across(make_fleet: Callable[..., Fleet], tmp_path: Path) -> Iterator[Across]:
    with plugged(tmp_path / "bench") as bench:
        bench.write(**{name: f'machine = "{machine}"' for name, machine in HOMES.items()})
        fleet = make_fleet("north", "south", lab=bench.toml.read_text())
        fleet.start()
        yield Across(fleet, bench)
        fleet.close()  # before the devices are unplugged


# -- in hand --------------------------------------------------------------------------------------


def test_an_instrument_of_another_machine_is_taken_read_set_and_let_go(across: Across) -> None:
    control = across.control
    held = across.took()
    assert held.panel is not None and "SMU" in held.identity
    done = control.set("smu", "volts", "1.5", ADA)
    assert done.done and done.read is not None and done.read["value"] == 1.5 and done.read["unit"] == "V"
    assert control.do("smu", "output", {"on": "true"}, ADA).done
    read = eventually(lambda: (r := control.look("smu", ADA).readings["current"]) and "value" in r and r)
    assert read["value"] == pytest.approx(0.0015, rel=0.01) and read["unit"] == "A"
    with pytest.raises(InvalidParameter, match="smu: volts must be between -210 and 210 V, not “500”"):
        control.set("smu", "volts", 500, ADA)
    with pytest.raises(InvalidParameter, match="smu has no control “current”; there are: volts, compliance"):
        control.set("smu", "current", 1, ADA)
    assert control.release("smu", ADA)
    across.bench.assert_made_safe("smu")
    across.is_free("smu")
    assert control.standing("smu", ADA).free
    # on its machine it is remembered who did it, and by whose face; her token went nowhere
    (took,) = across.audit("north", "take in hand")
    assert (took["user"], took["machine"], took["address"], took["face"]) == ("ada", "face", "192.0.2.7", "page")
    assert {line["user"] for act in ("set", "do", "let go") for line in across.audit("north", act)} == {"ada"}
    assert across.audit("south", "take in hand") == []
    assert "hers alone" not in across.fleet.machines["north"].log.read_text()


def test_the_second_operator_hears_whose_it_is_and_asks_for_it(across: Across) -> None:
    across.live()
    other = open_direct_control(across.fleet.face("other").settings)  # at another machine still
    with pytest.raises(InstrumentInUse, match="smu can't be taken: it is in the hands of ada"):
        other.take("smu", BOB)
    with pytest.raises(InstrumentInUse, match="smu is in the hands of ada: ask for it, or wait"):
        other.set("smu", "volts", 3, BOB)
    told = other.ask_for("smu", "ten minutes, please", BOB)
    assert told.by == "ada" and not told.is_own
    asked = eventually(lambda: across.control.look("smu", ADA).asked)
    assert [(one.by, one.text) for one in asked] == [("bob", "ten minutes, please")]
    for guest in (lambda: other.take("relays", GUEST), lambda: other.ask_for("smu", "", GUEST)):
        with pytest.raises(NotPermitted):
            guest()
    with pytest.raises(NotPermitted, match="let go instruments that somebody else has in hand"):
        other.release("smu", BOB)
    with pytest.raises(NotInHand, match="relays is in nobody's hands, it is free: take it first"):
        other.set("relays", "x", 1, BOB)
    assert across.control.release("smu", ADA)
    assert other.take("smu", BOB, wait=PATIENCE).is_own


def test_what_nobody_asks_for_any_more_is_made_safe_by_its_own_machine_s_clock(across: Across) -> None:
    held = across.live()
    with across.asking("smu"):
        time.sleep(UNATTENDED + 2)  # it is looked at each second: it stays
        assert not across.bench.simulators["smu"].is_safe()
    began = time.monotonic()
    eventually(lambda: across.bench.simulators["smu"].is_safe(), seconds=UNATTENDED + PATIENCE)
    assert time.monotonic() - began > UNATTENDED - 3
    across.is_free("smu")
    assert "asked" in across.control.why_ended("smu", held.service_id)
    with pytest.raises(NotInHand):
        across.control.look("smu", ADA)


@pytest.mark.parametrize("what", ["Redis", "worker"])
def test_the_way_there_breaks_and_it_is_made_safe_all_the_same(across: Across, what: str) -> None:
    across.live()
    with across.asking("smu"):  # in vain from now on
        if what == "Redis":
            across.fleet.redis.kill()
        else:
            across.kill_worker("north")
        eventually(lambda: across.bench.simulators["smu"].is_safe(), seconds=UNATTENDED + PATIENCE)
    across.is_free("smu")
    with pytest.raises(Unavailable):
        across.control.take("smu", ADA)
    if what == "Redis":
        across.fleet.redis.start()
    else:
        across.fleet.machines["north"].start()
    eventually(lambda: can(lambda: across.took()))
    across.control.release("smu", ADA)


def can(do: Callable[[], object]) -> bool:
    try:
        do()
    except (Unavailable, NotInHand):
        return False
    return True


def test_marks_that_anybody_may_write_into_redis_keep_nothing_in_hand(across: Across) -> None:
    held, over = across.live(), Event()

    def mark() -> None:
        while not over.wait(0.2):
            across.fleet.redis.client.sadd("lab:polled:north", held.service_id)

    thread = Thread(target=mark)
    thread.start()
    try:
        eventually(lambda: across.bench.simulators["smu"].is_safe(), seconds=UNATTENDED + PATIENCE)
    finally:
        over.set()
        thread.join()


def test_the_supervisor_of_its_machine_is_killed_and_it_stays_in_hand(across: Across) -> None:
    across.live()
    with across.asking("smu"):
        supervisor = across.fleet.labs["north"].supervisor
        os.kill(supervisor, signal.SIGKILL)
        wait_gone(supervisor)
        time.sleep(UNATTENDED + 3)
        assert across.control.look("smu", ADA).is_own and not across.bench.simulators["smu"].is_safe()
    assert eventually(lambda: across.control.release("smu", ADA))
    across.bench.assert_made_safe("smu")


def test_a_machine_that_is_not_heard_of_is_told_as_such_at_once(across: Across) -> None:
    eventually(lambda: not across.instruments.list(ADA)[0].far)  # it has told of them
    across.kill_worker("north")
    eventually(lambda: "was last heard of" in across.instruments.list(ADA)[0].far, seconds=PATIENCE)
    began = time.monotonic()
    for act in (
        lambda: across.control.take("smu", ADA),
        lambda: across.instruments.take_out("smu", "new fuse", ADA),
        lambda: across.instruments.upkeep("smu", ADA),
    ):
        with pytest.raises(Unavailable, match=r"north was last heard of .* ago.*[Nn]othing was done"):
            act()
    assert time.monotonic() - began < 3
    (told,) = across.instruments.check(["smu"], ADA)
    assert not told.ok and "was last heard of" in told.words
    states = {state.name: state for state in across.instruments.list(ADA)}
    assert "north was last heard of" in states["smu"].words and "It was free" in states["smu"].words
    assert states["relays"].words == "free" and states["relays"].machine == "south"


# -- STOP -----------------------------------------------------------------------------------------


def test_STOP_of_the_lab_reaches_every_machine_and_tells_what_each_read_back(across: Across) -> None:
    across.live("smu")
    across.live("relays")
    began = time.monotonic()
    told = {one.name: one for one in across.instruments.stop((), BOB)}
    assert time.monotonic() - began < ANSWERS
    assert set(told) == set(HOMES) and {name: one.machine for name, one in told.items()} == HOMES
    assert all(one.safe for one in told.values()), told
    assert "What used it was ended; it was made safe and read back" in told["smu"].why
    assert "Nobody used it" in told["printer"].why
    for name in ("smu", "relays"):
        across.bench.assert_made_safe(name)
    with pytest.raises(InstrumentInUse, match="relays can't be taken: it is stopped by bob"):
        across.control.take("relays", ADA)
    states = {state.name: state for state in across.instruments.list(ADA)}
    assert all(state.out is not None and state.out.stopped for state in states.values())
    for name in HOMES:
        was = across.instruments.put_back(name, ADA)
        assert was is not None and was.by == "bob"
    across.took("relays")
    for machine in ("north", "south"):
        assert {line["user"] for line in across.audit(machine, "STOP")} == {"bob"}


def test_STOP_of_one_leaves_the_others(across: Across) -> None:
    across.live("smu")
    across.live("relays")
    with across.asking("smu", "relays"):
        (told,) = across.instruments.stop(["relays"], ADA)
        assert told.safe and told.machine == "south"
        across.bench.assert_made_safe("relays")
        assert not across.bench.simulators["smu"].is_safe()
        with pytest.raises(UnknownInstrument, match="lab.toml has no instrument kettle"):
            across.instruments.stop(["kettle", "smu"], ADA)
        eventually(lambda: across.bench.simulators["smu"].is_safe())
    with pytest.raises(NotPermitted):
        across.instruments.stop((), GUEST)


def test_STOP_waits_for_no_other_call(across: Across) -> None:
    across.live("smu")
    jobs, client = across.fleet.jobs, across.fleet.redis.client
    jobs.start(across.fleet.services["Uses"], "talks", {"device": "printer"}, SHELL)
    eventually(lambda: across.fleet.state("talks") == "running")
    store = jobs.records.store  # type: ignore[attr-defined]
    now = store.now()
    many = [
        store.seals.seal(
            "errand north",
            NumberedCall("notify", Notify("talks", "x"), f"{n:032x}", now, now + 60, f"lab:reply:{n}").text,
        )
        for n in range(2000)  # nobody replies: each takes a second of one of a hundred threads
    ]
    client.rpush("lab:errands:north", *many)
    began = time.monotonic()
    (told,) = across.instruments.stop(["smu"], ADA)
    assert told.safe and time.monotonic() - began < ANSWERS
    assert client.llen("lab:errands:north") > 500
    client.delete("lab:errands:north")


def test_STOP_is_honest_where_a_machine_is_not_heard_of_and_done_once_it_is(across: Across) -> None:
    across.live("relays")
    across.live("smu")
    with across.asking("smu", "relays"):
        across.kill_worker("south")
        began = time.monotonic()
        told = {one.name: one for one in across.instruments.stop((), ADA)}
        assert time.monotonic() - began < ANSWERS
        assert told["smu"].safe and not told["relays"].safe
        assert "STOP it there!" in told["relays"].why and "south" in told["relays"].why
        across.bench.assert_made_safe("smu")
        across.fleet.machines["south"].start()
        eventually(lambda: across.bench.simulators["relays"].is_safe())

    def is_stopped() -> bool:
        states = {state.name: state for state in across.instruments.list(ADA)}
        return states["relays"].out is not None and states["relays"].out.stopped

    eventually(is_stopped)


def test_STOP_works_on_its_own_machine_while_Redis_is_away_or_hangs(across: Across) -> None:
    across.live("smu")
    north = open_instruments(load(across.fleet.machines["north"].environment))
    for away in (across.fleet.redis.pause, across.fleet.redis.kill):
        away()
        began = time.monotonic()
        told = {one.name: one for one in north.stop((), ADA)}
        assert time.monotonic() - began < ANSWERS
        assert told["smu"].safe and told["printer"].safe
        assert not told["relays"].safe and "STOP it there!" in told["relays"].why
        across.bench.assert_made_safe("smu")


# -- upkeep ---------------------------------------------------------------------------------------


def test_upkeep_of_another_machine_s_instrument(across: Across) -> None:
    verbs = across.instruments
    with pytest.raises(MissingParameter, match="Say why"):
        verbs.take_out("relays", " ", ADA)
    out = verbs.take_out("relays", "new relay 3", ADA)
    assert out.words == "out of service: new relay 3 (ada)"
    verbs.note("relays", "ordered", ADA)
    told = verbs.upkeep("relays", ADA)
    assert told.out == out and [(one.event, one.about.get("text")) for one in told.log] == [
        ("out of service", "new relay 3"),
        ("note", "ordered"),
    ]
    states = {state.name: state for state in verbs.list(ADA)}  # told before the answer
    assert states["relays"].out == out
    assert verbs.put_back("relays", ADA) == out
    held = verbs.reserve("relays", 60, ADA)
    assert held.words.startswith("reserved by ada until")
    with pytest.raises(InstrumentInUse, match="reserved by ada"):
        verbs.reserve("relays", 60, BOB)
    released = verbs.release("relays", BOB)
    assert released is not None and released.lease.why == "ada"
    (answer,) = verbs.check(["relays"], ADA)
    assert answer.ok and answer.name == "relays"
    (safe,) = verbs.make_safe(["relays"], ADA)
    assert safe.safe
    with pytest.raises(UnknownInstrument, match="kettle"):
        verbs.take_out("kettle", "x", ADA)


# -- forged and replayed ---------------------------------------------------------------------------


def test_what_was_captured_and_what_was_forged_is_done_by_nobody(across: Across) -> None:
    client, log = across.fleet.redis.client, across.fleet.machines["north"].log
    across.live()
    (order,) = captured(lambda: across.control.set("smu", "volts", 1, ADA))
    (stop,) = captured(lambda: across.instruments.stop(["smu"], ADA))
    for name in ("smu",):
        across.instruments.put_back(name, ADA)
    across.live()
    with across.asking("smu"):
        client.rpush("lab:errands:north", order)
        client.rpush("lab:stops:north", stop)
        eventually(lambda: log.read_text().count("was taken before, or has no number: it is refused") == 2)
        # to another machine, altered, or signed by nobody who knows the secret
        text, signature = json.loads(order)
        client.rpush("lab:errands:south", order)
        client.rpush("lab:errands:north", json.dumps([text.replace("volts", "amps"), signature]))
        forged = Seals("lab", "another secret, as long").seal("errand north", text)
        client.rpush("lab:errands:north", forged)
        client.rpush("lab:stops:north", forged)
        eventually(lambda: log.read_text().count("was not signed by this lab for this machine") == 3)
        eventually(lambda: "was not signed by" in across.fleet.machines["south"].log.read_text())
        assert across.control.look("smu", ADA).is_own
        assert across.control.look("smu", ADA).readings["volts"]["value"] == 2


def test_an_answer_that_the_machine_did_not_sign_is_not_believed(across: Across) -> None:
    """Who may write into Redis can say “read back safe” to nobody."""
    across.kill_worker("north")
    client = across.fleet.redis.client

    def lie() -> None:
        item = client.blpop("lab:stops:north", timeout=PATIENCE)
        call = json.loads(json.loads(item[1])[0])
        result = json.dumps([{"name": "smu", "safe": True, "why": "It was read back."}])
        client.rpush(call["reply"], json.dumps({"result": result}))

    thread = Thread(target=lie)
    thread.start()
    (told,) = across.instruments.stop(["smu"], ADA)
    thread.join()
    assert not told.safe and "was not signed by it" in told.why and "STOP it there!" in told.why


def test_a_machine_judges_once_more_what_a_face_let_through(across: Across) -> None:
    store = across.fleet.jobs.records.store  # type: ignore[attr-defined]

    def ask(name: str, inputs: dict[str, Any], caller: Caller = ADA) -> Any:
        call = Operate(name, json.dumps(inputs), operations.who(caller, "face"))
        return rpc.ask(store, "north", call, 10.0)

    with pytest.raises(NotPermitted):
        ask("take", {"name": "smu", "seconds": 60.0, "wait": 5.0}, GUEST)
    with pytest.raises(UnknownInstrument, match="relays is on the machine south"):
        ask("take", {"name": "relays", "seconds": 60.0, "wait": 5.0})
    for inputs in ({"name": "smu"}, {"name": 3, "seconds": 60.0, "wait": 5.0}, {"here": {}, "name": "smu"}):
        with pytest.raises(InvalidParameter, match="nothing was done"):
            ask("take", inputs)
    for name in ("__init__", "carry_out", "fly"):
        with pytest.raises(Unavailable, match="does not know how to do that"):
            ask(name, {})
    with pytest.raises(UnknownInstrument):
        ask("note", {"name": "../smu", "text": "x"})
    assert leases(across.fleet.labs["north"]).all() == {}
    with pytest.raises((JobFailed, InvalidParameter)):
        ask("take", {"name": "smu", "seconds": -1.0, "wait": 5.0})
    assert across.fleet.jobs.list(SHELL) == []
