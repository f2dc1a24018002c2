"""Which proxy the desk goes through: one rule for all that it calls, told where it fails."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from here import ROOT
from labwaiter import proxy
from labwaiter.catalogue import catalogue
from labwaiter.soap import wsdl as ours

FAR = "http://far.example/Waiter"
ANSWER = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><t:startWaiterResponse'
    b' xmlns:t="http://waiter.sintef.no/"><t:status_base64>COMPLETED</t:status_base64><t:result>done</t:result>'
    b"</t:startWaiterResponse></s:Body></s:Envelope>"
)


class Proxy(http.server.ThreadingHTTPServer):
    """A forward proxy behind which far.example offers the Waiter; all else is HTTP 502 there."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        service = catalogue.load(ROOT / "app" / "services").services["Waiter"]
        self.wsdl = ours.at(ours.template(service), FAR)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *words: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = ANSWER if self.command == "POST" else self.server.wsdl
        known = urlsplit(self.path).hostname == "far.example"
        self.send_response(200 if known else 502)
        self.send_header("Content-Length", str(len(body) if known else 0))
        self.send_header("Content-Type", "text/xml")
        self.end_headers()
        if known and self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = _answer


@pytest.fixture
def through() -> Iterator[Proxy]:
    """That proxy, running."""
    one = Proxy()
    yield one
    one.shutdown()
    one.server_close()


def labwaiter(folder: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "labwaiter", *words],
        env={"PYTHONPATH": str(ROOT / "app"), "PATH": os.environ["PATH"], **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_far_service_is_read_and_called_through_the_proxy_alike(
    through: Proxy, tmp_path: Path, variable: str
) -> None:
    status, out, err = labwaiter(tmp_path, "lint", f"{FAR}?wsdl", **{variable: through.url})
    assert (status, err) == (0, "") and "Nothing is wrong with it." in out
    assert through.asked == [f"GET {FAR}?wsdl", f"HEAD {FAR}"]
    (tmp_path / "flow.toml").write_text(f'[[step]]\nwsdl = "{FAR}?wsdl"\n')
    status, out, err = labwaiter(tmp_path, "workflow", "flow.toml", **{variable: through.url})
    assert (status, out) == (0, "result = done\n"), err
    assert through.asked[-1] == f"POST {FAR}"


def test_what_is_on_this_machine_is_never_asked_of_a_proxy(through: Proxy, tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        status, _, err = labwaiter(tmp_path, "lint", f"http://{host}:9/x?wsdl", http_proxy=through.url)
        assert status == 3 and "Connection refused" in err and "proxy" not in err
    assert through.asked == []


@pytest.mark.parametrize("command", ["lint", "workflow"])
def test_a_proxy_that_finds_nobody_or_is_gone_is_named_without_its_password(
    through: Proxy, tmp_path: Path, command: str
) -> None:
    url = "http://nobody.example/x?wsdl"
    (tmp_path / "flow.toml").write_text(f'[[step]]\nwsdl = "{url}"\n')
    words = [command, url if command == "lint" else "flow.toml"]
    secret = through.url.replace("http://", "http://me:secret@")
    status, _, err = labwaiter(tmp_path, *words, http_proxy=secret)
    place = through.url.removeprefix("http://")
    assert status == 3 and f"answers through the proxy {place} that http_proxy names with HTTP 502" in err
    status, _, err = labwaiter(tmp_path, *words, http_proxy="http://me:secret@127.0.0.1:9")
    assert status == 3 and "can't be reached through the proxy 127.0.0.1:9 that http_proxy names: Conn" in err
    assert "secret" not in err


HERE = [
    *("localhost:1", "LOCALHOST.", "lab.localhost", "127.8.8.8", "127.1", "0x7f.1", "0.0.0.0:80", "[::1]:80", "[::]"),
    *("[::ffff:127.0.0.1]:8080", "[0:0:0:0:0:ffff:7f00:1]", f"{socket.gethostname()}:80", socket.gethostname().upper()),
]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        *((f"http://{host}/", "") for host in HERE),
        ("http://127.example/", "http://p:1"),
        ("http://192.0.2.1/", "http://p:1"),
        ("http://[2001:db8::1]/", "http://p:1"),
        ("http://far.example/", "http://p:1"),
        ("https://far.example/", ""),
        ("http://inside.example:8080/", ""),
        ("http://user:x@inside.example/", ""),
        ("http://localhost.example/", "http://p:1"),
        ("file:///tmp/x", ""),
    ],
)
def test_the_rule(monkeypatch: pytest.MonkeyPatch, url: str, wanted: str) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy.of(url) == wanted


def test_a_proxy_of_another_kind_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for scheme in ("http", "https"):
        words = ("lint", f"{scheme}://far.example/Waiter?wsdl")
        status, _, err = labwaiter(tmp_path, *words, **{f"{scheme}_proxy": "socks5://me:secret@127.0.0.1:9"})
        assert status == 3 and "secret" not in err
        assert "a proxy of the kind socks5 is not spoken with, only one that begins with http." in err
    done = subprocess.run(
        [sys.executable, str(ROOT / "test_client" / "client.py"), "--url", f"{FAR}?wsdl", "wsdl"],
        env={"PATH": os.environ["PATH"], "http_proxy": "socks5://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3 and "a proxy of the kind socks5 is not spoken with" in done.stderr, done.stderr


def test_the_test_client_keeps_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    from labwaiter.test_client import client

    monkeypatch.setenv("http_proxy", "http://p:1")
    assert client.proxies("http://far.example/x?wsdl")["http"] == "http://p:1"
    assert client.proxies("http://192.0.2.1/x?wsdl")["http"] == "http://p:1"
    for host in HERE:
        assert client.proxies(f"http://{host}/x?wsdl") == {}, host
