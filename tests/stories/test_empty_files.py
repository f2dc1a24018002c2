"""An output that is a file, and empty: on a full disk nobody knows what it would have been."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Lab
from labwaiter.model.record import State

SERVICE = """
import sys
from pathlib import Path

from labwaiter import Command, Job, Outputs, service

WRITE = \"\"\"
import sys
name, full, result = sys.argv[1:]
if full == "full":
    try:
        with open("big", "wb", buffering=0) as big:
            while True:
                big.write(bytes(512))
    except OSError:
        pass
open(name, "w").close()
\"\"\"


class Made(Outputs):
    made: Path


@service("Maker", namespace="http://maker.example/")
def startMaker(job: Job, full: bool, given: bool) -> Made:
    \"\"\"Make an empty file.\"\"\"
    if given:
        job.result_file.write_text("made.txt")
    way = Command(sys.executable, "-c", WRITE, "made.txt", "full" if full else "", "", result="../result.txt")
    job.run(way)
    if given:
        return Command(sys.executable, "-c", "open('../result.txt', 'r+').write('made.txt')")
    return Made(made=job.data / "made.txt")
"""


@pytest.mark.folder_way
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_an_empty_file_is_an_output_unless_its_disk_is_full(
    make_lab: Callable[..., Lab], small_disk: Path, full: bool, given: bool
) -> None:
    lab = make_lab(small_disk / "jobs")
    (lab.settings.services / "maker.py").write_text(SERVICE)
    lab.supervise()
    lab.start("Maker", "one", full=full, given=given)
    record = lab.ended("one")
    if full:
        assert record.state is State.FAILED
        assert (
            record.why == "The file of the output made is empty: its disk can't be written (No space left on device)."
        )
    else:
        assert record.state is State.COMPLETED, record.why
        assert lab.status("Maker", "one").outputs == {"made": "one/made.txt"}
