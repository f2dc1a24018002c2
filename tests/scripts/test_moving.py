"""0.4.0's clone, used for real, becomes a lab of one's own by the steps of docs/moving.md, under this version's wheel.

The clone is what git has of that release, with an environment of its own; the lab's environment is a fresh one with the
wheel alone. The steps are the document's very blocks, with `~` in a temporary folder and the port of this test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from suds.client import Client

from here import ROOT
from labwaiter.testing.ports import free_port

RELEASE = "8cb3d8e4e2e127ae5eb3a0d5e4df67224093ca31"  # the last commit of 0.4.0
STEPS = re.findall(r"^```shell\n(.*?)^```", (ROOT / "docs" / "moving.md").read_text(), re.M | re.S)
KEEP, BESIDE, SAVE, STOP, MAKE, COPY, LOOK, START = STEPS
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GROW = """
import sys
height, recipe, status, result = float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
open(status, "w").write("50")
open(result, "w").write(f"grew {height:g} mm by {open(recipe).read().strip()}")
"""
GROWER = '''
from pathlib import Path
from typing import Annotated
from labwaiter import Job, Outputs, Range, Script, Suffix, service

class Grown(Outputs):
    result: str

@service("Grower", namespace="http://lab.example/grower/", limit=3600)
def startGrower(
    job: Job, recipe: Annotated[Path, Suffix(".txt")], height: Annotated[float, Range(1, 500, "mm")] = 50
) -> Grown:
    """Grow a crystal."""
    return Script("grow.py", height, recipe, job.status_file, job.result_file)
'''


@dataclass
class Home:
    """The home of somebody who has a clone, and wants a lab."""

    folder: Path
    port: int
    wheel: Path
    told: dict[str, str] = field(default_factory=dict)  # what steps have said

    def __call__(self, steps: str, at: str = "") -> str:
        """Do what a block shows: what it says. It must succeed."""
        done = self.done(steps, at)
        assert done.returncode == 0, f"{steps}\n{done.stdout}{done.stderr}"
        return done.stdout

    def done(self, steps: str, at: str = "") -> subprocess.CompletedProcess[str]:
        steps = steps.replace(":8080", f":{self.port}").replace("'labwaiter[plots]'", f"'{self.wheel}[plots]'")
        steps = steps.replace("python3 -m venv", f"{os.path.realpath(sys.executable)} -m venv")
        kept = ("PATH", "LANG", "TMPDIR", "PIP_CERT", "SSL_CERT_FILE", "PIP_CONFIG_FILE", "PIP_CACHE_DIR")
        environ = {name: value for name, value in os.environ.items() if name in kept or "INDEX" in name}
        environ |= {"HOME": str(self.folder), "ENGINE": "none", "PYTHON": os.path.realpath(sys.executable)}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", steps],
            cwd=self.folder / at,
            env=environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def client(self, name: str) -> Client:
        """A caller that knows the service by the WSDL that 0.4.0 gave, kept on its own disk."""
        return Client((self.folder / "registered" / f"{name}.wsdl").as_uri(), cache=None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with the clone of 0.4.0, in which executions of every kind have been."""
    folder = tmp_path_factory.mktemp("home")
    archive = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip("this copy of the repository has no commit of 0.4.0")
    clone = folder / "labwaiter"
    clone.mkdir()
    subprocess.run(["tar", "-x"], cwd=clone, input=archive.stdout, check=True)
    subprocess.run([sys.executable, "-m", "labwaiter", "wheel", folder / "wheel"], cwd=ROOT, check=True)
    one = Home(folder, free_port(), next((folder / "wheel").glob("*.whl")))
    (clone / "app" / "grow.py").write_text(GROW)
    (clone / "app" / "services" / "grower.py").write_text(GROWER)
    (clone / "waiter_files").mkdir()
    (clone / "waiter_files" / "slow.txt").write_text("a slow recipe\n")
    with open(clone / "env", "a") as env:
        env.write(f"PORT={one.port}\nMAX_RUNNING=20\n")
    one("./rebuildandrun.sh --local", "labwaiter")
    one(
        """
        .venv/bin/labwaiter run Grower --id grown recipe=slow.txt height=20
        .venv/bin/labwaiter run Sweep --id swept startVolts=-1 stopVolts=1
        ! .venv/bin/labwaiter run Slicer --id unsliced model=slow.txt
        .venv/bin/labwaiter run Waiter --id removed secondsToWait=0
        .venv/bin/labwaiter jobs remove removed
        """,
        "labwaiter",
    )
    yield one
    for name in ("labwaiter", "mylab"):
        if (folder / name / "stop.sh").exists():
            one.done("./stop.sh", name)


@pytest.fixture(scope="module")
def moved(home: Home) -> Home:
    """The same home once all steps were taken."""
    home(SAVE)
    (home.folder / "registered").mkdir()
    for file in (home.folder / "labwaiter" / "app" / "services").glob("*.wsdl"):
        (home.folder / "registered" / file.name).write_bytes(file.read_bytes())
    home(STOP, "labwaiter")
    home(MAKE)
    home(COPY, "mylab")
    before = stamps(home.folder / "mylab")
    home.told["look"] = home(LOOK, "mylab")
    assert stamps(home.folder / "mylab") == before
    home.told["start"] = home(START, "mylab")
    return home


def stamps(lab: Path) -> dict[str, object]:
    """Whatever lies in a lab, but for what is made of others."""
    found: dict[str, object] = {}
    for path in [lab, *lab.rglob("*")]:
        status = path.lstat()
        if "__pycache__" not in path.parts:
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = status.st_mode, status.st_mtime_ns, status.st_ctime_ns, content
    return found


def test_the_look_finds_nothing_in_the_way_and_says_what_will_be(moved: Home) -> None:
    look = moved.told["look"]
    for sentence in (
        "fine     Grower: its WSDL says what the kept one does.",
        "fine     Waiter: its WSDL says what the kept one does.",
        "It lists sourcemeter, marlin, relays, co2.",
        "Its form is that of labwaiter 0.4 or before, and would become",
        "tombstones: 1.",
        "no WSDL was kept: HeatPlate, Printer, Slicer, Ventilation.",
        "Nothing is in the way; ",
    ):
        assert sentence in look, look


def test_its_executions_are_there_as_they_ended(moved: Home) -> None:
    listed = json.loads(moved(".venv/bin/labwaiter jobs list --json", "mylab"))
    states = {job["serviceID"]: job["state"] for job in listed}
    assert states.items() >= {("grown", "completed"), ("swept", "completed")}
    shown = json.loads(moved(".venv/bin/labwaiter jobs show grown --json", "mylab"))
    assert shown["outputs"] == {"result": "grew 20 mm by a slow recipe"}
    gone = moved.done(".venv/bin/labwaiter jobs show removed", "mylab")
    assert gone.returncode == 2 and "has been removed" in gone.stderr


def test_who_registered_a_service_polls_and_starts_by_the_wsdl_of_0_4_0(moved: Home) -> None:
    grower = moved.client("Grower").service
    told = grower.getServiceStatus("grown", "token")
    assert (told.status_base64, told.result) == ("COMPLETED", "grew 20 mm by a slow recipe")
    again = grower.startGrower("grown", "token", "slow.txt", 20.0)  # a retry of the very same start
    assert again.status_base64 == "COMPLETED"
    page = grower.startGrower("new", "token", "slow.txt", 30.0).status_base64
    assert page == "COMPLETED" or b"Grower" in b64decode(page)
    assert json.loads(moved(".venv/bin/labwaiter jobs wait new --json", "mylab"))["outputs"] == {
        "result": "grew 30 mm by a slow recipe"
    }


def test_what_a_job_made_is_handed_out_as_before(moved: Home) -> None:
    curve = json.loads(moved(".venv/bin/labwaiter jobs show swept --json", "mylab"))["outputs"]["curve"]
    assert curve == "swept/record.csv"
    assert (moved.folder / "mylab" / "waiter_logs" / "swept" / "data" / "record.csv").stat().st_size > 100


def test_what_ran_before_runs_and_draws_as_before(moved: Home) -> None:
    moved(".venv/bin/labwaiter run Sweep --id swept-anew startVolts=-1 stopVolts=1", "mylab")
    assert (moved.folder / "mylab" / "waiter_logs" / "swept-anew" / "data" / "plot.png").stat().st_size > 1000


def test_an_edit_that_its_callers_would_feel_is_told(moved: Home) -> None:
    file = moved.folder / "mylab" / "app" / "services" / "grower.py"
    text = file.read_text()
    file.write_text(
        text.replace("height: Annotated", "width: Annotated").replace('"grow.py", height', '"grow.py", width')
    )
    said = moved.done(".venv/bin/labwaiter check app/services/grower.py", "mylab")
    assert said.returncode == 1
    assert "The input height of startGrower is gone; width, of the same type, stands in its place." in said.stdout
    file.write_text(text)
    moved(".venv/bin/labwaiter check", "mylab")


def test_a_new_environment_looks_while_the_old_one_runs_and_takes_over_what_runs(moved: Home) -> None:
    running = "started=$(.venv/bin/labwaiter jobs show long --json) && grep -q '\"running\"' <<<$started && echo runs"
    moved("nohup .venv/bin/labwaiter run Waiter --id long secondsToWait=3000 >/dev/null 2>&1 &", "mylab")
    moved(f"until {running}; do sleep 0.2; done", "mylab")
    said = moved(BESIDE)
    assert "Its form is this version's" in said and "These run, as far as is known: long." in said, said
    assert "Nothing is in the way; 0 warnings." in said
    moved("ln -sfn ~/labwaiter-new .venv && ./rebuildandrun.sh --local", "mylab")
    assert "runs" in moved(running, "mylab")
    supervisors = [
        file.read_bytes().decode(errors="replace")
        for pid in moved("pgrep -f 'labwaiter\\.supervisor --lock' || true").split()
        if (file := Path("/proc", pid, "cmdline")).exists()
    ]
    ours = [line for line in supervisors if str(moved.folder) in line]
    assert len(ours) == 1 and str(moved.folder / "labwaiter-new") in ours[0], supervisors
    moved(".venv/bin/labwaiter jobs abort long", "mylab")
