"""What importing the repository's own service files has told is remembered for a session of tests.

Three imports are half of what starting a deployment costs, and hundreds of tests start one with the same files. Where a
services folder has a file that is byte for byte one of the repository's, a lab gets what an earlier lab of this process
kept of it, with the paths and stamps of this folder: as if it had been imported here before. Any other file, and one
that a test changes, is imported as always.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from here import ROOT
from labwaiter.catalogue import catalogue
from labwaiter.catalogue.importing import stamp
from labwaiter.settings import Settings

HOMES = (Path(__file__).parent / "samples", ROOT / "app" / "services", ROOT / "toolkits" / "services")
_known: dict[tuple[bytes, ...], str] = {}  # the service file's content and those beside it → what was kept of it


def _key(file: Path) -> tuple[bytes, ...] | None:
    """The content of the repository's file; None where it is another."""
    content = file.read_bytes()
    for home in HOMES:
        with contextlib.suppress(OSError):
            if (home / file.name).read_bytes() == content:
                return (
                    content,
                    *(beside.read_bytes() for beside in sorted(file.parent.glob("**/*.py")) if beside.is_file()),
                )
    return None


def remember(settings: Settings) -> None:
    """Take over what a deployment has kept of such files."""
    cache = catalogue.cache_of(settings.jobs_folder)
    for kept in cache.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            file = settings.services / kept.name.removesuffix(".json")
            key = _key(file)
            if key is not None and key not in _known:
                text = kept.read_text()
                stamps = json.loads(text)["stamps"]
                if all(stamp(path) == seen for path, seen in stamps.items()):
                    _known[key] = text.replace(json.dumps(os.fspath(settings.services))[1:-1], "SERVICES-FOLDER")


def give(settings: Settings) -> None:
    """Put what is known of such files into a deployment's folder."""
    cache = catalogue.cache_of(settings.jobs_folder)
    with contextlib.suppress(OSError):
        for file in catalogue.files(settings.services):
            key = _key(file)
            if key is None or key not in _known:
                continue
            kept: dict[str, Any] = json.loads(_known[key].replace("SERVICES-FOLDER", os.fspath(settings.services)))
            kept["stamps"] = {path: stamp(path) for path in kept["stamps"]}
            kept["at"] = time.time()
            cache.parent.mkdir(mode=0o700, exist_ok=True)
            cache.mkdir(mode=0o700, exist_ok=True)
            place = cache / f"{file.name}.json"
            if not place.exists():
                place.touch(mode=0o600)
                place.write_text(json.dumps(kept))
