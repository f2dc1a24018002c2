"""What an operator sees and does at one machine of a lab with the instruments of another one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchlab import Plugged, plugged
from callers import Web
from fleetlab import REDIS, Fleet
from lab import PATIENCE, SAMPLES, eventually

pytestmark = [pytest.mark.slow, pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")]


PRINTS = '''
from labwaiter import Job, Outputs, service
from labwaiter.instruments.drivers import MarlinPrinter

class Made(Outputs):
    result: str

@service("Prints", namespace="http://samples.example/")
def startPrints(job: Job, device: MarlinPrinter, lines: int) -> Made:
    """Print lines, and make a file."""
    for number in range(lines):
        print(f"line {number}")
    (job.data / "made.txt").write_text("of south")
    return Made(result="done")
'''


class Standing:
    """North has the meter and a web side, south has the printer."""

    def __init__(self, folder: Path, bench: Plugged) -> None:
        self.bench = bench
        monitored = 'machine = "south"\nmonitor_every_s = 1\nlimits = { hotend = { high = 15 } }'
        bench.write(smu='machine = "north"', relays='machine = "north"', printer=monitored)
        services = folder / "services"
        services.mkdir()
        shutil.copy(SAMPLES / "benches.py", services)
        (services / "prints.py").write_text(PRINTS)
        toml = "\n".join(
            table for table in bench.toml.read_text().split("\n\n") if "[instruments.analyser]" not in table
        )
        self.fleet = Fleet(folder / "fleet", services, ("north", "south"), toml, {"TOKENS": ""})
        self.fleet.start()
        lab = self.fleet.labs["north"]
        lab.face_environment = self.fleet.machines["north"].environment
        self.web = Web(lab)

    def kill_south(self) -> None:
        process = self.fleet.machines["south"].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)

    def close(self) -> None:
        self.web.close()
        self.fleet.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Standing]:
    with plugged(tmp_path / "bench") as bench:
        one = Standing(tmp_path, bench)
        yield one
        one.close()


def named(open_screen: Callable[..., Any], two: Standing, name: str, **more: Any) -> Any:
    """A window in which somebody has said who that is."""
    screen = open_screen(two.web, **more)
    page = screen.go("operator/login")
    page.fill("[name=name]", name)
    page.click("main button")
    page.wait_for_url("**/")
    return screen


def test_the_printer_of_the_other_machine_is_taken_heated_asked_for_and_stopped(
    open_screen: Callable[..., Any], two: Standing
) -> None:
    ada, bob = named(open_screen, two, "ada"), named(open_screen, two, "bob")
    printer = two.bench.simulators["printer"]
    page = ada.go("operator/lab")
    ada.see("on south", "#i-printer")
    ada.see("free", "#i-printer .chip")
    page.click("#i-printer button:has-text('Take in hand')")
    ada.see("printer is in your hands, while this page is open.", "[role=status]")
    ada.see("hotend", "#live .facts")
    page.fill("#set-hotend_target [name=in-hotend_target]", "500")
    page.click("#set-hotend_target button")
    ada.see("hotend_target must be between 0 and 275 °C, not “500”.", "#wrong-set-hotend_target-in-hotend_target")
    page.fill("#set-hotend_target [name=in-hotend_target]", "200")
    page.click("#set-hotend_target button")
    ada.see("hotend_target is set to 200", "[role=status]")
    assert not printer.is_safe()
    # the second operator sees whose it is, and asks for it
    bob.go("operator/lab")
    bob.see("in hand", "#i-printer .chip")
    bob.see("by ada", "#i-printer")
    bob.page.click("#i-printer h2 a")
    bob.see("In the hands of ada")
    bob.page.fill("#asks", "ten minutes, please")
    bob.page.press("#asks", "Enter")
    bob.see("ada was told that you would like to have printer.", "[role=status]")
    ada.see("bob would like to have it: ten minutes, please", "#live")
    page.wait_for_timeout(17_000)  # longer than it would stay without the page that asks for it
    ada.see("In your hands", "#live")
    assert not printer.is_safe()
    # anybody's STOP, for the whole lab
    bob.page.click("text=STOP all")
    bob.see("printer on south: ", "[role=status]")  # safe, or on a slow machine that it goes on
    bob.see("smu: ", "[role=status]")
    eventually(printer.is_safe)
    bob.see("stopped by bob", "#i-printer")
    happened = [what for _, what in printer.happened]
    assert happened.index("hotend to 200 °C") < len(happened) - 1 - happened[::-1].index("hotend to 0 °C")
    bob.page.click("#i-printer button:has-text('Back into service')")
    bob.see("printer is back in service", "[role=status]")
    bob.page.click("#i-printer summary")
    bob.page.fill("#i-printer [name=reason]", "new nozzle")
    bob.page.click("#i-printer button:has-text('Out of service')")
    bob.see("out of service: new nozzle (bob)", "#i-printer")
    # Chromium notes each form that was refused
    assert [each for each in ada.wrong if "422" not in each] == [] and bob.wrong == []


def test_a_machine_that_is_gone_is_told_on_its_cards_and_by_STOP(
    open_screen: Callable[..., Any], two: Standing
) -> None:
    screen = named(open_screen, two, "ada")
    page = screen.go("operator/lab")
    screen.see("free", "#i-printer .chip")
    two.kill_south()
    screen.see("not known now", "#i-printer .chip")
    screen.see("The machine south was last heard of", "#i-printer")
    screen.see("It was free", "#i-printer")
    page.click("text=STOP all")
    screen.see("printer on south: NOT SAFE YET. The machine south was last heard of", "[role=status]")
    screen.see("STOP it there!", "[role=status]")
    screen.see("smu: ", "[role=status]")
    screen.go("operator/instrument?name=printer")
    screen.see("not known now", "#live")
    screen.see("The machine south was last heard of", "#plot")  # why there is no plot
    two.fleet.machines["south"].start()  # and what was pressed is done once it is back
    screen.go("operator/lab")
    screen.see("stopped by ada", "#i-printer")
    eventually(lambda: two.bench.simulators["printer"].is_safe())
    assert screen.wrong == []


def test_what_the_printer_of_the_other_machine_said_is_shown_and_told(
    open_screen: Callable[..., Any], two: Standing
) -> None:
    screen = open_screen(two.web)
    page = screen.go("operator/lab")
    screen.see("hotend", "#i-printer .said")
    screen.see("over its limit", "#i-printer .beyond")
    page.wait_for_selector("#i-printer svg.trend")  # it comes with a look in some seconds
    page = screen.go("operator/instrument?name=printer")
    page.wait_for_selector("#plot canvas")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = download.value.path().read_text().splitlines()
    assert rows[0].startswith("time,unix time / s,hotend / °C") and len(rows) > 2
    assert screen.wrong == []

    def get(path: str) -> str:
        try:
            with urllib.request.urlopen(f"{two.web.url}/api/v1/{path}") as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as problem:
            return problem.read().decode()

    (printer,) = (one for one in json.loads(get("readings"))["instruments"] if one["name"] == "printer")
    (hotend,) = (one for one in printer["readings"] if one["reading"] == "hotend")
    assert 20 < hotend["value"] < 25 and hotend["beyond"] == "high"
    history = json.loads(get("instruments/printer/history"))
    assert {one["reading"] for one in history["readings"]} >= {"hotend", "bed"}
    assert "hotend / °C" in get("instruments/printer/history.csv")
    # at a shell of this machine, too
    environment = two.fleet.machines["north"].environment

    def shell(*words: str) -> str:
        command = [sys.executable, "-m", "labwaiter", "instruments", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    assert "hotend" in (said := shell("readings", "printer")) and "over its limit" in said
    assert "hotend" in shell("history", "printer", "--since", "hour")
    # what was stopped is said to be so everywhere, by whoever asks
    page = screen.go("operator/lab")
    page.click("#i-printer button.stop")
    screen.see("printer on south: safe", "[role=status]")
    assert json.loads(get("instruments/printer"))["state"] == "stopped"
    (row,) = (line for line in shell("list").splitlines() if line.startswith("printer"))
    assert "stopped by operator" in row
    two.kill_south()
    eventually(lambda: json.loads(get("instruments/printer"))["state"] == "not known")
    assert "The machine south was last heard of" in get("instruments/printer/history?since=1")


def test_a_log_is_read_whole_and_a_file_fetched_wherever_they_were_made(
    open_screen: Callable[..., Any], two: Standing, tmp_path: Path
) -> None:
    def call(path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"{two.web.url}/api/v1/{path}", json.dumps(body).encode() if body else None)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    call("executions", {"service": "Prints", "serviceID": "far", "inputs": {"device": "printer", "lines": 20_000}})
    eventually(lambda: call("executions/far")["state"] == "completed")
    first = call("executions/far/log/part?from=0&bytes=1000")
    assert first["text"].startswith("line 0\nline 1\n") and first["to"] == 1000 and first["length"] > 150_000
    last = call("executions/far/log/part?bytes=1000")
    assert "line 19999\n" in last["text"] and last["to"] == last["length"] == first["length"]
    screen = open_screen(two.web)
    page = screen.go("operator/log?id=far")
    screen.see("line 19999", "pre")
    page.click("text=beginning >> nth=0")
    screen.see("line 0", "pre")

    def shell(*words: str) -> str:
        command = [sys.executable, "-m", "labwaiter", "jobs", *words]
        environment = two.fleet.machines["north"].environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    said = json.loads(shell("log", "far", "--json"))
    assert said["whole"] and said["text"].startswith("".join(f"line {number}\n" for number in range(20_000)))
    assert "made.txt" in shell("fetch", "far", "made.txt", "--to", str(tmp_path))
    assert (tmp_path / "made.txt").read_text() == "of south"
    # what waits for the other machine is withdrawn by JSON, too
    two.kill_south()
    call("executions", {"service": "Prints", "serviceID": "late", "inputs": {"device": "printer", "lines": 1}})
    assert call("clear-queue", {"machines": ["south"]}) == {"withdrawn": ["late"]}
    assert call("executions/late")["state"] == "aborted"
