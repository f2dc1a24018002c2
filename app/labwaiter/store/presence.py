"""Is the web side there to be polled, which one should be, and how long has a workflow manager been silent?

``.labwaiter/web`` says since when calls are answered here without a gap, and when one was last: a web worker knocks
at its own door every few seconds, and whoever answers signs, so a process that lives but answers nothing signs
nothing. All by the boot clock, the `polled` marks too: a wall clock that is set makes nobody silent.

A start over the web is the first poll, and nobody is abandoned in the queue: the silence counts anew when the job
begins to run. It doesn't count where there never was a poll: a shell or a notebook started that.

``.labwaiter/web.json`` says which web side `labwaiter start` has begun and `labwaiter stop` hasn't ended: whoever lives
has it back when it is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..lab.lab import Lab
from ..model.record import Silence
from ..system.process import Identity, boot_clock, lives
from .files import read_bounded, write_whole
from .folder import Folder

EVERY = 5.0  # s between two knocks
QUIET = 12.0  # s: workflow managers poll every 6 s, so this is two polls left out
FRESH = 15.0  # s after which what was signed says nothing of now


@dataclass(frozen=True)
class WebSide:
    """A web side that should be there until it is stopped."""

    main: Identity  # its main process
    host: str
    port: int
    workers: int
    environment: dict[str, str] = field(default_factory=dict)  # the settings that it was started with

    @property
    def gone(self) -> bool:
        """Whether its main process has ended; what can't be seen now, or from here, has not."""
        try:
            return lives(self.main) is False
        except OSError:
            return False


def deployment(jobs_folder: Path) -> str:
    """What tells a deployment from all others of this machine, without its folder's name; "" without a folder."""
    try:
        there = os.stat(jobs_folder)
    except OSError:
        return ""
    return hashlib.sha256(f"{there.st_dev} {there.st_ino}".encode()).hexdigest()[:16]


def expect_web(ours: Path, web: WebSide) -> None:
    """From now on this one should be there. Raises OSError."""
    write_whole(ours / "web.json", json.dumps(asdict(web)).encode(), durable=True, mode=0o600)


def expect_no_web(ours: Path) -> None:
    """It is stopped on purpose."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(ours / "web.json")


def expected_web(ours: Path) -> WebSide | None:
    """The web side that should be there; None where none should, or nobody can tell."""
    try:
        content = json.loads(read_bounded(ours / "web.json", 100_000) or b"")
        main = Identity(**content["main"])
        return WebSide(main, content["host"], int(content["port"]), int(content["workers"]), content["environment"])
    except (ValueError, TypeError, KeyError):
        return None


def sign(ours: Path, anew: bool = False) -> None:
    """A call was answered just now. Raises OSError.

    Args:
        anew: a web worker has just begun: what was silent before may have found nobody.
    """
    now = boot_clock()
    since = None if anew else up_since(ours, now)
    content = {"since": now if since is None else since, "last": now}
    write_whole(ours / "web", json.dumps(content).encode())


def up_since(ours: Path, now: float) -> float | None:
    """Since when (boot clock, s) calls have been answered without a gap; None where they aren't at `now`."""
    text = read_bounded(ours / "web", 1000)
    try:
        said = json.loads(text or b"")
        since, last = float(said["since"]), float(said["last"])
    except (ValueError, TypeError, KeyError):
        return None
    return since if since <= last and 0 <= now - last < FRESH else None


def silence(store: Folder, lab: Lab | None, name: str, instruments: tuple[str, ...]) -> Silence | None:
    """How silent the workflow manager of a running job is.

    Returns:
        None where that doesn't count: its instruments don't mind, nobody has ever polled, the web side isn't up.
    """
    most = lab.unpolled(instruments) if lab is not None and instruments else None
    polled = store.polled_at(name) if most is not None else None
    if most is None or polled is None:
        return None
    now = boot_clock()
    since = up_since(store.ours, now)
    return None if since is None else Silence(max(0.0, now - max(polled, since)), most)
