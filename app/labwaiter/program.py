"""Programs as data: what a service's function returns, or gives `job.run`, when a program does the work.

The runner starts them (`runner.program`); this is only what the user says. Programs have habits;
each keyword below is for one of them, and none is needed for a program that writes its percent
into `job.status_file` and its result into `job.result_file`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Misconfigured

GROUPS = frozenset({"percent", "fraction", "i", "n", "stage"})


@dataclass(frozen=True)
class Program:
    """What `Script` and `Command` share. Arguments are turned to text: true, 3, 2.5, a path.

    Attributes:
        progress: a pattern (`re`) that is looked for in each line that the program prints, with the named
            groups (?P<percent>…), or (?P<fraction>…), or (?P<i>…) and (?P<n>…) for "3 of 10";
            (?P<stage>…) are the words for the page. Several patterns may be given.
        stages: texts that the program prints as it goes from stage to stage, in their order. The k-th of n
            means (k-1)/n; with `progress`, too, its percent counts within the stage.
        result: the file that holds its result, if it isn't told `job.result_file`; relative to `folder`.
        success: the exit statuses that mean success.
        environment: variables that it gets besides ours.
        folder: where it works; relative to the job's data/, which is also the default. Made if it isn't there.
    """

    program: str
    arguments: tuple[Any, ...]
    progress: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    result: str | None = None
    success: frozenset[int] = frozenset({0})
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = "."
    tty: bool = False

    def __init__(
        self,
        program: str | Path,
        *arguments: Any,
        progress: str | Sequence[str] = (),
        stages: Sequence[str] = (),
        result: str | Path | None = None,
        success: Collection[int] = (0,),
        environment: Mapping[str, str] | None = None,
        folder: str | Path = ".",
        tty: bool = False,
    ) -> None:
        said = {
            "program": str(program),
            "arguments": arguments,
            "progress": (progress,) if isinstance(progress, str) else tuple(progress),
            "stages": tuple(stages),
            "result": None if result is None else str(result),
            "success": frozenset(success),
            "environment": tuple((environment or {}).items()),
            "folder": str(folder),
            "tty": tty,
        }
        for name, value in said.items():
            object.__setattr__(self, name, value)
        for pattern in self.progress:
            _judge(pattern)
        if tty and isinstance(self, Script):
            raise Misconfigured("A Script runs in the job's own process, without a terminal: use Command for tty.")


class Script(Program):
    """Run a Python file in the job's own, already warm process (milliseconds to its first line).

    A relative path is looked for beside the service file, then in the folder above it. The program
    gets the arguments as sys.argv[1:].
    """


class Command(Program):
    """Run any program; no shell. It is found on PATH, or as `Script` finds its file.

    Attributes:
        tty: give it a terminal (80 columns) to print to. Many programs print line by line, or print their
            progress at all, only there.
    """


def _judge(pattern: str) -> None:
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise Misconfigured(f"The progress pattern {pattern!r} is no pattern: {error}.") from error
    if not groups & GROUPS or ("i" in groups) != ("n" in groups):
        raise Misconfigured(
            f"The progress pattern {pattern!r} needs a named group: (?P<percent>…), (?P<fraction>…),"
            " (?P<i>…) with (?P<n>…), or (?P<stage>…)."
        )
