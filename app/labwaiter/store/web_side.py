"""Is the web side there to be polled, and which one should be there?

``.labwaiter/web`` says since when calls are answered here without a gap, and when one was last: a web worker knocks
at its own door every few seconds, and whoever answers signs, so a process that lives but answers nothing signs
nothing. All by the boot clock: a wall clock that is set makes nobody silent (see `silence_watch`).

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

from ..layout import Layout
from ..system.process import Identity, boot_clock, lives
from .files import read_bounded, write_whole

SIGN_EVERY = 5.0  # s between two knocks
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
        status = os.stat(jobs_folder)
    except OSError:
        return ""
    return hashlib.sha256(f"{status.st_dev} {status.st_ino}".encode()).hexdigest()[:16]


def expect(layout: Layout, web_side: WebSide) -> None:
    """From now on this one should be there. Raises OSError."""
    write_whole(layout.expected_web, json.dumps(asdict(web_side)).encode(), durable=True, mode=0o600)


def expect_none(layout: Layout) -> None:
    """It is stopped on purpose. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.expected_web)


def expected(layout: Layout) -> WebSide | None:
    """The web side that should be there; None where none should, or nobody can tell."""
    try:
        content = json.loads(read_bounded(layout.expected_web, 100_000) or b"")
        main = Identity(**content["main"])
        return WebSide(main, content["host"], int(content["port"]), int(content["workers"]), content["environment"])
    except (ValueError, TypeError, KeyError):
        return None


def sign(layout: Layout, anew: bool = False) -> None:
    """A call was answered just now. Raises OSError.

    Args:
        anew: a web worker has just begun: what was silent before may have found nobody.
    """
    now = boot_clock()
    since = None if anew else up_since(layout, now)
    content = {"since": now if since is None else since, "last": now}
    write_whole(layout.web, json.dumps(content).encode())


def up_since(layout: Layout, now: float) -> float | None:
    """Since when (boot clock, s) calls have been answered without a gap; None where they aren't at `now`."""
    text = read_bounded(layout.web, 1000)
    try:
        content = json.loads(text or b"")
        since, last = float(content["since"]), float(content["last"])
    except (ValueError, TypeError, KeyError):
        return None
    return since if since <= last and 0 <= now - last < FRESH else None
