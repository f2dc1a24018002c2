"""Schedules and machines on the operator's page, where there are any."""

from __future__ import annotations

import time
from typing import Any

import pytest

from callers import Caller, Web
from lab import Lab

pytestmark = pytest.mark.slow
LOCAL = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}


def text(lab: Lab, path: str) -> str:
    reply = Caller(lab)(path, **LOCAL)
    assert reply.status == "200 OK", reply.body
    return reply.body.decode()


def test_schedules_tell_when_they_run_next_and_what_was_skipped(make_standing: Any, tmp_path: Any) -> None:
    file = tmp_path / "schedule.toml"
    lab, _ = make_standing(TOKENS="", SCHEDULE=str(file))
    assert "Schedules" not in text(lab, "/") and "there is no schedule.toml" in text(lab, "/operator/schedules")
    file.write_text('[schedules.air]\nservice = "Talker"\nevery = "1 h"\ninputs = { words = "x" }\nnote = "<b>"\n')
    page = text(lab, "/operator/schedules")
    assert "air" in page and "every 3600 s" in page and "It has not run yet." in page and "&lt;b&gt;" in page
    assert "Schedules" in text(lab, "/")
    tick = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime())
    lab.start("Talker", f"schedule-air-{tick}", words="x")
    assert "last:" in text(lab, "/operator/schedules")
    file.write_text("[schedules.air]\nservice = 3\n")
    assert "schedule.toml, line 1: air" in text(lab, "/operator/schedules")


def test_one_machine_has_no_page_of_machines(standing: tuple[Lab, Web]) -> None:
    assert "Machines" not in text(standing[0], "/")
    assert "This deployment is of one machine." in text(standing[0], "/operator/machines")
