"""kill -9 of a web worker, of granian's main process, of everything at once."""

import base64
import contextlib
import http.client
import os
import resource
import signal
import socket
from collections.abc import Callable

import pytest
from lxml import etree

from callers import Web, envelope
from lab import PATIENCE, Lab, eventually, wait_gone
from labwaiter.deployment import web_processes
from labwaiter.model.record import State
from labwaiter.settings import load
from labwaiter.store import supervisor_client
from labwaiter.system.process import identify


def poll(web: Web, service: str, service_id: str) -> bytes:
    """One poll over HTTP, as a workflow manager makes it."""
    import urllib.request

    body = envelope("getServiceStatus", serviceID=service_id, sessionToken="t")
    call = urllib.request.Request(f"{web.url}/{service}", body, {"Content-Type": "text/xml; charset=utf-8"})
    with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
        found: bytes = answer.read()
    return found


def answered(web: Web, service_id: str) -> bool:
    try:
        return b"getServiceStatusResponse" in poll(web, "Unruly", service_id)
    except OSError:
        return False


def workers(web: Web) -> list[int]:
    main = web.process.pid
    return [who.pid for who in web_processes.find(load(web.lab.face_environment)) if who.pid != main]


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_killed_web_worker_is_replaced_and_changes_nothing_for_a_job(lab: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(lab, workers=2)
    lab.start("Unruly", "one", word="hundred-but-running")
    runner = lab.running("one")
    victim = eventually(lambda: len(workers(web)) == 2 and workers(web)[0])
    kill(victim)
    wait_gone(victim)
    eventually(lambda: answered(web, "one"))
    eventually(lambda: len(workers(web)) == 2 and victim not in workers(web))
    assert lab.running("one") == runner
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    assert b">COMPLETED<" in poll(web, "Unruly", "one")


@pytest.mark.folder_way  # of many machines, a web side starts nothing
def test_what_a_worker_starts_is_no_part_of_the_web_side(
    make_lab: Callable[..., Lab], make_web: Callable[..., Web]
) -> None:
    lab = make_lab()
    web = make_web(lab, workers=2)
    of_the_web_side = {web.process.pid, *eventually(lambda: len(w := workers(web)) == 2 and w)}
    lab.start("Unruly", "one", word="hundred-but-running")
    runner = lab.running("one")
    kill(lab.supervisor, lab.fork_server)
    eventually(
        lambda: answered(web, "one") and supervisor_client.alive(lab.settings)
    )  # a poll that finds no supervisor starts one
    assert {web.process.pid, *workers(web)} == of_the_web_side
    web.close()
    assert lab.supervisor and lab.fork_server and identify(runner)
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED


def test_with_granian_s_main_process_killed_its_workers_still_serve(lab: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(lab)
    lab.start("Unruly", "one", word="hundred-but-running")
    lab.running("one")
    eventually(lambda: workers(web))
    kill(web.process.pid)
    web.process.wait(PATIENCE)
    assert answered(web, "one")
    (lab.folder("one") / "go").touch()
    assert lab.ended("one").state is State.COMPLETED
    assert b">COMPLETED<" in poll(web, "Unruly", "one")


def test_with_supervisor_fork_server_and_job_killed_the_next_poll_tells_the_truth(lab: Lab, web: Web) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    fork_server, supervisor = lab.fork_server, lab.supervisor
    os.kill(fork_server, signal.SIGSTOP)
    kill(supervisor, fork_server, *lab.left_of("one"))
    lab.supervisors[0].wait(PATIENCE)
    lab.record("one")  # of many machines, the face knows it some tenths of a second later
    page = base64.b64decode(etree.fromstring(poll(web, "Unruly", "one")).findtext(".//{*}status_base64") or "")
    assert b"Failed" in page and b"interrupted" in page
    assert lab.record("one").state is State.FAILED


def test_callers_that_never_finish_their_calls_do_not_take_the_web_side_with_them(
    make_lab: Callable[..., Lab], make_web: Callable[..., Web]
) -> None:
    lab = make_lab(LABWAITER_BODY_SECONDS="0.5")
    lab.supervise()
    web = make_web(lab)
    lab.start("Unruly", "one", word="sleep")
    half = b"POST /Unruly HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n<half"
    with contextlib.ExitStack() as callers:
        for _ in range(web_processes.CONNECTIONS // 2 + 20):
            callers.enter_context(socket.create_connection(("127.0.0.1", web.port))).sendall(half)
        eventually(lambda: "this worker is replaced" in web.log.read_text())
        eventually(lambda: answered(web, "one"))


def test_late_bodies_and_calls_that_wait_hold_no_thread_that_a_poll_needs(lab: Lab, web: Web) -> None:
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    at = f"{lab.settings.context_root}/Unruly"
    half = f"POST {at} HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n<half".encode()
    message = envelope("notifyService", serviceID="one", sessionToken="t", message="nobody answers this")
    with contextlib.ExitStack() as callers:
        for _ in range(40):
            callers.enter_context(socket.create_connection(("127.0.0.1", web.port))).sendall(half)
        notifying = []
        for _ in range(64):
            line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
            callers.callback(line.close)
            line.request("POST", at, message, {"Content-Type": "text/xml"})
            notifying.append(line)
        for _ in range(3):
            assert answered(web, "one")  # it waits for 20 s at most, and those bodies never come
        for line in notifying:
            assert b"<tns:response>" in line.getresponse().read()
        assert answered(web, "one")
    assert "this worker is replaced" not in web.log.read_text()


def test_with_few_descriptors_idle_connections_leave_polls_theirs(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    lab.supervise()
    lab.start("Unruly", "one", word="sleep")
    lab.file("one", "status.txt")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(128, 30 + max(map(int, os.listdir("/proc/self/fd"))))  # this process has its own, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        web = Web(lab)  # what it starts may have no more
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    try:
        with contextlib.ExitStack() as kept:
            line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
            line.connect()
            for _ in range(few + 22):
                kept.enter_context(socket.create_connection(("127.0.0.1", web.port)))
            for _ in range(20):
                line.request(
                    "POST",
                    f"{lab.settings.context_root}/Unruly",
                    envelope("getServiceStatus", serviceID="one", sessionToken="t"),
                    {"Content-Type": "text/xml"},
                )
                answer = line.getresponse()
                said = answer.read()
                assert answer.status == 200 or b"Server.Unavailable" in said, said
    finally:
        web.close()


def test_connections_that_callers_keep_open_keep_nobody_else_out(lab: Lab, web: Web) -> None:
    lab.start("Unruly", "one", word="sleep")
    with contextlib.ExitStack() as kept:
        for _ in range(200):
            line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE)
            kept.callback(line.close)
            line.request("GET", "/health")
            assert line.getresponse().read()
        assert answered(web, "one")
