"""Schedules and machines on the operator's page, where there are any."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from the_bench import LAB, services

from callers import Caller, Reply, Web
from fleetlab import REDIS, FleetLab
from lab import Lab, eventually
from labwaiter.model.caller import SHELL

pytestmark = pytest.mark.slow
LOCAL = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}


def text(lab: Lab, path: str, query: str = "") -> str:
    """A page."""
    reply = Caller(lab)(path, query=query, **LOCAL)
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


@pytest.mark.skipif(REDIS is None, reason="no redis-server is here")
def test_many_machines_are_told_with_what_they_have(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB)
    lab = FleetLab(tmp_path / "jobs", services(tmp_path / "services"), LAB=str(tmp_path / "lab.toml"), TOKENS="")
    try:
        lab.supervise()
        page = text(lab, "/operator/machines")
        assert "takes orders" in page and "meter, printer" in page
        lab.start("Talker", "far away", words="over there")
        eventually(lambda: "over there" in text(lab, "/operator/execution", "id=far%20away"), every=0.2)
        assert "far away" in text(lab, "/operator/executions") and "far away" in text(lab, "/")
        instruments = text(lab, "/operator/lab")
        assert "on one" in instruments and "meter" in instruments
        # of Redis no stamp tells: the content does
        caller = Caller(lab)

        def ask(tag: str = "") -> Reply:
            more = {"HTTP_IF_NONE_MATCH": tag} if tag else {}
            return caller("/operator/machines", query="live=1", **LOCAL, **more)

        assert eventually(lambda: ask(ask().headers["ETag"]).status == "304 NOT MODIFIED", every=0.1)
        lab.jobs.abort(None, "far away", SHELL)
        lab.redis.kill()
        assert "Redis" in text(lab, "/operator/machines")
        assert "far away" in text(lab, "/operator/executions")  # as it was known last
        lab.redis.start()
    finally:
        lab.close()
