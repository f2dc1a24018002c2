"""The audit file: who did what, a line each, and each line chained to the one before it by a hash.

`.labwaiter/audit/<number of its first line>.jsonl`; the one with the highest number is written, the others are never
touched again. A line is a JSON object: `seq` counts from 1, `prev` is the hash of the line before it (of the very first
64 zeros), and `hash`, which stands last, the SHA-256 of the line's own text before `,"hash":`. So a line that was
changed, taken out or put in fits no longer; that the last ones were cut off, or all was written anew by somebody who
may write the folder, can't be seen.

There is one writer at a time: whoever holds `.labwaiter/audit.lock`. A line is in the kernel's hands when `add`
returns: it outlives every process, and is on the disk within half a minute, or at once where it is asked for. A
line that a power cut or a full disk has left half is followed by one with the event `mended`, which says how many bytes
nobody can read, and which.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..layout import Layout
from ..system.logs import known_of
from .files import make_folder, open_ours, rights_in

LARGEST = 10_000_000  # bytes of a file before the next one is begun
PATIENCE, SHORT_PATIENCE = 2.0, 0.4  # s for the lock: it is held for a tenth of a millisecond
TRY_EVERY, TRY_SELDOM = 0.0002, 0.01  # s between two tries, at first and after some
TAILS = (4096, 65_536)  # bytes from the end of a file in which its last line is looked for, before all of it is
TEXT_MAX = 200  # characters of one text
MENDED = "mended"
FIRST = "0" * 64
_HASH = b',"hash":"'


class Audit:
    """The audit file of one deployment. Thread-safe, cheap to make."""

    def __init__(self, layout: Layout) -> None:
        self.folder, self._lock = layout.audit, os.fspath(layout.audit_lock)
        self._at = os.fspath(self.folder)
        self._known: tuple[str, tuple[int, int], Link] | None = (
            None  # the last line, and the file's inode and size then
        )

    def add(self, event: str, /, durable: bool = False, patience: float = -1.0, **about: Any) -> None:
        """Add a line.

        Args:
            durable: it is on the disk when this returns.
            patience: s that another writer is waited for; PATIENCE unless given.
            about: what there is to say; None and "" are left out. Never a token.

        Raises:
            OSError: it can't be written; nothing was added then. BlockingIOError: another writer does not end.
        """
        self._make()
        lock, written = self._open(self._lock, os.O_RDWR), -1
        try:
            _take(lock, PATIENCE if patience < 0 else patience)
            file, last, torn = self._as_known() or self._last()
            if not file or (not torn and os.stat(file).st_size >= LARGEST):
                file = f"{self._at}/{last.seq + 1:012}.jsonl"
            text = b""
            if torn:
                text = b"" if torn.endswith(b"\n") else b"\n"
                torn += text
                known = {"lost_bytes": len(torn), "lost_sha256": hashlib.sha256(torn).hexdigest()}
                mended = _line(last, MENDED, known)
                text, last = text + mended, _link(mended) or last
            self._known = None
            line = _line(last, event, about)
            written = self._open(file, os.O_WRONLY | os.O_APPEND)
            self._known = file, _append(written, text + line), Link(last.seq + 1, line[-67:-3].decode())
            os.close(lock)
            lock = -1
            if durable:  # nobody waits for that disk but who wants it
                os.fsync(written)
        finally:
            for fd in (lock, written):
                if fd >= 0:
                    os.close(fd)

    def try_to_add(self, event: str, /, **about: Any) -> None:
        """As `add`, of what goes on whether or not it can be written: then the log has it."""
        try:
            self.add(event, patience=SHORT_PATIENCE, **about)
        except OSError:
            import logging  # not in the fork server, which has nothing to audit

            logging.getLogger(__name__).exception("%s goes on, but the audit can't be written", event)

    def _make(self) -> None:
        rights = rights_in(self.folder.parent)
        try:
            status = os.stat(self._at)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                make_folder(self._at, rights)
            self._give(self._at)
        else:
            if status.st_mode & 0o777 != rights and status.st_uid == os.geteuid():  # JOBS_MODE is another
                os.chmod(self._at, rights)

    def _open(self, file: str, flags: int) -> int:
        if not os.path.exists(file):
            os.close(open_ours(file, flags))
            self._give(file)
        return open_ours(file, flags)

    def _give(self, path: str) -> None:
        """What root made belongs to the folder's owner, too: the deployment must be able to go on with it."""
        if os.geteuid() == 0:
            owner = os.stat(self.folder.parent)
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def files(self) -> list[Path]:
        """The files, oldest first."""
        try:
            names = [name for name in os.listdir(self.folder) if name.endswith(".jsonl") and name[:-6].isdigit()]
        except FileNotFoundError:
            return []
        return [self.folder / name for name in sorted(names)]

    def _as_known(self) -> tuple[str, Link, bytes] | None:
        """As `_last`, where nobody has written since this did: a next file is begun only once this one is large."""
        if self._known is not None:
            file, stamp, link = self._known
            with contextlib.suppress(FileNotFoundError):
                if _stamp(os.stat(file)) == stamp and stamp[1] < LARGEST:
                    return file, link, b""
        return None

    def _last(self) -> tuple[str, Link, bytes]:
        """The file that is written, the last line that can be read, and what comes after that."""
        files = self.files()
        for file in reversed(files):
            found, torn = _end_of(file)
            if found is not None or file == files[0] or torn:
                return os.fspath(file), found or self._before(files, file), torn
        return "", Link(0, FIRST), b""

    def _before(self, files: list[Path], file: Path) -> Link:
        """The last line before a file that has none that can be read."""
        for older in reversed(files[: files.index(file)]):
            found, _ = _end_of(older)
            if found is not None:
                return found
        return Link(int(file.stem) - 1, FIRST)

    # -- reading --------------------------------------------------------------------------------

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every line that can be read, oldest first. Raises OSError."""
        for _, _, text in self._lines():
            with contextlib.suppress(ValueError):
                entry = json.loads(text)
                if isinstance(entry, dict):
                    yield entry

    def _lines(self) -> Iterator[tuple[Path, int, bytes]]:
        for file in self.files():
            with open(file, "rb") as content:
                for number, text in enumerate(content, 1):
                    yield file, number, text

    def verify(self) -> Verdict:
        """Whether each line fits the one before it. Raises OSError: a file can't be read."""
        last: Link | None = None
        count, lost, mended = 0, b"", 0
        lost_at = begins_with = ""
        for file, number, text in self._lines():
            at = f"Line {number} of {file.name}"
            link = _link(text)
            if last is None and not lost:
                last = Link(int(file.stem) - 1, "" if int(file.stem) > 1 else FIRST)
                begins_with = file.stem.lstrip("0")
            if link is None:
                lost, lost_at = lost + text, lost_at or at
                continue
            entry = json.loads(text)
            if lost:
                known = entry.get("event") == MENDED and entry.get("lost_bytes") == len(lost)
                if not known or entry.get("lost_sha256") != hashlib.sha256(lost).hexdigest():
                    return Verdict(count, f"{lost_at} was changed: its hash is not that of its text.")
                lost, lost_at, mended = b"", "", mended + 1
            elif entry.get("event") == MENDED:
                return Verdict(count, f"{at} says that what was before it can't be read, but that has been removed.")
            assert last is not None
            if link.seq != last.seq + 1:
                return Verdict(count, f"{at} has the number {link.seq}, where {last.seq + 1} was to come.")
            if last.hash and entry.get("prev") != last.hash:
                return Verdict(count, f"{at} does not follow the line before it: that one was another.")
            last, count = link, count + 1
        if lost.endswith(b"\n"):
            return Verdict(count, f"{lost_at} was changed: its hash is not that of its text.")
        notes = []
        if lost:
            notes.append("The last line is not whole: it was cut off as it was written, or just is being written.")
        if mended:
            where = "One place" if mended == 1 else f"{mended} places"
            notes.append(
                f"{where} can't be read, as the next line there says: a line was cut off as it was written, or was"
                " changed before there was a next one."
            )
        if begins_with not in ("", "1"):
            notes.append(f"What came before number {begins_with} is not here.")
        return Verdict(count, "", last.hash if last is not None else "", tuple(notes))


@dataclass(frozen=True)
class Link:
    """What the next line is chained to."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Verdict:
    """What came of looking at the whole chain."""

    count: int  # of lines that fit, from the first on
    fault: str  # the first line that doesn't fit, in a sentence; "": all do
    last: str = ""  # the hash of the last line
    notes: tuple[str, ...] = ()  # sentences on what is no fault


def _take(lock: int, patience: float) -> None:
    until, tries = time.monotonic() + patience, 0
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        tries += 1
        time.sleep(TRY_EVERY if tries < 50 else TRY_SELDOM)


def _line(last: Link, event: str, about: dict[str, Any]) -> bytes:
    now = time.time()
    clock = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06}Z"
    entry = {"seq": last.seq + 1, "time": clock, "event": event, **known_of(about, TEXT_MAX), "prev": last.hash}
    text = json.dumps(entry, separators=(",", ":")).encode()[:-1]
    return text + _HASH + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def _link(text: bytes) -> Link | None:
    """A line as what the next one is chained to; None where it is no whole line whose hash is that of its text."""
    before, found, rest = text.rpartition(_HASH)
    if not found or len(rest) != 67 or rest[64:] != b'"}\n':
        return None
    digest = rest[:64].decode("ascii", "replace")
    if hashlib.sha256(before).hexdigest() != digest:
        return None
    try:
        seq = json.loads(before + b"}")["seq"]
    except (ValueError, TypeError, KeyError):
        return None
    return Link(seq, digest) if type(seq) is int else None


def _end_of(file: Path) -> tuple[Link | None, bytes]:
    """The last line of a file that can be read, and the bytes after it."""
    with open(file, "rb", buffering=0) as content:
        size = os.fstat(content.fileno()).st_size
        for length in (*TAILS, size):
            begin = max(0, size - length)
            text = os.pread(content.fileno(), size - begin, begin)
            lines = text.splitlines(keepends=True)
            after = b""
            # the first one here may be the end of a longer line
            for line in reversed(lines[1:] if begin else lines):
                link = _link(line)
                if link is not None:
                    return link, after
                after = line + after
            if begin == 0:
                break
    return None, text


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_size


def _append(fd: int, text: bytes) -> tuple[int, int]:
    """Add a text, whole or not at all: the file's inode and size then. Raises OSError."""
    size, written = os.fstat(fd).st_size, 0
    try:
        written = os.write(fd, text)
    finally:
        if written < len(text):
            with contextlib.suppress(OSError):
                os.ftruncate(fd, size)
    if written < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _stamp(os.fstat(fd))
