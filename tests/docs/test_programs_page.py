"""docs/programs.md, word by word."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from here import ROOT
from lab import Lab

PAGE = (ROOT / "docs" / "programs.md").read_text()


@pytest.mark.skipif(shutil.which("admesh") is None, reason="admesh is not installed: apt-get install admesh")
def test_the_stranger_s_program_runs_as_the_page_says(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "MeshCheck" in block)
    services, files = tmp_path / "own", tmp_path / "files"
    services.mkdir()
    files.mkdir()
    (services / "mesh_check.py").write_text(code)
    shutil.copy(ROOT / "examples" / "bracket.stl", files)
    lab = make_lab(services_folder=services, FILES_FOLDER=str(files))
    lab.supervise()
    lab.start("MeshCheck", "first", part="bracket.stl")
    record = lab.ended("first")
    assert record.outputs is not None, record.why
    for name, value in record.outputs.items():
        assert f"{name} = {value}" in PAGE
    assert lab.store.progress("first").stage == "Writing"


def test_every_habit_of_a_program_is_on_the_page() -> None:
    from labwaiter.model.program import Program

    for habit in Program.__dataclass_fields__:
        assert habit in ("program", "arguments") or f"`{habit}=" in PAGE, habit
