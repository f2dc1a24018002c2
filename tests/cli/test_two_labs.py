"""Two labs on one machine, one environment for both: each is meant in its own folder, and knows of itself alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from here import ROOT
from lab import PATIENCE, eventually
from labwaiter.deployment import web_processes
from labwaiter.settings import TABLE, load
from labwaiter.store import supervisor_client
from labwaiter.system.process import kill
from labwaiter.testing.ports import free_port

SERVICE = '''
from labwaiter import Job, Outputs, Seconds, service
from labwaiter.instruments.drivers import SourceMeter

class Done(Outputs):
    result: str

@service("NAME", namespace="http://lab.example/name/")
def startNAME(job: Job, seconds: Seconds = 0) -> Done:
    """Wait."""
    for elapsed in job.every(0.05, lasting=seconds):
        pass
    return Done(result="NAME")
'''
INSTRUMENT = '[instruments.{}]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'


class Folder:
    """A lab's folder, and a shell in it that nobody has told of any lab."""

    def __init__(self, folder: Path, service: str) -> None:
        self.folder, self.service = folder, service
        (folder / "app" / "services").mkdir(parents=True)
        (folder / "app" / "services" / f"{service.lower()}.py").write_text(SERVICE.replace("NAME", service))
        self.port = free_port()
        (folder / "env").write_text(f"PORT={self.port}\nWEB_CONCURRENCY=1\n")
        (folder / "lab.toml").write_text(INSTRUMENT.format(f"meter_of_{service.lower()}"))
        ours = {"LABWAITER_ENV", "LABWAITER_DEPLOYMENT", *(setting.name for setting in TABLE)}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours}
        self.environment["PYTHONPATH"] = str(ROOT / "app")
        self.settings = load({"LABWAITER_DEPLOYMENT": str(folder)})

    def python(self, *words: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=at or self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )

    def __call__(self, *words: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "labwaiter", *words, at=at)

    def json(self, *words: str) -> Any:
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[tuple[Folder, Folder]]:
    two = Folder(tmp_path / "one", "Alpha"), Folder(tmp_path / "two", "Beta")
    yield two
    for lab in two:
        assert lab("stop").returncode == 0


def test_each_starts_and_asks_and_stops_itself_alone(labs: tuple[Folder, Folder]) -> None:
    one, two = labs
    for lab in labs:
        done = lab("start", at=lab.folder / "app" / "services")  # anywhere in it
        assert done.returncode == 0 and done.stderr.splitlines()[0] == f"Lab: {lab.folder}", done.stderr
        assert lab.json("run", lab.service)["outputs"] == {"result": lab.service}
    for lab, other in ((one, two), (two, one)):
        assert [*lab.json("services")] == [lab.service]
        assert [job["service"] for job in lab.json("jobs", "list")] == [lab.service]
        assert [entry["name"] for entry in lab.json("instruments", "list")] == [f"meter_of_{lab.service.lower()}"]
        assert f":{lab.port}/" in lab("health").stdout
        assert lab("run", other.service).returncode == 2
        script = "from labwaiter import Client; print(*[e.service for e in Client().executions()])"
        assert lab.python("-c", script).stdout == f"{lab.service}\n"
        # named from the other's folder it is meant all the same
        assert [*json.loads(other("--deployment", str(lab.folder), "services", "--json").stdout)] == [lab.service]
    stopped = one("stop")
    assert stopped.stderr == f"Lab: {one.folder}\n" and "labwaiter has stopped" in stopped.stdout
    assert one("health").returncode == 3 and two("health").returncode == 0
    assert one("stop").stdout == "Nothing was running.\n"
    assert two.json("run", "Beta")["state"] == "completed"


def test_what_dies_comes_back_as_what_it_was(labs: tuple[Folder, Folder]) -> None:
    one, two = labs
    assert one("start").returncode == 0 and two("start").returncode == 0
    before = supervisor_client.alive(one.settings)
    for who in web_processes.find(one.settings):
        kill(who)

    def services_there() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{one.port}{one.settings.context_root}/health") as answer:
            return json.load(answer)["services"]

    def is_back() -> bool:
        try:
            return services_there() == ["Alpha"]
        except OSError:
            return False

    eventually(is_back, every=0.1)
    assert supervisor_client.alive(one.settings) == before
    assert one("start").returncode == 0 and services_there() == ["Alpha"]  # begins anew, by SIGHUP, as itself
    assert one.json("run", "Alpha")["state"] == "completed" and two.json("jobs", "list") == []


def test_outside_of_both_a_command_says_that_it_is_in_none(labs: tuple[Folder, Folder], tmp_path: Path) -> None:
    one, _ = labs
    for words in (("start",), ("stop",), ("new", "Gamma"), ("services",), ("jobs", "list"), ("export", "systemd")):
        done = one(*words, at=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, words
        assert done.stderr.startswith(f"Error: {tmp_path} lies in no lab: ") and done.stdout == ""
    for words in (("--version",), ("--help",), ("ports",), ("lint", "--help")):
        assert one(*words, at=tmp_path).returncode == 0, words
    assert not (tmp_path / "systemd").exists()


def test_a_port_that_the_other_one_has_is_told(labs: tuple[Folder, Folder]) -> None:
    one, two = labs
    assert one("start").returncode == 0
    done = two("start", "--port", str(one.port))
    assert done.returncode == 1 and f"Port {one.port} is taken by another" in done.stderr, done.stderr
    assert one("health").returncode == 0


def test_every_command_that_changes_something_says_of_which_lab_and_json_stays_json(
    labs: tuple[Folder, Folder],
) -> None:
    one, _ = labs
    assert one("start").returncode == 0
    for words in (
        ("run", "Alpha", "--id", "x"),
        ("jobs", "abort", "x"),
        ("jobs", "remove", "x"),
        ("new", "Gamma"),
        ("instruments", "reserve", "meter_of_alpha"),
        ("instruments", "reserve", "meter_of_alpha", "--free"),
        ("instruments", "check"),
        ("instruments", "safe", "meter_of_alpha"),
        ("tokens", "add", "ada"),
        ("clear-queue", "--yes"),
        ("export", "systemd"),
        ("export", "prometheus", "watching"),
    ):
        done = one(*words)
        assert done.stderr.splitlines()[0] == f"Lab: {one.folder}", (words, done.stderr)
        assert "Lab: " not in done.stdout
    for words in (("services",), ("jobs", "list"), ("instruments", "list"), ("health",), ("settings",)):
        assert one(*words).stderr == "", words


HOLDS = """
from labwaiter import Job, Outputs, service
from labwaiter.instruments.drivers import SourceMeter

class Done(Outputs):
    result: str

@service("Holds", namespace="http://lab.example/holds/")
def startHolds(job: Job, meter: SourceMeter) -> Done:
    meter.output(True)
    job.progress(0.5, "holds it")
    job.sleep(100)
    return Done(result="")
"""
STARTS_IT_AND_KILLS_IT = """
import os, signal, time
from labwaiter import Client
held = Client().start("Holds", "held", meter="meter_of_alpha")
while held.stage != "holds it":
    assert held.running, held.record.why
    time.sleep(0.05)
os.kill(held.record.runner.pid, signal.SIGKILL)
held.join(60)
"""


def test_a_supervisor_that_nobody_told_of_its_lab_but_its_folder_makes_safe_what_a_dead_job_held(
    labs: tuple[Folder, Folder],
) -> None:
    one, _ = labs
    (one.folder / "app" / "services" / "holds.py").write_text(HOLDS)
    command = [sys.executable, "-m", "labwaiter", "supervise"]
    with subprocess.Popen(command, cwd=one.folder, env=one.environment, stderr=subprocess.DEVNULL) as supervising:
        eventually(lambda: supervisor_client.alive(one.settings) == supervising.pid)
        try:
            done = one.python("-c", STARTS_IT_AND_KILLS_IT)
            assert done.returncode == 0, done.stderr
            (meter,) = one.json("instruments", "list")
            assert (meter["name"], meter["state"], meter["why"]) == ("meter_of_alpha", "free", "")
        finally:
            supervising.terminate()
