"""labwaiter installed from its wheel alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clone import Clone


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that has the wheel and what that needs, and nothing of the clone that made it."""
    clone = Clone(tmp_path_factory.mktemp("clone")).folder
    made = tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(made), str(clone)]
    subprocess.run(wheel, check=True)
    shutil.rmtree(clone)
    subprocess.run([os.path.realpath(sys.executable), "-m", "venv", made / "venv"], check=True)
    (file,) = made.glob("*.whl")
    install = [made / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q", file]
    subprocess.run(install, check=True)
    file.unlink()
    return made / "venv"
