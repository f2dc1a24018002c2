"""The container engine, and containers of the image, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from lab import eventually

CONTEXT = "/sintef/docker_services"


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One call of the engine."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def call_client(folder: Path, *words: str) -> str:
    """What the test client in the image says, called in a folder as ./run.sh calls it."""
    whose = ["--user", f"{os.getuid()}:{os.getgid()}", "--network", "host", "-v", f"{folder}:/work", "-w", "/work"]
    return docker(
        "run", "--rm", *whose, "--entrypoint", "python", "labwaiter", "-Pm", "labwaiter.test_client", *words
    ).stdout


class Container:
    """A container of the image, with volumes of its own."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.wsdl = f"http://localhost:{port}{CONTEXT}/waiter/Waiter?wsdl"

    def labwaiter(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The shell of labwaiter in it."""
        return docker("exec", self.name, "labwaiter", *words, check=False)

    def start(self, service_id: str, seconds: int = 600) -> None:
        """Start a Waiter and have it begun."""
        import zeep

        zeep.Client(self.wsdl).service.startWaiter(serviceID=service_id, sessionToken="t", secondsToWait=seconds)
        eventually(
            lambda: self.job(service_id)["state"] in ("running", "completed")
        )  # a look takes longer than a short one

    def job(self, service_id: str) -> dict[str, Any]:
        """What labwaiter in it says of a job."""
        done = self.labwaiter("jobs", "show", service_id, "--json")
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {"state": "?"}

    def works(self) -> bool:
        """Whether its web side answers and its supervisor lives."""
        with contextlib.suppress(OSError, urllib.error.HTTPError), self.ask("/health") as answer:
            return answer.status == 200
        return False

    def ask(self, path: str) -> Any:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{CONTEXT}{path}", timeout=5)

    def state(self, what: str) -> str:
        """A part of what the engine knows of it, e.g. .State.ExitCode."""
        return docker("inspect", "-f", f"{{{{{what}}}}}", self.name).stdout.strip()
