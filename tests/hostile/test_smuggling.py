"""Requests whose end two servers could see in two places: what is hidden in one never reaches the application.

A proxy lets callers reach one service; behind the ambiguous beginning waits a start of another, which would pass where
the proxy and our web server disagree. What our web server alone makes of such requests stands in
tests/soap/test_small_print.py.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nginx
from callers import Web, envelope
from lab import PATIENCE, eventually
from labwaiter.testing.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nginx.PROGRAM is None, reason="no nginx is here"),
]
CONF = """
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    upstream waiter {{ server 127.0.0.1:{behind}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location {root}/Talk {{ proxy_pass http://waiter; proxy_request_buffering {buffering}; }}
        location / {{ return 403; }}
    }}
"""
POLL = envelope("getServiceStatus", serviceID="nobody's", sessionToken="t")


@pytest.fixture(scope="module", params=["on", "off"])
def proxy(served: Web, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of an nginx before it, which keeps connections open, and keeps requests until they are whole or not."""
    folder: Path = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    port, root = free_port(), served.lab.settings.context_root
    words = {"behind": served.port, "port": port, "root": root, "buffering": request.param}
    process = nginx.start(folder, CONF.format(**words))
    try:
        eventually(lambda: answered(port, request_of(root, f"Content-Length: {len(POLL)}", body=POLL)), PATIENCE, 0.05)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def request_of(root: str, *headers: str, body: bytes = b"", service: str = "Talk", version: str = "1.1") -> bytes:
    lines = [f"POST {root}/{service} HTTP/{version}", "Host: lab.example", "Content-Type: text/xml", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def answered(port: int, sent: bytes, silence: float = 1.0) -> bytes:
    """What comes, until the other side closes or keeps silent for a while; b"" where nobody listens."""
    got = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        line.sendall(sent)
        line.settimeout(silence)
        while piece := line.recv(65536):
            got += piece
    return got


TE = "Transfer-Encoding: chunked"
ZERO = b"0\r\n\r\n"


def shapes(hidden: bytes) -> dict[str, tuple[list[str], bytes]]:
    """The headers, and the body in which that is hidden."""
    length, chunk = f"Content-Length: {len(ZERO + hidden)}", b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    both = ["Content-Length: 4", TE]
    found = {
        "a length, then chunked": ([length, TE], ZERO + hidden),
        "chunked, then a length": ([TE, "Content-Length: 4"], chunk),
        "both, the length first": (both, chunk),
        "two lengths": ([f"Content-Length: {len(hidden)}", "Content-Length: 0"], hidden),
        "two lengths, the other first": (["Content-Length: 0", f"Content-Length: {len(hidden)}"], hidden),
        "two lengths in one header": ([f"Content-Length: 0, {len(hidden)}"], hidden),
        "a signed length": (["Content-Length: +0"], hidden),
        "a length of nothing": (["Content-Length:"], hidden),
        "a long length": ([f"Content-Length: {2**64}"], hidden),
        "a length in hexadecimals": (["Content-Length: 0x0"], hidden),
        "a length with a blank before the colon": (["Content-Length : 0", f"Content-Length: {len(hidden)}"], hidden),
        "a length behind a bare line feed": ([f"X: a\nContent-Length: {len(hidden)}", "Content-Length: 0"], hidden),
        "a length behind a bare return": ([f"X: a\rContent-Length: {len(hidden)}", "Content-Length: 0"], hidden),
        "a NUL in a header": ([f"X: a\0Content-Length: {len(hidden)}", "Content-Length: 0"], hidden),
        "a chunk of a negative size": ([TE], b"-1\r\n" + hidden),
        "a chunk of a size that overflows": ([TE], b"10000000000000000\r\n" + hidden),
        "a chunk with a sign": ([TE], b"+0\r\n\r\n" + hidden),
        "a chunk with 0x": ([TE], b"0x0\r\n\r\n" + hidden),
        "a chunk's extension with a bare line feed": ([TE], b"0;a\n\r\n" + hidden),
        "chunks that end in bare line feeds": ([TE], b"0\n\n" + hidden),
        "a chunk without its end": ([TE], b"1\r\nab0\r\n\r\n" + hidden),
        "trailers that are headers": ([TE], b"0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n" + hidden),
        "a method that has no body": ([f"Content-Length: {len(hidden)}", "X-HTTP-Method-Override: GET"], hidden),
        "an upgrade": (
            [f"Content-Length: {len(hidden)}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
            hidden,
        ),
        "an expectation": (["Expect: 100-continue", length, TE], ZERO + hidden),
        "connection names the length": ([f"Content-Length: {len(hidden)}", "Connection: Content-Length"], hidden),
        "connection names the coding": ([TE, "Connection: Transfer-Encoding"], ZERO + hidden),
    }
    for name, spelling in {
        "with a letter before it": "Transfer-Encoding: xchunked",
        "after a tab": "Transfer-Encoding:\tchunked",
        "with a blank before the colon": "Transfer-Encoding : chunked",
        "twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "in a list": "Transfer-Encoding: identity, chunked",
        "not last": "Transfer-Encoding: chunked, identity",
        "quoted": 'Transfer-Encoding: "chunked"',
        "after a vertical tab": "Transfer-Encoding: \x0bchunked",
        "folded": "Transfer-Encoding:\r\n chunked",
        "in another header's line": "X: a\nTransfer-Encoding: chunked",
        "with an underscore": "Transfer_Encoding: chunked",
        "in capitals": "TRANSFER-ENCODING: CHUNKED",
        "with a parameter": "Transfer-Encoding: chunked;a=b",
    }.items():
        found[f"chunked {name}, and a length"] = ([length, spelling], ZERO + hidden)
        found[f"chunked {name}, and a short length"] = ([spelling, "Content-Length: 4"], chunk)
    return found


def sent(proxy: int, web: Web, shape: str, version: str) -> str:
    """What is wrong with what came of a shape; "" where nothing is."""
    root, name = web.lab.settings.context_root, f"hidden {proxy} {shape} {version}"
    start = envelope("startEcho", serviceID=name, sessionToken="t", text="x")
    hidden = request_of(root, f"Content-Length: {len(start)}", body=start, service="Echo")
    headers, body = shapes(hidden)[shape]
    answered(proxy, request_of(root, *headers, body=body, version=version))
    poll = request_of(root, f"Content-Length: {len(POLL)}", "Connection: close", body=POLL)
    after = answered(proxy, poll, PATIENCE)
    if web.lab.folder(name).exists():
        return "what was hidden has been done"
    return "" if b"UnknownServiceID" in after else f"the next call has another's answer: {after!r}"


def test_what_is_hidden_in_a_request_reaches_nobody(proxy: int, served: Web) -> None:
    tried = [(shape, version) for shape in shapes(b"") for version in ("1.1", "1.0")]
    with ThreadPoolExecutor(12) as callers:
        wrong = callers.map(lambda one: sent(proxy, served, *one), tried)
    assert {one: why for one, why in zip(tried, wrong, strict=True) if why} == {}


def test_what_waits_behind_a_proxy_is_done_where_nothing_forbids_it(proxy: int, served: Web) -> None:
    """So the test above can fail: by our own web server's port it is a call like any other."""
    root, name = served.lab.settings.context_root, f"open {proxy}"
    start = envelope("startEcho", serviceID=name, sessionToken="t", text="x")
    call = request_of(root, f"Content-Length: {len(start)}", "Connection: close", body=start, service="Echo")
    assert b" 403 " in answered(proxy, call, PATIENCE) and not served.lab.folder(name).exists()
    first = request_of(root, TE, body=ZERO)
    answered(served.port, first + call, PATIENCE)
    assert served.lab.folder(name).exists()
