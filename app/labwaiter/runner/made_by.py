"""What a job is made by: the hashes of its service's file and of its programs, noted in its timeline."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ..store import timeline
from ..store.files import make_folder, read_bounded, rights_in, write_whole
from ..store.stamps import is_young
from .program import Prepared

PIECE = 1_000_000  # bytes that are read at a time
KEPT_FROM = 200_000  # bytes of a file whose hash is kept: reading it again would take longer than looking that up
LARGEST = 300_000_000  # bytes of one that is read for it at all: a second's work
PROGRAMS_MAX = 100  # that are noted of one job


def hash_of(file: str, kept: Path | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal digits; "" where it can't be read, or is very large.

    Args:
        kept: the folder in which hashes are kept, by the stamps of their files; None: nowhere.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        now, status = time.time(), os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return ""
        place = None
        if kept is not None and status.st_size > KEPT_FROM and not is_young(status, now):
            place = kept / f"{status.st_dev:x}-{status.st_ino:x}-{status.st_ctime_ns:x}-{status.st_size:x}"
            known = read_bounded(place, 64)
            if known is not None and len(known) == 64:
                return known.decode("ascii", "replace")
        digest = hashlib.sha256()
        while piece := os.read(fd, PIECE):
            digest.update(piece)
        if place is not None:
            with contextlib.suppress(OSError):  # the next job reads it again
                if not place.parent.is_dir():
                    make_folder(place.parent, rights_in(place.parent.parent))
                write_whole(place, digest.hexdigest().encode())
        return digest.hexdigest()
    except OSError:
        return ""
    finally:
        os.close(fd)


def noting_programs(folder: str, kept: Path) -> Callable[[Prepared], None]:
    """What notes in a job's timeline which programs run, each once.

    Args:
        folder: the job's.
        kept: see `hash_of`.
    """
    noted: set[tuple[str, str]] = set()

    def note(program: Prepared) -> None:
        digest = hash_of(program.file, kept)
        if (program.file, digest) not in noted and len(noted) < PROGRAMS_MAX:
            noted.add((program.file, digest))
            timeline.note(folder, "program", name=program.name, sha256=digest)

    return note
