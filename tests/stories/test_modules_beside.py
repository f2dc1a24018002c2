"""Modules beside the service file are the user's, whatever their names; programs get the environment of the user."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from here import ROOT
from lab import Lab
from labwaiter.model.record import State

USES = """
import main
from labwaiter import Command, Job, Outputs, Script, service

class Result(Outputs):
    result: str

@service("Uses", namespace="http://samples.example/")
def startUses(job: Job) -> Result:
    import serve, wait_a_while
    return Result(result=" ".join([main.WHO, serve.WHO, wait_a_while.WHO]))

@service("Environment", namespace="http://samples.example/")
def startEnvironment(job: Job, how: str) -> Result:
    if how == "command":
        return Result(result=job.run(Command("sh", "-c", "echo ${PYTHONPATH-none}")).strip())
    return Result(result=job.run(Script("where.py")).strip())

@service("Forgets", namespace="http://samples.example/")
def startForgets(job: Job) -> Result:
    return Result(result=None)
"""


@pytest.fixture
def beside(services: Path) -> Path:
    (services / "uses.py").write_text(USES)
    for name in ("main", "serve", "wait_a_while"):
        (services / f"{name}.py").write_text(f"WHO = 'your {name}'\n")
    (services / "where.py").write_text("import os, sys; print(os.environ.get('PYTHONPATH', 'none'), *sys.path[1:2])\n")
    return services


def test_modules_named_as_files_of_ours_are_the_user_s(beside: Path, lab: Lab) -> None:
    lab.start("Uses", "one")
    assert lab.ended("one").state is State.COMPLETED
    assert lab.status("Uses", "one").outputs == {"result": "your main your serve your wait_a_while"}


@pytest.mark.parametrize("given", ["", "/opt/tools"])
def test_programs_and_scripts_see_nothing_of_our_own_path(
    beside: Path, make_lab: Callable[..., Lab], given: str
) -> None:
    lab = make_lab(PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT / "app"), given])))
    lab.supervise()
    for how in ("command", "script"):
        lab.start("Environment", how, how=how)
        assert lab.ended(how).state is State.COMPLETED
        result = lab.status("Environment", how).outputs["result"]
        assert result.split()[0] == (given or "none") and str(ROOT / "app") not in result


def test_an_output_that_was_forgotten_is_told(beside: Path, lab: Lab) -> None:
    lab.start("Forgets", "one")
    record = lab.ended("one")
    assert (record.state, record.why) == (State.FAILED, "The work ended without its output result.")


def test_a_pipe_among_the_service_files_keeps_nobody_waiting(beside: Path, lab: Lab) -> None:
    os.mkfifo(beside / "pipe.py")
    lab.start("Uses", "one")
    assert lab.ended("one").state is State.COMPLETED
