"""docs/api.md: its commands are run, and what it says of errors is what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from callers import Web
from here import ROOT
from lab import PATIENCE, Lab
from labwaiter.api.problems import TABLE

TEXT = (ROOT / "docs" / "api.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_its_commands_do_what_it_says(make_lab: Callable[..., Lab], make_web: Callable[..., Web]) -> None:
    lab = make_lab(services_folder=ROOT / "app" / "services", TOKENS="", LAB=str(ROOT / "lab.toml"))
    lab.supervise()
    web = make_web(lab)
    commands = "\n".join(re.findall(r"```shell\n(.*?)```", TEXT, re.S))
    commands, count = re.subn(r"(?m)^API=.*$", f"API={web.url}/api/v1", commands)
    assert count == 1
    commands = commands.replace("curl ", "curl -w '\\n' ")
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"], input=commands, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    for told in (
        '"role": "operator"',
        '"secondsToWait": 3',
        '"result": "FINISHED"',
        '"success": true',
        '"ok": true',
        '"goesOn": false',
        '"state": "reserved"',
        '"own": true',
        '"read": {"value": 1.5',
        '"withdrawn": []',
        '"schedules": []',
        '"machines": []',
    ):
        assert told in done.stdout, told


def test_its_codes_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (\d+)", TEXT, re.M)
    assert {code: int(status) for codes, status in rows for code in re.findall(r"`(\w+)`", codes)} == {
        code: status for code, (status, _) in TABLE.items()
    }
