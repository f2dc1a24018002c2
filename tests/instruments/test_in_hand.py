"""An instrument in somebody's hands: whose it is, what it is set to, and that it is safe whatever dies.

What is believed is the simulator's own record, not ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from asking import each_second
from benchlab import Oven, Plugged, bench_lab, energised, leases, let_go
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.errors import InstrumentInUse, InvalidParameter, JobFailed, NotInHand, NotPermitted, UnknownInstrument
from labwaiter.model.caller import SHELL, Caller, Identity, Role, administrator
from labwaiter.model.direct_control import UNATTENDED
from labwaiter.model.panel import What
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.store import supervisor_client
from labwaiter.store.leases import Held
from labwaiter.store.names import folder_name
from labwaiter.verbs.control import DirectControl, InHand
from labwaiter.verbs.instruments import Instruments


def somebody(name: str, role: Role = Role.OPERATOR) -> Caller:
    return Caller(Identity(name, "optics", role), face="page")


ADA, BOB = somebody("ada"), somebody("bob")
USER, GUEST = somebody("uma", Role.USER), somebody("guy", Role.GUEST)


def took(lab: Lab, name: str = "smu", caller: Caller = ADA, **more: Any) -> InHand:
    held = DirectControl(lab.settings).take(name, caller, wait=PATIENCE, **more)
    assert held.panel is not None and held.is_own
    return held


def asking(lab: Lab, *names: str, caller: Caller = ADA) -> AbstractContextManager[None]:
    """As a page that is open."""
    control = DirectControl(lab.settings)
    return each_second(lambda name: control.look(name, caller), names, NotInHand)


def live(lab: Lab, bench: Plugged, name: str, caller: Caller = ADA) -> InHand:
    """Take one in hand and have it do what could do harm."""
    held, control = took(lab, name, caller), DirectControl(lab.settings)
    if name == "smu":
        control.set(name, "volts", 2, caller, wait=PATIENCE)
        control.do(name, "output", {"on": "true"}, caller, wait=PATIENCE)
    elif name == "relays":
        control.do(name, "switch", {"number": 3, "on": True}, caller, wait=PATIENCE)
    elif name == "printer":
        control.set(name, "hotend_target", 200, caller, wait=PATIENCE)
    assert not bench.simulators[name].is_safe()
    return held


def is_free(lab: Lab, name: str) -> None:
    eventually(lambda: leases(lab).of(name) is None)


# -- what can be done ------------------------------------------------------------------------------


def test_what_a_driver_declares_is_read_set_and_done(using: Lab, bench: Plugged) -> None:
    control, held = DirectControl(using.settings), took(using)
    assert held.panel is not None and "SMU" in held.identity
    assert [item.name for item in held.panel.of(What.CONTROL)] == ["volts", "compliance"]
    done = control.set("smu", "volts", "1.5", ADA, wait=PATIENCE)
    assert done.done and done.read is not None and done.read["value"] == 1.5 and done.read["unit"] == "V"
    assert control.do("smu", "output", {"on": "true"}, ADA, wait=PATIENCE).done
    read = eventually(lambda: (r := control.look("smu", ADA).readings["current"]) and "value" in r and r)
    assert read["value"] == pytest.approx(0.0015, rel=0.01) and read["unit"] == "A" and time.time() - read["at"] < 60
    assert control.release("smu", ADA, wait=PATIENCE)
    bench.assert_made_safe("smu")
    assert leases(using).of("smu") is None


@pytest.mark.parametrize(
    ("name", "item", "value", "why"),
    [
        ("smu", "volts", 500, "smu: volts must be between -210 and 210 V, not “500”."),
        ("smu", "volts", "much", "smu: volts must be a number, not “much”."),
        ("smu", "current", 1, "smu has no control “current”; there are: volts, compliance."),
        ("printer", "hotend_target", 276, "printer: hotend_target must be between 0 and 275 °C, not “276”."),
    ],
)
def test_what_is_over_a_limit_never_reaches_the_line(
    using: Lab, bench: Plugged, name: str, item: str, value: Any, why: str
) -> None:
    held, control = took(using, name), DirectControl(using.settings)
    begun, folder = bench.count(name), using.folder(held.service_id)
    with pytest.raises(InvalidParameter) as refused:
        control.set(name, item, value, ADA)
    assert refused.value.message == why
    assert not (folder / "notifications.txt").exists() and bench.count(name) == begun


def test_each_of_our_drivers_shows_what_it_has(using: Lab, bench: Plugged) -> None:
    control = DirectControl(using.settings)
    for name, expected in {
        "relays": {"switch": What.ACTION, "switched_on": What.READING},
        "printer": {"hotend": What.READING, "hotend_target": What.CONTROL, "home": What.ACTION},
        "analyser": {"co2": What.READING, "pressure": What.READING, "zero": What.ACTION},
    }.items():
        held = took(using, name)
        assert held.panel is not None
        found = {item.name: item.what for item in held.panel.items}
        assert expected.items() <= found.items(), found
        readings = eventually(lambda name=name: control.look(name, ADA).readings)  # type: ignore[misc]
        assert all("value" in read for read in readings.values()), readings
        assert control.release(name, ADA, wait=PATIENCE)
    with pytest.raises(UnknownInstrument, match="no instrument nothing; there are: smu"):
        control.look("nothing", ADA)
    with pytest.raises(NotInHand, match="relays is in nobody's hands, it is free: take it first"):
        control.set("relays", "switch", 1, ADA)


def test_another_librarys_driver_shows_what_lab_toml_lists(tmp_path: Path) -> None:
    with_oven = Plugged(tmp_path / "bench")
    oven = Oven()
    with_oven.host.plug(with_oven.folder / "oven", oven)
    services = tmp_path / "jobs.services"
    lab = bench_lab(tmp_path / "jobs", with_oven)
    (services / "_foreign.py").write_text(FOREIGN)
    with with_oven.toml.open("a") as toml:
        toml.write(
            f'[instruments.oven]\ndriver = "_foreign:TheirOven"\nport = "{with_oven.folder / "oven"}"\n'
            'safe = "_foreign:off"\nsafe_seconds = 3\n'
            'panel = { readings = { temperature = "°C" }, actions = ["heat"],'
            ' controls = { setpoint = { low = 20, high = 90, unit = "°C" } } }\n'
        )
    lab.supervise()
    try:
        control, _ = DirectControl(lab.settings), took(lab, "oven")
        with pytest.raises(InvalidParameter, match="between 20 and 90 °C"):
            control.set("oven", "setpoint", 91, ADA)
        assert control.set("oven", "setpoint", 60, ADA, wait=PATIENCE).read["value"] == 60  # type: ignore[index]
        assert control.do("oven", "heat", {}, ADA, wait=PATIENCE).done
        assert oven.setpoint == 60 and oven.heats == "1"
        assert control.release("oven", ADA, wait=PATIENCE) and oven.is_safe()
    finally:
        lab.close()
        with_oven.host.close()


FOREIGN = """
import serial


class TheirOven:
    def __init__(self, port, **line):
        self._serial = serial.Serial(port, timeout=2)

    def _ask(self, text):
        self._serial.write(text.encode() + b"\\n")
        return self._serial.readline().decode().strip()

    temperature = property(lambda self: float(self._ask("TEMP?")))
    setpoint = property(
        lambda self: float(self._ask("SET?")), lambda self, value: self._serial.write(f"SET {value}\\n".encode())
    )

    def heat(self):
        self._serial.write(b"HEAT 1\\n")

    def close(self):
        self._serial.close()


def off(oven):
    oven._serial.write(b"HEAT 0\\n")
    return oven._ask("HEAT?") == "0"
"""


# -- whose it is -----------------------------------------------------------------------------------


def test_the_second_hears_whose_it_is_and_asks_for_it(using: Lab, bench: Plugged) -> None:
    control, _ = DirectControl(using.settings), took(using)
    with pytest.raises(InstrumentInUse, match="smu can't be taken: it is in the hands of ada since"):
        control.take("smu", BOB)
    with pytest.raises(InstrumentInUse, match="smu is in the hands of ada: ask for it, or wait"):
        control.set("smu", "volts", 1, BOB)
    with pytest.raises(NotPermitted):
        control.release("smu", BOB)
    assert control.ask_for("smu", "ten minutes, please", BOB).by == "ada"
    asked = eventually(lambda: control.look("smu", ADA).asked)
    assert (asked[0].by, asked[0].text) == ("bob", "ten minutes, please")
    assert not control.look("smu", BOB).is_own
    assert control.release("smu", administrator("root"), wait=PATIENCE)


def test_a_job_has_it_and_a_job_waits_for_it(using: Lab, bench: Plugged) -> None:
    control = DirectControl(using.settings)
    using.start("Uses", "one", device="smu")
    energised(using, "one")
    with pytest.raises(InstrumentInUse, match="smu can't be taken: it is held by the execution one"):
        control.take("smu", ADA)
    let_go(using, "one")
    assert using.ended("one").state is State.COMPLETED
    is_free(using, "smu")
    took(using)
    with asking(using, "smu"):
        using.start("Uses", "two", device="smu")
        view = eventually(lambda: (v := using.jobs.view("two", SHELL)).holders and v)
        assert "smu is in use by ada, by hand" in render(view, using.services["Uses"])
        assert control.release("smu", ADA, wait=PATIENCE)
    energised(using, "two")
    let_go(using, "two")
    assert using.ended("two").state is State.COMPLETED


def test_what_one_has_reserved_is_theirs_to_take_and_nobody_elses(using: Lab, bench: Plugged) -> None:
    control, verbs = DirectControl(using.settings), Instruments(using.settings)
    verbs.reserve("smu", 600, ADA)
    with pytest.raises(InstrumentInUse, match="it is reserved by ada"):
        control.take("smu", BOB)
    took(using)
    assert control.release("smu", ADA, wait=PATIENCE)


def test_users_take_nothing_and_stop_all_and_guests_only_look(using: Lab, bench: Plugged) -> None:
    control, verbs = DirectControl(using.settings), Instruments(using.settings)
    live(using, bench, "smu")
    for nobody in (USER, GUEST):
        with pytest.raises(NotPermitted):
            control.take("relays", nobody)
        with pytest.raises(NotPermitted):
            control.set("smu", "volts", 1, nobody)
        assert control.look("smu", nobody).by == "ada"
    with pytest.raises(NotPermitted):
        verbs.stop(["smu"], GUEST)
    with pytest.raises(NotPermitted):
        verbs.put_back("smu", USER)
    assert [result.safe for result in verbs.stop(["smu"], USER, wait=PATIENCE)] == [True]
    bench.assert_made_safe("smu")


def test_who_may_send_messages_to_executions_sets_nothing_by_that(using: Lab, bench: Plugged) -> None:
    held = took(using)
    with pytest.raises(InvalidParameter, match="takes no messages"):
        using.jobs.notify(None, held.service_id, '{"set": "volts", "value": 1}', USER)


def test_it_needs_no_place_among_the_running(tmp_path: Path, bench: Plugged) -> None:
    lab = bench_lab(tmp_path / "full", bench, MAX_RUNNING="1")
    lab.supervise()
    try:
        lab.start("Uses", "one", device="relays")
        energised(lab, "one")
        took(lab)
        lab.start("Uses", "two", device="relays")
        let_go(lab, "one")
        assert lab.ended("one").state is State.COMPLETED
        with asking(lab, "smu"):
            energised(lab, "two")  # nor does it take one
            let_go(lab, "two")
            assert lab.ended("two").state is State.COMPLETED
    finally:
        lab.close()


# -- endings ---------------------------------------------------------------------------------------


def test_fifteen_seconds_after_its_holder_is_gone_it_is_safe(using: Lab, bench: Plugged) -> None:
    began = time.monotonic()
    held = live(using, bench, "smu")
    record = using.ended(held.service_id)
    assert record.state is State.ABORTED and "asked nothing for 15 s" in record.why
    assert time.monotonic() - began >= UNATTENDED
    bench.assert_made_safe("smu")
    is_free(using, "smu")


def test_its_time_ends_it_too(using: Lab, bench: Plugged) -> None:
    held = took(using, seconds=3.0)
    with asking(using, "smu"):
        assert using.ended(held.service_id).state is State.COMPLETED
    is_free(using, "smu")


def runner_dies(lab: Lab, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def supervisor_dies(lab: Lab, pid: int) -> None:
    supervisor = lab.supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_gone(supervisor)


def fork_server_dies(lab: Lab, pid: int) -> None:
    fork_server = lab.fork_server
    os.kill(fork_server, signal.SIGKILL)
    wait_gone(fork_server)


def all_but_it_die(lab: Lab, pid: int) -> None:
    supervisor, fork_server = lab.supervisor, lab.fork_server
    os.kill(fork_server, signal.SIGSTOP)  # it would start the next supervisor
    for one in (supervisor, fork_server):
        os.kill(one, signal.SIGKILL)
        wait_gone(one)


def everything_dies(lab: Lab, pid: int) -> None:
    all_but_it_die(lab, pid)
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    assert (lease := leases(lab).of("printer")) and lease.how is Held.BY_JOB  # a dead holder is not "free"
    lab.supervise()


def it_is_stopped(lab: Lab, pid: int) -> None:
    assert supervisor_client.stop(lab.settings, 30)


@pytest.mark.parametrize(
    "end_it", [runner_dies, supervisor_dies, fork_server_dies, all_but_it_die, everything_dies, it_is_stopped]
)
def test_whatever_dies_with_it_the_heater_is_off(
    using: Lab, bench: Plugged, end_it: Callable[[Lab, int], None]
) -> None:
    held = live(using, bench, "printer")
    end_it(using, using.running(held.service_id))
    eventually(bench.simulators["printer"].is_safe)  # and nobody asks any more
    if supervisor_client.alive(using.settings) is None and end_it is not it_is_stopped:
        using.record(held.service_id)  # somebody looks
    is_free(using, "printer")
    assert not using.left_of(held.service_id)


def test_a_line_that_says_nothing_holds_up_nobody(using: Lab, bench: Plugged) -> None:
    control, held = DirectControl(using.settings), live(using, bench, "smu")
    bench.simulators["smu"].moods.add("silent")
    with asking(using, "smu"):
        began = time.monotonic()
        try:
            assert not control.set("smu", "volts", 1, ADA, wait=1.0).done
        except JobFailed as error:  # it had heard by then that it is silent
            assert "did not answer" in error.message
        assert time.monotonic() - began < 6
        why = eventually(lambda: control.look("smu", ADA).readings["volts"].get("why"))
        assert "smu did not answer SOUR:VOLT? within 2 s" in why
        bench.simulators["smu"].moods.clear()
        assert eventually(lambda: "value" in control.look("smu", ADA).readings["volts"])
        assert control.set("smu", "volts", 1, ADA, wait=PATIENCE).done
    assert control.release("smu", ADA, wait=PATIENCE)
    bench.assert_made_safe("smu")
    assert using.ended(held.service_id).state is State.ABORTED


def test_one_that_can_not_be_read_back_is_unsafe(using: Lab, bench: Plugged) -> None:
    control = DirectControl(using.settings)
    held = live(using, bench, "smu")
    bench.simulators["smu"].moods.add("silent")
    assert not control.release("smu", ADA, wait=PATIENCE)
    using.ended(held.service_id)
    assert (lease := leases(using).of("smu")) and lease.how is Held.UNSAFE
    with pytest.raises(InstrumentInUse, match="smu can't be taken: it is unsafe since ada had it in hand"):
        control.take("smu", BOB)
    upkeep = Instruments(using.settings).upkeep("smu", ADA)
    assert upkeep.last_fault is not None and "smu" in str(upkeep.last_fault.about["text"])


def test_what_can_not_be_opened_is_told(using: Lab, bench: Plugged) -> None:
    bench.host.unplug(bench.folder / "smu")
    with pytest.raises(JobFailed, match="smu"):
        DirectControl(using.settings).take("smu", ADA, wait=PATIENCE)
    is_free(using, "smu")


# -- the shell -------------------------------------------------------------------------------------


def shell(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwaiter", "instruments", *words]
    return subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_it_is_yours_while_the_shell_runs(using: Lab, bench: Plugged, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "labwaiter", "instruments", "take", "relays"]
    with subprocess.Popen(command, env=using.environment, stdout=subprocess.PIPE, text=True) as taking:
        assert taking.stdout is not None
        said = [taking.stdout.readline() for _ in range(4)]
        assert any("switch" in line and "number (between 1 and 8)" in line for line in said), said
        done = shell(using, "do", "relays", "switch", "number=3", "on=true")
        assert done.returncode == 0 and done.stdout == "Done.\n", done.stderr
        # what was read just before it was switched may be told for a moment
        eventually(lambda: "3" in shell(using, "read", "relays").stdout.partition("switched_on")[2].split())
        refused = shell(using, "do", "relays", "switch", "number=9", "on=true")
        assert refused.returncode == 2 and "relays: switch: number must be between 1 and 8, not “9”." in refused.stderr
        assert not bench.simulators["relays"].is_safe()
        taking.send_signal(number)
        rest = taking.stdout.read()
    if number is not signal.SIGKILL:
        assert taking.returncode == 0 and rest.endswith("Let go. relays was made safe and read back.\n"), rest
    is_free(using, "relays")
    bench.assert_made_safe("relays")


def test_its_record_is_an_executions(using: Lab, bench: Plugged) -> None:
    held = took(using)
    DirectControl(using.settings).release("smu", ADA, wait=PATIENCE)
    record = using.ended(held.service_id)
    assert (record.request.service, record.request.user) == ("direct control", "ada")
    happened = [one.event for one in using.store.timeline(folder_name(held.service_id))]
    assert "opened" in happened and "made safe" in happened, happened
    upkeep = Instruments(using.settings).upkeep("smu", ADA)
    assert upkeep.use.seconds > 0 and upkeep.use.executions == 0
