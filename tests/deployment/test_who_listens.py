"""Who listens on a port: a socket is told by its inode, so that nobody else's is taken for ours."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from labwaiter.deployment.listening import listening_sockets, refusal, sockets_of
from labwaiter.settings import Settings, load
from labwaiter.system.process import Identity, identify
from labwaiter.testing.ports import free_port

LISTENER = """
import socket, sys
line = socket.socket()
line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
line.bind(("127.0.0.1", int(sys.argv[1])))
line.listen()
print("listens", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def listener(port: int) -> Iterator[Identity]:
    """A process that listens to a port, beside others."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LISTENER, str(port)], **pipes) as process:
        assert process.stdout.readline() == b"listens\n"
        yield identify(process.pid)
        process.stdin.close()


@pytest.fixture
def settings(tmp_path) -> Settings:
    return dataclasses.replace(load({"WAITER_LOG_FOLDER": str(tmp_path)}), host="127.0.0.1", port=free_port())


def test_each_listener_has_a_socket_of_its_own(settings: Settings) -> None:
    assert listening_sockets(settings.port) == set()
    with listener(settings.port) as one, listener(settings.port) as other:
        assert len(listening_sockets(settings.port)) == 2
        for process in (one, other):
            assert len(listening_sockets(settings.port) & sockets_of([process])) == 1
        assert listening_sockets(settings.port) == listening_sockets(settings.port) & sockets_of([one, other])


def test_a_port_can_be_taken_over_only_where_all_its_listeners_are_ours(settings: Settings) -> None:
    assert refusal(settings, []) is None
    with listener(settings.port) as one:
        assert refusal(settings, [one]) is None
        assert refusal(settings, []) == (
            f"Port {settings.port} is taken by another program: end it, or choose another port."
        )
        with listener(settings.port) as other:
            assert refusal(settings, [one]) is not None
            assert refusal(settings, [one, other]) is None


def test_a_socket_that_a_child_holds_too_is_still_ours(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.port)) as line:
        os.set_inheritable(line.fileno(), True)
        with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
            assert refusal(settings, [identify(os.getpid())]) is None
            child.kill()


def test_an_address_of_another_machine_is_told(settings: Settings) -> None:
    elsewhere = dataclasses.replace(settings, host="203.0.113.7")
    assert refusal(elsewhere, []) == "HOST=203.0.113.7 is no address of this machine."
