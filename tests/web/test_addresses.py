"""Behind a context root and behind proxies: the address in the WSDL is the one that callers reach."""

import http.client
from collections.abc import Callable

import pytest

from callers import Caller, Web
from lab import Lab

ROOT = "/sintef/docker_services"


def address(caller: Caller, path: str = "/waiter", root: str = ROOT, **environ: str) -> str:
    """The address that the WSDL of Echo gives to a caller who came so."""
    reply = caller(f"{path}/Echo", query="wsdl", **{"PATH_INFO": f"{root}{path}/Echo", **environ})
    assert reply.status == "200 OK", reply.body
    return reply.body.decode().partition('location="')[2].partition('"')[0]


@pytest.mark.parametrize("root", [ROOT, ""], ids=["prefix kept", "prefix stripped"])
def test_the_context_root_is_in_the_address_whether_the_proxy_keeps_or_strips_it(caller: Caller, root: str) -> None:
    assert address(caller, "/echo", root) == f"http://lab.example:8080{ROOT}/echo/Echo"
    assert address(caller, "", root) == f"http://lab.example:8080{ROOT}/Echo"


def test_a_trusted_proxy_says_how_callers_reach_it(caller: Caller) -> None:
    said = {
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "portal.example",
        "REMOTE_ADDR": "127.0.0.1",
    }
    assert address(caller, "/echo", **said) == f"https://portal.example{ROOT}/echo/Echo"
    said["HTTP_X_FORWARDED_PREFIX"] = "/lab1/"
    assert address(caller, "/echo", **said) == f"https://portal.example/lab1{ROOT}/echo/Echo"
    assert address(caller, "/echo", root="", **said) == "https://portal.example/lab1/echo/Echo"


@pytest.mark.parametrize("who", ["10.1.2.3", "", "127.0.0.1.example"])
def test_what_a_stranger_says_of_proxies_is_not_believed(caller: Caller, who: str) -> None:
    said = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "evil.example", "REMOTE_ADDR": who}
    assert address(caller, "/echo", **said) == f"http://lab.example:8080{ROOT}/echo/Echo"


def test_which_proxies_are_believed_is_a_setting(make_lab: Callable[..., Lab]) -> None:
    caller = Caller(make_lab(TRUSTED_PROXIES="172.16.0.0/12"))
    said = {"HTTP_X_FORWARDED_PROTO": "https", "REMOTE_ADDR": "172.17.0.9"}
    assert address(caller, "/echo", **said).startswith("https://lab.example:8080/")
    assert address(caller, "/echo", **{**said, "REMOTE_ADDR": "127.0.0.1"}).startswith("http://")


@pytest.mark.parametrize("wrong", ['"><x', "a b", "host/path", "host:port"])
def test_a_forwarded_host_that_is_none_is_passed_over(caller: Caller, wrong: str) -> None:
    said = {"HTTP_X_FORWARDED_HOST": wrong, "REMOTE_ADDR": "127.0.0.1"}
    assert address(caller, "/echo", **said) == f"http://lab.example:8080{ROOT}/echo/Echo"


def test_public_url_wins_over_everybody(make_lab: Callable[..., Lab]) -> None:
    caller = Caller(make_lab(PUBLIC_URL="https://lab.example/behind"))
    said = {"HTTP_X_FORWARDED_PROTO": "http", "HTTP_X_FORWARDED_HOST": "x.example", "REMOTE_ADDR": "127.0.0.1"}
    assert address(caller, "/echo", **said) == f"https://lab.example/behind{ROOT}/echo/Echo"


def test_without_a_context_root_all_is_the_same(make_lab: Callable[..., Lab]) -> None:
    caller = Caller(make_lab(CONTEXT_ROOT=""))
    assert address(caller, "/echo", root="") == "http://lab.example:8080/echo/Echo"
    said = {"HTTP_X_FORWARDED_PREFIX": "/lab1", "REMOTE_ADDR": "127.0.0.1"}
    assert address(caller, "/echo", root="", **said) == "http://lab.example:8080/lab1/echo/Echo"


def test_the_web_server_s_own_words_for_the_caller_s_address_are_understood(web: Web) -> None:
    """granian, over HTTP: the loopback address is a trusted proxy's."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "portal.example"}
    line.request("GET", f"{ROOT}/echo/Echo?wsdl", headers=said)
    assert b'location="https://portal.example/sintef/docker_services/echo/Echo"' in line.getresponse().read()
