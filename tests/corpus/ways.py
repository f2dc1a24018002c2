"""Running a script or a program of the corpus each way, and what came of it, so that the ways can be compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from traits import Trait

from lab import Lab
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State

SECONDS = 30  # that one may take; a job's limit, too
HERE = Path(__file__).parent
HEAD = '''"""The corpus as functions, made by its tests."""

from pathlib import Path

from labwaiter import Job, Outputs, service

NS = "http://corpus.example/"


class Result(Outputs):
    result: str


def begin(job):
    """The script's first argument."""
    import sys

    sys.argv = ["script.py", str(job.result_file)]
'''

COLD = "\n\nglobals()  # of a call nothing is known: each job imports this file by itself\n"


@dataclass(frozen=True)
class Came:
    """What came of a run.

    Attributes:
        status: as subprocess has it; None: the execution ended in another way, of which `why` tells.
        printed: stdout and stderr, in their order.
        files: what was in the folder, by its name there: its content, or what kind of thing it is.
        result: the text of the result's file; None: there's none.
    """

    status: int | None
    printed: bytes
    files: dict[str, bytes | str]
    result: bytes | None
    why: str = ""


def told_status(why: str) -> int | None:
    """The exit status that a failure's sentence tells; None where it tells of something else."""
    if told := re.match(r"(?:The program|\S+) ended with the exit status (\d+)\b", why):
        return int(told[1])
    if told := re.match(r"(?:The program|\S+) was ended by the signal (?:SIG\w+ \()?(\d+)\b", why):
        return -int(told[1])
    return 0 if re.match(r"(?:The program|The work|\S+) ended without (?:a result|its outputs)\b", why) else None


def told_well(why: str, status: int) -> bool:
    """Whether a sentence tells this status as a person would want it: a signal by its name."""
    return status >= 0 or signal.Signals(-status).name in why


def files_in(folder: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"a link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = "a folder" if path.is_dir() else "something else"
    return found


def came(folder: Path, status: int | None, printed: bytes, tidy: Callable[[bytes], bytes], why: str = "") -> Came:
    """As it is compared: the folder of the run is <job> in every text."""

    def clean(text: bytes) -> bytes:
        return tidy(text.replace(os.fsencode(folder), b"<job>"))

    files = {n: clean(c) if isinstance(c, bytes) else c for n, c in files_in(folder / "data").items()}
    result = folder / "result.txt"
    return Came(status, clean(printed), files, clean(result.read_bytes()) if result.exists() else None, why)


class Corpus:
    """A deployment that runs scripts and programs, and the same machine without it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.services = root / "services"
        self.services.mkdir(parents=True)
        for file in (HERE / "samples").glob("*.py"):
            shutil.copy(file, self.services)
        self.lab: Lab
        self.traits: dict[str, Trait] = {}

    # -- putting them in place --------------------------------------------------------------------

    def lay(self, traits: list[Trait]) -> None:
        """Put scripts beside the service that runs them, and those that fit into functions of two service files.

        One of these stays warm.
        """
        within = HEAD
        for trait in traits:
            assert trait.name not in self.traits, trait.name
            self.traits[trait.name] = trait
            folder = self.services / "traits" / trait.name
            for name, text in {**trait.beside}.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "script.py").write_bytes(trait.file)
            how = {"arguments": trait.arguments, "environment": trait.environment, "folder": trait.folder}
            (folder / "how.json").write_text(json.dumps(how))
            if trait.within and not trait.skipped:
                within += as_function(trait)
        (self.services / "within.py").write_text(within)
        (self.services / "cold.py").write_text(within.replace('@service("Within_', '@service("Cold_') + COLD)

    def start(self) -> None:
        """Start the deployment."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHONUNBUFFERED"))}
        os.environ.clear()
        os.environ.update(plain, LANG="C.UTF-8")
        self.lab = Lab(self.root / "jobs", self.services, MAX_RUNNING="8")
        self.lab.supervise()

    def script(self, name: str) -> Path:
        return self.services / "traits" / name / "script.py"

    # -- the ways ---------------------------------------------------------------------------------

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """What a program of this deployment gets."""
        given = {name: value for name, value in self.lab.environment.items() if name != "PYTHONPATH"}  # it is ours
        return {**given, **more}

    def plainly(self, name: str, command: list[Any], folder: str, more: dict[str, str], tidy: Any = bytes) -> Came:
        """By subprocess.run, in a session of its own: one that says `kill 0` ends itself, not these tests."""
        aside = self.root / "plain" / name.replace("/", " ")
        work = aside / "data" / folder
        work.mkdir(parents=True)
        words = [str(aside / "result.txt") if word == "RESULT" else word for word in command]
        done = subprocess.run(
            words,
            cwd=work,
            env=self.environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,  # as jobs have it, whoever starts the deployment
            timeout=SECONDS,
        )
        return came(aside, done.returncode, done.stdout, tidy)

    def by_python(self, trait: Trait) -> Came:
        """By `python file`."""
        command = [sys.executable, os.path.realpath(self.script(trait.name)), "RESULT", *trait.arguments]
        return self.plainly(f"script-{trait.name}", command, trait.folder, trait.environment, trait.tidy)

    def by_job(self, service: str, service_id: str, tidy: Callable[[bytes], bytes] = bytes, **inputs: Any) -> Came:
        """By an execution of a service."""
        self.lab.start(service, service_id, **inputs)
        return self.ended(service_id, tidy)

    def ended(self, service_id: str, tidy: Callable[[bytes], bytes] = bytes) -> Came:
        """What came of an execution, once it has ended."""
        record = self.lab.jobs.wait(service_id, 2 * SECONDS, SHELL)
        folder = self.lab.folder(service_id)
        status = 0 if record.state is State.COMPLETED else told_status(record.why)
        log = folder / "log.txt"
        return came(folder, status, log.read_bytes() if log.exists() else b"", tidy, f"{record.state}: {record.why}")


def as_function(trait: Trait) -> str:
    """The same lines, as a function of a service file."""
    kind = "Result" if trait.leaves_result else "None"
    end = "return Result(result=Path(job.result_file).read_text())" if trait.leaves_result else "return None"
    return (
        f'\n\n@service("Within_{trait.name}", namespace=NS, limit={SECONDS})\n'
        f"def start_{trait.name}(job: Job) -> {kind}:\n    begin(job)\n{indent(trait.text, '    ')}    {end}\n"
    )
