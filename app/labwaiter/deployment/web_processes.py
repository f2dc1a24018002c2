"""The web side as processes: find them, start new ones, see whether they listen and answer, end old ones.

Its main process and its workers carry LABWAITER_WEB=<jobs folder> in their environment, so that workers
whose main process was killed are found, too. A worker hands that mark on to no program that it starts (application.py).
It listens once it has loaded the application, on a socket of its own beside those of others (SO_REUSEPORT): a new
web side is therefore ready when all its workers listen, and only then the old one is told to end. No poll is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

from ..catalogue import catalogue
from ..errors import Misconfigured
from ..settings import HANDED_ON, NAMINGS, Settings
from ..store import supervisor_client, web_side
from ..store.files import open_log
from ..system import logs, process
from ..system.process import Identity, environment_of, identify, kill, marked, wait_until_ended
from .address import get, own_address, resolved
from .listening import listening_sockets, sockets_of

MARKER = "LABWAITER_WEB"
# by its path, so that this process imports nothing of the package; -P: nor does it look for modules beside it
SERVER = (sys.executable, "-P", str(Path(__file__).with_name("granian_server.py")))
# a worker's, below the 1024 descriptors that a process commonly may have. granian calls it backpressure, but it is no
# limit of calls: callers keep their connections open between two polls. A worker may have as many threads: a call whose
# body doesn't come, an abort (8 s) and a message (1 s) each hold one, and so never the one that a poll needs
# (docs/decisions/0015)
CONNECTIONS = 800
SPARE_DESCRIPTORS = 96  # a worker's, for all that is no connection: what is read, watched and logged
KILL_AFTER = 12  # s a worker has to finish its calls: longer than the longest, an abort


def log_file(settings: Settings) -> Path:
    """Where the web side writes."""
    return settings.layout.web_log


def connections() -> int:
    """How many a worker may have at a time: CONNECTIONS, or as many as its descriptors (`ulimit -n`) leave."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if limit == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, limit - SPARE_DESCRIPTORS))


def few_connections() -> str:
    """What is to be said where the limit of descriptors leaves fewer than usual; "" where it doesn't."""
    most = connections()
    if most == CONNECTIONS:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"With `ulimit -n` {limit}, each web worker bears {most} connections at a time, idle ones included; whoever"
        f" comes beyond waits. Raise it to {CONNECTIONS + SPARE_DESCRIPTORS} for {CONNECTIONS}."
    )


def command(settings: Settings) -> list[str]:
    """granian, as it serves this deployment."""
    return [
        *SERVER,
        *("--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--workers", str(settings.web_concurrency), "--blocking-threads", str(connections())),
        *("--backpressure", str(connections()), "--respawn-failed-workers"),
        *("--workers-kill-timeout", str(KILL_AFTER)),
        "labwaiter.application:application",
    ]


def environment(settings: Settings) -> dict[str, str]:
    """The environment of the web side: this deployment, and our mark."""
    listening = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "WEB_CONCURRENCY": str(settings.web_concurrency),
        "LOG_FORMAT": settings.log_format,  # granian's main process reads no file env
    }
    # the supervisor may be its parent one day, and ends what jobs left behind: this is nothing of theirs
    marks = {MARKER: str(settings.jobs_folder.resolve()), process.MARKER: process.NO_MARK}
    fleet = {"REDIS_URL": settings.redis_url, "REDIS_SECRET": settings.redis_secret} if settings.redis_url else {}
    login = {"WEBLAB_PASSWORD": settings.weblab_password} if settings.weblab_password else {}
    return supervisor_client.environment(settings) | listening | fleet | login | marks


def find(settings: Settings) -> list[Identity]:
    """Every process of this deployment's web side: main processes and workers."""
    return marked(str(settings.jobs_folder.resolve()), MARKER)


def as_running(settings: Settings) -> Settings:
    """The settings, with the host and port where the web side runs now, or should."""
    for identity in find(settings):
        with contextlib.suppress(OSError, ValueError, KeyError):
            pairs = [pair.decode(errors="replace").partition("=") for pair in environment_of(identity.pid)]
            environ = {name: value for name, _, value in pairs}
            return dataclasses.replace(settings, host=environ["HOST"], port=int(environ["PORT"]))
    with contextlib.suppress(OSError):
        if expected := web_side.expected(settings.layout):
            return dataclasses.replace(settings, host=expected.host, port=expected.port)
    with contextlib.suppress(Misconfigured, TimeoutError):
        return resolved(settings)
    return settings


def spawn(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a web side, detached, that writes to web.log."""
    log = log_file(settings)
    logs.rotate(log)
    with open_log(log) as out:
        return subprocess.Popen(
            command(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            env=environment(settings),
            start_new_session=True,
        )


def replace(settings: Settings, old: list[Identity], wait: float) -> bool:
    """Start a web side and end the old one once the new one listens; it should be there from then on.

    Returns:
        False where it doesn't listen within `wait` s: then it is ended, and the old one stays.
    """
    started = spawn(settings)
    if not _ready(settings, old, started, wait):
        end([identity for identity in find(settings) if identity not in old])
        return False
    _expect(settings, started.pid)
    end(old)  # also workers that were left without a main process
    return True


def _ready(settings: Settings, old: list[Identity], started: subprocess.Popen[bytes], wait: float) -> bool:
    """Wait until as many new workers listen as there should be; False where they don't come."""
    until = time.monotonic() + wait
    while time.monotonic() < until and started.poll() is None:
        listening = listening_sockets(settings.port)
        new = [identity for identity in find(settings) if identity not in old]
        # each worker has a listening socket of its own
        if len(listening & sockets_of(new)) >= settings.web_concurrency:
            return True
        time.sleep(0.05)  # nobody tells when another process begins to listen
    return False


def _expect(settings: Settings, main_pid: int) -> None:
    """From now on this web side should be there: `settings` are those that it serves with. Raises OSError."""
    main = identify(main_pid)
    if main is None:
        return
    environ = {name: os.environ[name] for name in HANDED_ON - NAMINGS if name in os.environ} | settings.naming
    expected = web_side.WebSide(main, settings.host, settings.port, settings.web_concurrency, environ)
    web_side.expect(settings.layout, expected)


def end(identities: list[Identity], wait: float = KILL_AFTER + 2) -> None:
    """End these processes: politely, and after `wait` s surely."""
    pids = {identity.pid for identity in identities}
    for identity in identities:
        if _parent(identity.pid) not in pids:  # a main process ends its own workers in good order
            kill(identity, signal.SIGTERM)
    if not wait_until_ended(identities, wait):
        for identity in identities:
            kill(identity, signal.SIGKILL)
        wait_until_ended(identities, 5.0)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def why_no_answer(settings: Settings, wait: float) -> str | None:
    """Wait until the WSDL of the first service that works is served; else why not, in half a sentence."""
    offered = catalogue.of(settings).whole()
    if not offered.services:
        return None  # nothing to ask for: every address says what is broken
    name = next(iter(offered.services))
    until = time.monotonic() + wait
    while True:
        try:
            with get(own_address(settings, name) + "?wsdl") as answer:
                if b"definitions" in answer.read():
                    return None
                why = f"the address of {name} answers, but not with a WSDL"
        except urllib.error.HTTPError as error:
            why = f"the WSDL of {name} is answered with HTTP {error.code}"
        except OSError as error:
            reason = getattr(error, "reason", error)
            why = f"the WSDL of {name} can't be read ({getattr(reason, 'strerror', None) or reason})"
        if time.monotonic() > until:
            return why
        time.sleep(0.05)
