"""Two commands make a lab and run it, two more test it: from the wheel alone, in a folder with no clone above it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import docker
from installed import Installed
from labwaiter.testing.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CONTEXT = "/sintef/docker_services"


class NewLab:
    """A lab's folder that labwaiter init made, and a shell in it."""

    def __init__(self, folder: Path, environment: Path, **more: str) -> None:
        self.folder, self.port = folder, str(free_port())
        self.shell = Installed(folder.parent, environment)
        self.shell.environment |= {"PATH": "/usr/bin:/bin", **more}  # its .venv is what is used
        # what pip needs to reach an index
        self.shell.environment |= {n: v for n, v in os.environ.items() if n.startswith("PIP_")}
        self.said = self.shell.labwaiter("init", folder.name)

    def __call__(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / script), *words]
        return subprocess.run(command, cwd=self.folder, env=self.shell.environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def lab(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewLab]:
    made = NewLab(tmp_path_factory.mktemp("somewhere") / "mylab", environment, ENGINE="none")
    yield made
    made("stop.sh")


@pytest.fixture(scope="module")
def contained(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewLab]:
    if shutil.which("docker") is None or docker("info", check=False).returncode:
        pytest.skip("no container engine answers")
    folder = tmp_path_factory.mktemp("somewhere") / f"lwtest-lab-{os.getpid()}"
    made = NewLab(folder, environment, ENGINE="docker")
    yield made
    docker("rm", "-f", "-v", folder.name, check=False)
    docker("volume", "rm", "-f", f"{folder.name}_logs", f"{folder.name}_files", check=False)
    docker("rmi", "-f", f"labwaiter-{folder.name}", check=False)


def works_with_suds_and_the_desk(lab: NewLab, at: str) -> None:
    """A workflow manager's calls, by suds; and the desk's."""
    wsdl = f"{at}/grower/Grower?wsdl"
    call = f"""
import suds.client, time
service = suds.client.Client({wsdl!r}, cache=None).service
who = {{"serviceID": "by suds", "sessionToken": "t"}}
answer = service.startGrower(height=12, **who)
while answer.status_base64 != "COMPLETED":
    time.sleep(0.2)
    answer = service.getServiceStatus(**who)
print(answer.result)
"""
    assert lab.shell("python", "-c", call).stdout == "a crystal of 12 mm\n"
    for service in ("Grower", "Resistance"):
        assert lab.shell("labwaiter", "lint", f"{at}/{service.lower()}/{service}?wsdl").returncode == 0
    (lab.folder / "plan.toml").write_text(
        f'every = 0.3\n[[step]]\nwsdl = "{wsdl}"\ninputs.height = 7\n'
        f'[[step]]\nwsdl = "{at}/resistance/Resistance?wsdl"\ninputs.volts = 2\n'
    )
    done = lab.shell("labwaiter", "workflow", "plan.toml", at=lab.folder)
    assert done.returncode == 0 and "resistance = " in done.stdout, done.stdout + done.stderr


def test_two_commands_make_a_lab_and_run_it(lab: NewLab) -> None:
    assert lab.said.endswith("Next: cd mylab, ./rebuildandrun.sh, ./test.sh\n")
    done = lab("rebuildandrun.sh", lab.port)
    assert done.returncode == 0, done.stdout + done.stderr
    at = f"http://127.0.0.1:{lab.port}{CONTEXT}"
    assert f"  WSDL of Grower: {at}/grower/Grower?wsdl\n" in done.stdout
    assert done.stdout.endswith("Next: ./run.sh watch --service Grower; ./stop.sh ends it.\n")
    assert str(lab.folder / "waiter_logs") in done.stdout
    works_with_suds_and_the_desk(lab, at)


def test_its_test_client_watches_and_remembers(lab: NewLab) -> None:
    watched = lab("run.sh", "watch", "--service", "Resistance", "--every", "0.3")
    assert watched.returncode == 0 and re.search(r"^resistance = (999|1000)", watched.stdout, re.M), watched.stderr
    assert "COMPLETED" in lab("run.sh", "status", "--service", "Resistance").stdout
    assert {path.name for path in (lab.folder / "test_client").iterdir()} == {"client.py", ".last.json"}
    refused = lab("run.sh", "dance")
    assert refused.returncode == 2 and "There is no command “dance”" in refused.stderr


def test_its_tests_pass_with_what_test_sh_brings(lab: NewLab) -> None:
    done = lab("test.sh")
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr
    done = lab("test.sh", "-k", "abort", "-q")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_mistake_in_a_service_is_told_and_the_rest_is_served(lab: NewLab) -> None:
    (lab.folder / "app" / "services" / "wrong.py").write_text("1 +\n")
    done = lab("rebuildandrun.sh")
    assert done.returncode == 0 and "Wrong is not offered: " in done.stdout + done.stderr.replace("wrong", "Wrong")
    (lab.folder / "app" / "services" / "wrong.py").unlink()


def test_stop_settles_all_and_a_lab_that_moved_goes_on(lab: NewLab) -> None:
    assert "every job is settled" in lab("stop.sh").stdout
    moved = lab.folder.with_name("my other lab")
    lab.folder.rename(moved)
    lab.folder = moved
    done = lab("rebuildandrun.sh", lab.port)
    assert done.returncode == 0 and str(moved / "waiter_logs") in done.stdout, done.stderr
    assert "by suds" in lab.shell("labwaiter", "jobs", "list", at=moved).stdout
    assert "every job is settled" in lab("stop.sh").stdout


def test_where_no_labwaiter_is_each_script_says_so(lab: NewLab, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(lab.folder, bare, ignore=shutil.ignore_patterns(".venv", "waiter_*"))
    for script in ("build.sh", "rebuildandrun.sh", "run.sh", "stop.sh", "test.sh"):
        command = [str(bare / script)]
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"labwaiter is neither in {bare}/.venv nor on the PATH"), done.stderr
        assert done.stderr.count("\n") == 1 and "there, python3 -m venv .venv" in done.stderr
    (bare / ".venv").symlink_to(tmp_path / "gone")  # Python makes no environment where a link is
    done = subprocess.run([str(bare / "stop.sh")], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert "there, rm .venv && python3 -m venv .venv" in done.stderr, done.stderr


@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_what_a_forge_runs_passes_in_a_checkout(environment: Path, tmp_path: Path, forge: str) -> None:
    shell = Installed(tmp_path, environment)
    shell.environment |= {n: v for n, v in os.environ.items() if n.startswith("PIP_")} | {"ENGINE": "none"}
    shell.labwaiter("init", "mylab", "--forge", forge)
    git = ["git", "-C", str(tmp_path / "mylab"), "-c", "user.name=a", "-c", "user.email=a@lab.example"]
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-qm", "A lab"),
        ("clone", "-q", ".", str(tmp_path / "there")),
    ):
        subprocess.run([*git, *words], check=True)
    assert not (tmp_path / "there" / ".venv").exists()
    (workflow,) = (
        path for path in (".github/workflows/tests.yml", ".gitlab-ci.yml") if (tmp_path / "there" / path).exists()
    )
    lines = re.findall(r"^ +- (?:run: )?((?:python|\./).*)$", (tmp_path / "there" / workflow).read_text(), re.M)
    assert len(lines) == 2
    shell.environment["PATH"] = f"{tmp_path / 'bin'}:/usr/bin:/bin"  # a Python, and no labwaiter
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    for line in lines:
        command = ["bash", "-ec", f"{line} -k crystal" if "test.sh" in line else line]
        done = subprocess.run(command, cwd=tmp_path / "there", env=shell.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_in_a_container_it_runs_from_the_wheel_of_what_is_installed(contained: NewLab) -> None:
    done = contained("rebuildandrun.sh", contained.port)
    assert done.returncode == 0, done.stdout + done.stderr
    at = f"http://127.0.0.1:{contained.port}{CONTEXT}"
    name = contained.folder.name
    assert f"labwaiter-{name} with labwaiter" in done.stdout and f"in the container {name} at {at}/" in done.stdout
    assert len(list((contained.folder / "wheels").glob("labwaiter-*.whl"))) == 1
    works_with_suds_and_the_desk(contained, at)
    watched = contained("run.sh", "watch", "--service", "Resistance", "--every", "0.3")
    assert watched.returncode == 0 and "resistance = " in watched.stdout, watched.stderr
    built = docker("inspect", "-f", "{{.Id}}", f"labwaiter-{name}").stdout
    assert contained("build.sh").returncode == 0
    assert docker("inspect", "-f", "{{.Id}}", f"labwaiter-{name}").stdout == built, "nothing has changed"
    assert "every job is settled" in contained("stop.sh").stdout
