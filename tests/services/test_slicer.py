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
from lab import Lab as EngineLab
from labwaiter.catalogue import catalogue
from labwaiter.testing import Lab

SERVICES = ROOT / "app" / "services"
installed = pytest.mark.skipif(shutil.which("slic3r") is None, reason="slic3r is not installed: apt-get install slic3r")


@installed
def test_a_model_becomes_g_code_of_as_many_layers_as_its_height_asks_for(lab: Lab, tmp_path: Path) -> None:
    model = shutil.copy(ROOT / "examples" / "bracket.stl", tmp_path / "brä cket.stl")
    one = lab.run("Slicer", model=Path(model), layerHeight=0.5)
    assert one.outputs == {"gcode": f"{one.service_id}/brä cket.gcode"}
    gcode = one.files["brä cket.gcode"].read_text()
    layers = {float(z) for z in re.findall(r"^G1 Z([\d.]+)", gcode, re.M)}
    assert 20 / 0.5 <= len(layers) <= 20 / 0.5 + 2  # a bracket of 20 mm; a first layer of its own, a lift at the end
    assert one.stage == "Exporting G-code"


@installed
def test_what_it_can_t_read_fails_with_the_program_s_own_words_on_the_page(lab: Lab) -> None:
    (lab.files / "junk.stl").write_text("no model")
    one = lab.run("Slicer", model="junk.stl")
    assert one.failed and "exit status" in str(one.error)
    assert "Error while reading STL file" in one.page()


def test_without_the_program_its_address_says_so_and_the_others_serve(
    make_lab: Callable[..., EngineLab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    lab = make_lab(services_folder=SERVICES)
    assert "Slicer" in catalogue.load(SERVICES).broken
    caller = Caller(lab)
    reply = caller("/slicer/Slicer", query="wsdl")
    assert reply.status == "503 Service Unavailable"
    assert "Slicer needs the program slic3r, which is not installed on this machine." in reply.body.decode()
    assert caller("/waiter/Waiter", query="wsdl").status == "200 OK"
