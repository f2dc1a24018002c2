"""The shell as an operator uses it: each call in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


class Operator:
    """The words of the command line, with the settings of one machine."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "labwaiter", *words]
        environment = self.environment | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, input="", timeout=100)

    def json(self, *words: str, **more: str) -> Any:
        return json.loads(self(*words, "--json", **more).stdout)

    def said(self, **more: str) -> dict[str, tuple[str, str]]:
        """What init-db says: what → (grade, sentence); of several the worst."""
        order = ("ok", "mind", "wrong")
        found = sorted(self.json("init-db", **more), key=lambda one: order.index(one["grade"]))
        return {one["what"]: (one["grade"], one["said"]) for one in found}
