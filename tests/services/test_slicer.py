"""Slicer wraps a program that knows nothing of us; without that program only this service is missing."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Caller
from here import ROOT
from lab import Lab
from labwaiter.catalogue import catalogue
from labwaiter.model.record import State

SERVICES = ROOT / "app" / "services"
installed = pytest.mark.skipif(shutil.which("slic3r") is None, reason="slic3r is not installed: apt-get install slic3r")


@pytest.fixture
def slicing(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(ROOT / "examples" / "bracket.stl", files / "brä cket.stl")
    (files / "junk.stl").write_text("no model")
    lab = make_lab(services_folder=SERVICES, FILES_FOLDER=str(files))
    lab.supervise()
    return lab


@installed
def test_a_model_becomes_g_code_of_as_many_layers_as_its_height_asks_for(slicing: Lab) -> None:
    slicing.start("Slicer", "one", model="brä cket.stl", layerHeight="0.5")
    record = slicing.ended("one")
    assert record.outputs == {"gcode": "one/brä cket.gcode"}, record.why
    gcode = (slicing.folder("one") / "data" / "brä cket.gcode").read_text()
    layers = {float(z) for z in re.findall(r"^G1 Z([\d.]+)", gcode, re.M)}
    assert 20 / 0.5 <= len(layers) <= 20 / 0.5 + 2  # a bracket of 20 mm; a first layer of its own, a lift at the end
    assert slicing.status("Slicer", "one").completed
    assert slicing.store.progress("one").stage == "Exporting G-code"


@installed
def test_what_it_can_t_read_fails_with_the_program_s_own_words_on_the_page(slicing: Lab) -> None:
    slicing.start("Slicer", "one", model="junk.stl")
    record = slicing.ended("one")
    assert record.state is State.FAILED and "exit status" in record.why
    assert "Error while reading STL file" in slicing.status("Slicer", "one").view.log


def test_without_the_program_its_address_says_so_and_the_others_serve(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    lab = make_lab(services_folder=SERVICES)
    assert "Slicer" in catalogue.load(SERVICES).broken
    caller = Caller(lab)
    reply = caller("/slicer/Slicer", query="wsdl")
    assert reply.status == "503 Service Unavailable"
    assert "Slicer needs the program slic3r, which is not installed on this machine." in reply.body.decode()
    assert caller("/waiter/Waiter", query="wsdl").status == "200 OK"
