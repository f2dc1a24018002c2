"""What a service's function does to its own process changes nothing of what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab
from labwaiter.model.record import State

HEAD = """
import os, signal, sys
from pathlib import Path
from labwaiter import Command, Job, Outputs, service

class Result(Outputs):
    result: str

class Made(Outputs):
    mesh: Path
    count: int

@service("Does", namespace="http://samples.example/")
def startDoes(job: Job) -> {outputs}:
"""


@pytest.fixture
def does(make_lab: Callable[..., Lab], services: Path) -> Callable[..., Lab]:
    """A lab in which the service Does has this body, and has been started once."""

    def make(*lines: str, outputs: str = "Result") -> Lab:
        text = HEAD.format(outputs=outputs) + "".join(f"    {line}\n" for line in lines)
        (services / "does.py").write_text(text)
        lab = make_lab()
        lab.supervise()
        lab.start("Does", "one")
        return lab

    return make


@pytest.mark.parametrize("how", ["signal.SIG_IGN", "lambda *_: os.waitpid(-1, 0)"])
def test_a_program_whose_status_was_taken_is_never_told_as_well_ended(does: Callable[..., Lab], how: str) -> None:
    lab = does(
        f"signal.signal(signal.SIGCHLD, {how})",
        "job.run(Command('sh', '-c', 'sleep 0.2; exit 3'))",
        "return Result(result='never')",
    )
    record = lab.ended("one")
    assert record.state is State.FAILED
    assert "Whether sh succeeded can't be told" in record.why


def test_a_function_that_closes_what_it_has_not_opened_still_tells_its_outputs(does: Callable[..., Lab]) -> None:
    lab = does("os.closerange(3, 300)", "job.progress(0.5)", "return Result(result='told')")
    assert lab.ended("one").outputs == {"result": "told"}


def test_one_that_closes_labwaiter_s_own_descriptors_is_told_that(does: Callable[..., Lab]) -> None:
    lab = does("os.closerange(3, 65536)", "return Result(result='never')")
    record = lab.ended("one")
    assert record.state is State.FAILED and "closed descriptors that it did not open" in record.why


def test_a_file_of_an_earlier_step_is_not_what_a_program_says_it_made_in_its_own_folder(
    does: Callable[..., Lab],
) -> None:
    lab = does(
        "job.write('mesh.vtk', 'stale')",
        """tell = '{"mesh": "mesh.vtk", "count": 3}'""",
        "return Command('sh', '-c', f\"printf '{tell}' > told.json\", folder='case', result='told.json')",
        outputs="Made",
    )
    record = lab.ended("one")
    assert record.state is State.FAILED and "mesh" in record.why


def test_the_sample_s_own_time_stays_whatever_is_recorded(does: Callable[..., Lab]) -> None:
    lab = does("job.record(time=5, v=1)", "return Result(result='x')")
    assert lab.ended("one").state is State.COMPLETED
    head, row = (lab.folder("one") / "data" / "record.csv").read_text().splitlines()
    assert head == "time / s,time (recorded),v"
    assert row.split(",")[1:] == ["5", "1"] and row.split(",")[0] != "5"
