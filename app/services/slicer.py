"""Slicer: Debian's slic3r as a service, a program that knows nothing of labwaiter."""

from pathlib import Path
from typing import Annotated

from labwaiter import Command, Job, Outputs, Range, Suffix, minutes, service

# what Slic3r 1.3 prints as it goes, in its order (Slic3r/Print.pm, status_cb)
STAGES = (
    "Infilling layers",
    "Processing triangulated mesh",
    "Preparing infill",
    "Generating support material",
    "Generating skirt",
    "Generating brim",
    "Exporting G-code",
)


class Sliced(Outputs):
    gcode: Path


@service("Slicer", namespace="http://labwaiter.example/slicer/", limit=minutes(30), needs=["slic3r"])
def startSlicing(
    job: Job,
    model: Annotated[Path, Suffix(".stl", ".obj")],
    layerHeight: Annotated[float, Range(0.05, 0.5, "mm")] = 0.3,
) -> Sliced:
    """Slice a model into G-code for a 3-D printer."""
    gcode = f"./{model.stem}.gcode"  # the point keeps a name that begins with a dash from being an option
    job.run(
        Command(
            *("slic3r", "--no-gui", model, "--layer-height", layerHeight, "--output", gcode),
            stages=STAGES,
            environment={"LC_ALL": "C.UTF-8"},  # else it finds no file whose name has an umlaut
        )
    )
    return Sliced(gcode=Path(gcode))
