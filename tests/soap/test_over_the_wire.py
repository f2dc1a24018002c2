"""Requests as toolkits and proxies put them on the wire, to the real web server: SOAP or the right HTTP answer."""

from __future__ import annotations

import gzip
import socket

import pytest

from callers import Web, envelope, warm
from lab import PATIENCE

GOOD = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")
UNKNOWN = b"<tns:errorCode>UnknownServiceID</tns:errorCode>"


@pytest.fixture(scope="module")
def web(shared_web: Web) -> Web:
    """With a lane that knows the form of GOOD; `.ci/run` has these tests without a lane, too."""
    return warm(shared_web)


def artifacts(web: Web, *parts: bytes, expect: bytes = b"") -> bytes:
    """What comes back for these bytes, to the end of the connection; `expect` is awaited after the first part."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as line:
        line.sendall(parts[0])
        got = b""
        if expect:
            while expect not in got:
                got += line.recv(65536)
        for part in parts[1:]:
            line.sendall(part)
        while piece := line.recv(65536):
            got += piece
        return got


def post(web: Web, body: bytes, *headers: str, version: str = "1.1", length: bool = True) -> bytes:
    """The head of a POST to Echo with this body."""
    path = f"{web.lab.settings.context_root}/Echo"
    lines = [f"POST {path} HTTP/{version}", "Host: lab.example", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}"] * length
    if not any(h.lower().startswith("content-type") for h in headers):
        lines.append("Content-Type: text/xml; charset=utf-8")
    return "\r\n".join([*lines, "", ""]).encode()


def test_http_1_0_and_a_call_in_pieces(web: Web) -> None:
    assert UNKNOWN in artifacts(web, post(web, GOOD, version="1.0") + GOOD)
    head = post(web, GOOD)
    assert UNKNOWN in artifacts(web, head[:20], head[20:] + GOOD[:7], GOOD[7:])


def test_chunked(web: Web) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (GOOD[:10], GOOD[10:])) + b"0\r\n\r\n"
    assert UNKNOWN in artifacts(web, post(web, b"", "Transfer-Encoding: chunked", length=False) + chunks)


def test_expect_100_continue(web: Web) -> None:
    head = post(web, GOOD, "Expect: 100-continue")
    got = artifacts(web, head, GOOD, expect=b"100 Continue")
    assert UNKNOWN in got


def test_gzip_is_decoded_within_a_bound(web: Web) -> None:
    small = gzip.compress(GOOD)
    assert UNKNOWN in artifacts(web, post(web, small, "Content-Encoding: gzip") + small)
    bomb = gzip.compress(b" " * 50_000_000 + GOOD)
    got = artifacts(web, post(web, bomb, "Content-Encoding: gzip") + bomb)
    assert b"ServiceFault" in got and b"InvalidParameter" in got
    broken = small[:-9]
    assert b"cut short" in artifacts(web, post(web, broken, "Content-Encoding: gzip") + broken)
    assert b"ServiceFault" in artifacts(web, post(web, GOOD, "Content-Encoding: br") + GOOD)


def test_ten_megabytes_are_refused_in_soap(web: Web) -> None:
    large = b"<" + b"x" * 30_000_000
    got = artifacts(web, post(web, large) + large)
    assert got.startswith(b"HTTP/1.1 500") and b"ServiceFault" in got and b"larger than" in got


def test_nothing_at_all_is_a_client_fault(web: Web) -> None:
    for head in (post(web, b""), post(web, b"", length=False)):
        got = artifacts(web, head)
        assert b"ServiceFault" in got and b"Client" in got, got[:300]


def test_a_kept_connection_serves_call_after_call_and_close_is_honoured(web: Web) -> None:
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    path = f"{web.lab.settings.context_root}/Echo"
    for _ in range(3):
        line.request("POST", path, GOOD, {"Content-Type": "text/xml"})
        assert UNKNOWN in line.getresponse().read()
    line.request("POST", path, GOOD, {"Content-Type": "text/xml", "Connection": "close"})
    answer = line.getresponse()
    assert UNKNOWN in answer.read() and answer.will_close


@pytest.mark.parametrize("head", ["HEAD", "GET"])
def test_head_answers_as_get_without_the_body(web: Web, head: str) -> None:
    path = f"{web.lab.settings.context_root}/echo/Echo?wsdl"
    got = artifacts(web, f"{head} {path} HTTP/1.1\r\nHost: lab.example\r\nConnection: close\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 200") and (b"definitions" in got) == (head == "GET")


def test_what_the_web_server_itself_refuses_is_http(web: Web) -> None:
    """docs/operating.md names these: they never reach the application."""
    assert artifacts(web, b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400")
    many = "".join(f"X-{n}: {'x' * 1000}\r\n" for n in range(800))
    path = f"{web.lab.settings.context_root}/echo/Echo?wsdl"
    got = artifacts(web, f"GET {path} HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode())
    assert got.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
