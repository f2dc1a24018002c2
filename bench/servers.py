"""The two that are compared: the reference and labwaiter, each started for real on a port of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from labwaiter.system.process import identify

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "bench"
PROGRAM = ROOT / "app" / "wait_a_while.py"
NS = "http://waiter.sintef.no/"


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def envelope(operation: str, **texts: object) -> bytes:
    inside = "".join(f"<t:{name}>{text}</t:{name}>" for name, text in texts.items())
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<t:{operation} xmlns:t="{NS}">{inside}</t:{operation}></s:Body></s:Envelope>'
    ).encode()


def cpu_of(pids: list[int], reaped: bool = False) -> float:
    """CPU seconds that these processes have taken so far; with those of their children that they have reaped."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11 : 15 if reaped else 13]))
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that this one started and that live."""
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


class Server:
    """One of the two, from its start to its end."""

    name = ""

    def __init__(self, workers: int = 1, core: int | None = None) -> None:
        """
        Args:
            core: all of it runs on this one; None: where the kernel puts it.
        """
        self.core = core
        self.jobs = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        self.port, self.workers = free_port(), workers
        self.log = open(self.jobs.with_suffix(".log"), "ab")  # noqa: SIM115
        began = time.perf_counter()
        self.processes = self.launch()
        self.cold_start = self._first_wsdl(began)

    def launch(self) -> list[subprocess.Popen[bytes]]:
        raise NotImplementedError

    def path(self, service: str = "Waiter") -> str:
        raise NotImplementedError

    def run(self, *command: str, **more: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "WAITER_LOG_FOLDER": str(self.jobs), **more}
        pinned = () if self.core is None else ("taskset", "-c", str(self.core))
        return subprocess.Popen([*pinned, *command], env=environment, stdout=self.log, stderr=self.log, cwd=BENCH)

    def _first_wsdl(self, began: float) -> float:
        while time.perf_counter() - began < 60:
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                line.request("GET", self.path() + "?wsdl")
                if b"definitions" in line.getresponse().read():
                    return time.perf_counter() - began
            except OSError:
                time.sleep(0.005)
        raise SystemExit(f"{self.name} did not start; see {self.log.name}")

    def pids(self) -> list[int]:
        """Every process of it, and of its jobs."""
        found, todo = [], [p.pid for p in self.processes]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    todo += [int(child) for child in tasks.read_text().split()]
                except OSError:
                    continue
        return found

    def web_pids(self) -> list[int]:
        """The processes that answer calls."""
        raise NotImplementedError

    def pss(self, pids: list[int] | None = None) -> float:
        """Proportional set size of these processes, or of it all, in MB."""
        total = 0
        for pid in self.pids() if pids is None else pids:
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                continue
        return total / 1024

    def cpu(self) -> float:
        """CPU seconds that answering has taken so far."""
        return cpu_of(self.web_pids())

    def status_file(self, service_id: str) -> Path:
        return self.jobs / service_id / "status.txt"

    def close(self) -> None:
        # at once, and by their identities: a supervisor would first end its jobs, and the reference leaves them behind
        for identity in [identity for pid in self.pids() if (identity := identify(pid))]:
            if identify(identity.pid) == identity:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(identity.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(30)
        self.log.close()
        shutil.rmtree(self.jobs, ignore_errors=True)


class Line:
    """One kept-alive connection."""

    def __init__(self, server: Server, service: str = "Waiter") -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.path = server.path(service)

    def get(self) -> bytes:
        self.line.request("GET", self.path)
        return self._reply()

    def post(self, body: bytes) -> bytes:
        self.line.request("POST", self.path, body, {"Content-Type": "text/xml; charset=utf-8"})
        return self._reply()

    def _reply(self) -> bytes:
        reply = self.line.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{self.path} answered {reply.status}: {text[:500]!r}")
        return text


def start(service_id: str, seconds: int, operation: str = "startWaiter") -> bytes:
    return envelope(operation, serviceID=service_id, sessionToken="t", secondsToWait=seconds)


def poll(service_id: str) -> bytes:
    return envelope("getServiceStatus", serviceID=service_id, sessionToken="t")


class Reference(Server):
    """Spyne under gunicorn."""

    name = "reference"
    program = PROGRAM

    def launch(self) -> list[subprocess.Popen[bytes]]:
        where = ["-b", f"127.0.0.1:{self.port}", "-w", str(self.workers), "--chdir", str(BENCH / "reference")]
        gunicorn = [sys.executable, "-m", "gunicorn", *where, "-k", "gthread", "--threads", "8", "--log-level", "error"]
        return [self.run(*gunicorn, "--keep-alive", "60", "service:application", PROGRAM=str(self.program))]

    def path(self, service: str = "Waiter") -> str:
        return "/"

    def web_pids(self) -> list[int]:
        return children(self.processes[0].pid)


class Labwaiter(Server):
    """labwaiter as its scripts start it: a supervisor and a web side."""

    name = "labwaiter"

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT / "app"),
            "SERVICES": str(BENCH / "services"),
            "CONTEXT_ROOT": "",
            "MAX_RUNNING": "1000",
            "MAX_QUEUED": "100000",
            "LABWAITER_ENV": os.devnull,
        }

    def asking(self) -> dict[str, str]:
        """The environment of who serves it, or asks it from a script."""
        return self.environment() | {"WAITER_LOG_FOLDER": str(self.jobs)}

    def launch(self) -> list[subprocess.Popen[bytes]]:
        how = self.environment()
        return [self.run(sys.executable, "-m", "labwaiter.supervisor", **how), self.serve(**how)]

    def serve(self, **how: str) -> subprocess.Popen[bytes]:
        serve = [sys.executable, "-m", "labwaiter", "serve", "--port", str(self.port), "--workers", str(self.workers)]
        return self.run(*serve, **how)

    def path(self, service: str = "Waiter") -> str:
        return f"/{service}"

    def web_pids(self) -> list[int]:
        return children(self.processes[1].pid)
