"""The buttons of a status page: who may press them, what they send, and what comes back."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from callers import Caller, Reply
from fleetlab import way
from lab import SAMPLES, Lab
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.store.audit import Audit

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def steered(tmp_path: Path) -> Iterator[Lab]:
    """A lab in which the execution `a b` of Steered runs."""
    folder = tmp_path / "services"
    folder.mkdir()
    shutil.copy(SAMPLES / "steered.py", folder / "steered.py")
    one = way()(tmp_path / "jobs", folder)
    one.supervise()
    begin(one, "Steered", "a b")
    yield one
    one.close()


def begin(lab: Lab, service: str, service_id: str, **inputs: Any) -> None:
    lab.start(service, service_id, **inputs)
    lab.when(service_id, lambda: lab.status_progress(service_id).stage)


def page_of(caller: Caller, service: str = "Steered", service_id: str = "a b", **texts: str) -> str:
    reply = caller.call(service, "getServiceStatus", serviceID=service_id, **texts)
    return base64.b64decode(reply["status_base64"]).decode()


def address_and_key(page: str) -> tuple[str, str]:
    """As its form has them."""
    address = re.search(r'<form id="buttons" method="post" action="([^"]*)"', page)
    key = re.search(r'name="key" value="([0-9a-f]*)"', page)
    assert address and key, page
    return unescape(address[1]), key[1]


def press(caller: Caller, page: str, script: bool = True, key: str = "", **what: str) -> Reply:
    address, right = address_and_key(page)
    body = urlencode({"key": key or right, **what}).encode()
    path = urlsplit(address).path.removeprefix(caller.root).replace("%25", "%")
    kind = "application/json" if script else "text/html,application/xhtml+xml,*/*;q=0.8"
    return caller(path, body, CONTENT_TYPE=FORM, HTTP_ACCEPT=kind, HTTP_ORIGIN="null")


def test_a_page_has_a_button_for_each_declared_message_and_for_an_abort(steered: Lab) -> None:
    page = page_of(Caller(steered))
    assert re.findall(r'<button name="(\w+)" value="(\w+)"', page) == [("message", "PAUSE"), ("message", "GO")]
    assert "<small>It waits &lt;here&gt; &amp; now.</small>" in page
    assert '<button class="abort" name="abort" value="yes"' in page
    assert "send PAUSE or GO to Steered by notifyService, or end it by abortService, with the serviceID a b." in page
    address, key = address_and_key(page)
    assert address == "http://lab.example:8080" + steered.settings.context_root + "/buttons/a%2520b"
    assert key not in address and len(key) == 40
    assert page_of(Caller(steered)).count(key) == 1  # the same, whoever answers and whenever


def test_a_service_that_declares_nothing_has_the_page_that_it_had(steered: Lab) -> None:
    begin(steered, "Plain", "plain")
    page = page_of(Caller(steered), "Plain", "plain")
    assert "buttons" not in page and "<script" not in page and "<form" not in page
    (steered.folder("plain") / "status.html").write_text("<html><head></head><body>mine</body></html>")
    own = "<html><head></head><body>mine</body></html>"
    assert page_of(Caller(steered), "Plain", "plain") == own


def test_a_button_sends_its_message_and_a_script_is_told_the_reply(steered: Lab) -> None:
    caller = Caller(steered)
    reply = press(caller, page_of(caller), message="PAUSE")
    assert reply.status == "200 OK" and reply.headers["Access-Control-Allow-Origin"] == "*"
    assert json.loads(reply.body) == {"response": "heard PAUSE", "words": "PAUSE: heard PAUSE"}
    assert "1. PAUSE <b>→ heard PAUSE</b>" in page_of(caller)


def test_a_form_gets_the_status_page_with_what_came_of_it(steered: Lab) -> None:
    caller = Caller(steered)
    page = page_of(caller)
    reply = press(caller, page, script=False, message="PAUSE")
    text = reply.body.decode()
    assert reply.status == "200 OK" and reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<p class="said" role="status">PAUSE: heard PAUSE</p>' in text
    assert address_and_key(text) == address_and_key(page)
    policy = reply.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts allow-forms ") and "allow-same-origin" not in policy
    assert f"form-action {address_and_key(page)[0]}" in policy
    assert reply.headers["Referrer-Policy"] == "no-referrer" and reply.headers["Cache-Control"] == "no-store"
    assert "X-Frame-Options" not in reply.headers


def test_an_abort_by_the_page_ends_it_and_its_key(steered: Lab) -> None:
    caller = Caller(steered)
    page = page_of(caller)
    reply = press(caller, page, script=False, abort="yes")
    assert b"It is over, and its instruments are safe." in reply.body and b'id="buttons"' not in reply.body
    assert str(steered.ended("a b").state) == "aborted"
    again = press(caller, page, message="PAUSE")
    assert again.status == "410 GONE" and again.headers["Access-Control-Allow-Origin"] == "*"
    assert json.loads(again.body)["why"].startswith("This execution is over (aborted)")
    assert b"This execution is over (aborted)" in press(caller, page, script=False, message="PAUSE").body
    assert steered.jobs.view("a b", SHELL).messages == ()


def test_the_audit_says_that_it_was_by_the_pages_key(steered: Lab) -> None:
    caller = Caller(steered)
    page = page_of(caller)
    press(caller, page, message="PAUSE")
    press(caller, page, abort="yes")
    told = [entry for entry in Audit(caller.application.settings.layout).entries() if entry.get("serviceID") == "a b"]
    acts = {entry["event"]: entry for entry in told}
    for act in ("notify", "abort"):
        assert acts[act]["face"] == "the page's key" and "user" not in acts[act] and "role" not in acts[act]
    assert address_and_key(page)[1] not in json.dumps(told)


def test_by_the_key_nothing_else_is_sent_than_what_is_declared(steered: Lab) -> None:
    caller = Caller(steered)
    page = page_of(caller)
    reply = press(caller, page, message="JUMP")
    assert reply.status == "400 BAD REQUEST"
    assert json.loads(reply.body) == {"why": "Steered understands PAUSE and GO, not “JUMP”."}
    for what in ({}, {"message": " "}, {"message": "PAUSE", "abort": "yes"}):
        assert json.loads(press(caller, page, **what).body)["why"] == "Send either a message or an abort."
    assert press(caller, page, message="x" * 300_000).status == "413 REQUEST ENTITY TOO LARGE"
    assert steered.jobs.view("a b", SHELL).messages == ()
    assert steered.jobs.notify(None, "a b", "JUMP", SHELL) == "heard JUMP"  # notifyService takes any, as ever


@pytest.mark.parametrize("key", ["0" * 40, "é", "x" * 3000])
def test_a_wrong_key_does_nothing_and_no_other_page_is_told_why(steered: Lab, key: str) -> None:
    caller = Caller(steered)
    page = page_of(caller)
    for name in ("a%20b", "none", "..", "%0A"):
        reply = press(caller, page.replace("a%2520b", name.replace("%", "%25")), key=key, message="PAUSE")
        assert reply.status == "404 NOT FOUND" and "Access-Control-Allow-Origin" not in reply.headers, name
    begin(steered, "Steered", "other")
    reply = press(caller, page_of(caller, service_id="other"), key=address_and_key(page)[1], abort="yes")
    assert reply.status == "404 NOT FOUND" and steered.record("other").active
    assert caller("/buttons/a%20b").status == "405 METHOD NOT ALLOWED"
    assert steered.jobs.view("a b", SHELL).messages == ()


def test_the_key_stands_in_no_log(steered: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caller, wrong = Caller(steered), "5" * 40
    page = page_of(caller)
    with caplog.at_level(0):
        press(caller, page, message="PAUSE")
        press(caller, page, key=wrong, message="PAUSE")
        press(caller, page, message="JUMP")
    assert "a b" in caplog.text and wrong not in caplog.text and address_and_key(page)[1] not in caplog.text


def test_one_that_waits_or_stops_shows_what_it_can_hear(steered: Lab) -> None:
    view = steered.jobs.view("a b", SHELL)
    service = steered.services["Steered"]
    buttons = steered.jobs.buttons(view, service, SHELL)
    waiting = replace(view, record=replace(view.record, state=State.QUEUED, started=None), place=1)
    assert re.findall(r'<button [^>]*name="(\w+)"', render(waiting, service, "", buttons)) == ["abort"]
    stopping = replace(view, record=replace(view.record, abort_asked=True))
    assert "<button" not in render(stopping, service, "", buttons)
