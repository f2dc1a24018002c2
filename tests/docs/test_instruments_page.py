"""docs/instruments.md: what it shows loads and runs, and its tables are whole."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchlab import Oven
from labwaiter import lab, labfile, simulation
from labwaiter.cli.instruments import instruments, ports
from labwaiter.instruments.simulators import base, marlin
from labwaiter.instruments.simulators.host import Host
from labwaiter.settings import ROOT

PAGE = (ROOT / "docs" / "instruments.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("text", [*blocks("toml"), "".join(blocks("toml"))], ids=lambda text: text[1:24])
def test_every_lab_toml_on_the_page_is_right(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.toml").write_text(text)
    found = lab.load(tmp_path / "lab.toml")
    assert list(found.entries) == list(tomllib.loads(text)["instruments"])


def test_the_table_has_every_key_and_its_default() -> None:
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\| (.*?) ?\| ", PAGE.partition("## What the drivers")[0], re.M)
    said = {key: default for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}
    assert set(said) == labfile._KEYS
    entry = lab.Entry("x", "y:z", "p")
    for key in ("safe_seconds", "reconnect"):
        assert float(said[key]) == getattr(entry, key)
    assert said["safe"].strip('`"') == entry.safe


def test_every_command_on_the_page_is_there_and_every_one_is_on_it() -> None:
    on_page = re.findall(r"^labwaiter (?:instruments )?(\w+)", PAGE, re.M)
    assert set(on_page) == {*instruments.commands, ports.name}


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


def test_the_simulator_of_the_page_misbehaves_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labwaiter.instruments import Silent
    from labwaiter.instruments.drivers import SourceMeter

    monkeypatch.chdir(tmp_path)
    found: dict[str, Host] = {}
    exec(next(code for code in blocks("python") if "moods" in code), found)
    with pytest.raises(Silent):
        SourceMeter("meter")
    found["host"].close()
