"""What jobs write and callers send, where it comes out again: answers, headers, the log."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from callers import Caller, Web, envelope
from contract import errors_in
from lab import PATIENCE, Lab, eventually

CONTROL = "".join(map(chr, [*range(32), 127, *range(128, 160)])) + "\ufffe\uffff"
FORGED = "2026-01-01 [ERROR] forged line"


@pytest.fixture
def running(caller: Caller, request: pytest.FixtureRequest) -> Iterator[str]:
    """The serviceID of an execution of Unruly that runs."""
    name = request.node.name
    caller.call("Unruly", "startUnruly", serviceID=name, word="sleep")
    caller.lab.file(name, "status.txt")
    yield name
    caller.call("Unruly", "abortService", serviceID=name)


# -- what a job writes --------------------------------------------------------------------------------

WRITTEN = [
    CONTROL.encode("utf-8", "surrogatepass"),
    bytes(range(256)),
    b"\xff\xfe\x00",
    b"]]></t:x><script>&#0;&e;",
    b"\0" * 5000,
    b"\xed\xa0\x80" * 9,
    b"9" * 5000,
]


@pytest.mark.parametrize("file", ["status.txt", "status.html", "log.txt", "notifications.txt", "result.txt"])
@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_whatever_a_job_writes_its_polls_are_answered_in_the_contract_s_form(
    standing: Lab, caller: Caller, running: str, file: str, number: int
) -> None:
    (standing.folder(running) / file).write_bytes(WRITTEN[number])
    for _ in range(3):  # the lane's answer, too
        reply = caller.call("Unruly", "getServiceStatus", serviceID=running)
        assert reply.status == "200 OK" and reply["result"] == "UNSET"
        page = base64.b64decode(reply["status_base64"]).decode()  # UTF-8
        assert file == "status.html" or ("\0" not in page and "\x1b" not in page)  # that page is the program's own


def test_what_a_job_gives_out_is_cleaned_of_what_xml_can_t_carry(caller: Caller) -> None:
    for name, ends in (("well", "well"), ("badly", "badly")):
        caller.call("Nasty", "startNasty", serviceID=f"cleaned {name}", text="x", ends=ends)
        caller.call("Nasty", "notifyService", serviceID=f"cleaned {name}", message="control")
        caller.call("Nasty", "notifyService", serviceID=f"cleaned {name}", message="go")
        caller.lab.ended(f"cleaned {name}")
    reply = caller.call("Nasty", "getServiceStatus", serviceID="cleaned well")
    assert reply["result"].startswith("\ufffd" * 8 + "\t\n") and "\x7f" in reply["result"]
    page = base64.b64decode(caller.call("Nasty", "getServiceStatus", serviceID="cleaned badly")["status_base64"])
    assert b"\0" not in page and b"\x1b" not in page
    caller.lab.told_long_ago("cleaned badly")
    reply = caller.call("Nasty", "getServiceStatus", serviceID="cleaned badly")
    assert reply["errorCode"] == "JobFailed" and "\ufffd" in reply["description"]


# -- headers ------------------------------------------------------------------------------------------


def asked(web: Web, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    line.request("GET", path, headers=headers or {})
    answer = line.getresponse()
    answer.read()
    line.close()
    return answer


@pytest.mark.parametrize("break_", ["%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D", "%00%0a", "%0B"])
def test_no_text_of_a_caller_becomes_a_header(served: Web, break_: str) -> None:
    root = served.lab.settings.context_root
    for path in (
        f"/{break_}X-Forged:%201",
        f"{root}/{break_}X-Forged:%201",
        f"{root}/Echo{break_}X-Forged:%201?wsdl",
        f"{root}/Echo?wsdl&x={break_}X-Forged:%201",
        f"{root}/files/a/b/{break_}X-Forged:%201",
    ):
        answer = asked(served, path, {"Host": "lab.example"})
        assert answer.headers["X-Forged"] is None and answer.status in (200, 400, 404), path


def test_no_name_of_a_file_becomes_a_header(standing: Lab, caller: Caller, served: Web) -> None:
    caller.call("Talk", "startTalk", serviceID="names")
    standing.running("names")
    for name in (
        "a\r\nX-Forged: 1",
        "a\nX-Forged: 1",
        'a"; X-Forged=1',
        "a\x0b\x85X-Forged: 1",
        "a\u2028X-Forged: 1.bin",
    ):
        (standing.folder("names") / "data" / name).write_text("made")
        at = standing.settings.context_root + standing.jobs.artifacts.link("names") + quote(name)
        answer = asked(served, at)
        assert answer.status == 200 and answer.headers["X-Forged"] is None, name
    caller.call("Talk", "abortService", serviceID="names")


@pytest.mark.parametrize(
    "said",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "javascript"},
        {"X-Forwarded-Prefix": "/evil"},
        {"Forwarded": "host=evil.example"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil", "X-HTTP-Method-Override": "DELETE"},
    ],
)
def test_who_is_no_proxy_of_ours_says_nothing_of_our_address(caller: Caller, said: dict[str, str]) -> None:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in said.items()}
    reply = caller("/Echo", query="wsdl", REMOTE_ADDR="192.0.2.1", **headers)
    assert reply.status == "200 OK" and b"evil" not in reply.body and b"javascript" not in reply.body


# -- the log ------------------------------------------------------------------------------------------


def test_no_text_of_a_caller_becomes_a_line_of_the_log(standing: Lab, served: Web) -> None:
    forged = f"a\n{FORGED}\r{FORGED}\u2028{FORGED}\x85{FORGED}\x1b[31m"
    written = forged.replace("\x1b", "").replace("\r", "&#13;")

    def call(operation: str, *names: str, path: str = "/Talk") -> None:
        body = envelope(operation, "".join(f"<t:{name}>{written}</t:{name}>" for name in names))
        served(path, body)

    call("startTalk", "serviceID", "sessionToken", "extraParameters")
    call("getServiceStatus", "serviceID", "sessionToken")
    call("notifyService", "serviceID", "sessionToken", "message")
    call("abortService", "serviceID", "sessionToken")
    call("startEcho", "serviceID", "sessionToken", "text", "number", path="/Echo")
    call("getServiceStatus", "serviceID", "sessionToken", "nothing")
    asked(served, f"/{quote(forged)}")
    asked(served, f"{standing.settings.context_root}/files/{quote(forged)}/{quote(forged)}/{quote(forged)}")
    served("/Echo", b"<" + forged.encode())
    at = standing.folder(written.replace("&#13;", "\r"))
    eventually(at.is_dir)
    (at / "state.json").write_text("{damaged")  # which is told in the log, by its name
    call("getServiceStatus", "serviceID", "sessionToken")
    logs = [served.log, standing.root.parent / f"{standing.root.name}.supervisor.log"]
    for log in logs:
        text = log.read_text(errors="replace")
        assert not any(line.startswith(FORGED) for line in text.splitlines()), text
        assert "\x1b[31m" not in text
    (at / "state.json").unlink()


def test_whatever_is_wrong_with_a_call_its_token_is_not_told(caller: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    token = "s3cret-t0ken"
    for body in (
        envelope("startEcho", serviceID="x", sessionToken=token, text=""),
        envelope("startEcho", serviceID="x", sessionToken=token, number="many", text="x"),
        envelope("startRocket", serviceID="x", sessionToken=token),
        envelope("getServiceStatus", serviceID="", sessionToken=token),
        envelope("getServiceStatus", f"<t:sessionToken>{token}</t:sessionToken>", serviceID="x", sessionToken=token),
        envelope("getServiceStatus", serviceID="x", sessionToken=token)[:-9],
        envelope("getServiceStatus", serviceID="x", sessionToken=token).replace(b"s:Body", token.encode()),
    ):
        reply = caller("/Echo", body)
        assert errors_in(reply) == "" and token.encode() not in reply.body
    assert token not in "".join(capfd.readouterr())
