"""What the package brings for other programs: files for compose, nginx, Prometheus and systemd.

`labwaiter export` writes them for a lab (cli/export.py). Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import Misconfigured

FOLDER = Path(__file__).parent


def text(name: str) -> str:
    """A file that is shipped, by its path in this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write files into a folder: all of them, or none where one is there already and differs.

    Args:
        texts: by their names.

    Raises:
        Misconfigured: one is there already, with another text.
        OSError: the folder can't be made or written.
    """
    for name, content in texts.items():
        if (file := folder / name).exists() and not (file.is_file() and file.read_bytes() == os.fsencode(content)):
            raise Misconfigured(
                f"{file} is there already, and is another one: nothing was written. Name another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        (folder / name).write_bytes(os.fsencode(content))  # paths are bytes
