"""Small services, each named for its trait."""

import os
import random
import subprocess
import sys
from typing import Annotated, Literal

from labwaiter import Command, Job, JobFailed, Length, Outputs, Range, Script, service

NS = "http://samples.example/"
DICE = random.Random()
FAIR_DICE = random.Random(42)


class Result(Outputs):
    result: str


class All(Outputs):
    text: str
    number: int
    fraction: float
    flag: bool
    colour: Literal["red", "green"]


@service("Echo", namespace=NS)
def startEcho(
    job: Job,
    text: Annotated[str, Length(1, 5000)],
    number: Annotated[int, Range(-5, 1000)] = 7,
    fraction: Annotated[float, Range(0, 1, "bar")] = 0.5,
    flag: bool = False,
    colour: Literal["red", "green"] = "green",
) -> All:
    """Give back what came in."""
    return All(text=text, number=number, fraction=fraction, flag=flag, colour=colour)


@service("Unruly", namespace=NS, grace=0.5)
def startUnruly(job: Job, word: str) -> Result:
    """A program as a child."""
    return Command(
        sys.executable,
        "-u",
        os.path.join(os.path.dirname(__file__), "_unruly.py"),
        word,
        job.status_file,
        job.result_file,
    )


@service("UnrulyScript", namespace=NS, grace=0.5)
def startUnrulyScript(job: Job, word: str) -> Result:
    """The same program inside the runner."""
    return Script("unruly.py", word, job.status_file, job.result_file)


@service("Counted", namespace=NS)
def startCounted(job: Job) -> Result:
    """Leave a line for each time that it runs."""
    print("ran here", flush=True)
    return Result(result="ran")


@service("Descriptors", namespace=NS)
def startDescriptors(job: Job) -> Result:
    """The limit of descriptors that a job has."""
    import resource

    return Result(result=str(resource.getrlimit(resource.RLIMIT_NOFILE)))


@service("Missing", namespace=NS)
def startMissing(job: Job) -> Result:
    """A program that is not there."""
    return Command("a-program-that-nobody-has", "--version")


@service("Talk", namespace=NS)
def startTalk(job: Job) -> Result:
    """Answer messages until one says bye."""
    job.progress(None, "listening")
    heard = []
    for _ in job.every(0.02):
        for message in job.messages():
            heard.append(message)
            job.reply(message, f"you said {message}")
        if "bye" in heard:
            return Result(result="|".join(heard))


@service("Steps", namespace=NS)
def startSteps(job: Job, count: int = 3, step: float = 0.05) -> Result:
    """Count, saying how it goes."""
    for elapsed in job.every(step, lasting=count * step):
        job.progress(elapsed / (count * step), f"at {elapsed:.2f} s")
        job.record(elapsed=round(elapsed, 2))
    return Result(result="counted")


@service("Stubborn", namespace=NS, grace=0.5)
def startStubborn(job: Job) -> Result:
    """Swallow every Exception."""
    while True:
        try:
            for _ in job.every(0.01):
                pass
        except Exception:
            pass


@service("Raises", namespace=NS)
def startRaises(job: Job, how: str = "plain") -> Result:
    """Fail in one of many ways."""
    if how == "sentence":
        raise JobFailed("The oven's door is open.")
    if how == "path":
        os.stat("/etc/labwaiter/secret.conf")
    if how == "none":
        return None
    if how == "exit":
        sys.exit(2)
    raise ValueError("the sample slipped")


@service("Limited", namespace=NS, limit=0.3, grace=0.5)
def startLimited(job: Job) -> Result:
    """Take longer than allowed."""
    job.sleep(600)


@service("Stalled", namespace=NS, stall=0.3, grace=0.5)
def startStalled(job: Job) -> Result:
    """Begin well, then hang."""
    job.progress(0.1, "begun")
    job.sleep(600)


@service("Single", namespace=NS, at_once=1)
def startSingle(job: Job) -> Result:
    """One at a time, until its file go is there."""
    for _ in job.every(0.01):
        if (job.folder / "go").exists():
            return Result(result="went")


class Told(Outputs):
    outcome: str
    result: str


@service("Outcome", namespace=NS)
def startOutcome(job: Job, fail: bool = True) -> Told:
    """Tell its end in an output."""
    if fail:
        raise JobFailed("The sample was lost.")
    return Told(outcome="fine", result="kept")


@service("Fussy", namespace=NS, check=lambda file: None if file.endswith(".stl") else "The file must be an STL.")
def startFussy(job: Job, file: str) -> Result:
    """Refuse what its own check refuses."""
    return Result(result=file)


@service("Once", namespace=NS)
def startOnce(job: Job, register: str) -> Result:
    """Leave a line in a register: how often was it run?"""
    with open(register, "a") as lines:
        lines.write(f"{os.getpid()}\n")
    return Result(result="registered")


@service("Family", namespace=NS)
def startFamily(job: Job) -> Result:
    """Start children that outlive it."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    job.write("child.pid", str(child.pid))
    return Result(result="left a child")


@service("Dice", namespace=NS)
def startDice(job: Job) -> Result:
    """Draw from generators that live as long as their module."""
    return Result(result=f"{DICE.random()} {FAIR_DICE.random()} {random.random()}")


@service("Binary", namespace=NS)
def startBinary(job: Job) -> Result:
    """Give back what XML can't carry."""
    return Result(result="a\0b\x0bc")


@service("Quiet", namespace=NS, unchanged=True)
def startQuiet(job: Job) -> Result:
    """Change nothing for long."""
    job.sleep(600)


@service("Patient", namespace=NS, limit=2, grace=0.5)
def startPatient(job: Job) -> Result:
    """Take longer than allowed, but leave time to kill somebody."""
    job.progress(0.5)
    job.sleep(600)


@service("Bare", namespace=NS)
def startBare(job: Job) -> None:
    """Neither inputs nor outputs."""
    print("did it")


@service("Link", namespace=NS)
def startLink(job: Job) -> Result:
    """Make a file and tell where it can be had."""
    job.write("a b.txt", "made")
    return Result(result=job.link("a b.txt"))


def fill_the_disk() -> None:
    """Leave no room on the job's disk, until data/big is removed."""
    try:
        with open("big", "wb", buffering=0) as big:
            while True:
                big.write(b"x" * 4096)
    except OSError:
        pass


@service("FullDisk", namespace=NS)
def startFullDisk(job: Job, by_program: bool) -> None:
    """Say how far it is while the disk is full."""
    fill_the_disk()
    if by_program:
        code = "import os; print('50 %', flush=True); print('x' * 200_000, flush=True); os.unlink('big')"
        return Command(sys.executable, "-c", code, progress=r"(?P<percent>\d+) %")
    job.progress(0.5, "half")
    job.reply("said while there was no room")
    os.unlink("big")
    return None


@service("Hoard", namespace=NS)
def startHoard(job: Job, size: int, slowly: bool = False) -> Result:
    """Make a file of so many bytes, and go on until its file go is there."""
    with open("big", "wb", buffering=0) as big:
        for _ in range(size // 100_000):
            big.write(os.urandom(100_000))
            if slowly:
                job.sleep(0.05)
    (job.folder / "status.txt").write_text("50")
    for _ in job.every(0.01):
        if (job.folder / "go").exists():
            return Result(result="went")
