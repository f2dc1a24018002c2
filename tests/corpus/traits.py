"""What a script of the corpus is: a few lines of Python with one trait, and what is around them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import dedent


@dataclass(frozen=True)
class Trait:
    """A script. Its first argument is the file that its result goes into.

    Attributes:
        source: the whole file. Where it prints to both streams, or prints before a child does, it flushes: how long
            a stream holds a text back is not part of what is compared.
        arguments: what comes behind the result's file.
        environment: variables of `Script(environment=…)`.
        beside: other files in the script's folder, by their names there.
        folder: of `Script(folder=…)`.
        within: whether its lines are a service's function, too.
        needs: a module that must be installed.
        since: the first Python that has it.
        faulty: the Pythons with a fault in it, which a warm script does not have: from the first, to before the second.
        tidy: makes what it printed comparable: each says why that may differ.
    """

    name: str
    source: str | bytes
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    folder: str = "."
    within: bool = False
    needs: str = ""
    since: tuple[int, int] = (3, 11)
    faulty: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    tidy: Callable[[bytes], bytes] = bytes

    @property
    def file(self) -> bytes:
        """The script's bytes."""
        return self.source if isinstance(self.source, bytes) else self.text.encode()

    @property
    def text(self) -> str:
        """The script's lines, where they are text."""
        assert isinstance(self.source, str)
        return dedent(self.source).lstrip("\n")

    @property
    def leaves_result(self) -> bool:
        """Whether it is to leave a result: its service has an output then."""
        return b"argv[1]" in self.file

    @property
    def skipped(self) -> str:
        """Why it can't be run here; empty where it can."""
        if sys.version_info < self.since:
            return f"Python {self.since[0]}.{self.since[1]} has it first"
        first, mended = self.faulty
        if first <= sys.version_info < mended:
            return "this Python has a fault in it"
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        return ""
