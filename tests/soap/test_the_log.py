"""What the web side's log has of calls: a line for each start, abort, message and refusal, none for a poll."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from callers import Caller, Web, envelope
from lab import Lab, eventually

TOKEN = "a token that nobody else may see"
NASTY = 'x\n{"event":"forged"}\t\u2028'


def _call(web: Web, operation: str, service_id: str, **texts: str) -> bool:
    body = envelope(operation, serviceID=service_id, sessionToken=TOKEN, **texts)
    return web("/Echo", body).status.startswith("200")


@pytest.mark.folder_way
def test_it_is_json_line_by_line_and_says_who_what_and_why(
    make_lab: Callable[..., Lab], make_web: Callable[..., Web]
) -> None:
    lab = make_lab(LOG_FORMAT="json")
    lab.supervise()
    web = make_web(lab)
    assert _call(web, "startEcho", "one", text="hello")
    lab.ended("one")
    for _ in range(20):
        assert _call(web, "getServiceStatus", "one")
        assert not _call(web, "getServiceStatus", "nobody")
    assert not _call(web, "startEcho", "two", text="hello", number="1000000")
    assert not _call(web, "abortService", NASTY)
    assert _call(web, "abortService", "one")
    assert not web("/Echo", b"<no soap").status.startswith("200")
    text = eventually(lambda: (t := web.log.read_text()) and t.count('"refused"') >= 4 and t)
    entries = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    others = [line for line in text.splitlines() if not line.startswith("{")]
    assert not [line for line in others if "granian" in line.lower() or "worker-" in line], others
    assert {entry["process"] for entry in entries} == {"granian", "web"}
    told = [entry for entry in entries if "event" in entry]
    assert Counter(entry["event"] for entry in told) == {"start": 1, "abort": 1, "refused": 4}
    started = told[0]
    assert (started["event"], started["serviceID"], started["service"], started["face"]) == (
        "start",
        "one",
        "Echo",
        "soap",
    )
    assert started["address"] == "127.0.0.1" and started["seconds"] > 0
    refused: dict[str, Any] = {entry.get("operation", ""): entry for entry in told if entry["event"] == "refused"}
    assert {operation: entry["code"] for operation, entry in refused.items()} == {
        "getServiceStatus": "UnknownServiceID",  # of twenty polls
        "startEcho": "InvalidParameter",
        "abortService": "UnknownServiceID",
        "": "InvalidParameter",
    }
    assert "number" in refused["startEcho"]["why"]
    assert refused["abortService"]["serviceID"].startswith("x\n{")
    assert TOKEN not in text


def test_a_refused_poll_is_counted_until_the_next_line(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    from labwaiter.errors import UnknownServiceID
    from labwaiter.model import caller as model
    from labwaiter.verbs import refusals

    noted, who = refusals.Refusals(), model.Caller(address="192.0.2.1")
    poll = ("Echo", "getServiceStatus", "one", True)
    with caplog.at_level("INFO", "labwaiter.refusals"):
        for _ in range(5):
            noted.note(UnknownServiceID("no"), who, *poll)
        noted.note(UnknownServiceID("no"), model.Caller(address="192.0.2.2"), *poll)
        key = (UnknownServiceID.code, "192.0.2.1")
        told, waiting = noted._polls[key]
        noted._polls[key] = told - refusals.POLLS_EVERY, waiting
        noted.note(UnknownServiceID("no"), who, *poll)
    told_of = [record.getMessage() for record in caplog.records]
    assert ["times=5" in line for line in told_of] == [False, False, True]


def test_what_came_of_an_execution_is_no_refusal(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    lab = caller.lab
    lab.start("Raises", "raises", how="sentence")
    lab.ended("raises")
    caller.call("Raises", "getServiceStatus", serviceID="raises")
    lab.told_long_ago("raises")
    with caplog.at_level("INFO", "labwaiter"):
        assert b"oven" in caller.call("Raises", "getServiceStatus", serviceID="raises").body
    assert not [record for record in caplog.records if "refused" in record.getMessage()]
