"""The file of tokens: for each who has it, until when, and a salted hash of it; no token itself.

A token is `<id>.<secret>`: its id says which hash is reckoned, and 256 random bits of a secret need no slow one
(NIST SP 800-63B, section 5.1.1.2, wants slow hashes for what people think of).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InvalidParameter, Misconfigured, TokenExpired, TokenValidationFailed, Unavailable
from ..model.caller import Identity, Role
from ..system import flock

log = logging.getLogger("labwaiter.authentication")
LARGEST = 20_000_000  # bytes of the file: some 80,000 tokens
NAME_MAX = 100  # characters of a user or project
PATIENCE = 10.0  # s that another command which changes the file is waited for
_NO_SALT, _NO_HASH = "0" * 32, "0" * 64  # reckoned with for an id that nobody has, so that it takes as long
REFUSED = "The sessionToken is not accepted here: log in anew, or ask the administrator for one."
EXPIRED = "The sessionToken has run out: log in anew, or ask the administrator for a new one."


@dataclass(frozen=True)
class Entry:
    """One token, without its secret."""

    id: str
    user: str
    project: str
    role: Role
    created: float  # Unix time, s
    expires: float  # Unix time, s
    salt: str  # hexadecimal
    hash: str  # hexadecimal: SHA-256 of salt and secret

    @property
    def identity(self) -> Identity:
        """Who has it."""
        return Identity(self.user, self.project, self.role)


class TokenFile:
    """The tokens of a deployment, read anew whenever their file has changed. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._turn = threading.Lock()
        self._stamp: object = ()
        self._entries: dict[str, Entry] | None = None  # None: the file has a mistake

    # -- asking -------------------------------------------------------------------------------

    def identify(self, token: str, manager: str = "") -> Identity:
        """Who has a token. No manager is asked, whichever a call names.

        Raises:
            TokenValidationFailed: nobody has that token; TokenExpired: somebody had.
            Unavailable: the file can't be read, or has a mistake: nobody is let in.
        """
        entries = self._now()
        token_id, _, secret = token.partition(".")
        entry = entries.get(token_id)
        salt, right = (entry.salt, entry.hash) if entry else (_NO_SALT, _NO_HASH)
        is_right = hmac.compare_digest(_hash(salt, secret), right)
        if entry is None or not is_right:
            raise TokenValidationFailed(REFUSED)
        if entry.expires <= time.time():
            raise TokenExpired(EXPIRED, entry.identity)
        return entry.identity

    def proof(self, token_id: str) -> str:
        """What tells a token from a later one of the same id, for `of_id`; no way leads from it to the token."""
        entry = self._now().get(token_id)
        return "" if entry is None else _hash("session", entry.hash)

    def of_id(self, token_id: str, proof: str) -> Identity:
        """Who has the token of that id, which was shown some time ago. Raises as `identify`."""
        entry = self._now().get(token_id)
        if entry is None or not hmac.compare_digest(_hash("session", entry.hash), proof):
            raise TokenValidationFailed(REFUSED)
        if entry.expires <= time.time():
            raise TokenExpired(EXPIRED, entry.identity)
        return entry.identity

    def _now(self) -> dict[str, Entry]:
        stamp = self._stamp_now()
        if stamp != self._stamp:
            with self._turn:
                try:
                    self._entries = read(self.file)
                except Misconfigured as error:
                    self._entries = None
                    log.error("nobody is let in: %s", error)
                self._stamp = stamp  # taken before the reading: what changes meanwhile is read again
        if self._entries is None:
            raise Unavailable("The tokens of this deployment can't be read: tell the administrator.")
        return self._entries

    def _stamp_now(self) -> object:
        try:
            status = os.stat(self.file)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error.errno, time.monotonic_ns()  # it is tried again with each call
        return status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode

    # -- changing -----------------------------------------------------------------------------

    def add(self, user: str, project: str, role: Role, seconds: float) -> tuple[Entry, str]:
        """Make a token: its entry, and the token itself, which nobody can be told again.

        Args:
            seconds: for how long it is good.

        Raises:
            InvalidParameter: a name that can't be.
            Misconfigured: the file has a mistake, which is left as it is.
        """
        if not math.isfinite(seconds):
            raise InvalidParameter("A token is good for a number of days, and not without an end.")
        for what, name in (("user", user), ("project", project)):
            if len(name) > NAME_MAX or not name.isprintable() or name != name.strip() or (what == "user" and not name):
                raise InvalidParameter(f"A {what}'s name must be 1 to {NAME_MAX} printable characters, not “{name}”.")
        secret, salt, now = secrets.token_urlsafe(32), secrets.token_hex(16), time.time()
        with self._changing() as entries:
            token_id = secrets.token_hex(6)
            while token_id in entries:
                token_id = secrets.token_hex(6)
            entry = Entry(token_id, user, project, role, now, now + seconds, salt, _hash(salt, secret))
            entries[token_id] = entry
        return entry, f"{token_id}.{secret}"

    def revoke(self, token_id: str) -> Entry:
        """Let a token be good no longer. Raises InvalidParameter: there is none of that id; Misconfigured."""
        with self._changing() as entries:
            entry = entries.pop(token_id, None)
            if entry is None:
                raise InvalidParameter(f"There is no token {token_id[:40]!r}: `labwaiter tokens list` shows their ids.")
        return entry

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Entry]]:
        """The entries, to be changed; written when that is done. One command at a time."""
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flock.lock(folder, PATIENCE)
            entries = read(self.file)
            yield entries
            _write(self.file, entries)
            os.fsync(folder)
        finally:
            os.close(folder)


def read(file: Path) -> dict[str, Entry]:
    """The tokens of a file by their ids; {} where there is none. Raises Misconfigured."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise Misconfigured(f"{file.name} must be a file of at most {LARGEST} bytes.")
            if status.st_mode & 0o022:
                raise Misconfigured(f"{file.name} can be written by others than its owner: chmod 600 it.")
            text = opened.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Misconfigured(f"{file.name} can't be read: {error.strerror}.") from error
    try:
        return {entry.id: entry for entry in map(_entry, json.loads(text)["tokens"])}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Misconfigured(
            f"{file.name} is damaged: take it from a backup, or remove it and make all tokens anew."
        ) from error


def _entry(written: dict[str, Any]) -> Entry:
    entry = Entry(**{**written, "role": Role(written["role"])})
    for name in ("id", "user", "project", "salt", "hash"):
        if not isinstance(getattr(entry, name), str):
            raise TypeError(name)
    if not re.fullmatch("[0-9a-f]{64}", entry.hash) or not entry.id or not entry.salt:
        raise ValueError(entry.id)
    if not (math.isfinite(entry.created) and math.isfinite(entry.expires)):  # one until no time would never run out
        raise ValueError(entry.id)
    return replace(entry, created=float(entry.created), expires=float(entry.expires))


def _write(file: Path, entries: dict[str, Entry]) -> None:
    """Beside and renamed: whoever reads has the one or the other."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    text = json.dumps({"tokens": [asdict(entry) for entry in entries.values()]}, indent=1)
    beside.unlink(missing_ok=True)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as opened:
            opened.write(text + "\n")
            opened.flush()
            if file.exists():  # in a container it may be another user's, who must go on reading it
                status = file.stat()
                os.fchown(opened.fileno(), status.st_uid, status.st_gid)
                os.fchmod(opened.fileno(), stat.S_IMODE(status.st_mode))
            os.fsync(opened.fileno())
        os.rename(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode("utf-8", "surrogateescape")).hexdigest()
