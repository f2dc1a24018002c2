"""The web side as processes: find them, see what they listen to, start new ones, end old ones.

Its main process and its workers carry LABWAITER_WEB=<jobs folder> in their environment, so that workers
whose main process was killed are found, too. A worker hands that mark on to no program that it starts (app/main.py).
It listens once it has loaded the application, on a socket of its own beside those of others (SO_REUSEPORT): a new
web side is therefore ready when all its workers listen, and only then the old one is told to end. No poll is refused.
Sources: proc_net(5), proc_pid_fd(5), socket(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from ipaddress import ip_address
from pathlib import Path

from ..catalogue import catalogue
from ..errors import Misconfigured
from ..settings import ROOT, Settings, called_here
from ..store import supervisor_client, web_side
from ..store.files import open_log
from ..system import process
from ..system.process import Identity, kill, marked, wait_until_ended

MARKER = "LABWAITER_WEB"
PUBLISHED = "LABWAITER_PUBLISHED"  # of a container: the host:port that leads to its own port; "" where nobody has said
LOG_MAX = 5_000_000  # bytes of web.log, before a new one is begun
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
    """granian, as it serves this deployment; to be called in app/."""
    return [
        *(sys.executable, "-m", "serve"),
        *("--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--workers", str(settings.web_concurrency), "--blocking-threads", str(connections())),
        *("--backpressure", str(connections()), "--respawn-failed-workers"),
        *("--workers-kill-timeout", str(KILL_AFTER)),
        "main:application",
    ]


def environment(settings: Settings) -> dict[str, str]:
    """The environment of the web side: this deployment, and our mark."""
    port = {
        "HOST": settings.host,
        "PORT": str(settings.port),
        "WEB_CONCURRENCY": str(settings.web_concurrency),
    }
    # the supervisor may be its parent one day, and ends what jobs left behind: this is nothing of theirs
    ours = {MARKER: str(settings.jobs_folder.resolve()), process.MARKER: process.NO_MARK}
    fleet = {"REDIS_URL": settings.redis_url, "REDIS_SECRET": settings.redis_secret} if settings.redis_url else {}
    return supervisor_client.environment(settings) | port | fleet | ours


def processes(settings: Settings) -> list[Identity]:
    """Every process of this deployment's web side: main processes and workers."""
    return marked(str(settings.jobs_folder.resolve()), MARKER)


def as_running(settings: Settings) -> Settings:
    """The settings, with the host and port where the web side runs now, or should."""
    for who in processes(settings):
        with contextlib.suppress(OSError, ValueError, KeyError):
            pairs = Path(f"/proc/{who.pid}/environ").read_text(errors="replace").split("\0")
            found = dict(pair.partition("=")[::2] for pair in pairs)
            return dataclasses.replace(settings, host=found["HOST"], port=int(found["PORT"]))
    with contextlib.suppress(OSError):
        if expected := web_side.expected(settings.layout):
            return dataclasses.replace(settings, host=expected.host, port=expected.port)
    with contextlib.suppress(Misconfigured, TimeoutError):
        return resolved(settings)
    return settings


def resolved(settings: Settings) -> Settings:
    """The settings with the number of the address that HOST names; of several an IPv4 one.

    Raises:
        Misconfigured: it names none, or one that can't be listened on.
        TimeoutError: whoever knows names can't be asked now.
    """
    host = settings.host.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    found = []
    try:
        if re.fullmatch(r"[\w.:-]+", host):  # some resolvers take * for this machine; granian knows no zones
            found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TimeoutError(f"HOST={host} is a name that nobody can be asked for now: {error.strerror}.") from error
    except (OSError, UnicodeError):
        pass
    numbers = [str(address[0]) for *_, address in sorted(found, key=lambda one: one[0] != socket.AF_INET)]
    if not numbers or ip_address(numbers[0]).is_multicast or numbers[0] == "255.255.255.255":
        raise Misconfigured(
            f"HOST={settings.host} names no address that can be listened on: 127.0.0.1 is this machine alone, 0.0.0.0"
            " every network card."
        )
    return dataclasses.replace(settings, host=numbers[0])


def listening(port: int) -> set[int]:
    """The inodes of all sockets of this machine that listen to `port`."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(int(fields[9]))
    return found


def sockets(processes: list[Identity]) -> set[int]:
    """The inodes of the sockets that these processes hold."""
    found = set()
    for who in processes:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{who.pid}/fd"):
                with contextlib.suppress(OSError):
                    if named := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path)):
                        found.add(int(named[1]))
    return found


def refusal(settings: Settings, ours: list[Identity]) -> str | None:
    """Why this deployment can't listen where it should (`resolved`), in a sentence; None when it can."""
    host, port = settings.host, settings.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            return None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"HOST={host} is no address of this machine."
            if error.errno == errno.EACCES:
                return f"Port {port} needs more rights than this user has: choose one from 1024 on."
            if error.errno == errno.EADDRINUSE and (there := listening(port)) and there <= sockets(ours):
                return None
            if error.errno == errno.EADDRINUSE:
                if _is_labwaiter(settings):
                    return (
                        f"Port {port} is taken by another deployment of labwaiter, with another jobs folder: stop it as"
                        " it was started, or choose another port."
                    )
                return f"Port {port} is taken by another program: end it, or choose another port."
            return f"{host} can't be listened on: {error.strerror}. HOST names another address."


def _is_labwaiter(settings: Settings) -> bool:
    """Whether what answers where this deployment should is labwaiter."""
    with contextlib.suppress(OSError, ValueError), ask(own_address(settings) + "health") as answer:
        return "deployment" in json.load(answer)
    return False


def spawn(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a web side, detached, that writes to web.log."""
    log = log_file(settings)
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_MAX:
            shutil.move(log, log.with_suffix(".log.1"))
    with open_log(log) as out:
        return subprocess.Popen(
            command(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=ROOT / "app",
            env=environment(settings),
            start_new_session=True,
        )


def ready(settings: Settings, old: list[Identity], started: subprocess.Popen[bytes], wait: float) -> bool:
    """Wait until as many new workers listen as there should be; False where they don't come."""
    until = time.monotonic() + wait
    while time.monotonic() < until and started.poll() is None:
        there = listening(settings.port)
        new = [who for who in processes(settings) if who not in old]
        if len(there & sockets(new)) >= settings.web_concurrency:  # each worker has a listening socket of its own
            return True
        time.sleep(0.05)  # nobody tells when another process begins to listen
    return False


def end(who: list[Identity], wait: float = KILL_AFTER + 2) -> None:
    """End these processes: politely, and after `wait` s surely."""
    pids = {one.pid for one in who}
    for one in who:
        if _parent(one.pid) not in pids:  # a main process ends its own workers in good order
            kill(one, signal.SIGTERM)
    if not wait_until_ended(who, wait):
        for one in who:
            kill(one, signal.SIGKILL)
        wait_until_ended(who, 5.0)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def address(settings: Settings, name: str = "") -> str:
    """A service's address, or this deployment's, as whoever reads it calls it: of a container, the published port."""
    published = os.environ.get(PUBLISHED)
    if published is None:
        return own_address(settings, name)
    return _below(settings.public_url or f"http://{published or '<host>:<port>'}", settings, name)


def own_address(settings: Settings, name: str = "") -> str:
    """The same, as this machine or container calls it: by an address that is listened on."""
    host = called_here(settings.host)
    return _below(f"http://{f'[{host}]' if ':' in host else host}:{settings.port}", settings, name)


def link_address(settings: Settings) -> str:
    """What the links begin with of an execution that nobody called over the web; it must be an address."""
    return (address(settings) if os.environ.get(PUBLISHED) else own_address(settings)).rstrip("/")


def _below(start: str, settings: Settings, name: str) -> str:
    root = start + settings.context_root
    return f"{root}/{name.lower()}/{name}" if name else root + "/"


def answers(settings: Settings, wait: float) -> str | None:
    """Wait until the WSDL of the first service that works is served; else why not, in a sentence."""
    offered = catalogue.of(settings).whole()
    if not offered.services:
        return None  # nothing to ask for: every address says what is broken
    name = next(iter(offered.services))
    until = time.monotonic() + wait
    while True:
        try:
            with ask(own_address(settings, name) + "?wsdl") as answer:
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


def ask(url: str):  # type: ignore[no-untyped-def]
    """The answer of our own web side, as urllib has it."""
    # a proxy that the environment names has no business with this machine's own port
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)
