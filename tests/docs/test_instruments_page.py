"""docs/instruments.md: what it shows loads and runs, and its tables are whole."""

import re
import subprocess
import sys
import tomllib
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest
from blocks import of

from benchlab import Oven
from here import ROOT
from lab import eventually
from labwaiter.cli.instruments import instruments, ports
from labwaiter.instruments.panel import panel_of
from labwaiter.instruments.simulators import base, marlin
from labwaiter.instruments.simulators.host import Host
from labwaiter.lab import lab, labfile, simulation
from labwaiter.model.panel import What

PAGE = (ROOT / "docs" / "instruments.md").read_text()


def blocks(kind: str) -> list[str]:
    return [block.text for block in of("docs/instruments.md", kind)]


@pytest.mark.parametrize("text", [*blocks("toml"), "".join(blocks("toml"))], ids=lambda text: text[1:24])
def test_every_lab_toml_on_the_page_is_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.toml").write_text(text)
    found = labfile.load(tmp_path / "lab.toml")
    assert list(found.entries) == list(tomllib.loads(text)["instruments"])


def test_the_table_has_every_key_and_its_default() -> None:
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\| (.*?) ?\| ", PAGE.partition("## What the drivers")[0], re.M)
    said = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}
    assert set(said) == labfile._KEYS
    entry = lab.InstrumentEntry("x", "y:z", "p")
    for key in ("safe_seconds", "reconnect"):
        assert float(said[key]) == getattr(entry, key)
    assert said["safe"].strip('`"') == entry.safe


def test_every_command_on_the_page_is_there_and_every_one_is_on_it() -> None:
    on_page = re.findall(r"^labwaiter (?:instruments )?(\w+)", PAGE, re.M)
    assert set(on_page) == {*instruments.commands, ports.name, "events"}


def test_the_lamp_shows_what_it_declares() -> None:
    found: dict[str, Any] = {}
    exec(next(code for code in blocks("python") if "class Lamp" in code), found)
    lamp = found["Lamp"].__new__(found["Lamp"])  # its line is not opened for that
    panel = panel_of(lamp, lab.InstrumentEntry("lamp", "y:z", "p"))
    assert [(item.name, item.what, item.doc) for item in panel.items] == [
        ("brightness", What.CONTROL, ""),
        ("flash", What.ACTION, "Flash it"),
    ]
    assert [item.inputs[0].limits for item in panel.items] == ["between 0 and 100 %", "between 1 and 10"]


def test_every_mood_is_on_the_page() -> None:
    on_page = set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("| mood |")[2], re.M))
    told = f"{base.Simulator.__doc__} {marlin.Marlin.__doc__}"
    assert on_page == set(re.findall(r'"(\w+)" \(', told))


def test_every_simulator_and_its_options_are_on_the_page() -> None:
    for kind, options in simulation.KINDS.items():
        row = re.search(rf"^\| `sim://{kind}` \|(.*)\|$", PAGE, re.M)
        assert row and set(re.findall(r"`(\w+)=", row[1])) == set(options)
        for said in re.findall(r"`(\w+=[\w.]+)`", row[1]):
            simulation.read(f"sim://{kind}?{said}")
    assert all(f"`{name}=" in PAGE for name in simulation.ALL)


def test_every_driver_is_on_the_page() -> None:
    from labwaiter.instruments import drivers

    assert all(f"| `{name}` |" in PAGE for name in drivers.__all__)


def test_the_driver_of_one_s_own_works_in_a_script_as_the_page_says(tmp_path: Path) -> None:
    oven = Oven()
    host = Host()
    port = host.plug(tmp_path / "port", oven)
    driver, script = (next(code for code in blocks("python") if word in code) for word in ("class Oven", "with Oven"))
    (tmp_path / "_oven.py").write_text(driver)
    (tmp_path / "script.py").write_text(script.replace("/dev/ttyS0", str(port)))
    path = f"{ROOT / 'app'}"
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True)
    assert done.stdout.startswith(b"21.5 "), done.stderr
    assert oven.setpoint == 80 and oven.is_safe()
    host.close()


def test_the_driver_for_a_binary_device_works_as_it_stands_there(tmp_path: Path) -> None:
    class Device(base.Simulator):
        """The pump that the page describes."""

        flow = 0

        def receive(self, data: bytes) -> None:
            self._in += data
            while len(self._in) >= 5:
                frame, self._in = self._in[:5], self._in[5:]
                assert reduce(xor, frame) == 0
                if frame[1] == 0x11:
                    self.flow = int.from_bytes(frame[2:4], "big")
                value = {0x01: 0x5032, 0x10: self.flow, 0x11: self.flow, 0x12: self.flow}[frame[1]]
                answer = frame[:2] + value.to_bytes(2, "big")
                self._out.append((self.clock, answer + bytes([reduce(xor, answer)])))

    device, host = Device(), Host()
    port = str(host.plug(tmp_path / "port", device))
    found: dict[str, Any] = {}
    exec(next(code for code in blocks("python") if "class Pump" in code), found)
    transcript = tmp_path / "line.txt"
    with found["Pump"](port, name="pump", transcript=transcript) as pump:
        pump.pump(12.5)
        device._out.append((device.clock, b"\x02\x10"))  # half a frame of somebody else's
        eventually(lambda: pump.line._port.in_waiting == 2)
        assert pump.flow == 12.5 and pump.flow.unit == "ml/min"
        host.unplug(tmp_path / "port")
        host.plug(tmp_path / "port", device)
        assert pump.flow == 12.5
    assert device.flow == 0
    assert r"> \x02\x11\x04\xe2\xf5" in transcript.read_text()
    host.close()


def test_every_setting_of_a_driver_is_on_the_page() -> None:
    from labwaiter.instruments import Instrument

    table = PAGE.partition("**What a class may say**")[2].partition("Before each question")[0]
    said = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|", table, re.M))))
    assert said == {name for name, kind in Instrument.__annotations__.items() if "ClassVar" in str(kind)}
    for name in ("write", "read_bytes", "read_line", "drop"):
        assert f"| `{name}(" in PAGE


def test_the_simulator_of_the_page_misbehaves_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labwaiter.instruments import Silent
    from labwaiter.instruments.drivers import SourceMeter

    monkeypatch.chdir(tmp_path)
    found: dict[str, Host] = {}
    exec(next(code for code in blocks("python") if "moods" in code), found)
    with pytest.raises(Silent):
        SourceMeter("meter")
    found["host"].close()
