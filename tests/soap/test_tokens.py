"""Who may call, as callers see it: each operation, both ways of a poll, and what silence means."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callers import Caller, Reply, Web, envelope
from lab import Lab, eventually
from labwaiter.authentication import managed_tokens
from labwaiter.authentication.token_file import TokenFile
from labwaiter.model.caller import SHELL, Role
from manager import Manager

pytestmark = pytest.mark.folder_way


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def guarded(make_lab: Callable[..., Lab], tokens: TokenFile) -> Lab:
    """A lab where tokens of a file are asked for."""
    lab = make_lab(TOKENS="file", TOKENS_FILE=str(tokens.file))
    lab.supervise()
    return lab


def call(
    caller: Caller, token: str, operation: str, service_id: str = "one", service: str = "Echo", **texts: str
) -> Reply:
    return caller(f"/{service}", envelope(operation, serviceID=service_id, sessionToken=token, **texts))


def made(tokens: TokenFile, user: str, project: str = "optics", role: Role = Role.USER, seconds: float = 600) -> str:
    return tokens.add(user, project, role, seconds)[1]


def test_each_operation_wants_a_good_token(guarded: Lab, tokens: TokenFile) -> None:
    caller, ada = Caller(guarded), made(tokens, "ada")
    for operation, texts in (
        ("startEcho", {"text": "x"}),
        ("getServiceStatus", {}),
        ("abortService", {}),
        ("notifyService", {"message": "m"}),
    ):
        reply = call(caller, "t", operation, **texts)
        assert reply["errorCode"] == "TokenValidationFailed" and "log in anew" in reply["description"], operation
        assert ":Client." in reply["faultcode"]
    assert list(guarded.store.names()) == []
    assert "status_base64" in call(caller, ada, "startEcho", text="x").body.decode()
    guarded.ended("one")
    assert call(caller, ada, "getServiceStatus")["text"] == "x"
    assert (
        guarded.record("one").request.user == "ada" and ada not in (guarded.folder("one") / "request.json").read_text()
    )


def test_another_project_hears_what_is_said_of_an_unknown_serviceID_by_each_way(
    guarded: Lab, tokens: TokenFile
) -> None:
    caller, ada, eve = Caller(guarded), made(tokens, "ada"), made(tokens, "eve", "acoustics")
    call(caller, ada, "startUnruly", service="Unruly", word="sleep")
    eventually(lambda: guarded.record("one").state == "running")
    for _ in range(4):  # the lane learns the form, and keeps an answer
        assert call(caller, ada, "getServiceStatus", service="Unruly").status == "200 OK"
    for operation, texts in (("getServiceStatus", {}), ("abortService", {}), ("notifyService", {"message": "m"})):
        of_another, unknown = (
            call(caller, eve, operation, service_id, "Unruly", **texts) for service_id in ("one", "two")
        )
        assert (of_another.status, of_another.body) == (unknown.status, unknown.body), operation
        assert of_another["errorCode"] == "UnknownServiceID"
    taken = call(caller, eve, "startUnruly", service="Unruly", word="sleep")
    assert taken["errorCode"] == "ServiceIDInUse"
    assert call(caller, ada, "getServiceStatus", service="Unruly").status == "200 OK"
    bob = made(tokens, "bob")
    assert call(caller, bob, "abortService", service="Unruly")["success"] == "true"


def test_that_an_execution_is_another_s_can_t_be_told_by_the_time_either(guarded: Lab, tokens: TokenFile) -> None:
    caller, ada, eve = Caller(guarded), made(tokens, "ada"), made(tokens, "eve", "acoustics")
    call(caller, ada, "startEcho", text="x")
    guarded.ended("one")
    for service_id in ("one", "two"):
        began = time.monotonic()
        assert call(caller, eve, "getServiceStatus", service_id)["errorCode"] == "UnknownServiceID"
        assert time.monotonic() - began >= 0.02


def test_what_was_removed_is_told_to_its_project_alone(guarded: Lab, tokens: TokenFile) -> None:
    caller, ada, eve = Caller(guarded), made(tokens, "ada"), made(tokens, "eve", "acoustics")
    call(caller, ada, "startEcho", text="x")
    guarded.ended("one")
    guarded.jobs.remove("one", SHELL)
    assert "has been removed" in call(caller, ada, "getServiceStatus")["description"]
    for operation, texts in (("getServiceStatus", {}), ("abortService", {}), ("notifyService", {"message": "m"})):
        of_another, unknown = (call(caller, eve, operation, service_id, **texts) for service_id in ("one", "two"))
        assert of_another.body == unknown.body and unknown["errorCode"] == "UnknownServiceID", operation
    call(caller, ada, "startEcho", "lives", text="x")
    removed, living = (call(caller, eve, "startEcho", service_id, text="x") for service_id in ("one", "lives"))
    assert removed.body == living.body and living["errorCode"] == "ServiceIDInUse"


def test_where_users_own_alone_their_project_may_not(make_lab: Callable[..., Lab], tokens: TokenFile) -> None:
    lab = make_lab(TOKENS="file", TOKENS_FILE=str(tokens.file), OWNER="user")
    lab.supervise()
    caller, ada, bob = Caller(lab), made(tokens, "ada"), made(tokens, "bob")
    call(caller, ada, "startEcho", text="x")
    assert call(caller, bob, "getServiceStatus")["errorCode"] == "UnknownServiceID"
    assert call(caller, ada, "getServiceStatus").status == "200 OK"


def test_a_token_that_is_revoked_is_refused_by_each_worker_and_in_the_lane(guarded: Lab, tokens: TokenFile) -> None:
    entry, ada = tokens.add("ada", "optics", Role.USER, 600)
    web = Web(guarded, 2)
    try:
        post(web, "Unruly", "startUnruly", serviceID="one", sessionToken=ada, word="sleep")
        for _ in range(20):
            assert ":status_base64>" in post(web, "Unruly", "getServiceStatus", serviceID="one", sessionToken=ada)
        tokens.revoke(entry.id)
        for _ in range(20):
            reply = post(web, "Unruly", "getServiceStatus", serviceID="one", sessionToken=ada)
            assert "TokenValidationFailed" in reply
    finally:
        web.close()


def post(web: Web, service: str, operation: str, **texts: str) -> str:
    """The answer of whichever worker takes a new connection."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    path = f"{web.lab.settings.context_root}/{service.lower()}/{service}"
    line.request("POST", path, envelope(operation, **texts), {"Content-Type": "text/xml; charset=utf-8"})
    text = line.getresponse().read().decode()
    line.close()
    return text


def test_by_default_calls_from_this_machine_alone_are_answered(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(TOKENS="")
    caller, body = Caller(lab), envelope("startEcho", serviceID="one", sessionToken="t", text="x")
    for said in (
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": "::ffff:192.0.2.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=192.0.2.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 proxy"},
    ):
        reply = caller("/Echo", body, **said)
        assert reply["errorCode"] == "TokenValidationFailed" and "TOKENS" in reply["description"], said
    for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        assert caller("/Echo", body, REMOTE_ADDR=address).status == "200 OK", address


# -- the authentication manager -------------------------------------------------------------------


@pytest.fixture
def manager() -> Iterator[Manager]:
    manager = Manager()
    manager.people["ada's"] = ("ada", "optics", ())
    yield manager
    manager.close()


@pytest.fixture
def managed(make_lab: Callable[..., Lab], manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(managed_tokens, "FIRST_WAIT", 60.0)
    lab = make_lab(TOKENS="manager", AUTH_WSDL=manager.wsdl)
    lab.supervise()
    return lab


def test_tokens_of_the_manager_are_good_and_others_are_not(managed: Lab) -> None:
    caller = Caller(managed)
    assert call(caller, "ada's", "startEcho", text="x").status == "200 OK"
    assert call(caller, "eve's", "getServiceStatus")["errorCode"] == "TokenValidationFailed"
    assert managed.record("one").request.project == "optics"


def test_a_start_may_not_name_its_own_judge(managed: Lab) -> None:
    stranger = Manager()
    stranger.people["eve's"] = ("ada", "optics", ())
    try:
        extra = f"WFM=http://wfm.example/?a=b,auth={stranger.wsdl}"
        reply = call(Caller(managed), "eve's", "startEcho", text="x", extraParameters=extra)
        assert reply["errorCode"] == "InvalidParameter" and "AUTH_ALLOWED" in reply["description"]
        assert stranger.asked == [] and list(managed.store.names()) == []
    finally:
        stranger.close()


def test_an_execution_s_polls_are_judged_by_the_manager_that_its_start_named(
    make_lab: Callable[..., Lab], manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_tokens, "FIRST_WAIT", 60.0)
    second = Manager()
    second.people["bob's"] = ("bob", "optics", ())
    try:
        lab = make_lab(TOKENS="manager", AUTH_WSDL=manager.wsdl, AUTH_ALLOWED=second.wsdl)
        lab.supervise()
        second.people["eve's"] = ("eve", "acoustics", ())
        call(Caller(lab), "bob's", "startEcho", text="x", extraParameters=f"auth={second.wsdl},")
        lab.ended("one")
        assert call(Caller(lab), "bob's", "getServiceStatus")["text"] == "x"  # as another worker would be asked
        for stranger in ("ada's", "eve's"):  # by the word of either
            caller = Caller(lab)
            of_another, unknown = (call(caller, stranger, "getServiceStatus", name) for name in ("one", "two"))
            assert of_another.body == unknown.body and unknown["errorCode"] == "UnknownServiceID"
    finally:
        second.close()


@pytest.mark.parametrize("why", ["the manager is down", "the token has run out"])
def test_a_poll_that_is_refused_for_that_is_a_sign_of_life_all_the_same(
    managed: Lab, manager: Manager, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    caller = Caller(managed)
    call(caller, "ada's", "startUnruly", service="Unruly", word="sleep")
    eventually(lambda: managed.record("one").state == "running")
    mark = managed.folder("one") / "polled"
    os.utime(mark, (0, 0))
    ahead = 61.0 if why == "the token has run out" else 2000.0
    clock = managed_tokens.boot_clock
    monkeypatch.setattr(managed_tokens, "boot_clock", lambda: clock() + ahead)
    monkeypatch.setattr(managed_tokens, "AGAIN_WAIT", 60.0)
    if why == "the token has run out":
        manager.people.clear()
    else:
        manager.mood = "fault"
    reply = call(caller, "ada's", "getServiceStatus", service="Unruly")
    assert reply["errorCode"] == ("TokenValidationFailed" if "token" in why else "Unavailable")
    # the mark is set once a second at most
    eventually(lambda: call(caller, "ada's", "getServiceStatus", service="Unruly") and mark.stat().st_mtime > 0)
    os.utime(mark, (0, 0))
    other_worker = Caller(managed)
    assert call(other_worker, "nobody's", "getServiceStatus", service="Unruly").status != "200 OK"
    assert (mark.stat().st_mtime > 0) == (why == "the manager is down")  # then nobody can say whose a token is
