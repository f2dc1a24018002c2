"""A student starts tasks, sees how far they are, stops one, and has their results, in Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callers import Web
from lab import SAMPLES, Lab
from labwaiter.verbs.sessions import Sessions
from remotelab import let_in

pytestmark = pytest.mark.slow


def test_a_student_starts_a_task_and_stops_one(
    here: Lab, serve: Callable[..., Web], open_screen: Callable[..., Any], tmp_path: Path
) -> None:
    shutil.copy(SAMPLES / "tasks" / "sweeps.py", here.settings.labs)
    web = serve()
    session = let_in(here, "sweeps", unique="ada@portal")
    screen = open_screen(web)
    page = screen.go(f"sweeps/weblab/callback/{session.session_id}")
    assert page.locator("#start-alone").count() == 0  # the lab's own code alone starts that
    page.fill("#start-sweep [name=in-top]", "9")
    page.click("#start-sweep button")
    screen.see("must be between 0 and 3 V")
    page.fill("#start-sweep [name=in-top]", "1.5")
    page.fill("#start-sweep [name=in-points]", "3")
    page.click("#start-sweep button")
    screen.see("sweep has begun.")
    screen.see("0.75", ".lab-tasks td:has-text('0.75')")
    page.click("#start-hold button")
    screen.see("hold running", ".lab-tasks")
    page.screenshot(path=tmp_path / "tasks.png", full_page=True)
    page.click("#start-hold button")
    screen.see("hold is running already: it runs once at a time for each user.")
    page.click(".lab-tasks form button")
    screen.see("hold done", ".lab-tasks")
    screen.see("turns", ".lab-tasks")
    assert [task.status for task in Sessions(here.settings).tasks(session.session_id)] == ["done", "done"]
    page.click("form[action$='/page/leave'] button")
    screen.see("Your session is over")
    screen.see("0.75", ".lab-tasks td:has-text('0.75')")
    assert not screen.wrong
