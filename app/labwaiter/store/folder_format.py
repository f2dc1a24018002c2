"""The format of a jobs folder: a number that is raised where a release before would misread what this one writes.

Releases of one format read each other's records: what one doesn't know it passes over (`codec`). The supervisor notes
it; a folder without one was served by 0.4 or before, or came from a backup without `.labwaiter/`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from ..errors import Misconfigured
from ..layout import Layout
from .files import read_bounded, write_whole

FORMAT = 2  # 1 was that of 0.4 and before, which noted none


class Newer(Misconfigured):
    """A jobs folder is of a newer labwaiter's format."""


@dataclass(frozen=True)
class FolderFormat:
    """What is noted in a jobs folder."""

    format: int
    version: str  # of the labwaiter that noted it: the last that has served the folder


def noted(layout: Layout) -> FolderFormat | None:
    """What is noted; None where nothing is, or nothing that can be read."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        content = json.loads(read_bounded(layout.format, 10_000) or b"")
        return FolderFormat(int(content["format"]), str(content["version"]))
    return None


def note(layout: Layout, version: str) -> None:
    """Note that this labwaiter serves the folder. Raises OSError."""
    ours = FolderFormat(FORMAT, version)
    if noted(layout) != ours:
        write_whole(layout.format, json.dumps(asdict(ours)).encode() + b"\n", durable=True)


def judge(layout: Layout) -> None:
    """Whether this labwaiter can serve the folder. Raises Newer: a later one has."""
    found = noted(layout)
    if found is not None and found.format > FORMAT:
        raise Newer(
            f"The jobs folder {layout.folder.parent} was served by labwaiter {found.version}, whose format"
            f" ({found.format}) this one ({FORMAT}) can't read: install labwaiter {found.version} or later."
        )
