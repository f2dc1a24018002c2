"""`labwaiter top`: the lab live in a terminal, on real ptys."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fleetlab import REDIS, FleetLab
from lab import Lab, eventually
from screens import Terminal, terminal

LAB = """
[instruments.meter]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "sim://smu"

[instruments.spare]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "sim://smu"
"""
SERVICES = """
from labwaiter import Job, Outputs, service
from labwaiter.instruments.drivers import SourceMeter

class Said(Outputs):
    result: str

def obey(job: Job) -> Said:
    for _ in job.every(0.02):
        for message in job.messages():
            if message == "go":
                return Said(result="gone")
            job.progress(float(message.partition(" ")[0]), message.partition(" ")[2])
            job.reply(message, "done")

@service("Measure", namespace="http://top.example/")
def startMeasure(job: Job, meter: SourceMeter) -> Said:
    job.units(current="A")
    job.record(current=0.25)
    job.progress(0.1, "warming up")
    return obey(job)

@service("Idle", namespace="http://top.example/")
def startIdle(job: Job) -> Said:
    job.progress(0.0, "idling")
    return obey(job)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two instruments and two services, and a supervisor."""
    yield from _lab(tmp_path, Lab)


def _lab(tmp_path: Path, kind: type[Lab]) -> Iterator[Lab]:
    (tmp_path / "lab.toml").write_text(LAB)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "services.py").write_text(SERVICES)
    one = kind(tmp_path / "jobs", tmp_path / "services", LAB=str(tmp_path / "lab.toml"), TOKENS="")
    one.supervise()
    yield one
    one.close()


def top(lab: Lab, *words: str, **more: Any) -> AbstractContextManager[Terminal]:
    """It in a terminal."""
    return terminal("top", "--every", "0.2", *words, environment=lab.face_environment, **more)


def printed(lab: Lab, *words: str) -> str:
    """It in a pipe."""
    command = [sys.executable, "-m", "labwaiter", "top", *words]
    said = subprocess.run(command, env=lab.face_environment, capture_output=True, text=True, timeout=100)
    assert said.returncode == 0, said.stderr
    return said.stdout


def runs(lab: Lab, service_id: str) -> None:
    eventually(lambda: lab.jobs.record(service_id, lab_shell()).started)


def lab_shell() -> Any:
    from labwaiter.model.caller import SHELL

    return SHELL


def tell(lab: Lab, service_id: str, message: str) -> None:
    lab.jobs.notify(None, service_id, message, lab_shell(), 20)


def test_what_runs_and_waits_is_seen_as_it_goes(lab):
    lab.start("Measure", "first", meter="meter")
    runs(lab, "first")
    lab.start("Measure", "second", meter="meter")
    with top(lab) as screen:
        shown = screen.see("warming up", "place 1", "current 0.25 A")
        assert "1 running, 1 waiting" in shown
        assert re.search(r"^meter +in use +\S.* Measure of shell +current 0\.25 A", shown, re.MULTILINE)
        assert re.search(r"^spare +free", shown, re.MULTILINE)
        assert re.search(r"^Measure +first +running +10 %", shown, re.MULTILINE)
        tell(lab, "first", "0.6 nearly there")
        assert "60 %" in screen.see("nearly there")
        lab.jobs.notify(None, "first", "go", lab_shell(), 0)
        screen.miss("first", "place 1")
        lab.jobs.abort(None, "second", lab_shell())
        screen.see("Nothing runs and nothing waits.", "0 running, 0 waiting")
        screen.press("q")
        assert screen.end() == 0 and screen.is_as_before()


def test_it_is_filtered_sorted_and_narrowed_by_keys_and_by_options(lab):
    lab.start("Idle", "aa")
    runs(lab, "aa")
    lab.start("Measure", "zz", meter="meter")
    runs(lab, "zz")

    def order(shown: str) -> list[str]:
        return re.findall(r"^(?:Idle|Measure) +(aa|zz)", shown, re.MULTILINE)

    with top(lab) as screen:
        screen.come(lambda shown: order(shown) == ["aa", "zz"])
        screen.press("r")
        screen.come(lambda shown: order(shown) == ["zz", "aa"] and "by queue, reversed" in shown)
        screen.press("r/measure zz\r")
        shown = screen.come(lambda shown: order(shown) == ["zz"] and "filter “measure zz”" in shown)
        assert "meter  " not in shown and "spare" not in shown
        screen.press("\x1b")
        screen.see("idling")
        screen.press("ss")
        screen.see("by service")
        screen.press("i")
        screen.come(lambda shown: "SERVICEID" not in shown and "INSTRUMENT" in shown)
        screen.press("e")
        screen.see("SERVICEID")
        screen.press("/nothing\x7f\x7f")
        screen.see("filter: nothi_", "None of the executions has “nothi”.")
        screen.press("\x1b")
        screen.see("idling")
        screen.press("q")
        assert screen.end() == 0
    narrowed = printed(lab, "--only", "executions", "--sort", "time", "--filter", "RUNNING")
    assert order(narrowed) == ["zz", "aa"] and "INSTRUMENT" not in narrowed
    assert order(printed(lab, "--sort", "time", "--reverse", "--only", "executions")) == ["aa", "zz"]


@pytest.mark.parametrize(
    ("how", "status"),
    [("q", 0), ("\x03", 0), (signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
    ids=["q", "ctrl-c", "SIGINT", "SIGTERM", "SIGHUP"],
)
def test_however_it_ends_the_terminal_is_as_before(lab, how, status):
    with top(lab) as screen:
        screen.see("Nothing runs")
        assert not screen.is_as_before()
        if isinstance(how, str):
            screen.press(how)
        else:
            os.kill(screen.child.pid, how)
        assert screen.end() == status
        assert screen.is_as_before()
        assert b"Traceback" not in screen.written


def test_it_ends_with_its_terminal(lab):
    with top(lab) as screen:
        screen.see("Nothing runs")
        screen.hang_up()
        eventually(lambda: not screen.child.isalive())


def test_a_window_of_another_size_is_filled_and_scrolled(lab):
    for number in range(14):
        lab.start("Idle", f"number-{number:02}")
    with top(lab) as screen:
        screen.see("number-13", "idling")
        screen.resize(10, 50)
        shown = screen.see("more below", "INSTRUMENT")
        assert "number-13" not in shown and len(shown.splitlines()) <= 10
        assert all(len(line) <= 50 for line in shown.splitlines())
        screen.press("\x1b[4~")  # End
        screen.see("number-13")
        screen.press("\x1b[1~\x1b[6~")  # Home, a page on
        screen.see("number-03")
        screen.resize(2, 20)
        screen.see("14 runn…")
        screen.resize(40, 160)
        screen.see("INSTRUMENT", "number-00", "number-13", "..........")
        screen.press("q")
        assert screen.end() == 0


def test_in_a_pipe_it_is_printed_once_and_as_json_it_is_data(lab):
    lab.start("Measure", "first", meter="meter")
    runs(lab, "first")
    eventually(lambda: "current 0.25 A" in printed(lab))
    out = printed(lab)
    assert "\x1b" not in out and re.search(r"^Measure +first +running +#\.+ +10 % .* warming up$", out, re.MULTILINE)
    data = json.loads(printed(lab, "--json"))
    meter, spare = data["instruments"]
    assert (meter["name"], meter["state"], meter["serviceID"]) == ("meter", "held", "first")
    assert meter["readings"] == [{"name": "current", "value": 0.25, "unit": "A", "at": None}]
    assert (spare["word"], spare["readings"]) == ("free", [])
    (execution,) = data["executions"]
    assert execution["progress"]["stage"] == "warming up" and execution["progress"]["fraction"] == 0.1
    assert data["machines"] == [] and data["notes"] == []


def test_colours_are_used_unless_NO_COLOR_is_set(lab):
    colour = re.compile(rb"\x1b\[[0-9;]*3[0-9][;m]")
    with top(lab) as screen:
        screen.see("spare")
        screen.press("q")
        screen.end()
        assert colour.search(screen.written)
    with top(lab, NO_COLOR="1") as screen:
        screen.see("spare")
        screen.press("q")
        screen.end()
        assert not colour.search(screen.written)


def test_no_text_of_anybody_steers_the_terminal(lab):
    nasty = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eeman\0\r\n"
    lab.start("Idle", f"id{nasty}")
    runs(lab, f"id{nasty}")
    tell(lab, f"id{nasty}", f"0.5 stage{nasty}")
    with top(lab, columns=200) as screen:
        shown = screen.see("stage", "owned")
        screen.press("/\x1b[A\x1b[B\x1b")
        screen.press("q")
        screen.end()
    for evil in (b"\x1b]0", b"\x07", b"\x9b", "\u202e".encode(), b"\0"):
        assert evil not in screen.written
    assert "\\x1b]0;owned\\x07" in shown
    out = printed(lab)
    assert "\x1b" not in out and "\u202e" not in out and "\\u202e" in out


def test_wide_letters_keep_the_columns(lab):
    lab.start("Idle", "宽" * 30)
    runs(lab, "宽" * 30)
    with top(lab) as screen:
        shown = screen.see("running", "idling")
    assert "…" in next(line for line in shown.splitlines() if "宽" in line)


def test_a_terminal_that_cannot_be_drawn_on_is_told_in_a_sentence(lab):
    for kind in ("dumb", "no-such-terminal"):
        with top(lab, columns=120, TERM=kind) as screen:
            assert screen.end() == 2
        assert f"This terminal (TERM={kind}) can't be drawn on: set TERM, or say --once." in screen.text.replace(
            "\n", " "
        )


def test_it_keeps_nothing_in_anybodys_hands(lab):
    from labwaiter.model.caller import administrator
    from labwaiter.verbs.control import DirectControl

    ada = administrator("ada")
    held = DirectControl(lab.settings).take("meter", ada)
    try:
        mark = lab.root / held.service_id / "polled"
        before = mark.stat().st_mtime
        data = json.loads(printed(lab, "--json"))
        meter = data["instruments"][0]
        assert (meter["word"], meter["inHandOf"]) == ("in hand", "ada")
        assert "volts" in {reading["name"] for reading in meter["readings"]} or not held.readings
        assert mark.stat().st_mtime == before
    finally:
        DirectControl(lab.settings).release("meter", ada)


@pytest.mark.slow
@pytest.mark.skipif(REDIS is None, reason="no redis-server is here")
def test_of_many_machines_it_shows_all_and_says_when_nothing_is_heard(tmp_path):
    for lab in _lab(tmp_path, FleetLab):
        assert isinstance(lab, FleetLab)
        lab.start("Measure", "far", meter="meter")
        with top(lab, columns=120) as screen:
            shown = screen.see("takes orders", "warming up", "in use")
            assert re.search(r"^meter +in use .* Measure of shell +current 0\.25 A", shown, re.MULTILINE)
            assert re.search(r"^spare +on one", shown, re.MULTILINE)
            lab.redis.kill()
            screen.see("Redis")
            assert "far" in screen.text  # as it was known last
            lab.redis.start()
            screen.see("takes orders")
            screen.press("q")
            assert screen.end() == 0
        lab.jobs.abort(None, "far", lab_shell())
