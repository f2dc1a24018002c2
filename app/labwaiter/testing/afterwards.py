"""Whatever becomes of the tests' own process, no deployment of theirs goes on: one process waits for its end.

It is told by a pipe which deployments there are; the pipe's end, where some are left, means that the tests were killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

# the package is imported there when it is needed, and not before: most runs of tests end well
_WAIT = """
import sys
left = set()
for line in sys.stdin:
    (left.add if line[0] == "+" else left.discard)(line[1:].rstrip("\\n"))
if left:
    from labwaiter.testing.afterwards import end
    for root in left:
        end(root)
"""
STOP_SECONDS = 120.0
_pipe: int | None = None


def expect(root: Path) -> None:
    """A deployment begins in this folder."""
    global _pipe
    if _pipe is None:
        ours, _pipe = os.pipe()
        command = [sys.executable, "-c", _WAIT]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=ours, stdout=quiet, stderr=quiet, start_new_session=True)
        process.returncode = 0  # for Popen it is over: nobody waits for it, it waits for us
        os.close(ours)
    _tell("+", root)


def is_over(root: Path) -> None:
    """It has been ended."""
    if _pipe is not None:
        _tell("-", root)


def _tell(sign: str, root: Path) -> None:
    with contextlib.suppress(OSError):
        os.write(_pipe or -1, os.fsencode(f"{sign}{root}\n"))


def end(root: str) -> None:
    """End a deployment whose tests are gone: its jobs are stopped, its processes ended, its folder stays."""
    from ..deployment import web_processes
    from ..settings import FOLDER_NAMED, load
    from ..store import supervisor_client

    settings = load({**os.environ, FOLDER_NAMED: root})
    supervisor_client.stop(settings, STOP_SECONDS)
    web_processes.end(web_processes.find(settings))
