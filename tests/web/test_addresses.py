"""Behind a context root and behind proxies: the address in the WSDL is the one that callers reach."""

import http.client
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import Caller, Web, envelope
from lab import PATIENCE, Lab
from labwaiter.errors import Misconfigured
from labwaiter.settings import load

ROOT = "/sintef/docker_services"


@pytest.fixture(scope="module")
def caller(shared_lab: Lab) -> Caller:
    """They ask for addresses alone: one lab does."""
    return Caller(shared_lab)


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


@pytest.mark.parametrize("at", ["/", "/api/v1/services"])
@pytest.mark.parametrize("root", [ROOT, ""], ids=["prefix kept", "prefix stripped"])
def test_pages_and_JSON_tell_the_address_that_the_wsdl_tells(caller: Caller, root: str, at: str) -> None:
    said = {"HTTP_X_FORWARDED_PREFIX": "/lab1", "REMOTE_ADDR": "127.0.0.1"}
    reply = caller(at, PATH_INFO=root + at, **said)
    assert reply.status == "200 OK", reply.body
    assert address(caller, "/echo", root, **said).encode() in reply.body


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


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"HTTP_HOST": "lab.example:"}, "http://lab.example"),
        ({"HTTP_HOST": "[::1]:8192"}, "http://[::1]:8192"),
        ({"HTTP_HOST": "127.1:8192"}, "http://127.1:8192"),
        ({"HTTP_HOST": "lab7.example.1a:80"}, "http://lab7.example.1a:80"),
        ({"HTTP_HOST": "", "SERVER_NAME": "127.0.0.1"}, "http://127.0.0.1:8080"),
        *(
            ({"HTTP_HOST": everywhere, "SERVER_NAME": "0.0.0.0"}, "")
            for everywhere in ("0", "0x0:80", "0.0", "000.0.0.0", "0.0.0.0.", "[::ffff:0.0.0.0]", "[::]:80")
        ),
        ({"HTTP_HOST": "", "SERVER_NAME": "fd00::7"}, "http://[fd00::7]:8080"),
        ({"HTTP_HOST": "", "SERVER_NAME": "lab-pc"}, "http://lab-pc:8080"),
        ({"HTTP_HOST": "[fe80::1%25eth0]:8192", "SERVER_NAME": "::"}, ""),
        ({"HTTP_HOST": "[fe80::1%eth0]", "SERVER_NAME": "0.0.0.0"}, ""),
        ({"HTTP_HOST": "", "SERVER_NAME": "::"}, ""),
        ({"HTTP_HOST": "", "SERVER_NAME": "0.0.0.0"}, ""),
        ({"HTTP_HOST": "", "SERVER_NAME": "fe80::1%eth0"}, ""),
    ],
)
def test_the_address_is_one_that_a_caller_can_call_or_the_call_is_refused(
    caller: Caller, environ: dict[str, str], wanted: str
) -> None:
    environ = {"SERVER_PROTOCOL": "HTTP/1.0", **environ}
    if wanted:
        assert address(caller, "/echo", **environ) == f"{wanted}{ROOT}/echo/Echo"
        return
    for body in (None, envelope("getServiceStatus", serviceID="a", sessionToken="t")):
        reply = caller("/echo/Echo", body, query="wsdl", **environ)
        assert reply.status == "400 Bad Request" and b"send a Host header" in reply.body
    assert caller("/health", **environ).status == "200 OK"  # HAProxy asks so
    listed = caller("/", **environ)
    assert listed.status == "200 OK" and f'href="{ROOT}/echo/Echo?wsdl"'.encode() in listed.body


def test_public_url_is_the_address_for_callers_without_a_host_too(make_lab: Callable[..., Lab]) -> None:
    caller = Caller(make_lab(PUBLIC_URL="https://lab.example"))
    for environ in ({"HTTP_HOST": "", "SERVER_NAME": "::"}, {"HTTP_HOST": "[fe80::1%25eth0]", "SERVER_NAME": "::"}):
        assert address(caller, "/echo", **environ) == f"https://lab.example{ROOT}/echo/Echo"


@pytest.mark.parametrize(
    ("proxies", "who", "trusted"),
    [
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:11.1.2.3", False),
        ("::1", "::ffff:127.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_a_proxy_over_ipv4_is_known_where_the_server_listens_to_ipv6(
    make_lab: Callable[..., Lab], proxies: str, who: str, trusted: bool
) -> None:
    caller = Caller(make_lab(TRUSTED_PROXIES=proxies))
    said = {"HTTP_X_FORWARDED_PROTO": "https", "REMOTE_ADDR": who}
    assert address(caller, "/echo", **said).startswith("https://" if trusted else "http://")


@pytest.mark.parametrize("host", ["[1:2]", "[::::]", "999.1.1.1", "1.2.3.4.5", "lab.0x100000000"])
def test_a_host_that_is_written_as_an_address_and_is_none_is_refused(caller: Caller, host: str) -> None:
    reply = caller("/echo/Echo", query="wsdl", HTTP_HOST=host)
    assert reply.status == "400 Bad Request" and b"has a Host that is none" in reply.body


def test_a_proxy_that_keeps_the_path_may_name_the_context_root_itself(caller: Caller) -> None:
    for prefix, at in ((ROOT, ROOT), (f"/lab1{ROOT}", f"/lab1{ROOT}"), ("/lab1/../x", ROOT), ("/./x", ROOT)):
        reply = caller(
            "", query="wsdl", PATH_INFO=f"{ROOT}/echo/Echo", HTTP_X_FORWARDED_PREFIX=prefix, REMOTE_ADDR="127.0.0.1"
        )
        assert f'location="http://lab.example:8080{at}/echo/Echo"' in reply.body.decode()


@pytest.mark.parametrize("path", ["//echo//Echo", "/sintef//docker_services/echo/Echo", f"/{ROOT}//echo/Echo"])
def test_slashes_that_proxies_double_are_one(caller: Caller, path: str) -> None:
    said = {"HTTP_X_FORWARDED_PREFIX": "//lab1/", "REMOTE_ADDR": "127.0.0.1"}
    for more in ({}, said):
        reply = caller("", query="wsdl", PATH_INFO=path, **more)
        assert reply.status == "200 OK", reply.body
        at = reply.body.decode().partition('location="')[2].partition('"')[0]
        assert "//" not in at.removeprefix("http://") and at.endswith("/echo/Echo")


def test_each_refusal_of_a_page_says_what_it_is_about(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = caller("/health", method="DELETE")
    assert reply.status.startswith("405") and "takes GET, HEAD, OPTIONS." in reply.body.decode()
    assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert caller("/nothing", method="DELETE").status.startswith("404")

    def broken(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(type(caller.lab.jobs.artifacts), "opens", broken)
    reply = caller("/files/a/b")
    assert reply.status.startswith("500") and "an error of its own" in reply.body.decode()
    assert b"secret" not in reply.body and b"GET" not in reply.body


def test_the_web_server_s_own_words_for_the_caller_s_address_are_understood(shared_web: Web) -> None:
    """granian, over HTTP: the loopback address is a trusted proxy's."""
    line = http.client.HTTPConnection("127.0.0.1", shared_web.port, timeout=PATIENCE)
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "portal.example"}
    line.request("GET", f"{ROOT}/echo/Echo?wsdl", headers=said)
    assert b'location="https://portal.example/sintef/docker_services/echo/Echo"' in line.getresponse().read()


@pytest.mark.parametrize(
    ("written", "root"),
    [
        ("/a//b", "/a/b"),
        ("a/b/", "/a/b"),
        ("//", ""),
        ("/", ""),
        ("", ""),
        ("/my-lab_1.x~/v2", "/my-lab_1.x~/v2"),
        (" /a ", "/a"),
    ],
)
def test_a_context_root_that_is_meant_is_made_right(written: str, root: str) -> None:
    assert load({"CONTEXT_ROOT": written}, Path(os.devnull)).context_root == root


@pytest.mark.parametrize(
    "written", ["/müsli", "/a/../b", "/./a", "/a b", "/a%20b", "/a?x", "/a#b", "/a\\b", "/<a>", "/漢"]
)
def test_a_context_root_that_can_t_be_one_is_one_sentence(written: str) -> None:
    with pytest.raises(Misconfigured, match="^CONTEXT_ROOT must be a plain path like .* not “"):
        load({"CONTEXT_ROOT": written}, Path(os.devnull))
    with pytest.raises(Misconfigured, match="^CONTEXT_ROOT is a path alone, .*: scheme and host stand in PUBLIC_URL"):
        load({"CONTEXT_ROOT": "https://lab.example/a"}, Path(os.devnull))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("https://lab.example", "https://lab.example"),
        ("HTTPS://lab.example/", "https://lab.example"),
        ("https://lab.example:", "https://lab.example"),
        ("https://lab.example:8443//behind//", "https://lab.example:8443/behind"),
        ("http://[fd00::7]:8080", "http://[fd00::7]:8080"),
        ("https://lab.example/sintef/docker_services", "https://lab.example"),
        ("https://lab.example/x/sintef//docker_services/", "https://lab.example/x"),
        ("https://lab.example/sintef", "https://lab.example/sintef"),
        ("https://lab.example/nosintef/docker_services", "https://lab.example/nosintef/docker_services"),
        ("", ""),
    ],
)
def test_a_public_url_that_is_meant_is_made_right(make_lab: Callable[..., Lab], written: str, wanted: str) -> None:
    lab = make_lab(PUBLIC_URL=written)
    assert lab.settings.public_url == wanted
    if wanted:
        assert address(Caller(lab), "/echo") == f"{wanted}{ROOT}/echo/Echo"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("lab.example", "begin with http"),
        ("ftp://lab.example", "begin with http"),
        ("https:lab.example", "begin with http"),
        ("https://", "the host is none"),
        ("https:///x", "the host is none"),
        ("https://lab.example?x=1", "no query"),
        ("https://lab.example/#a", "no query"),
        ("https://lab example", "no blank"),
        ("https://lab.example/a b", "no blank"),
        ("https://me:secret@lab.example", "no user and no password"),
        ("https://müsli.example", "xn--"),
        ("https://lab.example:99999", "can't be read"),
        ("https://lab.example:x", "can't be read"),
        ("https://[fe80::1%25eth0]", "host is none|can't be read"),
        ("https://lab.example/ü", "its path"),
        ("https://lab.example/a/../b", "its path"),
    ],
)
def test_a_public_url_that_can_t_be_one_is_one_sentence(written: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=f"^PUBLIC_URL must .*({why})") as told:
        load({"PUBLIC_URL": written}, Path(os.devnull))
    assert "secret" not in str(told.value)
