"""A worker or a scheduler that is told to stop stops, whatever it is just doing."""

from __future__ import annotations

import subprocess
import sys

from here import ROOT
from lab import PATIENCE

ABOUT_TO_WAIT = f"""
import os, signal, threading
from labwaiter.system.stop_signals import set_by_signals

stopping, at_once = threading.Event(), threading.Event()
set_by_signals(stopping, at_once)
with stopping._cond:  # as wait() does first and last
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass  # the handler runs here
assert stopping.wait({PATIENCE}) and not at_once.is_set()
with at_once._cond:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
assert at_once.wait({PATIENCE})
"""


def test_a_signal_that_comes_just_as_its_event_is_waited_for_is_heard() -> None:
    command = [sys.executable, "-c", ABOUT_TO_WAIT]
    assert subprocess.run(command, env={"PYTHONPATH": str(ROOT / "app")}, timeout=PATIENCE).returncode == 0
