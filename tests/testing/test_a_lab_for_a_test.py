"""The fixture `lab`, as somebody meets it who writes a service in a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from here import ROOT
from lab import eventually, gone
from labfolder import Folder, environment
from labwaiter.errors import Misconfigured
from labwaiter.settings import FOLDER_NAMED, load
from labwaiter.store import supervisor_client
from labwaiter.testing import Lab, NotThatWay


def test_a_lab_s_own_service_runs_with_its_own_simulator_and_settings(folder: Folder) -> None:
    said = folder.pytest(
        """
import os, subprocess, sys
import pytest
from labwaiter import InvalidParameter
from _lamps import Lamp

def test_it(lab):
    shone = lab.run("Shine", seconds=0.2)
    assert shone.outputs == {"seconds": 0.2} and shone.states == ["queued", "running", "completed"]
    shone.assert_safe()
    assert [what for _, what in lab.simulators["lamp"].happened][:2] == ["lamp on", "lamp off"]
    with pytest.raises(InvalidParameter, match="seconds must be between 0 and 900 s"):
        lab.by_soap.start("Shine", seconds=1000)
    assert lab.by_soap.run("Shine", seconds=0.2).outputs == {"seconds": 0.2}
    assert "/lamps/shine/Shine" in lab.address("Shine") and lab.settings.max_running == 3
    command = [sys.executable, "-m", "labwaiter", "jobs", "list"]
    listed = subprocess.run(command, env=lab.environment, cwd="/", capture_output=True, text=True)
    assert shone.service_id in listed.stdout, listed.stderr
"""
    )
    assert "1 passed" in said, said


@pytest.mark.slow
def test_whatever_a_test_does_nothing_of_it_goes_on(folder: Folder) -> None:
    said = folder.pytest(
        """
import os, signal

def test_left(lab):
    lab.by_soap.start("Shine", "one", seconds=900).wait_for("shining")

def test_fails(lab):
    lab.start("Shine", "two", seconds=900).wait_for("shining")
    assert lab.get("two").outputs

def test_kills_the_supervisor(lab):
    from labwaiter.store import supervisor_client
    lab.start("Shine", "three", seconds=900).wait_for("shining")
    os.kill(supervisor_client.alive(lab.settings), signal.SIGKILL)

def test_raises(lab):
    lab.start("Shine", "four", seconds=900).wait_for("shining")
    raise KeyError("four")
"""
    )
    assert "The test left one running: it was stopped as it ended. Have the test end what it starts:" in said
    assert "two has no outputs: it is running: shining for" in said
    assert "2 failed, 2 passed, 2 warnings" in said
    for root in folder.path.glob("tmp/*/lab"):
        settings = load({FOLDER_NAMED: str(root)})
        assert supervisor_client.alive(settings) is None
        assert (settings.jobs_folder / ".labwaiter" / "stopped").exists()
        for job in settings.jobs_folder.glob("[!.]*"):
            assert '"aborted"' in (job / "state.json").read_text() and "made safe" in (job / "log.txt").read_text()
    assert processes_in(folder.path) == []


def processes_in(place: Path) -> list[str]:
    """What runs with something of this folder in its environment or its words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(place) in text:
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.slow
def test_tests_that_are_killed_leave_no_deployment_behind(folder: Folder) -> None:
    test = 'def test_it(lab):\n    lab.by_soap.start("Shine", seconds=900)\n    lab.until(lambda: 0)\n'
    running = subprocess.Popen(folder.command(test), cwd=folder.path, env=environment(), stdout=subprocess.DEVNULL)
    root = eventually(lambda: next(iter(folder.path.glob("tmp/*/lab/jobs/Shine*/progress.json")), None)).parents[2]
    settings = load({FOLDER_NAMED: str(root)})
    supervisor = eventually(lambda: supervisor_client.alive(settings))
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    eventually(lambda: gone(supervisor))
    assert '"aborted"' in next(root.glob("jobs/Shine*/state.json")).read_text()
    eventually(lambda: processes_in(folder.path) == [])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda path: (path / "env").unlink(),
            "lies in no lab: no folder from it upwards has a file env and a folder app",
        ),
        (
            lambda path: (path / "env").write_text("PROT=80\n"),
            "env, line 1: PROT is no setting; perhaps PORT is meant.",
        ),
        (lambda path: (path / "lab.toml").write_text("[instruments.x]\n"), 'x: it needs driver = "…"'),
    ],
    ids=["no lab", "env", "lab.toml"],
)
def test_what_is_wrong_with_the_folder_is_told_in_a_sentence(folder: Folder, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    spoil(folder.path)
    (folder.path / "tests" / "conftest.py").unlink()
    said = folder.pytest("def test_it(lab):\n    pass\n")
    assert words in said and "1 error" in said
    assert "Traceback" not in said and "labwaiter/" not in said, said


def test_a_run_that_does_not_use_it_imports_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    assert '_labwaiter_pytestplugin' in sys.modules and 'labwaiter' not in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_it_comes_with_an_installed_labwaiter() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"labwaiter": "_labwaiter_pytestplugin"}
    assert "_labwaiter_pytestplugin" in project["tool"]["setuptools"]["py-modules"]


def test_a_setting_that_there_isn_t_leaves_no_half_made_folder(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="MAX_RUNING is no setting; perhaps MAX_RUNNING is meant."):
        Lab(ROOT, tmp_path / "lab", MAX_RUNING="1")
    assert list(tmp_path.iterdir()) == []
    with Lab(ROOT, tmp_path / "lab", MAX_RUNNING="1") as lab:
        assert lab.settings.max_running == 1


# -- what goes wrong in a test is told ----------------------------------------------------------


def test_a_wait_says_how_far_it_had_come(lab: Lab) -> None:
    one = lab.start("Waiter", "one", secondsToWait=900)
    with pytest.raises(NotThatWay, match="one has not ended within 0.1 s: it is running"):
        one.wait_for_begin() and one.join(0.1)
    with pytest.raises(NotThatWay, match="one: Within 0.1 s it did not come to what was waited for: it is running"):
        one.wait_for("the moon", 0.1)
    one.kill()
    with pytest.raises(NotThatWay, match="one: It ended before it said “the moon”: it has failed: .*SIGKILL"):
        one.wait_for("the moon")


def test_an_instrument_that_lab_toml_does_not_have_is_named(lab: Lab) -> None:
    with pytest.raises(
        Exception, match="lab.toml has no instrument oven; there are: sourcemeter, marlin, relays, co2."
    ):
        lab.plug("oven")
    with pytest.raises(Exception, match="lab.toml has no instrument oven"):
        lab.assert_safe("oven")
    with pytest.raises(Exception, match="lab.toml has no instrument oven; there are: sourcemeter"):
        lab.simulators["oven"]


def test_what_is_live_is_told_with_the_end_of_its_own_record(lab: Lab) -> None:
    one = lab.start("Sweep", points=10_000)
    lab.until(lambda: not lab.simulators["sourcemeter"].is_safe())
    with pytest.raises(NotThatWay, match="sourcemeter may not be left alone, by its own record: .*output on"):
        one.assert_safe()
    one.abort()
    one.assert_safe()
