"""A calling system, written from the contract alone, and what it is told: both forms, good days and bad ones."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from benchlab import Plugged, leases
from callers import Web
from callingsystem import System, basic
from lab import PATIENCE, Lab, eventually, gone
from labwaiter.deployment import web_processes
from labwaiter.model.caller import SHELL
from labwaiter.model.lab_session import service_id_of
from labwaiter.settings import load
from labwaiter.verbs.sessions import Sessions
from remotelab import disposed, let_in, wish

pytestmark = pytest.mark.slow


@pytest.fixture(params=["weblab", "ldl"])
def system(request: pytest.FixtureRequest, serve: Callable[..., Web]) -> System:
    """A calling system of each form, before a deployment whose sessions need no page that is open."""
    return System(f"{serve(WEBLAB_TIMEOUT='-1').url}/diode", request.param)


def test_a_session_is_begun_asked_of_and_ended(system: System, bench: Plugged, here: Lab) -> None:
    assert system.call("GET", "/api") == (200, {"api_version": "1"})
    assert system.call("GET", "/test") == (200, {"valid": True})
    told = system.start()
    assert (
        set(told) == {"url", "session_id"} and told["url"] == f"{system.at}/{system.form}/callback/{told['session_id']}"
    )
    assert system.status(told["session_id"]) == 5
    assert Sessions(here.settings).do(told["session_id"], "meter", "output", {"on": True}, wait=PATIENCE).done
    assert Sessions(here.settings).set(told["session_id"], "meter", "volts", 2, wait=PATIENCE).done
    if system.form == "weblab":
        assert system.delete(told["session_id"]) == "Deleted"
    else:
        eventually(lambda: system.call("DELETE", f"/{told['session_id']}")[1]["should_finish"] == -1)
    # it was told once dispose had ended, and not before
    assert disposed(bench) == ["ada 0"] and leases(here).of("smu") is None
    bench.assert_made_safe("smu")
    assert system.status(told["session_id"]) == -1
    assert system.delete(told["session_id"]) == "Deleted"  # repeated, since the answer may have been lost
    assert disposed(bench) == ["ada 0"]


def test_what_has_ended_long_ago_is_over_and_not_found_and_shows_nothing(call: Any, here: Lab) -> None:
    session = let_in(here)
    Sessions(here.settings).leave(session.session_id)
    assert Sessions(here.settings).gone(session.session_id, PATIENCE)
    at, deleted = f"/diode/weblab/sessions/{session.session_id}", {"action": "delete"}
    for _ in range(2):
        assert call(f"{at}/status")[1] == {"should_finish": -1}
        assert call(at, deleted, "POST")[1] == {"message": "Deleted"}
    later = {"WEBLAB_EXPIRED_USERS_TIMEOUT": "0"}  # as after the hour for which it is kept
    for _ in range(2):
        assert call(f"{at}/status", **later)[1] == {"should_finish": -1}
        assert call(at, deleted, "POST", **later)[1] == {"message": "Not found"}
        ldl = call(f"/diode/ldl/sessions/{session.session_id}", None, "DELETE", **later)[1]
        assert ldl["should_finish"] == -1
    many = {"session_ids": [session.session_id]}
    assert call("/diode/weblab/sessions/status/multiple", many, **later)[1] == {"status": {session.session_id: -1}}


@pytest.mark.parametrize("killed", ["the web side", "everything"])
def test_a_session_is_put_away_and_the_next_one_let_in_after_a_kill_of(
    killed: str, bench: Plugged, here: Lab, serve: Callable[..., Web]
) -> None:
    web = serve(WEBLAB_TIMEOUT="3" if killed == "the web side" else "-1")
    first = System(f"{web.url}/diode").start()["session_id"]
    verbs, service_id = Sessions(here.settings), service_id_of(first)
    assert verbs.set(first, "meter", "volts", 2, wait=PATIENCE).done
    assert verbs.do(first, "meter", "output", {"on": True}, wait=PATIENCE).done
    pids = [web.process.pid, *(who.pid for who in web_processes.find(load(here.face_environment)))]
    if killed == "everything":
        pids += [here.supervisor, here.fork_server, here.running(service_id), here.working(service_id)]
    for pid in set(pids):
        os.kill(pid, signal.SIGKILL)
    web.process.wait(PATIENCE)
    eventually(lambda: all(gone(pid) for pid in set(pids)))
    if killed == "everything":
        here.supervise()
    eventually(lambda: verbs.gone(first, 1.0))  # nobody's page asks: as where a browser is closed
    bench.assert_made_safe("smu")
    assert disposed(bench) == ["ada 0"] and leases(here).of("smu") is None
    system = System(f"{serve(WEBLAB_TIMEOUT='-1').url}/diode")
    assert system.status(first) == -1
    assert "url" in system.start("bob")


def test_what_nobody_knows_is_over_and_not_found(system: System) -> None:
    assert system.status("never") == -1 and system.status("..") == -1 and system.status("session-" + "0" * 40) == -1
    assert system.delete("never") == "Not found"
    assert system.call("POST", "/never", {"action": "dance"}) == (200, {"message": "Unknown op"})
    if system.form == "ldl":
        assert system.call("DELETE", "/never")[1]["should_finish"] == -1


def test_many_are_asked_of_at_once(system: System) -> None:
    known = system.start()["session_id"]
    body = {"session_ids": [known, "never"], "timeout": "5"}
    assert system.call("POST", "/status/multiple", body) == (200, {"status": {known: 5, "never": -1}})
    code, told = system.call("POST", "/status/multiple", {"session_ids": [known, "never"], "timeout": 0})
    assert code == 200 and told == {"status": {known: 5}}  # what was known at the time-out


def test_on_start_fails_and_the_lab_is_put_away_before_that_is_told(system: System, bench: Plugged, here: Lab) -> None:
    wish(bench, "start", "raise")
    told = system.start()
    assert told["error"] is True and told["message"] == "Error initializing laboratory"
    assert len(disposed(bench)) == 1 and leases(here).of("smu") is None
    bench.assert_made_safe("smu")
    wish(bench, "start")
    assert "url" in system.start("bob")


def test_twenty_at_once_for_one_instrument_and_one_is_let_in(
    bench: Plugged, here: Lab, serve: Callable[..., Web]
) -> None:
    system = System(f"{serve(WEBLAB_TIMEOUT='-1', WEBLAB_START_WAIT='2').url}/diode")
    told: list[dict[str, Any]] = []

    def come(number: int) -> None:
        told.append(System(system.at).start(f"user{number}"))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    let_in = [each for each in told if "url" in each]
    assert len(told) == 20 and len(let_in) == 1
    for each in told:
        if each not in let_in:
            assert each["error"] is True and each["message"].startswith("The lab diode is taken: ")
    assert system.delete(let_in[0]["session_id"]) == "Deleted"
    assert "url" in system.start("the next")  # nothing of the nineteen is left that would come before
    assert not [r for r in here.jobs.list(SHELL) if r.state == "queued"]


def test_nobody_is_let_in_while_dispose_hangs_and_the_next_one_waits_at_the_door(
    bench: Plugged, here: Lab, serve: Callable[..., Web]
) -> None:
    file = here.settings.labs / "diode.py"  # it may hang for longer than anybody waits at the door
    file.write_text(file.read_text().replace("dispose_limit=2", "dispose_limit=10"))
    system = System(f"{serve(WEBLAB_TIMEOUT='-1', WEBLAB_START_WAIT='3').url}/diode")
    first = system.start()["session_id"]
    assert Sessions(here.settings).do(first, "meter", "output", {"on": True}, wait=PATIENCE).done
    assert Sessions(here.settings).set(first, "meter", "volts", 2, wait=PATIENCE).done
    wish(bench, "dispose", "hang")
    deleting = threading.Thread(target=lambda: System(system.at).delete(first))
    deleting.start()
    eventually(lambda: len(disposed(bench)) == 1)
    assert system.status(first) == 2
    assert "The lab diode is taken" in system.start("bob")["message"]
    deleting.join(PATIENCE)
    assert system.status(first) == -1
    bench.assert_made_safe("smu")
    wish(bench, "dispose")
    assert "url" in system.start("bob")


def test_a_lab_that_is_closed_says_why(system: System, here: Lab) -> None:
    from labwaiter.verbs.instruments import Instruments

    Instruments(here.settings).take_out("smu", "its fuse is blown", SHELL)
    code, told = system.call("GET", "/test")
    assert code == 401 and told["valid"] is False and "its fuse is blown" in told["error_messages"][0]
    assert "its fuse is blown" in system.start()["message"]


def test_a_lab_that_each_start_would_fail_in_is_not_valid(system: System, here: Lab) -> None:
    file = here.settings.labs / "diode.py"
    file.write_text(file.read_text().replace('"meter.volts": Range', '"meter.vlots": Range'))
    code, told = system.call("GET", "/test")
    words = "diode.py names the control meter.vlots, which the driver of meter doesn't declare; there are: volts, comp"
    assert code == 401 and told["valid"] is False and told["error_messages"][0].startswith(words)
    assert system.start()["message"].startswith(words)


# -- the door -----------------------------------------------------------------------------------


def test_a_wrong_password_and_none_are_refused_everywhere_but_at_api(call: Any) -> None:
    tried = 0
    for login in (None, basic(password="x"), basic("x"), "Bearer abc", "Basic %%%", basic(password="let them in "), ""):
        for path, method in (
            ("/diode/weblab/sessions/test", "GET"),
            ("/diode/ldl/sessions/test", "GET"),
            ("/weblab/sessions/", "POST"),
            ("/diode/weblab/sessions/x/status", "GET"),
            ("/diode/weblab/sessions/x", "POST"),
            ("/diode/ldl/sessions/x", "DELETE"),
            ("/diode/weblab/nothing", "GET"),
        ):
            tried += 1  # of another address each: no limit of attempts is met here
            status, told, reply = call(path, None, method, login, REMOTE_ADDR=f"10.0.0.{tried}")
            assert status.startswith("401"), (path, login)
            assert told["valid"] is False and "password is wrong" in told["error_messages"][0]
            assert reply.headers["WWW-Authenticate"].startswith("Basic ")
    assert call("/diode/weblab/sessions/api", login=None)[:2] == ("200 OK", {"api_version": "1"})
    assert call("/weblab/sessions/api/", login=basic(password="x"))[0] == "200 OK"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/diode/weblab/sessions/test", "next=/sessions/api"),
        ("/diode/weblab/sessions/test/../api", ""),
        ("/diode/weblab/sessions/api/../test", ""),
        ("/diode/weblab/sessions/test;/sessions/api", ""),
        ("/diode/weblab/sessions/api/x", ""),
        ("/sessions/api/diode/weblab/sessions/test", ""),
    ],
)
def test_the_path_decides_and_nothing_else_of_an_address(call: Any, path: str, query: str) -> None:
    status, told, _ = call(path, login=None, query=query)
    assert status[:3] in ("401", "404") and told != {"valid": True}


def test_slashes_and_proxies_change_nothing(call: Any, here: Lab) -> None:
    for file in here.settings.labs.glob("*.py"):
        if file.stem != "diode":  # so that it is the only one
            file.unlink()
    for path in ("/diode/weblab/sessions/test", "/diode/weblab/sessions/test/", "//diode//weblab/sessions/test"):
        assert call(path)[:2] == ("200 OK", {"valid": True})
    stripped = {"PATH_INFO": "/diode/weblab/sessions/test"}  # a proxy has taken the context root away
    assert call("", **stripped)[:2] == ("200 OK", {"valid": True})
    assert call("/weblab/sessions/test")[:2] == ("200 OK", {"valid": True})  # the only lab
    told = call("/weblab/sessions", {"server_initial_data": {"priority.queue.slot.length": 60}},
                REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_HOST="labs.example",
                HTTP_X_FORWARDED_PREFIX="/physics")[1]  # fmt: skip
    assert told["url"].startswith("https://labs.example/physics/") and "/diode/weblab/callback/" in told["url"]
    told = call("/diode/weblab/sessions/test", method="GET", PUBLIC_URL="https://other.example")[1]
    assert told == {"valid": True}


def test_a_stranger_s_guesses_shut_out_nobody_who_has_the_long_password(call: Any) -> None:
    long = {"WEBLAB_PASSWORD": "4f1c9a7e5d2b8063"}
    right = basic(password=long["WEBLAB_PASSWORD"])
    for _ in range(12):
        status, *_ = call("/diode/weblab/sessions/test", login=basic(password="guess"), **long)
    assert status.startswith("429")
    for wrong in ("4f1c9a7e5d2b806", "4f1c9a7e5d2b80633", "4F1C9A7E5D2B8063", ""):
        assert call("/diode/weblab/sessions/test", login=basic(password=wrong), **long)[0].startswith("429"), wrong
    assert call("/diode/weblab/sessions/test", login=basic("somebody", long["WEBLAB_PASSWORD"]), **long)[0][:3] == "429"
    for _ in range(12):
        assert call("/diode/weblab/sessions/test", login=right, **long)[0] == "200 OK"
    assert call("/diode/weblab/sessions/test", login=basic(password="guess"), **long)[0].startswith("429")


def test_a_short_password_can_not_be_guessed_by_trying_without_end(call: Any) -> None:
    for _ in range(10):
        assert call("/diode/weblab/sessions/test", login=basic(password="guess"))[0].startswith("401")
    status, told, reply = call("/diode/weblab/sessions/test")  # the right one, too late
    assert status.startswith("429") and "wait a minute" in told["message"] and reply.headers["Retry-After"] == "60"
    assert call("/diode/weblab/sessions/test", REMOTE_ADDR="10.0.0.9")[0] == "200 OK"


@pytest.mark.parametrize("unset", [{"WEBLAB_USERNAME": ""}, {"WEBLAB_PASSWORD": ""}])
def test_without_a_name_and_a_password_nobody_is_let_in(call: Any, unset: dict[str, str]) -> None:
    for login in (basic(), basic("", ""), basic("portal", ""), None):
        status, told, _ = call("/diode/weblab/sessions/test", login=login, **unset)
        assert status.startswith("401") and "WEBLAB_USERNAME and WEBLAB_PASSWORD are not set" in told["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "must be JSON"),
        (b"{", "must be JSON"),
        (b"[]", "a JSON object"),
        ({}, "priority.queue.slot.length is missing"),
        ({"server_initial_data": "{"}, "server_initial_data must be JSON"),
        ({"server_initial_data": {"priority.queue.slot.length": "long"}}, "not “long”"),
    ],
)
def test_a_call_that_can_not_be_read_is_told_why(call: Any, body: Any, words: str) -> None:
    status, told, _ = call("/diode/weblab/sessions/", body, "POST")
    assert status.startswith("400") and told["error"] is True and words in told["message"]


def test_too_much_is_refused_and_wrong_methods_are_told_which_are_right(call: Any) -> None:
    status, told, _ = call("/diode/weblab/sessions/", b" " * 3_000_000, "POST")
    assert status.startswith("413") and "too large" in told["message"]
    status, told, reply = call("/diode/weblab/sessions/x/status", b"", "POST")
    assert status.startswith("405") and "GET" in reply.headers["Allow"]


def test_a_lab_that_is_not_here_is_told_with_those_that_are(call: Any) -> None:
    status, told, _ = call("/lens/weblab/sessions/test")
    assert status.startswith("404") and "/diode/weblab" in told["message"]


def test_the_time_left_is_never_rounded_to_nothing(call: Any, here: Lab) -> None:
    slot = {"priority.queue.slot.length": 1.2, "priority.queue.slot.initialization_in_accounting": False}
    told = call("/diode/weblab/sessions/", {"server_initial_data": slot}, WEBLAB_TIMEOUT="-1")[1]
    seen = set()

    def over() -> bool:
        seen.add(call(f"/diode/weblab/sessions/{told['session_id']}/status")[1]["should_finish"])
        return -1 in seen

    eventually(over)
    assert 0 not in seen and seen <= {1, 2, -1}
    assert not Sessions(here.settings).sessions(SHELL)
