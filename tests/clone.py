"""A fresh copy of what git knows, for scripts to be tried in as a new user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from here import ROOT
from labwaiter.settings import load
from labwaiter.testing.ports import free_port


class Clone:
    """A fresh copy of what git knows, and a shell in it."""

    def __init__(self, folder: Path, engine: str = "none", **environment: str) -> None:
        self.folder = folder
        known = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in known.splitlines():
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.port = str(free_port())
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_CERT", "SSL_CERT_FILE", "PIP_CONFIG_FILE")
        self.environment = {k: v for k, v in os.environ.items() if k in kept}
        self.environment |= {"PYTHON": os.path.realpath(sys.executable), "ENGINE": engine, **environment}
        self.settings = load({}, folder / "env")

    def __call__(self, *words: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        script, *rest = words
        command = [str(self.folder / script), *rest]
        return subprocess.run(
            command,
            cwd="/",
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            **({} if user is None else {"user": user, "group": user, "extra_groups": []}),
        )
