"""The web side as processes: find them, see what they listen to, start new ones, end old ones.

Everything of granian's carries LABWAITER_WEB=<jobs folder> in its environment, so that workers
whose main process was killed are found, too. A worker listens once it has loaded the application,
on a socket of its own beside those of others (SO_REUSEPORT): a new web side is therefore ready
when all its workers listen, and only then the old one is told to end. No poll is refused.
Sources: proc_net(5), proc_pid_fd(5), socket(7).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from .. import catalogue
from ..jobs import link
from ..process import kill, marked, open_pidfd
from ..record import Identity
from ..settings import ROOT, Settings

MARKER = "LABWAITER_WEB"
LOG_MAX = 5_000_000  # bytes of web.log, before a new one is begun
THREADS = 16  # a worker's: an abort holds one for up to 8 s, a message for 1 s
# a worker's, below the 1024 descriptors that a process commonly may have. granian calls it backpressure, but it is no
# limit of calls: callers keep their connections open between two polls
CONNECTIONS = 800
KILL_AFTER = 12  # s a worker has to finish its calls: longer than the longest, an abort


def log_file(settings: Settings) -> Path:
    """Where the web side writes."""
    return settings.jobs_folder / ".labwaiter" / "web.log"


def command(settings: Settings) -> list[str]:
    """granian, as it serves this deployment."""
    return [
        *(sys.executable, "-m", "granian"),
        *("--interface", "wsgi", "--http", "1", "--no-ws"),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--workers", str(settings.web_concurrency), "--blocking-threads", str(THREADS)),
        *("--backpressure", str(CONNECTIONS), "--respawn-failed-workers"),
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
    fleet = {"REDIS_URL": settings.redis_url, "REDIS_SECRET": settings.redis_secret} if settings.redis_url else {}
    return link.environment(settings) | port | fleet | {MARKER: str(settings.jobs_folder.resolve())}


def processes(settings: Settings) -> list[Identity]:
    """Every process of this deployment's web side: main processes and workers."""
    found = []
    for who in marked(str(settings.jobs_folder.resolve()), MARKER):
        with contextlib.suppress(OSError):  # what a worker started may carry the mark, too
            if b"granian" in Path(f"/proc/{who.pid}/cmdline").read_bytes():
                found.append(who)
    return found


def as_running(settings: Settings) -> Settings:
    """The settings, with the host and port where the web side runs now, if it does."""
    for who in processes(settings):
        with contextlib.suppress(OSError, ValueError, KeyError):
            pairs = Path(f"/proc/{who.pid}/environ").read_text(errors="replace").split("\0")
            found = dict(pair.partition("=")[::2] for pair in pairs)
            return dataclasses.replace(settings, host=found["HOST"], port=int(found["PORT"]))
    return settings


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


def sockets(who: Identity) -> set[int]:
    """The inodes of the sockets that a process holds."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{who.pid}/fd"):
            with contextlib.suppress(OSError):
                if named := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry.path)):
                    found.add(int(named[1]))
    return found


def refusal(settings: Settings, ours: list[Identity]) -> str | None:
    """Why this deployment can't listen where it should, in a sentence; None when it can."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return f"HOST={host} is no address of this machine."
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
            return None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"HOST={host} is no address of this machine."
            if error.errno == errno.EACCES:
                return f"Port {port} needs more rights than this user has: choose one from 1024 on."
            held = set().union(*(sockets(who) for who in ours)) if ours else set()
            if error.errno == errno.EADDRINUSE and (there := listening(port)) and there <= held:
                return None
            return f"Port {port} is taken by another program: end it, or choose another port."


def spawn(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a web side, detached, that writes to web.log."""
    log = log_file(settings)
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_MAX:
            shutil.move(log, log.with_suffix(".log.1"))
    with open(log, "ab") as out:
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
        if sum(bool(sockets(who) & there) for who in new) >= settings.web_concurrency:
            return True
        time.sleep(0.05)  # nobody tells when another process begins to listen
    return False


def end(who: list[Identity], wait: float = KILL_AFTER + 2) -> None:
    """End these processes: politely, and after `wait` s surely."""
    pids = {one.pid for one in who}
    for one in who:
        if _parent(one.pid) not in pids:  # a main process ends its own workers in good order
            kill(one, signal.SIGTERM)
    if not _gone(who, wait):
        for one in who:
            kill(one, signal.SIGKILL)
        _gone(who, 5.0)


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def _gone(who: list[Identity], wait: float) -> bool:
    fds = [fd for one in who if (fd := open_pidfd(one)) is not None]
    try:
        waiting, until = set(fds), time.monotonic() + wait
        while waiting and (left := until - time.monotonic()) > 0:
            waiting -= set(select.select(list(waiting), [], [], left)[0])
        return not waiting
    finally:
        for fd in fds:
            os.close(fd)


def address(settings: Settings, name: str = "", host: str = "") -> str:
    """A service's address, or this deployment's, as somebody on this machine calls it."""
    host = host or {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(
        settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host
    )
    root = f"http://{host}:{settings.port}{settings.context_root}"
    return f"{root}/{name.lower()}/{name}" if name else root + "/"


def answers(settings: Settings, wait: float) -> str | None:
    """Wait until the WSDL of the first service that works is served; else why not, in a sentence."""
    offered = catalogue.load(settings.services)
    if not offered.services:
        return None  # nothing to ask for: every address says what is broken
    name = next(iter(offered.services))
    host = own_host(settings)
    until = time.monotonic() + wait
    while True:
        try:
            with ask(address(settings, name, host) + "?wsdl") as answer:
                if b"definitions" in answer.read():
                    return None
                why = f"the address of {name} answers, but not with a WSDL"
        except urllib.error.HTTPError as error:
            why = f"the WSDL of {name} is answered with HTTP {error.code}"
        except OSError as error:
            why = f"the WSDL of {name} can't be read ({error})"
        if time.monotonic() > until:
            return why
        time.sleep(0.05)


def own_host(settings: Settings) -> str:
    """The host by which this machine reaches its own web side, as a URL has it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


def ask(url: str):  # type: ignore[no-untyped-def]
    """The answer of our own web side, as urllib has it."""
    # a proxy that the environment names has no business with this machine's own port
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5)
