"""Programs with habits, and services that know them. Each waits for a file `go` in its folder, where asked."""

import sys
from pathlib import Path
from typing import Annotated

from labwaiter import Command, Job, Outputs, Script, Suffix, service

NS = "http://samples.example/"
WAIT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
FRAMES = f"print('rendering frame 3/12', flush=True)\n{WAIT}print('rendering frame 12/12')\n"


def python(code: str) -> tuple[str, str, str]:
    return sys.executable, "-c", code


class Result(Outputs):
    result: str


class Measured(Outputs):
    mean: float
    count: int


class Made(Outputs):
    part: Path


@service("Frames", namespace=NS)
def startFrames(job: Job) -> None:
    """Counts what it does."""
    return Command(*python(FRAMES), progress=r"(?P<stage>\w+) frame (?P<i>\d+)/(?P<n>\d+)")


@service("Percent", namespace=NS)
def startPercent(job: Job) -> None:
    """Draws a bar, beginning its line anew."""
    code = f"print('\\r 10 % [#   ]\\r 40.5 % [##  ]\\r', end='', flush=True)\n{WAIT}"
    return Command(*python(code), progress=r"(?P<percent>[\d.]+) %")


@service("Stages", namespace=NS)
def startStages(job: Job) -> None:
    """Names its stages, and counts within each."""
    code = f"print('=> meshing')\nprint('=> solving')\nprint('50 %', flush=True)\n{WAIT}"
    return Command(*python(code), progress=r"(?P<percent>\d+) %", stages=("meshing", "solving", "drawing", "writing"))


@service("InProcess", namespace=NS)
def startInProcess(job: Job) -> Result:
    """A script whose progress is printed, too."""
    return Script(
        "_printing.py", progress=r"(?P<fraction>0\.\d+) done", environment={"SPICE": "salt"}, folder="kitchen"
    )


@service("Json", namespace=NS)
def startJson(job: Job) -> Measured:
    """Leaves its results under a name of its own."""
    code = "import json; json.dump({'mean': 2.5, 'count': 4}, open('out.json', 'w'))"
    return Command(*python(code), result="out.json", folder="work")


@service("Warns", namespace=NS)
def startWarns(job: Job, status: int) -> None:
    """Ends with 2 where it only has warnings."""
    return Command(*python(f"raise SystemExit({status})"), success=(0, 2))


@service("Place", namespace=NS)
def startPlace(job: Job) -> Result:
    """Wants its own environment and folder."""
    words = "os.environ['SPICE'] + ' ' + os.path.basename(os.getcwd())"
    code = f"import os; open({str(job.result_file)!r}, 'w').write({words})"
    return Command(*python(code), environment={"SPICE": "pepper"}, folder="kitchen")


@service("Terminal", namespace=NS, grace=0.5)
def startTerminal(job: Job) -> Result:
    """Prints its progress in a terminal only, and keeps it back elsewhere."""
    code = (
        "import os, sys\n"
        "print('a terminal' if sys.stdout.isatty() else 'none', os.get_terminal_size().columns)\n"
        f"print('7 %')\n{WAIT}open({str(job.result_file)!r}, 'w').write('done')\n"
    )
    return Command(*python(code), tty=True, progress=r"(?P<percent>\d+) %")


@service("Mould", namespace=NS)
def startMould(job: Job, pattern: Annotated[Path, Suffix(".stl")], wanted: str = "part.stl") -> Made:
    """Makes a file of a file, then goes on in Python."""
    job.run(Command("cp", pattern, "part.stl"))
    print("link:", job.link("part.stl"))
    return Made(part=Path(wanted))


@service("RunsWrong", namespace=NS)
def startRunsWrong(job: Job, program: str, status: int = 0) -> None:
    """Runs a program in between."""
    job.run(Command(program, "-c", f"raise SystemExit({status})"))


@service("BadPattern", namespace=NS)
def startBadPattern(job: Job) -> None:
    """A pattern without a group, which shows only as it runs."""
    return Command("true", progress="per" + "cent")


@service("Printed", namespace=NS)
def startPrinted(job: Job, lines: int) -> Result:
    """Prints its result, behind much else."""
    printed = job.run(Command(*python(f"for i in range({lines}): print('line', i)")))
    return Result(result=f"{printed.split()[-1]} of {len(printed)}")
