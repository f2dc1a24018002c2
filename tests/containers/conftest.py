"""A real container engine; without one these tests are left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Container, docker
from here import ROOT
from lab import eventually
from labwaiter import __version__
from labwaiter.testing.ports import free_port


@pytest.fixture(scope="session")
def image() -> str:
    """The image labwaiter, built from this tree."""
    if shutil.which("docker") is None or docker("info", check=False).returncode:
        pytest.skip("no container engine answers")
    docker("build", "-q", "--build-arg", f"VERSION={__version__}", "-t", "labwaiter", str(ROOT))
    return "labwaiter"


@pytest.fixture
def run(image: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Container]]:
    """Run the image as the tutorial says, with more words where a test has some."""
    made: list[str] = []
    prefix = f"lwtest-{os.getpid()}-{abs(hash(request.node.name)) % 10_000}"

    def start(*more: str, works: bool = True, volumes: bool = True) -> Container:
        one = Container(f"{prefix}-{len(made)}", free_port())
        made.append(one.name)
        kept = ["-v", f"{prefix}_logs:/waiter_logs", "-v", f"{prefix}_files:/waiter_files"] if volumes else []
        words = ["run", "-d", "-p", f"127.0.0.1:{one.port}:80", f"--env-file={ROOT / 'env'}", "--name", one.name]
        words += ["-e", "TOKENS=none"]
        docker(*words, *kept, *more, image)
        if works:
            eventually(one.works, 60)
        return one

    yield start
    for name in made:
        docker("rm", "-f", "-v", name, check=False)
    docker("volume", "rm", "-f", f"{prefix}_logs", f"{prefix}_files", check=False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
