"""A model becomes G-code becomes a part: examples/print.toml as it stands, with the real slic3r."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.instruments.gcode import GCode, Machine
from labwaiter.instruments.simulators import Marlin
from labwaiter.testing import Lab

EXAMPLE = ROOT / "examples" / "print.toml"
DEPLOYED = "http://127.0.0.1:8080/sintef/docker_services"
pytestmark = [
    pytest.mark.skipif(shutil.which("slic3r") is None, reason="slic3r is not installed: apt-get install slic3r"),
    pytest.mark.timeout(240),
]


def test_the_example_draws_every_layer_and_leaves_the_heaters_off(lab: Lab, tmp_path: Path) -> None:
    printer = lab.simulators["marlin"]
    assert isinstance(printer, Marlin)
    printer.speed = 400
    shutil.copy(ROOT / "examples" / "bracket.stl", lab.files)
    flow = tmp_path / "print.toml"
    flow.write_text(
        EXAMPLE.read_text().replace(DEPLOYED, lab.address().removesuffix("/")).replace("every = 2", "every = 0.2")
    )
    ran = subprocess.run(
        [sys.executable, "-m", "labwaiter", "workflow", str(flow)],
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    said = dict(line.split(" = ") for line in ran.stdout.splitlines())
    gcode = lab.settings.jobs_folder / said["gcode"].replace("/", "/data/", 1)
    reader = GCode(gcode, Machine())
    assert len(list(reader)) > 1000
    # every height at which the file extrudes on its way, in its order
    heights: list[float] = []
    z = 0.0
    for line in gcode.read_text().splitlines():
        if found := re.match(r"G1 Z([\d.]+)", line):
            z = float(found[1])
        elif re.match(r"G1 X\S+ Y\S+ E", line) and (not heights or heights[-1] != z):
            heights.append(z)
    assert len(heights) == 67 and heights[-1] == pytest.approx(20, abs=0.3)
    assert printer.layers == heights
    assert int(said["layers"]) == reader.layer == len(heights)
    assert float(said["filament"]) == pytest.approx(reader.filament, abs=0.01)
    assert printer.is_safe() and printer.fan == 0 and printer.hotend.target == 0
    told = [what for _, what in printer.happened]
    assert told.index("hotend to 200 °C") < told.index(f"layer at {heights[0]:g} mm") < told.index("hotend to 0 °C")
    assert "cold extrusion prevented" not in told
