"""What calling systems send is read in all the forms that they send it in; what can't be is told in a sentence."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from labwaiter.web.lab_server.contract import (
    BadRequest,
    about_ldl,
    about_weblab,
    asked_of_many,
    link_of,
    object_in,
)

SLOT = "priority.queue.slot."
NOON = 1_796_040_000.0  # 2026-11-30 12:00:00 UTC


def weblab(back: Any = "https://portal.example/", client: Any = None, **server: Any) -> dict[str, Any]:
    """A start in WebLab-Deusto's form; `length` and `start` stand for their long names."""
    keys = {
        SLOT + name if name.split(".")[0] in ("length", "start", "initialization_in_accounting") else name: value
        for name, value in server.items()
    }
    return {"client_initial_data": client or {}, "server_initial_data": keys, "back": back}


@pytest.mark.parametrize("length", [600, 600.0, "600", "600.0", " 600 ", "6e2"])
def test_a_length_is_a_number_or_a_text_that_holds_one(length: Any) -> None:
    assert about_weblab(weblab(length=length)).length_s == 600.0


@pytest.mark.parametrize("length", [0.4, 12 * 3600 + 1, 604800, 1e9])
def test_a_length_that_no_session_may_have_is_told_with_the_limits_that_count(length: float) -> None:
    with pytest.raises(BadRequest, match=r"length must be from 1 to 43200 s"):
        about_weblab(weblab(length=length))


@pytest.mark.parametrize("length", [None, "", "long", 0, -5, "NaN", "1e999", True, [600], {}, 10**400, "9" * 5000])
def test_a_length_that_is_none_is_told(length: Any) -> None:
    with pytest.raises(BadRequest, match="length"):
        about_weblab(weblab(length=length))


def test_both_data_fields_may_be_texts_of_json() -> None:
    whole = weblab(length=60, client={"language": "en"})
    texts = {name: json.dumps(whole[name]) for name in ("client_initial_data", "server_initial_data")}
    about = about_weblab(whole | texts)
    assert about.client_data == {"language": "en"} and about.length_s == 60.0


@pytest.mark.parametrize("data", ["{", "[1]", 7, ["a"], '"text"', "[" * 100_000])
def test_data_that_is_no_object_is_told(data: Any) -> None:
    with pytest.raises(BadRequest, match="server_initial_data"):
        about_weblab({"server_initial_data": data})


@pytest.mark.parametrize(
    ("start", "at"),
    [
        ({"start": "2026-11-30 12:00:00.500000", "start.timezone": "UTC"}, NOON + 0.5),
        ({"start": "2026-11-30 13:00:00.000000", "start.timezone": "Europe/Madrid"}, NOON),
        ({"start": "2026-11-30 13:00:00", "start.timezone": "+01:00"}, NOON),
        ({"start": "2026-11-30 06:30:00.0", "start.timezone": "UTC-0530"}, NOON),
        ({"start": "2026-11-30T13:00:00.000000+01:00"}, NOON),
        ({"start": "2026-11-30T12:00:00Z"}, NOON),
        ({"start": "2026-11-30T12:00:00+00:00", "start.timestamp": ""}, NOON),
        ({"start": "1999-01-01 00:00:00.0", "start.utc": "2026-11-30 12:00:00.000000"}, NOON),
        ({"start": "nonsense", "start.utc": "nonsense", "start.timestamp": NOON}, NOON),
        ({"start.timestamp": str(NOON)}, NOON),
        ({"start.timestamp": 0}, 0.0),
    ],
)
def test_a_start_is_read_in_the_form_that_says_most(start: dict[str, Any], at: float) -> None:
    assert about_weblab(weblab(length=60, **start)).start == at


def test_a_start_without_a_zone_is_by_this_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        assert about_weblab(weblab(length=60, start="2026-11-30 13:00:00.000000")).start == NOON
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_a_start_it_is_now() -> None:
    before = time.time()
    assert before <= about_weblab(weblab(length=60)).start <= time.time()


@pytest.mark.parametrize(
    "start",
    [
        {"start": "yesterday"},
        {"start": "2026-13-01 00:00:00.0"},
        {"start": "2026-11-30 12:00:00.0", "start.timezone": "Europe/Nowhere"},
        {"start": "2026-11-30 12:00:00.0", "start.timezone": "../../etc/passwd"},
        {"start.timestamp": "NaN"},
        {"start.timestamp": [1]},
        {"start.utc": True},
    ],
)
def test_a_start_that_is_none_is_told(start: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="start"):
        about_weblab(weblab(length=60, **start))


@pytest.mark.parametrize(
    ("said", "counts"),
    [(None, True), (True, True), ("true", True), ("1", True), (False, False), ("False", False), (0, False)],
)
def test_whether_the_beginning_counts_is_a_truth_in_any_form(said: Any, counts: bool) -> None:
    about = about_weblab(weblab(length=60, initialization_in_accounting=said))
    assert about.initialization_in_accounting is counts


def test_a_user_is_known_by_all_that_is_said_of_one() -> None:
    said = {
        "request.username": "ada",
        "request.username.unique": "ada@optics",
        "request.full_name": "Ada\nLovelace",
        "request.locale": "es",
        "request.experiment_id.experiment_name": "diode",
        "request.experiment_id.category_name": "Electronics",
    }
    about = about_weblab(weblab(length=60, **said))
    assert (about.username, about.unique, about.full_name, about.locale) == ("ada", "ada@optics", "Ada Lovelace", "es")
    assert (about.experiment, about.category) == ("diode", "Electronics")
    assert about_weblab(weblab(length=60, **{"request.username": 17})).unique == "17"


def test_labdiscoveryengines_own_form_is_read_as_it_sends_it() -> None:
    body = {
        "request": {
            "locale": "en",
            "ldeReservationId": "D7lX",
            "user": {},
            "server": {"a": 1},
            "backUrl": "http://127.0.0.1:8099/user/#lab-diode",
        },
        "laboratory": {"name": "diode", "category": "Electronics"},
        "user": {"username": "admin", "unique": "admin", "fullName": None},
        "schedule": {"start": "2026-11-30T12:00:00.500000+00:00", "length": "60"},
    }
    about = about_ldl(body)
    assert (about.username, about.full_name, about.locale) == ("admin", "", "en")
    assert (about.start, about.length_s, about.reservation_id) == (NOON + 0.5, 60.0, "D7lX")
    assert (about.back, about.experiment, about.server_data) == (body["request"]["backUrl"], "diode", {"a": 1})


@pytest.mark.parametrize("part", ["request", "laboratory", "user", "schedule"])
def test_a_part_of_that_form_that_is_no_object_is_told(part: str) -> None:
    with pytest.raises(BadRequest, match=part):
        about_ldl({"schedule": {"length": 60}} | {part: [1]})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b"a=b"])
def test_a_body_that_is_no_json_object_is_told(body: bytes) -> None:
    with pytest.raises(BadRequest, match="body"):
        object_in(body)


def test_a_body_may_begin_with_the_mark_of_windows() -> None:
    assert object_in(b'\xef\xbb\xbf{"action": "delete"}') == {"action": "delete"}


def test_many_sessions_are_asked_of_in_any_form() -> None:
    assert asked_of_many({"session_ids": ["a", "b", "a"], "timeout": "2.5"}) == (["a", "b"], 2.5)
    assert asked_of_many({"session_ids": '["a"]', "timeout": -1}) == (["a"], 0.0)
    assert asked_of_many({"session_ids": []})[0] == []
    for wrong in ({}, {"session_ids": "a"}, {"session_ids": [1]}, {"session_ids": ["a"] * 1001}):
        with pytest.raises(BadRequest, match="session_ids"):
            asked_of_many(wrong)


@pytest.mark.parametrize(
    "back",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example", "ftp://a", "", None, 7, "http://a\nb", "http:"],
)
def test_what_would_run_in_a_page_is_no_way_back(back: Any) -> None:
    assert link_of(back) == ""
    assert about_weblab(weblab(length=60, back=back)).back == ""
