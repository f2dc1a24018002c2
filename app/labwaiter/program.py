"""Programs as data: what a service's function returns when a program does the work.

The runner starts them (`runner.program`); this is only what the user says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Script:
    """Run a Python file in the job's own, already warm process (milliseconds to its first line).

    A relative `path` is looked for beside the service file, then in the folder above it.
    Arguments are turned to text; the program gets them as sys.argv[1:].
    """

    path: str
    arguments: tuple[Any, ...]

    def __init__(self, path: str | Path, *arguments: Any) -> None:
        object.__setattr__(self, "path", str(path))
        object.__setattr__(self, "arguments", arguments)


@dataclass(frozen=True)
class Command:
    """Run any program; no shell. `program` is found on PATH, or as `Script` finds its path."""

    program: str
    arguments: tuple[Any, ...]

    def __init__(self, program: str | Path, *arguments: Any) -> None:
        object.__setattr__(self, "program", str(program))
        object.__setattr__(self, "arguments", arguments)
