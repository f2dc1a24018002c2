"""What the stories of the operator's page are about: two instruments, and services."""

from __future__ import annotations

import shutil
from pathlib import Path

from here import ROOT
from lab import SAMPLES

LAB = """
[instruments.meter]
driver = "labwaiter.instruments.drivers:SourceMeter"
port = "sim://smu"
note = "beside the window"

[instruments.printer]
driver = "labwaiter.instruments.drivers:MarlinPrinter"
port = "sim://marlin?speed=20"
"""
TALKER = '''
from labwaiter import Job, Outputs, Suffix, service
from pathlib import Path
from typing import Annotated, Literal

class Said(Outputs):
    result: str

@service("Talker", namespace="http://samples.example/")
def startTalker(job: Job, words: str, part: Annotated[Path, Suffix(".stl")] | None = None,
                colour: Literal["red", "blue"] = "red", loud: bool = False) -> Said:
    """Repeat what it is told.

    Until it hears: go."""
    print(words, flush=True)
    if part is not None:
        print(part.read_text(), flush=True)
    job.progress(0.25, "listening")
    for _ in job.every(0.02):
        for message in job.messages():
            if message == "go":
                return Said(result=f"{words} {colour}")
            job.reply(message, f"heard {message}")
'''


def services(folder: Path) -> Path:
    """A services folder with what operators start in these stories."""
    folder.mkdir()
    for file in ("sweep.py", "waiter.py"):
        shutil.copy(ROOT / "app" / "services" / file, folder / file)
    shutil.copy(SAMPLES / "hostile.py", folder / "hostile.py")
    shutil.copy(ROOT / "app" / "wait_a_while.py", folder.parent / "wait_a_while.py")
    shutil.copy(SAMPLES / "steered.py", folder / "steered.py")
    (folder / "talker.py").write_text(TALKER)
    return folder
