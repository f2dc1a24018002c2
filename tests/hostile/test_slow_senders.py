"""A thousand callers who never come to an end of what they send, while workflow managers poll."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callers import Web, envelope
from lab import PATIENCE, Lab, eventually
from labwaiter.deployment import web_processes
from labwaiter.settings import load

pytestmark = [pytest.mark.slow, pytest.mark.folder_way]
SENDERS = 1000
POLLS = 30


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough of them for this process, and for what it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * SENDERS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} descriptors are needed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def poll(web: Web) -> bool:
    """Whether a poll is answered, by a connection of its own."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
    with contextlib.closing(line):
        at = f"{web.lab.settings.context_root}/Unruly"
        line.request(
            "POST", at, envelope("getServiceStatus", serviceID="one", sessionToken="t"), {"Content-Type": "text/xml"}
        )
        answer = line.getresponse()
        return answer.status == 200 and b"status_base64" in answer.read()


@pytest.mark.parametrize("sends", ["half a head", "half a body", "chunks without an end"])
def test_polls_go_on_while_a_thousand_callers_send_slowly(
    make_lab: Callable[..., Lab], descriptors: None, sends: str
) -> None:
    lab = make_lab()
    lab.supervise()
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    at = f"{lab.settings.context_root}/Unruly"
    head = f"POST {at} HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\n"
    beginning, more = {
        "half a head": (head, "X: y\r\n"),
        "half a body": (f"{head}Content-Length: 100000\r\n\r\n<half", "x"),
        "chunks without an end": (f"{head}Transfer-Encoding: chunked\r\n\r\n1\r\n<\r\n", "1\r\nx\r\n"),
    }[sends]
    web, over = Web(lab, workers=2), threading.Event()
    senders: list[socket.socket] = []

    def send() -> None:
        while not over.wait(1.0):
            for line in senders:
                with contextlib.suppress(OSError):
                    line.sendall(more.encode())

    thread = threading.Thread(target=send)
    try:
        for _ in range(SENDERS):
            line = socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE)
            line.sendall(beginning.encode())
            senders.append(line)
        thread.start()
        began = time.monotonic()
        for _ in range(POLLS):
            assert poll(web)
        # a workflow manager gives up on a call after 10 to 30 s
        assert time.monotonic() - began < POLLS * 10
        for who in web_processes.find(load(lab.face_environment)):
            threads = len(list(Path(f"/proc/{who.pid}/task").iterdir()))
            assert threads < web_processes.CONNECTIONS + 100, threads
    finally:
        over.set()
        for line in senders:
            line.close()
        if thread.is_alive():
            thread.join(PATIENCE)
        assert eventually(lambda: poll(web))
        web.close()
