"""Polls at 64 kept-alive connections, the service on one core and the load (wrk) on another; and what the limit is."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from labwaiter.system.watch import until
from servers import BENCH, ROOT, Labwaiter, Line, Reference, Server, children, poll, start

CONNECTIONS = 64
WARM = 4  # polls of each execution before those that count
RUNNING = 1000  # executions that are polled in turn
ENDED = 10_000  # executions that lie beside the one that is polled
ONE, MANY, AMONG = "one running job", f"{RUNNING} running jobs, each changed", f"one running job among {ENDED} ended"
RATE, CPU, P99 = "polls per second", "CPU per poll, µs", "p99, ms"
Rounds = dict[str, dict[str, list[float]]]  # figure → server → a value for each round


class ReferenceAsleep(Reference):
    """The reference, with jobs that do nothing."""

    program = BENCH / "reference" / "asleep.py"


class LaneOff(Labwaiter):
    """labwaiter without its polls' lane."""

    name = "labwaiter-lane-off"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"POLL_LANE": "off"}


class Alone(Server):
    """A web server that answers every request by the same bytes."""

    answer = b""  # the one that is sent

    def path(self, service: str = "Waiter") -> str:
        return "/answer.xml"

    def _first_wsdl(self, began: float) -> float:
        if not until(self.jobs, self._answers, 20):
            raise SystemExit(f"{self.name} did not start; see {self.log.name}")
        return time.perf_counter() - began

    def _answers(self) -> bool:
        try:
            return Line(self).get() == self.answer
        except OSError:
            return False

    def web_pids(self) -> list[int]:
        return children(self.processes[0].pid)


class Granian(Alone):
    """granian as the service runs it, with nothing behind it."""

    name = "granian-alone"

    def launch(self) -> list[subprocess.Popen[bytes]]:
        (self.jobs / "answer").write_bytes(self.answer)
        where = {"ANSWER": str(self.jobs / "answer"), "PYTHONPATH": f"{ROOT / 'app'}:{BENCH}"}
        how = ["--interface", "wsgi", "--http", "1", "--no-ws", "--blocking-threads", "800", "--backpressure", "800"]
        granian = ROOT / "app" / "labwaiter" / "deployment" / "granian_server.py"
        serve = [sys.executable, "-P", str(granian), *how, "--port", str(self.port)]
        return [self.run(*serve, "--workers", str(self.workers), "limit:application", **where)]


class Nginx(Alone):
    """nginx with a file of the answer's size."""

    name = "nginx"

    def launch(self) -> list[subprocess.Popen[bytes]]:
        self.jobs.chmod(0o755)  # its worker is nobody
        (self.jobs / "answer.xml").write_bytes(self.answer)
        settings = self.jobs / "nginx.conf"
        settings.write_text(
            f"daemon off; worker_processes 1; pid {self.jobs}/pid; error_log stderr;"
            " events { worker_connections 1000; }"
            " http { access_log off; keepalive_requests 1000000000; types { text/xml xml; }"
            f" server {{ listen 127.0.0.1:{self.port}; root {self.jobs}; }} }}\n"
        )
        return [self.run(shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(settings))]


class Load(NamedTuple):
    """What one load has shown."""

    rate: float  # polls per second
    cpu: float  # of the service, µs per poll
    p99: float  # ms


def load(server: Server, core: int, seconds: int, bodies: list[tuple[bytes, str]], service: str = "") -> Load:
    """Have wrk send these polls for so long.

    Args:
        bodies: each with the status.txt to be changed, or ""; none: GET.
        service: whose address; that of the jobs that `run_one` and `run_many` start unless given.
    """
    with tempfile.NamedTemporaryFile("wb", prefix="bench-polls-") as file:
        file.writelines(body + b"\t" + status.encode() + b"\n" for body, status in bodies)
        file.flush()
        path = server.path(service or ("Asleep" if len(bodies) > 1 else "Waiter"))
        url = f"http://127.0.0.1:{server.port}{path}"
        wrk = ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", str(CONNECTIONS), "--timeout", "10s"]
        script = ["-s", str(BENCH / "polls.lua"), url, "--", *([file.name] if bodies else [])]

        def polls(duration: int) -> dict[str, float]:
            run = subprocess.run([*wrk, "-d", f"{duration}s", *script], check=True, capture_output=True, text=True)
            return dict(json.loads(run.stdout.splitlines()[-1]))

        left = WARM * len(bodies)
        while left >= 0:  # what is made once is made
            left -= int(polls(2)["polls"]) + 1
        before = server.cpu()
        counted = polls(seconds)
        cpu = server.cpu() - before
    if counted["errors"] and not isinstance(server, Reference):  # that one may read a status.txt that was just emptied
        raise SystemExit(f"{server.name}: {counted['errors']} of {counted['polls']} polls were not answered well")
    return Load(counted["polls"] / counted["seconds"], 1e6 * cpu / counted["polls"], counted["p99"])


def run_one(server: Server) -> str:
    """A Waiter that runs on: its serviceID."""
    service_id = f"one-{time.time_ns()}"
    Line(server).post(start(service_id, 600))
    until(server.jobs / service_id, server.status_file(service_id).exists, 20)
    time.sleep(0.5)
    return service_id


def run_many(server: Server) -> list[str]:
    """So many running jobs, all real processes, each with a status.txt: their serviceIDs."""
    service = "Asleep" if isinstance(server, Labwaiter) else "Waiter"
    line, ids = Line(server, service), [f"many-{number}" for number in range(RUNNING)]
    for number, service_id in enumerate(ids):
        line.post(start(service_id, 3600, f"start{service}"))
        if isinstance(server, Labwaiter) and number % 20 == 19:  # how fast they start is another figure
            begun = server.jobs / service_id / "begun"
            if not until(begun.parent, begun.exists, 20):
                raise SystemExit(f"{service_id} does not begin")
    for service_id in ids:
        server.status_file(service_id).write_text("00")
    time.sleep(3)  # let each come to its rest
    return ids


def lay_beside(server: Server) -> None:
    """Make one execution that ends, and so many copies of its folder."""
    service_id = f"ended-{time.time_ns()}"
    Line(server).post(start(service_id, 0))
    folder = server.jobs / service_id
    until(folder, (folder / "end.json").exists, 20)
    time.sleep(1)
    for number in range(ENDED - 1):
        shutil.copytree(folder, server.jobs / f"{service_id}-{number}", symlinks=True)
    os.sync()


@contextmanager
def serving(kind: type[Server], core: int) -> Iterator[Server]:
    server = kind(core=core)
    try:
        yield server
    finally:
        server.close()


def measure(quick: bool) -> Rounds:
    """Every figure of every server in turn, several times."""
    found: Rounds = {}
    cores = sorted(os.sched_getaffinity(0))
    service_core, load_core, seconds = cores[0], cores[-1], 2 if quick else 5
    if shutil.which("wrk") is None:
        raise SystemExit("The polls on one core need wrk; Debian: apt install wrk")

    def tell(what: str, server: Server, of: Load) -> None:
        for figure, value in zip((RATE, CPU, P99), of, strict=True):
            found.setdefault(f"{what}: {figure}", {}).setdefault(server.name, []).append(value)
            print(f"  {server.name:10} {what}: {figure}: {value:.4g}", file=sys.stderr)

    for _ in range(1 if quick else 3):
        for kind in (Reference, Labwaiter, LaneOff):
            with serving(kind, service_core) as server:
                asked = [(poll(run_one(server)), "")]
                tell(ONE, server, load(server, load_core, seconds, asked))
                Alone.answer = Line(server).post(asked[0][0])
                if kind is Labwaiter:
                    lay_beside(server)
                    tell(AMONG, server, load(server, load_core, seconds, asked))
        for kind in (Granian, Nginx) if shutil.which("nginx", path="/usr/sbin:/usr/bin") else (Granian,):
            with serving(kind, service_core) as server:
                bodies = [(poll(f"one-{time.time_ns()}"), "")] if kind is Granian else []
                tell(ONE, server, load(server, load_core, seconds, bodies))
        for kind in (ReferenceAsleep, Labwaiter, LaneOff):
            with serving(kind, service_core) as server:
                asked = [(poll(service_id), str(server.status_file(service_id))) for service_id in run_many(server)]
                tell(MANY, server, load(server, load_core, seconds, asked))
    return found


class Bound(NamedTuple):
    """What must hold, and how it is seen in one round."""

    what: str
    must: float
    aim: float
    of: Callable[[Callable[[str, str], float]], float]  # of (figure, server) → value
    more_is_better: bool = False


BOUNDS = (
    Bound(f"polls/s, {ONE}, × reference", 20, 30, lambda v: _ratio(v, f"{ONE}: {RATE}"), True),
    Bound(f"polls/s, {MANY}, × reference", 8, 15, lambda v: _ratio(v, f"{MANY}: {RATE}"), True),
    Bound("CPU per poll beyond granian's, µs", 25, 12, lambda v: _beyond(v, ONE)),
    Bound("CPU per poll beyond granian's, changed, µs", 90, 50, lambda v: _beyond(v, MANY)),
    Bound("p99 of one running job, of the reference's", 1 / 10, 1 / 20, lambda v: _ratio(v, f"{ONE}: {P99}")),
    Bound(
        f"CPU per poll among {ENDED} ended, of the one alone",
        1.1,
        1.0,
        lambda v: v(f"{AMONG}: {CPU}", Labwaiter.name) / v(f"{ONE}: {CPU}", Labwaiter.name),
    ),
)


def _ratio(value: Callable[[str, str], float], figure: str) -> float:
    return value(figure, Labwaiter.name) / value(figure, Reference.name)


def _beyond(value: Callable[[str, str], float], what: str) -> float:
    return value(f"{what}: {CPU}", Labwaiter.name) - value(f"{ONE}: {CPU}", Granian.name)


def table(rounds: Rounds) -> str:
    """The figures (medians) and what must hold (the median of the rounds, and the least and the most), as Markdown."""
    lines = [f"| polls at {CONNECTIONS} connections | {RATE} | {CPU} | {P99} |", "| --- | ---: | ---: | ---: |"]
    for what in (ONE, AMONG, MANY):
        for who in rounds.get(f"{what}: {RATE}", {}):
            cells = [f"{statistics.median(rounds[f'{what}: {figure}'][who]):.4g}" for figure in (RATE, CPU, P99)]
            lines.append(f"| {who}: {what} | {' | '.join(cells)} |")
    lines += ["", "| what must hold | measured | must | aim | |", "| --- | ---: | ---: | ---: | --- |"]
    for bound in BOUNDS:
        count = len(rounds[f"{ONE}: {RATE}"][Labwaiter.name])
        values = [bound.of(lambda figure, who, at=at: rounds[figure][who][at]) for at in range(count)]
        middle, sign = statistics.median(values), 1 if bound.more_is_better else -1
        met = next((word for word, at in (("aim", bound.aim), ("must", bound.must)) if sign * (middle - at) >= 0), "")
        measured = f"{middle:.3g}" + (f" ({min(values):.3g} to {max(values):.3g})" if count > 1 else "")
        than = "≥" if bound.more_is_better else "≤"
        verdict = f"{met} met" if met else "**missed**"
        lines.append(f"| {bound.what} | {measured} | {than} {bound.must:.4g} | {bound.aim:.4g} | {verdict} |")
    return "\n".join(lines)
