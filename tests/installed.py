"""labwaiter installed into an environment, as its user calls it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from lab import PATIENCE


class Installed:
    """An environment with labwaiter, and a folder of the user's to call it in."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder, self.bin = folder, environment / "bin"
        kept = ("HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
        self.environment = {name: value for name, value in os.environ.items() if name in kept}
        self.environment["PATH"] = f"{self.bin}:/usr/bin:/bin"

    def __call__(self, *words: str, at: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        command, environment = [str(self.bin / words[0]), *words[1:]], self.environment | more
        done = subprocess.run(
            command, cwd=at or self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    def labwaiter(self, *words: str, **more: str) -> str:
        done = self("labwaiter", *words, **more)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
        return done.stdout

    def json(self, *words: str, **more: str) -> Any:
        return json.loads(self.labwaiter(*words, "--json", **more))
