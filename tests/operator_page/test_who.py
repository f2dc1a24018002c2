"""Who may look and steer: logins, guests, sessions, and forms of other sites."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from callers import Caller, Reply, Web
from lab import Lab
from labwaiter.authentication.token_file import TokenFile
from labwaiter.model.caller import SHELL, Role

pytestmark = pytest.mark.slow
Guarded = tuple[Lab, Web, TokenFile]
LOCAL = {"HTTP_HOST": "localhost:8080", "REMOTE_ADDR": "127.0.0.1"}


@pytest.fixture(scope="module")
def guarded(make_standing: Any, tmp_path_factory: Any) -> tuple[Lab, Web, TokenFile]:
    """A deployment that asks for tokens."""
    file = tmp_path_factory.mktemp("tokens") / "tokens.json"
    tokens = TokenFile(file)
    tokens.add("first", "optics", Role.USER, 100)
    lab, web = make_standing(TOKENS="file", TOKENS_FILE=str(file))
    return lab, web, tokens


def logged_in(screen: Any, token: str, path: str = "") -> Any:
    page = screen.go(path)
    page.fill("#token", token)
    page.click("button.go")
    return page


def test_who_is_not_logged_in_sees_the_login_and_the_wsdls_alone(guarded: Guarded, open_screen: Any) -> None:
    lab, web, _ = guarded
    lab.start("Waiter", "secret", secondsToWait=1)
    screen = open_screen(web)
    for path in ("", "operator/executions", "operator/execution?id=secret", "operator/lab", "operator/log?id=secret"):
        page = screen.go(path)
        assert page.locator("#token").count() == 1 and "secret" not in page.inner_text("body"), path
    assert "sweep/Sweep?wsdl" in screen.go("").inner_text("body")


def test_a_token_logs_in_and_the_cookie_holds_none(guarded: Guarded, open_screen: Any) -> None:
    lab, web, tokens = guarded
    entry, token = tokens.add("Ada", "optics", Role.USER, 1000)
    screen = open_screen(web)
    page = logged_in(screen, "no such token")
    screen.see("The sessionToken is not accepted here", "#wrong-token")
    page = logged_in(screen, token, "operator/service?name=Talker")
    screen.see("Talker", "h1")  # where it wanted to go
    (cookie,) = screen.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and not cookie["secure"]
    assert cookie["path"] == lab.settings.context_root
    assert token.partition(".")[2] not in str(cookie)
    page.fill("[name=in-words]", "mine")
    page.click("button.go")
    page.wait_for_url("**/operator/execution?id=*")
    record = lab.record(page.url.rpartition("id=")[2])
    assert (record.request.user, record.request.project) == ("Ada", "optics")
    page.click("text=Abort")
    # of another project nothing is to be seen
    stranger = open_screen(web)
    logged_in(stranger, tokens.add("Eve", "acoustics", Role.USER, 1000)[1])
    there = stranger.go(f"operator/execution?id={record.request.service_id}")
    assert "Nothing was started under this serviceID." in there.inner_text("body")
    stranger.go("operator/lab")
    assert stranger.page.locator("text=Reserve").count() == 0  # for operators; STOP is for everybody
    assert stranger.page.locator("#i-meter button.stop").count() == 1
    # the token's end is the session's, at once
    tokens.revoke(entry.id)
    page = screen.go("operator/executions")
    assert page.locator("#token").count() == 1
    logged_in(screen, tokens.add("Ada", "optics", Role.USER, 1000)[1])
    page.click("text=Log out")
    assert page.locator("#token").count() == 1


def test_a_guest_looks_and_does_nothing_where_the_deployment_says_so(
    make_standing: Any, open_screen: Any, tmp_path: Any
) -> None:
    lab, web = make_standing(TOKENS="file", TOKENS_FILE=str(tmp_path / "tokens.json"), GUESTS="on")
    lab.start("Talker", "to be seen", words="x")
    screen = open_screen(web)
    page = screen.go("operator/execution?id=to%20be%20seen")
    screen.see("listening", "#live")
    assert page.locator("button").count() == 0
    assert screen.go("operator/lab").locator("button").count() == 0
    caller = Caller(lab)
    for path in ("abort", "stop", "reserve", "service"):
        assert caller(f"/operator/{path}", b"", query="id=to%20be%20seen", **LOCAL).status == "403 FORBIDDEN"
    assert lab.record("to be seen").active
    assert screen.go("operator/login").locator("text=guest").count()
    # whose token is revoked meanwhile looks on as a guest: an open page has no STOP that would only be refused
    entry, token = TokenFile(tmp_path / "tokens.json").add("Ada", "optics", Role.USER, 1000)
    page = logged_in(screen, token, "operator/login")
    page = screen.go("operator/lab")
    assert page.locator("button.stop").count()
    page.wait_for_event("response", lambda answer: "live=1" in answer.url)  # it knows for whom it was made
    TokenFile(tmp_path / "tokens.json").revoke(entry.id)
    screen.see("guest: looks only", "header.top")
    assert page.locator("button").count() == 0


class Form:
    """Sends forms as a browser does, or as another site has it do."""

    def __init__(self, caller: Caller, **environ: str) -> None:
        self.caller, self.environ = caller, {**LOCAL, **environ}
        self.cookie = self.key = ""
        self.look("/operator/lab")

    def look(self, path: str) -> Reply:
        reply = self.caller(path, **self.environ, **({"HTTP_COOKIE": self.cookie} if self.cookie else {}))
        if "Set-Cookie" in reply.headers:
            self.cookie = reply.headers["Set-Cookie"].partition(";")[0]
        found = re.search(rb'name="form_key" value="([0-9a-f]+)"', reply.body)
        self.key = found[1].decode() if found else self.key
        return reply

    def send(
        self,
        path: str,
        key: str | None = None,
        cookie: bool = True,
        environ: dict[str, str] | None = None,
        **fields: str,
    ) -> Reply:
        body = urlencode({"form_key": self.key if key is None else key, **fields}).encode()
        more = {"HTTP_COOKIE": self.cookie} if cookie else {}
        kind = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
        path, _, query = path.partition("?")
        return self.caller(path, body, query=query, **{**self.environ, **more, **kind, **(environ or {})})


def test_a_form_of_another_site_or_without_its_key_does_nothing(standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    form = Form(Caller(lab))
    lab.start("Talker", "aim", words="x")
    for given in (
        {"key": ""},
        {"key": "0" * 40},
        {"cookie": False},
        {"environ": {"HTTP_ORIGIN": "http://evil.example"}},
        {"environ": {"HTTP_ORIGIN": "null"}},
        {"environ": {"HTTP_SEC_FETCH_SITE": "cross-site"}},
        {"environ": {"HTTP_SEC_FETCH_SITE": "same-site"}},
    ):
        reply = form.send("/operator/abort?id=aim", **given)  # type: ignore[arg-type]
        assert reply.status == "403 FORBIDDEN" and b"nothing was done" in reply.body, given
    other = Form(Caller(lab))
    assert form.send("/operator/abort?id=aim", key=other.key).status == "403 FORBIDDEN"
    assert lab.record("aim").active
    good = {"HTTP_ORIGIN": "http://localhost:8080", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert form.send("/operator/abort?id=aim", environ=good).status == "303 SEE OTHER"
    assert lab.ended("aim").state == "aborted"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "192.168.1.1", "localhost.evil.example"])
def test_where_no_token_is_asked_for_a_name_that_is_not_this_machines_is_refused(
    standing: tuple[Lab, Web], host: str
) -> None:
    """DNS rebinding: a stranger's page calls us by the stranger's name, and so may read what it likes."""
    caller = Caller(standing[0])
    for path in ("/", "/operator/executions", "/operator/lab"):
        reply = caller(path, **{**LOCAL, "HTTP_HOST": host})
        assert reply.status == "403 FORBIDDEN" and b"no name of it" in reply.body and b"meter" not in reply.body
    assert caller("/", **LOCAL).status == "200 OK"


def test_where_no_token_is_asked_for_another_machine_is_refused(standing: tuple[Lab, Web]) -> None:
    caller = Caller(standing[0])
    for more in ({"REMOTE_ADDR": "10.0.0.9"}, {"HTTP_X_FORWARDED_FOR": "10.0.0.9"}):
        reply = caller("/", **{**LOCAL, **more})
        assert reply.status == "403 FORBIDDEN" and b"answers calls from its own machine alone" in reply.body


def test_a_session_is_for_nobody_who_makes_one_up(guarded: Guarded) -> None:
    lab, _, tokens = guarded
    caller = Caller(lab)
    token = tokens.add("Ada", "optics", Role.OPERATOR, 1000)[1]
    form = Form(caller)
    reply = form.send("/operator/login", token=token)
    assert reply.status == "303 SEE OTHER"
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    assert b"Log out" in caller("/operator/lab", **LOCAL, HTTP_COOKIE=cookie).body
    name, _, value = cookie.partition("=")
    head, _, seal = value.rpartition(".")
    for wrong in (f"{head}.{seal[:-2]}AA", f"{head[:-3]}abc.{seal}", head, "", "."):
        assert b"Log out" not in caller("/operator/lab", **LOCAL, HTTP_COOKIE=f"{name}={wrong}").body, wrong
    over_https = {**LOCAL, "HTTP_X_FORWARDED_PROTO": "https"}
    body = urlencode({"token": token}).encode()
    reply = caller("/operator/login", body, **over_https, CONTENT_TYPE="application/x-www-form-urlencoded")
    assert "; Secure" in reply.headers["Set-Cookie"]


def test_attempts_are_limited(guarded: Guarded) -> None:
    form = Form(Caller(guarded[0]))
    tried = [form.send("/operator/login", token=f"wrong{n}").status for n in range(12)]
    assert tried[:10] == ["403 FORBIDDEN"] * 10 and tried[10:] == ["429 TOO MANY REQUESTS"] * 2
    other = Form(Caller(guarded[0]), REMOTE_ADDR="127.0.0.2")
    assert other.send("/operator/login", token="wrong").status == "403 FORBIDDEN"


def test_a_login_leads_to_no_other_site(guarded: Guarded) -> None:
    lab, _, tokens = guarded
    token = tokens.add("Ada", "optics", Role.USER, 1000)[1]
    for to in ("//evil.example", "https://evil.example", "/x", "\\\\evil.example", "lab?a=b"):
        reply = Form(Caller(lab)).send("/operator/login", token=token, next=to)
        where = reply.headers["Location"]
        assert "evil" not in where.partition("?")[0] and where.startswith(
            ("/sintef", "http://localhost:8080/sintef")
        ), where


def test_every_page_has_strict_headers_and_status_pages_may_be_framed_by_portals(standing: tuple[Lab, Web]) -> None:
    lab = standing[0]
    caller = Caller(lab)
    lab.start("Talker", "framed", words="x")
    for path in ("/", "/operator/lab", "/operator/nothing", "/operator/execution"):
        headers = caller(path, query="id=framed", **LOCAL).headers
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    status = caller("/operator/status", query="id=framed", **LOCAL).headers
    assert status["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert "X-Frame-Options" not in status
    lab.jobs.abort(None, "framed", SHELL)
