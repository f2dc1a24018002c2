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
from click.testing import CliRunner

from callers import Caller, Reply
from fleetlab import way
from lab import SAMPLES, Lab, eventually
from labwaiter import Job
from labwaiter.authentication.token_file import TokenFile
from labwaiter.cli.jobs import jobs as jobs_of_the_shell
from labwaiter.errors import Misconfigured
from labwaiter.model.caller import SHELL, Role
from labwaiter.model.record import State
from labwaiter.model.service import read_signature
from labwaiter.model.toml_service import python_of
from labwaiter.page import render
from labwaiter.page.buttons import Buttons, script, with_function
from labwaiter.store.audit import Audit
from polls import kept_answers

FORM = "application/x-www-form-urlencoded"
HERE = replace(SHELL, public_url="http://lab.example:8080")


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
    for what in ({}, {"message": " "}, {"message": "PAUSE", "abort": "yes"}, {"abort": "no"}, {"abort": ""}):
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
    buttons = steered.jobs.buttons(view, service, HERE)
    assert steered.jobs.buttons(view, service, SHELL) is None  # a shell has no address that a page could send to
    waiting = replace(view, record=replace(view.record, state=State.QUEUED, started=None), place=1)
    assert re.findall(r'<button [^>]*name="(\w+)"', render(waiting, service, buttons=buttons)) == ["abort"]
    stopping = replace(view, record=replace(view.record, abort_asked=True))
    assert "<button" not in render(stopping, service, buttons=buttons)


# -- who gets them ----------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[tuple[Lab, dict[str, str]]]:
    """A lab that judges tokens by a file, and tokens by their roles."""
    tokens = TokenFile(tmp_path / "tokens.json")
    by_role = {str(role): tokens.add("ada", "optics", role, 600)[1] for role in (Role.USER, Role.GUEST)}
    folder = tmp_path / "services"
    folder.mkdir()
    shutil.copy(SAMPLES / "steered.py", folder / "steered.py")
    one = way()(tmp_path / "jobs", folder, TOKENS="file", TOKENS_FILE=str(tmp_path / "tokens.json"))
    one.supervise()
    yield one, by_role
    one.close()


def test_who_may_only_look_gets_no_key_also_by_the_lane(judged: tuple[Lab, dict[str, str]]) -> None:
    lab, token = judged
    caller = Caller(lab)
    texts = {"serviceID": "one", "sessionToken": token["user"], "own": ""}
    assert caller.call("Steered", "startSteered", **texts).status == "200 OK"
    lab.when("one", lambda: lab.status_progress("one").stage)
    keys = set()
    for _ in range(6):  # the lane has learnt the form by then, and keeps what it may
        users = page_of(caller, service_id="one", sessionToken=token["user"])
        keys.add(address_and_key(users)[1])
        guests = page_of(caller, service_id="one", sessionToken=token["guest"])
        assert "buttons" not in guests and "<script" not in guests and "listening" in guests
    assert len(keys) == 1
    if lab.settings.poll_lane:

        def answers_kept() -> int:
            page_of(caller, service_id="one", sessionToken=token["user"])
            return kept_answers(caller.application)

        assert eventually(answers_kept), "a page with buttons is kept as any other"
    # the key is the right: whoever has the page needs no token
    reply = press(caller, users, message="PAUSE")
    assert json.loads(reply.body)["response"] == "heard PAUSE"


def test_a_deployment_of_its_machine_alone_takes_no_button_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    shutil.copy(SAMPLES / "steered.py", folder / "steered.py")
    lab = way()(tmp_path / "jobs", folder, TOKENS="")
    lab.supervise()
    try:
        begin(lab, "Steered", "a b")
        caller = Caller(lab)
        view = lab.jobs.view("a b", SHELL)
        page = render(view, lab.services["Steered"], buttons=lab.jobs.buttons(view, lab.services["Steered"], HERE))
        address, key = address_and_key(page)
        path = urlsplit(address).path.removeprefix(caller.root).replace("%25", "%")
        body = urlencode({"key": key, "message": "PAUSE"}).encode()
        for far in ({"REMOTE_ADDR": "192.0.2.7"}, {"HTTP_X_FORWARDED_FOR": "192.0.2.7", "REMOTE_ADDR": "127.0.0.1"}):
            reply = caller(path, body, CONTENT_TYPE=FORM, HTTP_ACCEPT="application/json", **far)
            assert reply.status == "403 FORBIDDEN" and b"by TOKENS who may call" in reply.body
        assert caller(path, body, CONTENT_TYPE=FORM, REMOTE_ADDR="127.0.0.1").status == "200 OK"
    finally:
        lab.close()


# -- a program's own page ---------------------------------------------------------------------

CALL = "<body onload=\"notify_running_job('x')\">mine</body>"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<!DOCTYPE html><html><head>", "</head>"),
        ("\ufeff <!-- <head> --><!doctype html>\n<html lang='a>b' class=x>\n<HEAD profile=\"a>b\">", "</HEAD>"),
        ("<?xml version='1.0'?><html><head><meta charset='koi8-r'><title>a <b</title><!-- c -->", "<script></script>"),
        ("<html><head>", "<header>no head</header>"),
        ("<head>", "<html>"),
    ],
)
def test_the_function_stands_in_the_head_behind_the_charset(before: str, after: str) -> None:
    buttons = Buttons("http://lab.example/buttons/<a&b>", "k" * 40)
    page = with_function(before + after + CALL, buttons, "")
    inserted = page.removeprefix(before).removesuffix(after + CALL)
    assert page == before + inserted + after + CALL
    assert inserted.startswith("<script>(function (given)") and inserted.endswith("</script>") and inserted.isascii()
    assert inserted.count("<") == script().count("<") + 2  # its own tags alone
    assert json.dumps("http://lab.example/buttons/<a&b>")[1:-1] not in inserted


@pytest.mark.parametrize(
    "page",
    [
        f"<html>{CALL}</html>",
        f"<html><header>x</header>{CALL}</html>",
        "<!-- " + "<html><head>" * 1000,
        "<html " + "a='" * 20_000,
        "text before <html><head></head></html>",
    ],
)
def test_a_page_without_a_head_stays_as_it_is(page: str) -> None:
    assert with_function(page, Buttons("http://lab.example/x", "k"), "<form></form>") == page


def test_a_piece_of_a_page_becomes_a_document_with_the_function(steered: Lab) -> None:
    caller = Caller(steered)
    begin(steered, "Plain", "piece", own="<button onclick='notify_running_job(1)'>é</button>")
    page = page_of(caller, "Plain", "piece")
    assert page.index("<head>") < page.index("window.notify_running_job") < page.index("</head>") < page.index("é")
    (steered.folder("piece") / "status.html").write_text("<p>nothing to call</p>")
    steered.caught_up("piece")
    assert "notify_running_job" not in page_of(caller, "Plain", "piece")


# -- what declares them, and the other faces --------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ("PAUSE", "messages= must be a list of texts"),
        (["a", 1], "messages= must be a list of texts"),
        ({"a", "b"}, "messages= must be a list of texts"),
        (["a", "a"], "must be different ones, 12 at most"),
        ([str(number) for number in range(13)], "must be different ones, 12 at most"),
        ([""], "one line of text of 1 to 60 characters"),
        (["a\nb"], "one line of text of 1 to 60 characters"),
        ({"a": 5}, "the words of a message must be one line of text of 0 to 200 characters"),
        ({"a": "x" * 201}, "the words of a message must be one line"),
    ],
)
def test_what_can_be_no_message_is_refused_in_a_sentence(declared: Any, sentence: str) -> None:
    def startOdd(job: Job) -> None:
        """Odd."""

    with pytest.raises(Misconfigured, match=re.escape(sentence)):
        read_signature(startOdd, name="Odd", namespace="urn:odd", messages=declared)


@pytest.mark.parametrize("given", ['messages = ["PAUSE", "GO"]', '[service.messages]\nPAUSE = "Wait."\nGO = ""'])
def test_toml_declares_them_too(given: str) -> None:
    text = f'[service]\nname = "Odd"\nnamespace = "urn:odd"\n{given}\n[command]\nline = ["true"]\n'
    python = python_of(text, "odd.toml")
    wanted = '{"PAUSE": "Wait.", "GO": ""}' if "Wait" in given else '("PAUSE", "GO")'
    assert f"messages={wanted}" in python
    with pytest.raises(SyntaxError, match="must be a list of texts, or a table") as wrong:
        python_of(text.replace('["PAUSE", "GO"]', "[1]").replace('GO = ""', "GO = 1"), "odd.toml")
    assert wrong.value.lineno == 4


def test_the_wsdl_says_nothing_of_them(steered: Lab) -> None:
    wsdl = Caller(steered)("/Steered", query="wsdl").body.decode()
    assert "PAUSE" not in wsdl and "buttons" not in wsdl


def test_json_tells_which_an_execution_understands(steered: Lab) -> None:
    caller = Caller(steered)
    here = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1", "HTTP_AUTHORIZATION": "Bearer t"}
    wanted = [{"message": "PAUSE", "words": "It waits <here> & now."}, {"message": "GO", "words": "It ends well."}]
    assert json.loads(caller("/api/v1/services/Steered", **here).body)["messages"] == wanted
    assert json.loads(caller("/api/v1/executions/a%20b", **here).body)["understands"] == wanted


def test_the_shell_says_which_are_declared_when_it_is_given_another(
    steered: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in steered.face_environment.items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    said = run(jobs_of_the_shell, ["notify", "a b", "JUMP"])
    assert said.exit_code == 1 and "Steered understands PAUSE and GO, not “JUMP”. Nothing was sent" in said.output
    assert "\n  PAUSE  It waits <here> & now.\n  GO  It ends well.\n" in said.output
    assert run(jobs_of_the_shell, ["notify", "a b", "PAUSE"]).stdout == "heard PAUSE\n"
    assert run(jobs_of_the_shell, ["notify", "a b", "JUMP", "--anyway"]).stdout == "heard JUMP\n"
