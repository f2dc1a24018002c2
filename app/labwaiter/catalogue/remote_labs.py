"""The remote labs of one deployment: what every file of `app/labs/` declares.

As with service files no process of ours imports one to know that (`importing`), and what came of it is kept, in
`.labwaiter/labs/<file>.json`, until the file changes, or a module of the user's that it imports.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..model.remote_lab import RemoteLab, remote_lab_of
from ..settings import Settings
from . import importing
from .catalogue import AGAIN_SECONDS, IMPORT_SECONDS, LARGEST, around, locked
from .importing import Description, stamp

log = logging.getLogger(__name__)
FORM = 1  # of what is kept; another form is passed over


@dataclass(frozen=True)
class BrokenLab:
    """A remote lab that can't be offered, and why."""

    name: str
    file: Path
    reason: str  # one sentence, without a path
    places: tuple[tuple[str, int, str], ...] = ()  # where: file, line, the line's text


def files(folder: Path) -> list[Path]:
    """The remote labs' files of a folder, in the order of their names; not those that begin with _ or a dot."""
    return sorted(f for f in folder.glob("*.py") if f.name[0] not in "._" and (f.is_file() or not f.exists()))


def of(settings: Settings) -> dict[str, RemoteLab | BrokenLab]:
    """All that a deployment offers, by name, as the files are now."""
    return {file.stem: one(settings, file) for file in files(settings.labs)}


def find(settings: Settings, name: str) -> RemoteLab | BrokenLab | None:
    """The one of this name; None where there is none. No other file is imported."""
    file = next((file for file in files(settings.labs) if file.stem == name), None)
    return None if file is None else one(settings, file)


def one(settings: Settings, file: Path) -> RemoteLab | BrokenLab:
    """What a file declares. Never raises for what it does."""
    kept = settings.layout.labs
    described = _read(kept, file)
    if described is None:
        with locked(kept, file):
            described = _read(kept, file) or _import(settings, kept, file)  # another process may have been faster
    if described.wrong:
        return BrokenLab(file.stem, file, described.wrong, tuple(described.places))
    return remote_lab_of(described.lab)


def _import(settings: Settings, kept: Path, file: Path) -> Description:
    seen, beside = stamp(file), around()
    described = importing.describe(file, IMPORT_SECONDS, settings.services)
    for line in described.printed.splitlines():
        log.info("%s, as it was imported: %s", file.name, line)
    if described.wrong:
        trace = f"\n{described.traceback}" if described.traceback else ""
        log.error("%s offers no lab: %s%s", file.name, described.wrong, trace)
    content = {
        "form": FORM,
        "file": os.fspath(file),
        "described": vars(described),
        "stamps": {**described.stamps, os.fspath(file): seen},
        "around": beside,
        "at": time.time(),
    }
    place = _place(kept, file)
    beside_it = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        if kept.is_dir():
            beside_it.touch(mode=0o600)
            beside_it.write_text(json.dumps(content))
            beside_it.replace(place)
    except OSError as error:  # everything goes on without it, only slower
        log.warning("what %s declares can't be kept: %s", file.name, error)
        with contextlib.suppress(OSError):
            beside_it.unlink()
    return described


def _place(kept: Path, file: Path) -> Path:
    return kept / f"{file.name}.json"


def _read(kept: Path, file: Path) -> Description | None:
    """What is kept of a file, as long as an import would find the same; of a broken one for a minute."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        with open(_place(kept, file), "rb") as stream:
            content = json.loads(stream.read(LARGEST))
        if content["form"] != FORM or content["file"] != os.fspath(file) or content["around"] != around():
            return None
        described = Description(**content["described"])
        described.places[:] = [(str(name), int(line), str(text)) for name, line, text in described.places]
        if described.wrong and not 0 <= time.time() - content["at"] < AGAIN_SECONDS:
            return None
        if not described.wrong:
            remote_lab_of(described.lab)
        if all(stamp(path) == seen for path, seen in content["stamps"].items()):
            return described
    return None
