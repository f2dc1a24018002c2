"""docs/architecture.md: its rooms are those of the code, and its ways are taken by real calls."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from here import ROOT

PACKAGE = ROOT / "app" / "labwaiter"
TEXT = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = re.findall(r"`([\w.]+/?)`", "".join(re.findall(r"^\| (`.*?) \|", TEXT.partition("| room |")[2], re.M)))


def test_the_rooms_are_those_of_the_code() -> None:
    modules = {path.name for path in PACKAGE.glob("*.py")}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(ROOMS) == sorted(modules | folders)


def test_each_room_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names = re.findall(r"labwaiter\.(\w+)", " ".join(contracts[0]["layers"]))
    assert names == [room.removesuffix("/").removesuffix(".py") for room in ROOMS if not room.startswith("__")]


def test_the_files_that_it_names_are_there() -> None:
    for name in re.findall(r"`(\w+/[\w/]+\.(?:py|html\.j2))`", TEXT):
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name


@pytest.mark.slow
def test_the_ways_are_traced() -> None:
    begun = ["labwaiter.supervisor`", "labwaiter.supervisor.fork_server`", "`runner/main.py`"]  # by a start
    behind = {"start": begun, "poll": [], "abort": begun}
    if shutil.which("redis-server"):
        behind["order"] = [*begun, "labwaiter worker`"]
    done = subprocess.run(
        [sys.executable, "docs/ways.py", *behind], cwd=ROOT, capture_output=True, text=True, timeout=220
    )
    assert done.returncode == 0, done.stderr
    ways = [name for way in behind for name in (way, "again" if way == "poll" else "") if name]
    texts = dict(zip(ways, done.stdout.split("### ")[1:], strict=True))
    assert "`soap/lane.py`" in texts["again"] and "`soap/door.py`" not in texts["again"]
    for name, processes in behind.items():
        headings = [line for line in texts[name].splitlines() if line.startswith("**")]
        assert headings[0].startswith("**The web worker") and len(headings) > len(processes)
        assert all(any(process in heading for heading in headings) for process in processes), headings
        assert "`soap/" in texts[name] and "`verbs/" in texts[name] and "\nCalls that go up: " in texts[name]
