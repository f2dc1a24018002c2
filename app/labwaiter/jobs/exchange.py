"""Files that workflows hand from one execution to the next, by name or by link (docs/files.md).

An input that is a file holds a name: one in the files folder, ``parts/hook.stl``, or what an
execution made, ``<serviceID>/hook.stl``. Nobody is told anything of a file outside these.
A link holds a key that nobody can guess: it is made from a secret of this deployment (HMAC-SHA-256,
RFC 2104), so none has to be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import ClientError, InvalidParameter
from ..parameter import Parameter, shown
from ..settings import Settings
from .files import write_whole
from .names import OURS, folder_name

SHOWN_MAX = 20  # files on a page
LOOKED_AT_MAX = 500  # entries of data/ that are looked at for that


class Exchange:
    """The files folder and the jobs' data/ of this deployment."""

    def __init__(self, settings: Settings) -> None:
        self._files = os.fspath(settings.files_folder)
        self._jobs = os.fspath(settings.jobs_folder)
        self._secret = settings.jobs_folder / OURS / "links.key"
        self._key = b""

    # -- by name ------------------------------------------------------------------------------

    def resolve(self, parameters: Iterable[Parameter], inputs: dict[str, Any], job: str = "") -> dict[str, Any]:
        """The inputs as a service's function gets them: a `Path` for each file's name.

        Args:
            job: the execution that they are for: files that came with its order are its own.

        Raises:
            InvalidParameter: there is no such file; the message names the input.
        """
        found = dict(inputs)
        for parameter in parameters:
            name = inputs.get(parameter.name)
            if parameter.kind == "file" and name is not None:
                path = self.given(job, str(name)) if job else None
                path = path or self.find(str(name))
                if path is None:
                    raise InvalidParameter(
                        f"The input {parameter.name} names no file: {shown(name, 100)} is neither in the files folder"
                        " nor what an execution made (<serviceID>/<file>)."
                    )
                found[parameter.name] = path
        return found

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or the name leads out of where files are."""
        first, _, rest = name.partition("/")
        inside = _within(self._files, name)
        if inside is None and rest:
            with contextlib.suppress(ClientError):  # what can be no serviceID is no file either
                for folder in dict.fromkeys((folder_name(first), first)):  # a page shows the folder's own name
                    inside = inside or self.made(folder, rest)
        return inside

    def given(self, job: str, name: str) -> Path | None:
        """The file that came from another machine with an execution's order; None without one."""
        path = self.place_of("given", job, name)
        return path if path.is_file() else None

    def place_of(self, *said: str) -> Path:
        """Where a copy of another machine's file lies; `said` ends with its name."""
        *above, name = said
        beneath = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
        last = name.rpartition("/")[2]
        return Path(self._jobs, OURS, *above, beneath, last if _plain(last) else "file")

    def drop_given(self, job: str) -> None:
        """Remove what came with the order of an execution that has ended."""
        shutil.rmtree(f"{self._jobs}/{OURS}/given/{job}", ignore_errors=True)

    def sweep_given(self, active: Collection[str]) -> None:
        """Remove what came with orders of other executions than the active ones, an hour after it came."""
        with contextlib.suppress(OSError), os.scandir(f"{self._jobs}/{OURS}/given") as entries:
            for entry in entries:
                if entry.name not in active and time.time() - entry.stat().st_mtime > 3600:
                    self.drop_given(entry.name)

    def made(self, job: str, file: str) -> Path | None:
        """A file in a job's data/; None where there is none."""
        return _within(f"{self._jobs}/{job}/data", file) if _plain(job) and "/" not in job else None

    def listing(self, job: str, most: int = SHOWN_MAX) -> tuple[tuple[str, int], ...]:
        """The files right in a job's data/ by name, with their sizes in bytes; at most `most`."""
        found = []
        with contextlib.suppress(OSError), os.scandir(f"{self._jobs}/{job}/data") as entries:
            for number, entry in enumerate(entries):
                if number >= LOOKED_AT_MAX:
                    break
                with contextlib.suppress(OSError):  # it may vanish under the look
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                        found.append((entry.name, entry.stat().st_size))
        return tuple(sorted(found)[:most])

    # -- by link ------------------------------------------------------------------------------

    def link(self, job: str) -> str:
        """The address below the context root under which a job's files lie: ``/files/<job>/<key>/``."""
        return f"/files/{quote(job)}/{self._key_of(job)}/"

    def opens(self, job: str, key: str) -> bool:
        """Whether this is the key of a job's files; compared in constant time."""
        return _plain(job) and hmac.compare_digest(self._key_of(job).encode(), key.encode("utf-8", "replace"))

    def _key_of(self, job: str) -> str:
        return hmac.new(self._key or self._load(), job.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:40]

    def _load(self) -> bytes:
        """This deployment's secret, made by whoever needs it first."""
        with contextlib.suppress(FileExistsError):
            write_whole(self._secret, os.urandom(32), durable=True, exclusive=True, mode=0o600)
        self._key = self._secret.read_bytes()
        return self._key


def name_of(jobs: Path, job: str, file: str | Path) -> str | None:
    """The name that hands a file of a job's data/ on; None where it isn't there.

    Args:
        jobs: the jobs folder.
        file: its path; relative to data/.
    """
    data = os.path.realpath(jobs / job / "data")
    path = os.path.realpath(os.path.join(data, file))
    if not path.startswith(data + os.sep) or not os.path.isfile(path):
        return None
    return f"{job}/{os.path.relpath(path, data)}"


def _plain(part: str) -> bool:
    return bool(part) and not part.startswith(".") and "\0" not in part


def _within(folder: str, name: str) -> Path | None:
    """`name` in `folder` as a regular file, whatever links are on the way; None if it is outside or hidden."""
    if not all(_plain(part) for part in name.split("/")):
        return None
    try:
        root = os.path.realpath(folder)
        path = os.path.realpath(f"{root}/{name}")
    except (OSError, ValueError):
        return None
    return Path(path) if path.startswith(root + os.sep) and os.path.isfile(path) else None
