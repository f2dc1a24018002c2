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
import itertools
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from ..errors import ClientError, InvalidParameter, Unavailable
from ..model.parameter import Parameter, shown
from ..settings import Settings
from ..system import flock
from .files import open_of, open_ours, read_bounded, read_record, stranger, write_whole
from .names import LONGEST, folder_name

if TYPE_CHECKING:
    import logging

SHOWN_MAX = 20  # files on a page
KEY_BYTES = 32
HANDED_IN = "handed-in"  # folder of the files folder for what people hand in by the operator's page
HANDED_IN_MAX = 1_000_000_000  # bytes of such a file
NAME_MAX = 100  # characters of its name
# in a name: what is no text (its bytes are no UTF-8), and what XML can't carry as it is (XML 1.0, sections 2.2, 2.11)
_UNTOLD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u2028]")
LOOKED_AT_MAX = 500  # entries of data/ that are looked at for that


def _log() -> logging.Logger:
    import logging  # not before it is needed: see supervisor/fork_server.py

    return logging.getLogger(__name__)


class Artifacts:
    """The files folder and the jobs' data/ of this deployment."""

    def __init__(self, settings: Settings) -> None:
        self._files = os.fspath(settings.files_folder)
        self._jobs = os.fspath(settings.jobs_folder)
        self._layout = settings.layout
        self._secret = self._layout.links_key
        self._key = b""
        self._stamp: tuple[int, int, int] | None = None  # of the file that it was read from

    # -- by name ------------------------------------------------------------------------------

    def resolve(self, parameters: Iterable[Parameter], inputs: dict[str, Any], job: str = "") -> dict[str, Any]:
        """The inputs as a service's function gets them: a `Path` for each file's name.

        Args:
            job: the execution that they are for: files that came with its order are its own.

        Raises:
            InvalidParameter: there is no such file; the message names the input.
        """
        resolved = dict(inputs)
        for parameter in parameters:
            name = inputs.get(parameter.name)
            if parameter.kind == "file" and name is not None:
                path = self.given(job, str(name)) if job else None
                path = path or self.find(str(name))
                if path is None:
                    raise InvalidParameter(
                        f"The input {parameter.name} names no file: {shown(name, 100)} is neither in the files folder"
                        " nor what an execution made (<serviceID>/<file>)."
                    ).of(parameter.name)
                resolved[parameter.name] = path
        return resolved

    def find(self, name: str) -> Path | None:
        """The file of that name; None where there is none, or the name leads out of where files are.

        What is told of some file is that file, though another one may be named so as it stands.
        """
        for job, file in self.meanings(name):
            path = self.made(job, file) if job else within(os.path.realpath(self._files), file)
            if path is not None:
                return path
        return None

    def take_in(self, name: str, content: IO[bytes]) -> str:
        """Keep a file that somebody hands in, in the files folder: the name by which an input names it.

        No file there is ever replaced: one of that name and content is it already, one of another content has the new
        one called otherwise.

        Args:
            name: as its owner calls it; what of it leads elsewhere is left out.

        Raises:
            InvalidParameter: it has no name, or is too large.
            OSError: it can't be written.
        """
        last = _UNTOLD.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(". ").strip()[-NAME_MAX:]
        if not last:
            raise InvalidParameter("The file has no name that can be kept: give it one, like part.stl.")
        folder = Path(self._files, HANDED_IN)
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{os.urandom(8).hex()}"
        digest, count = hashlib.sha256(), 0
        try:
            with open(beside, "xb") as out:
                while piece := content.read(1_000_000):
                    count += len(piece)
                    if count > HANDED_IN_MAX:
                        raise InvalidParameter(
                            f"The file {shown(last)} is larger than {HANDED_IN_MAX // 1_000_000} MB: put it into the"
                            " files folder by other means, and name it."
                        )
                    digest.update(piece)
                    out.write(piece)
            stem, ending = os.path.splitext(last)
            for called in (last, f"{stem}-{digest.hexdigest()[:12]}{ending}"):
                try:
                    os.link(beside, folder / called)
                except FileExistsError:
                    if not _has_content(folder / called, digest.digest()):
                        continue
                return f"{HANDED_IN}/{called}"
            raise InvalidParameter(f"There is another file called {shown(last)}: give it another name.")
        finally:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()

    def handed_in(self, most: int = 200) -> list[str]:
        """The names of files right in the files folder and of those handed in, the newest first, for a choice."""
        found: list[tuple[float, str]] = []
        for folder, before in ((self._files, ""), (os.path.join(self._files, HANDED_IN), f"{HANDED_IN}/")):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in itertools.islice(entries, 5 * most):
                    with contextlib.suppress(OSError):
                        if not entry.name.startswith(".") and entry.is_file():
                            found.append((entry.stat().st_mtime, before + text_of_name(entry.name)))
        return [name for _, name in sorted(found, reverse=True)[:most]]

    def meanings(self, name: str) -> Iterator[tuple[str, str]]:
        """What a file's name may mean, what is told so first: a job and a file in its data/, or "" and one of the files
        folder."""
        plain = name
        with contextlib.suppress(UnicodeEncodeError):  # no name of this machine's
            plain = unquote_to_bytes(bytes_of(name)).decode("utf-8", "surrogateescape")
        for text in dict.fromkeys((plain, name) if told(plain) == name else (name, plain)):
            yield "", text
            first, _, rest = text.partition("/")
            with contextlib.suppress(ClientError):  # what can be no serviceID is no file either
                # what an execution gives out has its folder's own name, and that may be another's serviceID
                for job in dict.fromkeys((first, folder_name(first))) if rest else ():
                    if _plain(job) and len(job) <= LONGEST:
                        yield job, rest

    def given(self, job: str, name: str) -> Path | None:
        """The file that came from another machine with an execution's order; None without one."""
        path = copy_in(self._layout.given / job, name)
        return path if path.is_file() else None

    def drop_given(self, job: str) -> None:
        """Remove what came with the order of an execution that has ended."""
        shutil.rmtree(self._layout.given / job, ignore_errors=True)

    def sweep_given(self, active: Collection[str]) -> None:
        """Remove what came with orders of other executions than the active ones, an hour after it came."""
        with contextlib.suppress(OSError), os.scandir(self._layout.given) as entries:
            for entry in entries:
                if entry.name not in active and time.time() - entry.stat().st_mtime > 3600:
                    self.drop_given(entry.name)

    def made(self, job: str, file: str) -> Path | None:
        """A file in a job's data/; None where there is none."""
        if not _plain(job) or "/" in job:
            return None
        # data/ itself is its job's to replace by a link: what that leads to is none of the job's files
        data = f"{os.path.realpath(self._jobs)}/{job}/data"
        path = within(data, file)
        try:
            if path is not None and (account := stranger(data)) is not None:
                os.close(open_of(path, account))
        except OSError:
            return None
        return path

    def log(self, job: str, at: int, most: int) -> tuple[bytes, int]:
        """A part of what a job has printed, and how many bytes that is in all.

        Args:
            at: the byte at which it begins.
            most: bytes of it.
        """
        if not _plain(job) or "/" in job:
            return b"", 0
        file = Path(self._jobs) / job / "log.txt"
        try:
            return read_bounded(file, most, at=at) or b"", file.lstat().st_size
        except FileNotFoundError:
            return b"", 0

    def open(self, path: Path) -> int:
        """The descriptor of a file that `made` or `find` has found, to read; if another account made it, still its own.

        Raises:
            OSError: it is there no longer, or something else is.
        """
        jobs = os.path.realpath(self._jobs)
        if os.fspath(path).startswith(f"{jobs}/"):
            job = path.relative_to(jobs).parts[0]
            with contextlib.suppress(FileNotFoundError):  # one of ours, that was fetched
                if (account := stranger(f"{jobs}/{job}/data")) is not None:
                    return open_of(path, account)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def listing(self, job: str, most: int = SHOWN_MAX) -> tuple[tuple[str, int], ...]:
        """The files right in a job's data/ by name, with their sizes in bytes; at most `most`."""
        files: list[tuple[str, int]] = []
        data = f"{self._jobs}/{job}/data"
        if os.path.islink(data):
            return ()
        with contextlib.suppress(OSError), os.scandir(data) as entries:
            for number, entry in enumerate(entries):
                if number >= LOOKED_AT_MAX:
                    break
                with contextlib.suppress(OSError):  # it may vanish under the look
                    if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                        files.append((text_of_name(entry.name), entry.stat().st_size))
        return tuple(sorted(files)[:most])

    # -- by link ------------------------------------------------------------------------------

    def link(self, job: str) -> str:
        """The address below the context root under which a job's files lie: ``/files/<job>/<key>/``."""
        return f"/files/{quote(job)}/{self._key_of(job)}/"

    def opens(self, job: str, key: str) -> bool:
        """Whether this is the key of a job's files; compared in constant time."""
        return _plain(job) and hmac.compare_digest(self._key_of(job).encode(), key.encode("utf-8", "replace"))

    def _key_of(self, job: str) -> str:
        return hmac.new(self._load(), job.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:40]

    def page_key(self, job: str, created: float) -> str:
        """What only the pages of an execution have, by which they steer it. Raises Unavailable.

        Args:
            created: when it was asked for, Unix time, s.
        """
        text = f"{created!r} {job}".encode("utf-8", "replace")
        return hmac.new(self.secret_for("buttons"), text, hashlib.sha256).hexdigest()[:40]

    def secret_for(self, purpose: str) -> bytes:
        """A secret of this deployment for one purpose, made from its own. Raises Unavailable."""
        return hmac.new(self._load(), f"for {purpose}".encode(), hashlib.sha256).digest()

    def _load(self) -> bytes:
        """This deployment's secret, made by whoever needs it first, and anew where it is none. Raises Unavailable."""
        try:
            return self._read_key() or self._make_key()
        except OSError as error:
            _log().error("links.key can't be read or made: %s", error)
            raise Unavailable("The links to files can't be made or read now; try again later.") from error

    def _read_key(self) -> bytes | None:
        """The secret in the file, if it is one."""
        try:
            status = os.stat(self._secret)
        except FileNotFoundError:
            return None
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            key = read_record(self._secret, KEY_BYTES + 1)
            # empty or torn, or zeros where a power cut took the content: everybody could guess what it makes
            if key is None or len(key) != KEY_BYTES or len(set(key)) < KEY_BYTES // 4:
                return None
            self._key, self._stamp = key, stamp
        return self._key

    def _make_key(self) -> bytes:
        fd = open_ours(self._layout.links_lock, os.O_RDWR)
        try:
            flock.lock(fd)  # of several who find none, one makes it
            key = self._read_key()
            if key is None:
                if os.path.lexists(self._secret):
                    _log().error("links.key was damaged: a new one is made, and links that were given out end with it")
                write_whole(self._secret, os.urandom(KEY_BYTES), durable=True, mode=0o600)
                key = self._read_key()
            if key is None:
                raise OSError("links.key can't be kept")
            return key
        finally:
            os.close(fd)


def _has_content(path: Path, digest: bytes) -> bool:
    """Whether a file has the content of that SHA-256."""
    with open(path, "rb") as read:
        return hashlib.file_digest(read, "sha256").digest() == digest


def name_of(jobs: Path, job: str, file: str | Path) -> str | None:
    """The name that hands a file of a job's data/ on; None where it isn't there, or is hidden.

    Args:
        jobs: the jobs folder.
        file: its path; relative to data/.
    """
    data = os.path.realpath(jobs / job / "data")
    path = os.path.realpath(os.path.join(data, file))
    if not path.startswith(data + os.sep) or not os.path.isfile(path):
        return None
    inside = os.path.relpath(path, data)
    return told(text_of_name(f"{job}/{inside}")) if all(_plain(part) for part in inside.split("/")) else None


def told(name: str) -> str:
    """A file's name as callers are told it: percent-encoded, by its bytes, where XML can't carry it or it has a %.

    No two names are told as one. The job's folder, which comes first, may have a % and be told as it is.
    """
    file = name.partition("/")[2] or name
    if "%" not in file and not _UNTOLD.search(name):
        return name
    return quote(bytes_of(name))


def text_of_name(name: str) -> str:
    """A file's name as this process has it, as a text: by UTF-8, whatever the locale of this process is.

    What is no UTF-8 becomes surrogates, as PEP 383 has them, so that it names the file again.
    """
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def bytes_of(name: str) -> bytes:
    """The bytes of a name that `text_of_name` gave. Raises UnicodeEncodeError for what is none."""
    return name.encode("utf-8", "surrogateescape")


def copy_in(folder: Path, name: str) -> Path:
    """Where in a folder of copies the copy of another machine's file lies, whatever its name is."""
    beneath = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    last = name.rpartition("/")[2]
    with contextlib.suppress(UnicodeEncodeError):
        last = os.fsdecode(bytes_of(last))
    return folder / beneath / (last if _plain(last) else "file")


def _plain(part: str) -> bool:
    return bool(part) and not part.startswith(".") and "\0" not in part


def within(root: str, name: str) -> Path | None:
    """`name` in a folder as a regular file, whatever links are on the way; None if it is outside or hidden.

    Args:
        root: the folder's real path.
    """
    if not all(_plain(part) for part in name.split("/")):
        return None
    try:
        path = os.path.realpath(f"{root}/{os.fsdecode(bytes_of(name))}")
    except (OSError, ValueError):  # and what is no name of this machine's
        return None
    return Path(path) if path.startswith(root + os.sep) and os.path.isfile(path) else None
