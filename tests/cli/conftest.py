"""A deployment of its own for each test: settings, services and jobs in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from here import ROOT
from lab import PATIENCE
from labwaiter.cli.commands import main
from labwaiter.testing.ports import free_port

SERVICES = '''
from typing import Annotated, Literal
from labwaiter import Job, Outputs, Range, Unit, service

class Counted(Outputs):
    total: int
    mean: Annotated[float, Unit("mm")]
    ok: bool
    words: str

@service("Count", namespace="http://lab.example/count/", limit=120, at_once=3)
def startCount(
    job: Job,
    seconds: Annotated[float, Range(0, 60, "s")],
    mode: Literal["good", "bad"] = "good",
    words: str = "",
) -> Counted:
    """Count for some seconds."""
    print("counting")
    job.progress(0.5, "half way")
    for elapsed in job.every(0.05, lasting=seconds):
        pass
    if mode == "bad":
        raise ValueError("the plate has cracked")
    return Counted(total=3, mean=2.5, ok=True, words=words)
'''


@dataclass
class Shell:
    """The words of the command line, in a deployment of the test's own."""

    folder: Path
    environ: dict[str, str]

    def __call__(self, *words: str) -> Result:
        """Call them within this process."""
        return CliRunner(env=self.environ).invoke(main, list(words))

    def json(self, *words: str) -> Any:
        """What they say as JSON; they must end well."""
        result = self(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def process(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Call them in a process of their own."""
        return subprocess.Popen(
            [sys.executable, "-m", "labwaiter", *words],
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            **more,
        )

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call them in a process of their own and wait for its end."""
        with self.process(*words) as called:
            out, err = called.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, called.returncode, out, err)

    def write(self, file: str, text: str) -> Path:
        """A file in the services folder."""
        path = self.folder / "services" / file
        path.write_text(text, encoding="utf-8")
        return path

    @staticmethod
    def said_first(called: subprocess.Popen[str]) -> str:
        """The first line that a process says on stderr, besides the one that tells of which lab it is."""
        assert called.stderr is not None
        assert called.stderr.readline().startswith("Lab: ")
        return called.stderr.readline()

    @property
    def jobs(self) -> Path:
        """The jobs folder."""
        return self.folder / "jobs"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "services").mkdir()
    (tmp_path / "env").write_text("CONTEXT_ROOT=/lab\nWAITER_LOG_FOLDER=jobs\nSERVICES=services\nWEB_CONCURRENCY=1\n")
    ours = {"LABWAITER_ENV": str(tmp_path / "env"), "PYTHONPATH": str(ROOT / "app"), "PYTHONUNBUFFERED": "1"}
    kept = ("CONTEXT_ROOT", "WAITER_LOG_FOLDER", "SERVICES", "HOST", "PORT", "PUBLIC_URL", "WEB_CONCURRENCY")
    environ = {name: value for name, value in os.environ.items() if name not in kept} | ours
    made = Shell(tmp_path, environ)
    made.write("count.py", SERVICES)
    yield made
    stopped = made("stop")
    assert stopped.exit_code == 0, stopped.output


@pytest.fixture
def port() -> int:
    """A port of this machine that nobody uses."""
    return free_port()
