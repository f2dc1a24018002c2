"""`labwaiter lint` and `workflow` where a service, or what stands before it, misbehaves."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from here import ROOT
from lab import PATIENCE, eventually
from labwaiter.catalogue import catalogue
from labwaiter.desk import fetch as fetching
from labwaiter.desk.lint import _place as place
from labwaiter.soap import wsdl as ours

PAGE = "PGI+aGk8L2I+"  # <b>hi</b>
Reply = tuple[int, bytes, int]  # status, body, how many bytes more are promised


class Bad(http.server.ThreadingHTTPServer):
    """The Waiter's WSDL, with answers of the test's choice."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/Waiter"
        service = catalogue.load(ROOT / "app" / "services").services["Waiter"]
        self.wsdl = ours.at(ours.template(service), self.url)
        self.polls: list[Reply] = []  # one after the other; the last one stays
        self.called: list[str] = []
        self.starts = status_answer("startWaiter", PAGE)
        self.head = 200
        self.aborts = answer("abortService", "<t:success>true</t:success>")
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Bad

    def log_message(self, *words: Any) -> None:
        pass

    def _send(self, status: int, body: bytes, more: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body) + more))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._send(self.server.head, b"")

    def do_GET(self) -> None:
        self._send(200, self.server.wsdl)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        name = next(n for n in ("startWaiter", "getServiceStatus", "abortService") if n in body)
        self.server.called.append(name)
        if name == "startWaiter":
            self._send(*self.server.starts)
        elif name == "abortService":
            self._send(*self.server.aborts)
        else:
            self._send(*(self.server.polls.pop(0) if len(self.server.polls) > 1 else self.server.polls[0]))


def answer(operation: str, inside: str) -> Reply:
    text = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<t:{operation}Response xmlns:t="http://waiter.sintef.no/">{inside}</t:{operation}Response></s:Body></s:Envelope>'
    )
    return 200, text.encode(), 0


def status_answer(operation: str, status: str) -> Reply:
    return answer(operation, f"<t:status_base64>{status}</t:status_base64><t:result>done</t:result>")


def polled(status: str) -> Reply:
    return status_answer("getServiceStatus", status)


@pytest.fixture
def bad() -> Iterator[Bad]:
    one = Bad()
    yield one
    one.shutdown()
    one.server_close()


def labwaiter(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "labwaiter", *words],
        env={"PYTHONPATH": str(ROOT / "app"), "PATH": os.environ["PATH"]},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def flow(bad: Bad, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(*words: str) -> subprocess.Popen[str]:
        (tmp_path / "flow.toml").write_text(f'every = 0.1\n[[step]]\nwsdl = "{bad.url}?wsdl"\n')
        return labwaiter(tmp_path, "workflow", "flow.toml", *words)

    return start


PASSING: list[tuple[str, Reply, str]] = [
    ("a proxy without its server", (502, b"<html>Bad Gateway</html>", 0), "HTTP 502"),
    ("a page instead of an envelope", (200, b"<html>log in<br></html>", 0), "is no SOAP"),
    ("an error page", (500, b"<html>oops<br></html>", 0), "is no SOAP"),
    ("an answer that breaks off", (200, b"<s:Env", 500), "is no SOAP"),
]


@pytest.mark.parametrize(("reply", "words"), [p[1:] for p in PASSING], ids=[p[0] for p in PASSING])
def test_what_may_pass_is_told_and_tried_again(bad: Bad, flow: Any, reply: Reply, words: str) -> None:
    bad.polls = [polled(PAGE), reply, reply, polled("UNCHANGED"), polled("COMPLETED")]
    process = flow()
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "result = done\n") and "Traceback" not in err, err
    assert err.count("trying again") == 1 and words in err


@pytest.mark.parametrize(("status", "shown"), [("abc", "“abc”"), ("", "empty"), ("DONE!", "“DONE!”")])
def test_a_status_that_no_portal_could_show_fails_the_step_and_stops_what_runs(
    bad: Bad, flow: Any, status: str, shown: str
) -> None:
    bad.polls = [polled(status)]
    process = flow("--json")
    out, err = process.communicate(timeout=PATIENCE)
    step = json.loads(out)["steps"][0]
    assert process.returncode == 1 and step["state"] == "failed" and "Traceback" not in err
    assert f"status_base64 is {shown}" in step["why"] and "It was aborted." in step["why"]
    assert bad.called[-1] == "abortService"


def test_a_page_that_is_unchanged_keeps_the_last_one(bad: Bad, flow: Any, tmp_path: Path) -> None:
    bad.polls = [polled("UNCHANGED"), polled("UNCHANGED"), polled("COMPLETED")]
    process = flow("--page", "--no-open")
    err = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, err
    assert "hi" in (tmp_path / "flow.page.html").read_text().partition('"pages": ["')[2][:30]


def test_an_abort_that_is_refused_is_told_as_it_is(bad: Bad, flow: Any) -> None:
    bad.polls = [polled(PAGE)]
    fault = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        "<faultcode>s:Client</faultcode><faultstring>no way</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    bad.aborts = (500, fault.encode(), 0)
    process = flow()
    eventually(lambda: "getServiceStatus" in bad.called)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1 and "could not be aborted: Client: no way" in err
    assert bad.called.count("abortService") == 1  # the same question gets the same answer


def test_a_second_ctrl_c_waits_no_longer_for_the_abort(bad: Bad, flow: Any) -> None:
    bad.polls = [polled(PAGE)]
    bad.aborts = answer("abortService", "<t:success>false</t:success>")
    process = flow()
    eventually(lambda: "getServiceStatus" in bad.called)
    process.send_signal(signal.SIGINT)
    eventually(lambda: "abortService" in bad.called)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=3)[1]
    assert process.returncode == 1 and "It was told to abort." in err and "Traceback" not in err


def test_a_synchronous_service_is_not_asked_twice(bad: Bad, flow: Any) -> None:
    """What it did before its answer was lost isn't known."""
    bad.wsdl = bad.wsdl.replace(b"getServiceStatus", b"lookAtWaiter")
    bad.starts = (502, b"", 0)
    process = flow()
    err = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 3 and "HTTP 502" in err and "Traceback" not in err
    assert bad.called == ["startWaiter"]


def test_a_synchronous_service_is_done_with_its_answer(bad: Bad, flow: Any) -> None:
    bad.wsdl = bad.wsdl.replace(b"getServiceStatus", b"lookAtWaiter")
    process = flow()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "result = done" in out, err


def linted(folder: Path, *words: str) -> tuple[int, str, str]:
    process = labwaiter(folder, "lint", *words)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_where_something_else_than_http_answers_lint_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def greet() -> None:
            line = door.accept()[0]
            line.sendall(b"SSH-2.0-Open\r\n")
            line.close()

        threading.Thread(target=greet, daemon=True).start()
        status, _, err = linted(tmp_path, f"http://127.0.0.1:{door.getsockname()[1]}/x?wsdl")
    assert status == 3 and "speaks no HTTP" in err and "Traceback" not in err


def test_a_file_that_is_not_there_is_a_mistake_in_the_call(tmp_path: Path) -> None:
    status, _, err = linted(tmp_path, "waiter.wsdl")
    assert status == 2 and "is no file here, and no address" in err


def test_an_address_that_can_t_be_one_is_no_traceback(tmp_path: Path) -> None:
    status, _, err = linted(tmp_path, "http://local host/x?wsdl")
    assert status == 3 and "no address can be written so" in err


def test_a_wsdl_from_elsewhere_can_t_name_a_file_of_the_reader_s_machine(bad: Bad, tmp_path: Path) -> None:
    link = b'<xs:import namespace="urn:x" schemaLocation="file:///dev/zero"/>'
    at = bad.wsdl.index(b"<xs:schema")
    at = bad.wsdl.index(b">", at) + 1
    bad.wsdl = bad.wsdl[:at] + link + bad.wsdl[at:]
    status, out, _ = linted(tmp_path, f"{bad.url}?wsdl")
    assert status == 1 and "a file of whoever reads it" in out


def test_an_address_behind_a_proxy_that_finds_nobody_is_not_reachable(bad: Bad, tmp_path: Path) -> None:
    bad.head = 502
    status, out, _ = linted(tmp_path, f"{bad.url}?wsdl")
    assert status == 1 and "the proxy in front of it finds nobody" in out


def test_a_fault_without_the_contract_s_fields_is_told(bad: Bad, tmp_path: Path) -> None:
    bad.wsdl = bad.wsdl.replace(b'name="errorCode"', b'name="code"')
    status, out, _ = linted(tmp_path, f"{bad.url}?wsdl")
    assert status == 0 and "No fault of startWaiter has errorCode and description." in out  # a warning


def test_a_wsdl_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out of each read alone would let it drip for ever."""
    monkeypatch.setattr(fetching, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as door:

        def drip() -> None:
            line = door.accept()[0]
            line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    line.sendall(b" ")
                    time.sleep(0.1)
            line.close()

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(fetching.Unreachable, match="not complete after 0.5 s"):
            fetching.fetch(f"http://127.0.0.1:{door.getsockname()[1]}/x?wsdl")


@pytest.mark.parametrize(
    ("said", "fetched", "same"),
    [
        ("http://x.example:80/W", "http://X.example/W?wsdl", True),
        ("https://x.example/W", "https://x.example:443/W.wsdl", True),
        ("http://x.example:8080/W", "http://x.example/W?wsdl", False),
        ("http://x.example/V", "http://x.example/W?wsdl", False),
        ("http://localhost/W", "http://x.example/W?wsdl", False),
        ("https://x.example/W", "http://x.example/W?wsdl", False),
    ],
)
def test_an_address_may_leave_the_usual_port_out(said: str, fetched: str, same: bool) -> None:
    assert (place(urlsplit(said)) == place(urlsplit(fetched))) is same


def test_a_cure_of_several_findings_is_told_once(bad: Bad, tmp_path: Path) -> None:
    mandatory = b'name="serviceID" type="xs:string"'
    bad.wsdl = bad.wsdl.replace(mandatory, mandatory + b' minOccurs="0"')
    _, out, _ = linted(tmp_path, f"{bad.url}?wsdl")
    assert out.count("isn't mandatory") > 1 and out.count("Give it minOccurs 1") == 1
    _, told, _ = linted(tmp_path, "--json", f"{bad.url}?wsdl")
    assert all(f["what"] and f["mend"] for f in json.loads(told)["findings"])
