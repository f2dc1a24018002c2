"""Runs a program of the corpus, in each way that a service can have one run; and programs as they are refused."""

import json
from pathlib import Path
from typing import Any

from labwaiter import Command, Job, Outputs, Script, service

NS = "http://corpus.example/"
HERE = Path(__file__).parent
SECONDS = 30


class Result(Outputs):
    result: str


def program(job: Job, case: str) -> Any:
    """The program of a case."""
    how = json.loads((HERE / "programs" / f"{case}.json").read_text())
    words = [job.result_file if word == "RESULT" else word for word in how["command"]]
    return Command(*words, environment=how["environment"], folder=how["folder"])


def ran(job: Job, case: str) -> None:
    """Run it, and keep what `job.run` gave."""
    printed = job.run(program(job, case))
    (job.folder / "printed.txt").write_bytes(printed.encode("utf-8", "surrogatepass"))


@service("Commanded", namespace=NS, limit=SECONDS)
def startCommanded(job: Job, case: str) -> Result:
    """Its program is all of its work."""
    return program(job, case)


@service("CommandedNone", namespace=NS, limit=SECONDS)
def startCommandedNone(job: Job, case: str) -> None:
    """Likewise, without a result."""
    return program(job, case)


@service("RanCommand", namespace=NS, limit=SECONDS)
def startRanCommand(job: Job, case: str) -> Result:
    """It goes on after its program."""
    ran(job, case)
    if not job.result_file.exists():
        return None  # type: ignore[return-value]  # refused, as a program's missing result is
    return Result(result=job.result_file.read_text())


@service("RanCommandNone", namespace=NS, limit=SECONDS)
def startRanCommandNone(job: Job, case: str) -> None:
    """Likewise, without a result."""
    ran(job, case)


@service("Succeeds", namespace=NS, limit=SECONDS)
def startSucceeds(job: Job, line: str, success: int, script: bool) -> None:
    """What counts as success."""
    if script:
        return Script("_line.py", line, success=(success,))
    return Command("sh", "-c", line, success=(success,))


@service("SucceedsInBetween", namespace=NS, limit=SECONDS)
def startSucceedsInBetween(job: Job, line: str, success: int, script: bool) -> None:
    """Likewise, with Python after it."""
    job.run(startSucceeds(job, line, success, script))


@service("LeavesItsOwn", namespace=NS, limit=SECONDS)
def startLeavesItsOwn(job: Job, line: str, success: int, script: bool) -> Result:
    """Its result has a name of its own, in a folder of its own."""
    how: dict[str, Any] = {"success": (success,), "result": "out.txt", "folder": "case"}
    return Script("_line.py", line, **how) if script else Command("sh", "-c", line, **how)


@service("Types", namespace=NS, limit=SECONDS)
def startTypes(job: Job, script: bool) -> None:
    """Arguments that are no texts, but can be."""
    words = ("two words", 7, 2.5, True, False, Path("a") / "b", -1, 10**20, 1e-7)
    return Script("_arguments.py", *words) if script else Command("printf", "%s\n", *words)


ODD: dict[str, Any] = {
    "None": None,
    "list": ["a", "b"],
    "tuple": ("a", "b"),
    "bytes": b"a",
    "dict": {"a": 1},
    "nul": "a\0b",
}


@service("Odd", namespace=NS, limit=SECONDS)
def startOdd(job: Job, what: str, where: str) -> None:
    """What is no argument, and no value of a variable."""
    odd = ODD[what]
    if where == "argument":
        return Command("echo", "first", odd)
    if where == "script":
        return Script("_arguments.py", "first", odd)
    if where == "run":
        job.run(Command("echo", "first", odd))
    return Command("echo", environment={"SPICE": odd})


@service("NoProgram", namespace=NS, limit=SECONDS)
def startNoProgram(job: Job, program: str, path: str = "") -> None:
    """What can't be started."""
    return Command(program, environment={"PATH": path} if path else None)


@service("InTerminal", namespace=NS, limit=SECONDS)
def startInTerminal(job: Job, line: str) -> None:
    """A program in a terminal."""
    return Command("sh", "-c", line, tty=True)


@service("Terminals", namespace=NS, limit=SECONDS)
def startTerminals(job: Job, count: int) -> Result:
    """One after another: what is left open of them."""
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir()))
    for _ in range(count):
        job.run(Command("true", tty=True))
    return Result(result=f"{len(list(fds.iterdir())) - before} more")
