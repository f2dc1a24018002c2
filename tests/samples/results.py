"""Services that give and record values of other libraries, and programs whose results are odd."""

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from labwaiter import Command, Job, JobFailed, Outputs, Script, service

NS = "http://samples.example/"


def python(code: str) -> tuple[str, str, str]:
    return sys.executable, "-c", code


class Result(Outputs):
    result: str


class Measured(Outputs):
    mean: float
    count: int
    fine: bool


class Made(Outputs):
    mesh: Path


@service("Foreign", namespace=NS)
def startForeign(job: Job) -> Measured:
    """Records and gives out what its libraries count in."""
    import numpy

    job.units(kelvin="K", share="\udcb0")
    for n in range(3):  # faster than the page is written
        job.record(kelvin=numpy.float32(21.5) + n, count=numpy.int64(n), share=Fraction(1, 4), price=Decimal("2.50"))
        job.record(at=datetime(2026, 11, 24), where=Path("a\udcff"), name="\udcff", fine=numpy.bool_(True), none=None)
    job.run(Command("true"))
    job.progress(numpy.float32(0.5))
    return Measured(mean=numpy.float64(1.5), count=numpy.int64(10), fine=numpy.bool_(True))


@service("RecordsWrong", namespace=NS)
def startRecordsWrong(job: Job, kind: str) -> Result:
    """Records what is no single value."""
    wrong: dict[str, Any] = {"bytes": b"x", "list": [1], "dict": {}}
    job.record(temperature=wrong[kind])
    return Result(result="never")


@service("Says", namespace=NS)
def startSays(job: Job, how: str) -> Result:
    """A program whose result is written in another encoding, or not at all."""
    if how == "old":
        job.run(Command(*python("open('out.txt', 'w').write('of the first step')")))
        return Command("true", result="out.txt")
    if how == "null":
        return Command("echo", {}.get(how))
    encoding = {"latin": "latin-1", "utf-16": "utf-16", "mark": "utf-8-sig"}[how]
    return Command(*python(f"open('out.txt', 'w', encoding={encoding!r}).write('Größe')"), result="out.txt")


@service("Meshes", namespace=NS)
def startMeshes(job: Job) -> Made:
    """Makes a file in its own folder, beside an older one of that name."""
    job.write("mesh.vtk", "an older one")
    code = "open('mesh.vtk', 'w').write('this one'); open('out.txt', 'w').write('mesh.vtk')"
    return Command(*python(code), folder="case", result="out.txt")


@service("Fails", namespace=NS)
def startFails(job: Job, in_between: bool, by_script: bool = False) -> None:
    """Fails with a last word."""
    code = "import sys; print('begin'); print('error: no such file: /home/ada/x.stl'); sys.exit(2)"
    if by_script:
        (job.data / "fails.py").write_text(code)
    program = Script(job.data / "fails.py") if by_script else Command(*python(code))
    if in_between:
        job.run(program)
    return program


@service("Ended", namespace=NS)
def startEnded(job: Job, status: int) -> Result:
    """Ends by SIGTERM, its own way of saying that all is well."""
    code = f"import os; open({str(job.result_file)!r}, 'w').write('fine'); os.kill(os.getpid(), 15)"
    return Command(*python(code), success=(0, status))


@service("Counts", namespace=NS)
def startCounts(job: Job, tty: bool = False) -> None:
    """Counts on in one line, and waits in the middle of it."""
    (job.data / "counts.py").write_text(
        "import os, sys, time\n"
        "print('0...10...20...', end='', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "print('100 - done.', sys.stdout.isatty())\n"
    )
    return Script(job.data / "counts.py", progress=r"(\d+)(?:\.\.\.| - done)", tty=tty)


@service("Elsewhere", namespace=NS)
def startElsewhere(job: Job, python: str) -> Result:
    """A script for another environment of Python."""
    (job.data / "where.py").write_text("import sys; open('out.txt', 'w').write(sys.prefix)")
    return Script(job.data / "where.py", python=python, result="out.txt")


@service("Shares", namespace=NS)
def startShares(job: Job, at_once: bool = False) -> None:
    """Three programs and a step in Python between them share the bar; each waits until it may go on."""
    says = "import os, time\nfor n in (50, 100):\n    print(f'{{n}} %', flush=True)\n"
    waits = "    while not os.path.exists(f'{0}-{{n}}'): time.sleep(0.01)\n"

    def counting(name: str) -> Command:
        return Command(*python(f"{says}{waits}".format(name)), progress="([0-9]+) %")

    if at_once:
        with ThreadPoolExecutor() as pool:
            for ran in pool.map(job.run, (counting("first"), counting("second")), (0.25, 0.75)):
                assert "50 %" in ran
        return
    job.run(counting("first"), part=0.4)
    job.progress(0.5, "looking at what came")
    job.run(Command(*python("print('no word of how far it is')")), part=0.1)
    with contextlib.suppress(JobFailed):
        job.run(Command(*python("print('50 %'); exit(1)"), progress="([0-9]+) %"), part=0.3)
    job.run(counting("second"), part=0.4)


@service("SharesWrong", namespace=NS)
def startSharesWrong(job: Job, part: float) -> None:
    """A part that is none."""
    job.run(Command("true"), part=part)
