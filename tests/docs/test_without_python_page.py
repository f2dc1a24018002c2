"""docs/services-without-python.md, word by word."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from blocks import of

from here import ROOT
from lab import Lab
from labwaiter.catalogue import catalogue
from labwaiter.lab import labfile
from labwaiter.model import toml_service
from labwaiter.model.service import Service

PAGE = (ROOT / "docs" / "services-without-python.md").read_text()
SERVICE, INSTRUMENT = (block.text for block in of("docs/services-without-python.md", "toml"))


@pytest.mark.skipif(shutil.which("slic3r") is None, reason="slic3r is not installed: apt-get install slic3r")
def test_the_page_s_service_slices(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    services, files = tmp_path / "own", tmp_path / "files"
    services.mkdir()
    files.mkdir()
    (services / "slicing.toml").write_text(SERVICE)
    shutil.copy(ROOT / "examples" / "bracket.stl", files)
    lab = make_lab(services_folder=services, FILES_FOLDER=str(files))
    lab.supervise()
    lab.start("Slicing", "first", model="bracket.stl", density=15)
    record = lab.ended("first")
    assert record.outputs is not None and str(record.outputs["gcode"]).endswith("bracket.gcode"), record.why


def test_every_key_is_on_the_page_and_every_key_of_the_page_is_one() -> None:
    named: dict[str, set[str]] = {
        "inputs": set(),
        "service": set(),
        "command": set(),
        "script": set(),
        "outputs": set(),
    }
    for row in re.findall(r"^\| (`[a-z]+\.[^|]*) \|", PAGE, re.M):
        for table, key in re.findall(r"`(\w+)(?:\.NAME)?\.(\w+)`", row):
            named[table].add(key)
    named["script"] |= named["command"]  # told together
    assert named == {table: set(keys) for table, keys in toml_service.KEYS.items()}
    for name in (*toml_service._JOB, *toml_service._PARTS):
        assert re.search(rf"`\{{(job|model)\.{name}\}}`", PAGE), name


def test_the_page_s_service_is_right_and_its_python_means_the_same(tmp_path: Path) -> None:
    (tmp_path / "slicing.toml").write_text(SERVICE)
    in_toml = catalogue.check(tmp_path / "slicing.toml")[0]
    (tmp_path / "slicing.py").write_text(toml_service.python_of(SERVICE, "slicing.toml"))
    in_python = catalogue.check(tmp_path / "slicing.py")[0]
    for one, other in zip(in_toml, in_python, strict=True):
        if isinstance(one, Service):
            assert {**vars(one), "file": None} == {**vars(other), "file": None}
        else:  # slic3r isn't installed here
            assert one.reason == getattr(other, "reason", "")


def test_the_page_s_instrument_is_right(tmp_path: Path) -> None:
    (tmp_path / "my_lab.py").write_text("def stop_mill(mill): pass\n")
    (tmp_path / "lab.toml").write_text(INSTRUMENT)
    assert "mill" in labfile.load(tmp_path / "lab.toml").entries
