"""Which instruments of lab.toml are one device, and which addresses are this machine's."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path

import pytest

from labwaiter.lab.lab import InstrumentEntry, Lab, missing
from labwaiter.system.network import is_own

HOST = socket.gethostname()
PORTS = [
    ("/dev/null", "/dev/../dev/null", True),
    ("/dev/null", "/dev/zero", False),
    ("/dev/null", "spy:///dev/null?file=seen.txt", True),
    ("/nowhere/tty1", "/nowhere/./tty1", True),
    ("/nowhere/tty1", "/nowhere/tty2", False),
    ("socket://127.0.0.1:4001", "socket://localhost:4001", True),
    ("socket://127.0.0.1:4001", f"rfc2217://{HOST}:4001", True),
    ("socket://127.0.0.1:4001", "socket://[::ffff:127.0.0.1]:4001", True),
    ("socket://127.0.0.1:4001", "socket://0.0.0.0:4001", True),
    ("socket://127.0.0.1:4001", "socket://127.0.0.1:4002", False),
    ("socket://192.0.2.1:4001", "socket://[::ffff:192.0.2.1]:4001", True),
    ("socket://192.0.2.1:4001", "socket://192.0.2.2:4001", False),
    ("socket://box.example:4001", "socket://BOX.example.:4001", True),
    # without a look-up these count as others
    ("socket://127.0.0.1:4001", "socket://127.1:4001", False),
    ("socket://127.0.0.1:4001", "socket://lab.localhost:4001", False),
    ("sim://smu", "sim://smu", False),
    ("loop://", "loop://", False),
    ("GPIB::4", "gpib0::04::INSTR", True),
    ("GPIB0::4", "GPIB1::4", False),
    ("TCPIP::192.0.2.1::INSTR", "TCPIP0::192.0.2.1::inst0::INSTR", True),
    ("TCPIP::192.0.2.1::5025::SOCKET", "socket://192.0.2.1:5025", True),
    ("hwgrep://0403:6011", "hwgrep://0403:6011", True),
]


@pytest.mark.parametrize(("port", "other", "twins"), PORTS)
def test_two_ports_are_one_device_or_two(port: str, other: str, twins: bool) -> None:
    lab = Lab({"smu": InstrumentEntry("smu", "m:c", port), "bath": InstrumentEntry("bath", "m:c", other)})
    assert lab.twins("smu") == ({"smu", "bath"} if twins else {"smu"})
    assert lab.twins("bath") == ({"smu", "bath"} if twins else {"bath"})


def test_what_is_on_another_machine_is_another_device() -> None:
    lab = Lab({name: InstrumentEntry(name, "m:c", "/dev/null", machine=name) for name in ("bench1", "bench2")})
    assert lab.twins("bench1") == {"bench1"} and lab.twins("absent") == {"absent"}


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("::", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("2001:db8::1", False),
    ],
)
def test_an_address_is_this_machine_s_or_another_s(address: str, own: bool) -> None:
    assert is_own(ipaddress.ip_address(address)) is own


def test_a_driver_that_is_not_there_is_known_without_importing_anything(tmp_path: Path) -> None:
    (tmp_path / "_core_oven.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "_core_pack").mkdir()
    table = {
        "labwaiter.instruments.drivers:SourceMeter": "",
        "_core_oven:Oven": "",
        "_core_pack.deep:Oven": "",
        "_core_absent:Oven": "“_core_absent:Oven” can't be had: No module named '_core_absent'.",
        "_core_absent.deep:Oven": "“_core_absent.deep:Oven” can't be had: No module named '_core_absent'.",
    }
    assert {name: missing(name, tmp_path) for name in table} == table
    assert not any(name.startswith("_core_") for name in sys.modules)
