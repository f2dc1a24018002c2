"""One device has one holder, under whatever name it is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchlab import Plugged
from lab import PATIENCE, Lab, eventually
from labwaiter.errors import UnknownInstrument
from labwaiter.instruments.errors import Busy
from labwaiter.instruments.holding import hold, release
from labwaiter.instruments.simulators import Smu
from labwaiter.instruments.simulators.host import Host
from labwaiter.lab import device, labfile
from labwaiter.model.caller import SHELL
from labwaiter.model.parameter import Parameter


def same(one: str, other: str, resolve: bool = True) -> bool:
    return device.conflict(device.parts(one, resolve), device.parts(other, resolve))


NETWORK = [
    "socket://127.0.0.1:9971",
    "socket://localhost:9971",
    "socket://localhost:09971",
    "socket://LOCALHOST:9971/",
    "socket://[::1]:9971",
    "socket://127.0.0.2:9971",
    "rfc2217://localhost:9971?ign_set_control",
    "spy://socket://127.0.0.1:9971?file=seen.txt",
    "alt://socket://127.0.0.1:9971?class=Serial",
    "TCPIP0::localhost::9971::SOCKET",
    "TCPIP::127.0.0.1::9971::SOCKET",
    "TCPIP::127.0.0.1::09971::SOCKET",
]


@pytest.mark.parametrize("resolve", [True, False])
@pytest.mark.parametrize("port", NETWORK)
def test_a_network_port_is_one_however_it_is_spelt(port: str, resolve: bool) -> None:
    assert same(port, NETWORK[0], resolve)
    assert not same(port, "socket://127.0.0.1:9972", resolve)
    assert not same(port, "socket://192.0.2.1:9971", resolve)


def test_the_second_one_is_refused_while_the_first_one_has_it() -> None:
    held = hold(NETWORK[0], "bath")
    for port in NETWORK:
        with pytest.raises(Busy, match="other: its device is held by another execution"):
            hold(port, "other")
    release(held)
    release(hold(NETWORK[1], "other"))


def test_a_path_is_its_device_and_a_simulator_of_its_own_is_none(host: Host, port: Path, tmp_path: Path) -> None:
    host.plug(port, Smu(seed=1))
    link = tmp_path / "by-path"
    link.symlink_to(port)
    terminal = os.path.realpath(port)
    for other in (str(link), terminal, f"spy://{terminal}?file=x", f"sim://{link}", f"ASRL{terminal}::INSTR"):
        assert same(str(port), other.removesuffix("::INSTR"))  # which VISA lets one leave out
        assert same(str(port), other), other
    assert not same("sim://smu", "sim://smu") and not same("loop://", "loop://")
    assert same("GPIB::4", "GPIB0::04::INSTR") and not same("GPIB::4", "GPIB::5")


def test_a_usb_device_and_the_ports_on_it_exclude_each_other(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux has them below /sys, made here: an adapter with two ports, and the whole of it, as USB libraries do."""
    usb = tmp_path / "sys" / "devices" / "usb1" / "1-2"
    monkeypatch.setattr(device, "SYS", tmp_path / "sys")
    (tmp_path / "sys" / "dev" / "char").mkdir(parents=True)
    (tmp_path / "sys" / "bus" / "usb" / "devices").mkdir(parents=True)
    nodes = {}
    for name, place in (("first", usb / "1-2:1.0" / "tty0"), ("second", usb / "1-2:1.1" / "tty1"), ("whole", usb)):
        place.mkdir(parents=True, exist_ok=True)
        nodes[name] = str(host.plug(tmp_path / name, Smu(seed=1)))
        number = os.stat(nodes[name]).st_rdev
        (tmp_path / "sys" / "dev" / "char" / f"{os.major(number)}:{os.minor(number)}").symlink_to(place)
    for name, text in (("busnum", "1"), ("devnum", "7"), ("idVendor", "0403"), ("idProduct", "6011"), ("serial", "A5")):
        (usb / name).write_text(text + "\n")
    (tmp_path / "sys" / "bus" / "usb" / "devices" / "1-2").symlink_to(usb)
    assert not same(nodes["first"], nodes["second"])
    for whole in (nodes["whole"], "USB0::0x0403::0x6011::A5::INSTR", "USB::1027::24593::A5::0::INSTR"):
        assert same(nodes["first"], whole) and same(whole, nodes["second"]) and same(whole, whole)
    held = hold(nodes["first"], "first")
    release(hold(nodes["second"], "second"))
    with pytest.raises(Busy):
        hold(nodes["whole"], "whole")
    release(held)


def test_a_job_waits_while_another_has_its_device_under_another_name(using: Lab, bench: Plugged) -> None:
    text = bench.toml.read_text()
    smu = text[text.index("[instruments.smu]") : text.index("[instruments.relays]")]
    terminal = os.path.realpath(bench.folder / "smu")
    bench.toml.write_text(text + smu.replace("smu]", "bath]").replace(str(bench.folder / "smu"), terminal))
    using.start("Uses", "one", device="smu")
    eventually(lambda: using.status_progress("one").stage == "energised")
    using.start("Uses", "two", device="bath")
    using.start("Uses", "three", device="smu")
    assert using.record("two").state.value == "queued" and bench.simulators["smu"].on  # type: ignore[attr-defined]
    words = ["smu, the same device as bath, is in use by Uses"]
    eventually(lambda: [holder.words for holder in using.jobs.view("two", SHELL).holders] == words)
    eventually(lambda: "1 waits for smu before it" in using.jobs.view("three", SHELL).ahead)
    shown = subprocess.run(
        [sys.executable, "-m", "labwaiter", "instruments", "list"],
        env=using.environment, capture_output=True, text=True, timeout=PATIENCE, check=True,
    ).stdout  # fmt: skip
    assert "as smu, the same device, held by the execution one" in shown
    for name in ("one", "two", "three"):
        eventually(lambda name=name: using.status_progress(name).stage == "energised")
        (using.folder(name) / "data" / "go").touch()
        record = using.ended(name)
        assert record.state.value == "completed", record.why


def test_a_job_can_t_have_one_device_as_two_instruments(tmp_path: Path, bench: Plugged) -> None:
    text = bench.toml.read_text()
    smu = text[text.index("[instruments.smu]") : text.index("[instruments.relays]")]
    bench.toml.write_text(text + smu.replace("smu]", "bath]"))
    whole = labfile.load(bench.toml)
    assert whole.twins("bath") == whole.twins("smu") == {"bath", "smu"} and whole.twins("relays") == {"relays"}
    kind = ("labwaiter.instruments.drivers.smu:SourceMeter",)
    wanted = [Parameter(name, "instrument", drivers=kind) for name in ("meter", "other")]
    with pytest.raises(UnknownInstrument, match="smu is named twice, or its device is"):
        whole.choose(wanted, {"meter": "bath", "other": "smu"})
