"""labwaiter installed from its wheel alone, into a fresh environment, and a lab in a folder with no clone above it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetlab import REDIS, SECRET, RedisServer
from here import ROOT
from installed import Installed
from lab import PATIENCE, eventually
from labwaiter import __version__
from labwaiter.init.lab_folder import host
from labwaiter.testing.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PLOTS = """
from labwaiter import Job, Outputs, service
from labwaiter.instruments.drivers import SourceMeter

class Swept(Outputs):
    amps: float

@service("Measure", namespace="http://lab.example/measure/")
def startMeasure(job: Job, meter: SourceMeter, plotted: bool = False) -> Swept:
    if plotted:
        job.plot("amps")
    meter.volts = 1.0
    meter.output(True)
    job.record(amps=(amps := float(meter.current)))
    return Swept(amps=amps)
"""
INSTRUMENT = '[instruments.meter]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\n'


@pytest.fixture(scope="module")
def lab(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A lab in a folder of its own, as its user makes it by hand."""
    folder = tmp_path_factory.mktemp("my lab")
    (folder / "app" / "services").mkdir(parents=True)
    (folder / "env").write_text(f"PORT={free_port()}\nWEB_CONCURRENCY=1\nSTARTS_PER_MINUTE=\n")
    (folder / "lab.toml").write_text(INSTRUMENT)
    made = Installed(folder, environment)
    yield made
    made("labwaiter", "stop")


def digest(environment: Path) -> dict[str, str]:
    """What the package's files hold."""
    (package,) = environment.glob("lib/python*/site-packages/labwaiter")
    files = (file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_service_is_made_checked_served_and_watched(lab: Installed, environment: Path) -> None:
    before = digest(environment)
    where = f"{environment}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/labwaiter"
    assert lab.labwaiter("--version").startswith(f"labwaiter {__version__} from {where} (Python 3.")
    assert "labwaiter new NAME writes one" in lab.labwaiter("start")  # there is no service yet
    assert lab.labwaiter("new", "Grower").startswith("Wrote app/services/grower.py.")
    lab.labwaiter("new", "Slicer", "--toml")
    (lab.folder / "app" / "services" / "measure.py").write_text(PLOTS)
    for file in ("grower.py", "slicer.toml"):
        assert f"{file} is right." in lab.labwaiter("check", f"app/services/{file}")
    drawing = lab("labwaiter", "check", "app/services/measure.py")  # it runs, as long as nobody has it draw
    assert drawing.returncode == 1 and "measure.py, line 11:" in drawing.stderr and "matplotlib" in drawing.stderr
    assert "Command(" in lab.labwaiter("as-python", "app/services/slicer.toml")
    assert lab.json("run", "Grower", "steps=1")["outputs"]["answer"] == "Hello, world!"
    assert lab.json("run", "Slicer", "steps=3")["outputs"] == {"total": 3}
    assert "meter" in lab.labwaiter("instruments", "check")
    assert lab.json("run", "Measure", "meter=meter")["state"] == "completed"
    offered = lab.json("services")
    for name in ("Grower", "Slicer", "Measure"):
        with urllib.request.urlopen(offered[name]["wsdl"], timeout=10) as answer:
            assert b"definitions" in answer.read()
        assert lab("labwaiter", "lint", offered[name]["wsdl"]).returncode == 0
    with urllib.request.urlopen(offered["Grower"]["wsdl"].partition("/grower/")[0] + "/", timeout=10) as answer:
        assert b"Grower" in answer.read()
    (lab.folder / "plan.toml").write_text(
        f'every = 0.5\n[[step]]\nwsdl = "{offered["Grower"]["wsdl"]}"\ninputs.steps = 2\n'
    )
    assert "Hello, world!" in lab.labwaiter("workflow", "plan.toml")
    (lab.folder / "schedule.toml").write_text('[schedules.nightly]\nservice = "Grower"\nevery = "1 d"\n')
    assert [row["name"] for row in lab.json("schedule", "--list")] == ["nightly"]
    script = "from labwaiter import Client; print(Client().start('Slicer', steps=4).join(30).outputs)"
    assert lab("python", "-c", script).stdout == "{'total': 4}\n"
    assert digest(environment) == before, "something of the package was changed"


def test_the_processes_find_python_s_own_modules_before_what_is_installed(lab: Installed) -> None:
    service = """
import os, sys, sysconfig
from labwaiter import Job, Outputs, service

class Said(Outputs):
    first: bool
    given: str

@service("Paths", namespace="http://lab.example/paths/")
def startPaths(job: Job) -> Said:
    own, installed = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
    first = sys.path.index(own) < sys.path.index(installed)
    return Said(first=first, given=os.environ.get("PYTHONPATH", "none"))
"""
    (lab.folder / "app" / "services" / "paths.py").write_text(service)
    assert lab.json("run", "Paths")["outputs"] == {"first": True, "given": "none"}


def test_a_plot_without_what_draws_it_is_one_sentence(lab: Installed) -> None:
    done = lab("labwaiter", "run", "Measure", "meter=meter", "plotted=true")
    assert done.returncode == 1
    said = (
        "job.plot needs matplotlib, which is not installed here: put the line matplotlib into"
        " app/services/requirements.txt and call ./build.sh, or pip install 'labwaiter[plots]'."
    )
    assert said in done.stdout + done.stderr


def test_what_other_programs_need_is_written_from_the_package(lab: Installed) -> None:
    for words, file, text in (
        (("compose", "deploy"), "deploy/compose.yaml", "context: ..\n"),
        (("nginx", "proxy"), "proxy/nginx.conf", "proxy_pass"),
        (("prometheus", "watch"), "watch/prometheus.yml", "/sintef/docker_services/metrics"),
        (("machines", "many"), "many/compose.yaml", "context: ..\n"),
    ):
        lab.labwaiter("export", *words)
        assert text in (lab.folder / file).read_text()
        lab.labwaiter("export", *words)  # the same again is no mistake
        (lab.folder / file).write_text("mine\n")
        again = lab("labwaiter", "export", *words)
        assert again.returncode == 2 and f"{file} is there already" in again.stderr
        assert (lab.folder / file).read_text() == "mine\n"
    for file in ("deploy/compose.yaml", "many/compose.yaml"):  # the image that ./build.sh makes of this lab alone
        shutil.rmtree((lab.folder / file).parent)
    for words in (("compose", "deploy"), ("machines", "many")):
        said = lab.labwaiter("export", *words)
        assert f"  image: labwaiter-{host(lab.folder.name)}\n" in (lab.folder / words[1] / "compose.yaml").read_text()
        assert "/build.sh' && " in said
    refused = lab("labwaiter", "export", "systemd")
    assert refused.returncode == 2 and "use folders without blanks" in refused.stderr  # “my lab”
    assert not (lab.folder / "systemd").exists()


def test_units_name_the_lab_and_the_command_of_its_environment(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "env").write_text("")
    lab = Installed(tmp_path, environment)
    lab.labwaiter("export", "systemd", "--name", "growing")
    text = (tmp_path / "systemd" / "growing-web.service").read_text()
    assert f"ExecStart={environment}/bin/labwaiter serve\n" in text and f"WorkingDirectory={tmp_path}\n" in text
    assert f"Environment=LABWAITER_DEPLOYMENT={tmp_path} SUPERVISOR=elsewhere\n" in text
    assert "After=network.target growing-supervisor.service\nPartOf=growing.target\n" in text


@pytest.mark.skipif(REDIS is None, reason="no redis-server on this machine")
def test_a_worker_takes_orders(lab: Installed, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    folder = tmp_path / "lab"
    shutil.copytree(lab.folder / "app", folder / "app")
    (folder / "env").write_text(f"REDIS_URL={redis.url}\nREDIS_SECRET={SECRET}\nMACHINE=bench\n")
    (folder / "lab.toml").write_text("[machines.bench]\n")
    machine = Installed(folder, lab.bin.parent)
    worker = subprocess.Popen(
        [machine.bin / "labwaiter", "worker"], cwd=folder, env=machine.environment, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: machine("labwaiter", "workers").returncode == 0, every=0.3)
        face = {"MACHINE": "face", "WAITER_LOG_FOLDER": "face"}
        assert machine.json("run", "Slicer", "steps=5", **face)["outputs"] == {"total": 5}
    finally:
        worker.terminate()
        worker.wait(PATIENCE)
        redis.close()


def test_two_labs_with_an_environment_each_do_not_see_each_other(lab: Installed, tmp_path: Path) -> None:
    (tmp_path / "app" / "services").mkdir(parents=True)
    shutil.copy(lab.folder / "app" / "services" / "slicer.toml", tmp_path / "app" / "services" / "cutter.toml")
    (tmp_path / "env").write_text(f"PORT={free_port()}\nWEB_CONCURRENCY=1\n")
    other = Installed(tmp_path, lab.bin.parent)
    other.bin = ROOT / ".venv" / "bin"
    if not (other.bin / "labwaiter").exists():
        pytest.skip("no .venv in this clone")
    lab.labwaiter("start")
    other.labwaiter("start")
    try:
        assert other.json("run", "Slicer", "steps=2", "--id", "other")["state"] == "completed"
        assert [job["serviceID"] for job in other.json("jobs", "list")] == ["other"]
        assert "other" not in [job["serviceID"] for job in lab.json("jobs", "list")]
        assert [*other.json("services")] == ["Slicer"] and "Grower" in lab.json("services")
    finally:
        other.labwaiter("stop")
    lab.labwaiter("health")


def test_it_is_stopped_and_nothing_is_left(lab: Installed) -> None:
    lab.labwaiter("start")
    assert "labwaiter has stopped; every job is settled." in lab.labwaiter("stop")
    assert lab("labwaiter", "health").returncode == 3
