"""The operator's page: 1,000 executions and 100 instruments, a hundred open pages, and the polls beside them."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / each) for each in ("bench", "app", "tests")]

import browser  # noqa: E402
from labwaiter.model.record import End, Request, State, StoredState, move  # noqa: E402
from labwaiter.store.folder import Folder  # noqa: E402
from labwaiter.system.watch import until  # noqa: E402
from measure import Figures, command  # noqa: E402
from pinned import load  # noqa: E402
from servers import Labwaiter, Line, poll, start  # noqa: E402

EXECUTIONS, INSTRUMENTS, OPEN = 1000, 100, 100
EVERY = 2.0  # s between two questions of an open page, as page.js asks
RATE = 100  # polls a second, as 600 workflow managers ask
RUNNING, LASTING = 10, 100  # executions whose progress has another percent each second, until they are over (s)
PAGES = {
    "overview": "/",
    "executions": "/operator/executions",
    "lab": "/operator/lab",
    "an execution": "/operator/execution?id=bench-0",
}
LOADS = (
    (f"time of a poll at {RATE} a second", ", ms"),
    (f"its 99th percentile at {RATE} a second", ", ms"),
    ("polls per second at 64 connections", ""),
    ("their 99th percentile", ", ms"),
)
AIMS = {
    "first paint": "aim < 1000 ms",
    "CPU of a worker": "aim < 0.1",
    "time of a poll": "aim about 1",
    "its 99th percentile": "aim about 1",
    "polls per second": "1 less what the pages take",
}
CORES = sorted(os.sched_getaffinity(0))  # the service has the first, the load the last
ENDS = (State.COMPLETED, State.COMPLETED, State.COMPLETED, State.FAILED, State.ABORTED)


class Lab(Labwaiter):
    """labwaiter with a lab of that size."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"LAB": str(self.jobs.with_suffix(".toml")), "MAX_RUNNING": "100"}

    def launch(self) -> list[subprocess.Popen[bytes]]:
        driver = 'driver = "labwaiter.instruments.drivers:SourceMeter"\nport = "sim://smu"\nnote = "bench, shelf {}"\n'
        tables = [f"[instruments.smu{number}]\n{driver.format(number // 10)}" for number in range(INSTRUMENTS)]
        self.jobs.with_suffix(".toml").write_text("\n".join(tables))
        record_executions(Folder(self.jobs))
        return super().launch()


def record_executions(folder: Folder) -> None:
    """So many executions that have ended, by the calls of the store that record real ones."""
    folder.make()
    folder.note_form()
    now = time.time()
    for number in range(EXECUTIONS):
        name, began = f"bench-{number}", now - 60.0 * (EXECUTIONS - number)
        inputs = {"secondsToWait": number % 60}
        folder.claim(name, Request(name, "Waiter", inputs, user=f"user{number % 7}", created=began, face="soap"))
        running = move(StoredState(since=began), State.RUNNING, started=began + 1, since=began + 1)
        outcome = ENDS[number % len(ENDS)]
        why = "" if outcome is State.COMPLETED else "The plate has cracked: 312 °C were measured at its corner."
        outputs = {"result": f"plate {number}"} if outcome is State.COMPLETED else {}
        folder.write_end(name, End(outcome, why, outputs, began + 40))
        folder.write_state(name, move(running, outcome, why=why, ended=began + 40, ran=39.0, since=began + 40))
        os.utime(folder.path(name) / "request.json", (began, began))  # as it was: by it the newest are known
        (folder.path(name) / "log.txt").write_text("".join(f"{line} of 40\n" for line in range(40)))
        folder.forget_active(name)


@dataclass
class Opened:
    """One open page: what it asks, and what it has."""

    line: http.client.HTTPConnection
    address: str
    cookie: str = ""
    tag: str = ""

    def ask(self) -> int:
        """Ask as page.js does: the status of the answer."""
        headers = {"Cookie": self.cookie} | ({"If-None-Match": self.tag} if self.tag else {})
        try:
            self.line.request("GET", self.address, headers=headers)
            answer = self.line.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):  # kept for too long: as a browser, over another one
            self.line.close()
            self.line.request("GET", self.address, headers=headers)
            answer = self.line.getresponse()
        answer.read()
        self.tag = answer.headers.get("ETag", self.tag)
        return answer.status


def opened(port: int) -> list[Opened]:
    """A hundred pages of the four kinds, each over a connection that it keeps, with the cookie that a browser has."""
    pages = []
    for number in range(OPEN):
        path = [*PAGES.values()][number % len(PAGES)]
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("GET", path)
        answer = line.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
        cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
        pages.append(Opened(line, f"{path}{'&' if '?' in path else '?'}live=1", cookie))
    return pages


def watch(port: int, asked: Connection) -> None:
    """Have a hundred pages ask in turn, each every two seconds, until the other end says that it is over.

    Whatever it sends starts a new count, and is answered by the one before: status → answers.
    """
    os.sched_setaffinity(0, {CORES[-1]})
    pages, answers = opened(port), dict[int, int]()
    began, turn = time.monotonic(), 0
    asked.send({})
    while True:
        for number, page in enumerate(pages):
            while asked.poll(max(0.0, began + EVERY * (turn + number / OPEN) - time.monotonic())):
                over = asked.recv()
                asked.send(answers)
                answers = {}
                if over:
                    return
            status = page.ask()
            answers[status] = answers.get(status, 0) + 1
        turn += 1


class Watching:
    """A hundred open pages, in a process of their own: what they do there takes nothing from other load."""

    def __init__(self, server: Labwaiter) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._line, other = spawned.Pipe()
        self._process = spawned.Process(target=watch, args=(server.port, other))
        self._process.start()
        other.close()
        self._line.recv()
        time.sleep(2 * EVERY)  # until each knows what it has
        self.count()

    def count(self, over: bool = False) -> dict[int, int]:
        """The answers since this was called before: status → how many."""
        self._line.send(over)
        answers: dict[int, int] = self._line.recv()
        return answers

    def close(self) -> None:
        """End it."""
        self.count(over=True)
        self._process.join()


def share_of_a_core(server: Labwaiter, seconds: float) -> tuple[float, float]:
    """What a hundred open pages take of one core, and which share of their answers was 304."""
    watching = Watching(server)
    try:
        before, began = server.cpu(), time.monotonic()
        time.sleep(seconds)
        taken = (server.cpu() - before) / (time.monotonic() - began)
        answers = watching.count()
    finally:
        watching.close()
    return taken, answers.get(304, 0) / max(1, sum(answers.values()))


def run_some(server: Labwaiter) -> list[str]:
    """Executions whose pages change each second."""
    line = Line(server, "Function")
    ids = [f"running-{time.time_ns()}-{number}" for number in range(RUNNING)]
    for service_id in ids:
        line.post(start(service_id, LASTING, "startFunction"))
    for service_id in ids:
        folder = server.jobs / service_id
        until(folder, (folder / "progress.json").exists, 60)
    return ids


def polls(server: Labwaiter, service_id: str, seconds: float) -> tuple[float, float]:
    """The median time of a poll and the 99th percentile in ms, at a rate that leaves the worker time for more."""
    line, body, taken = Line(server, "Function"), poll(service_id), list[float]()
    began = time.perf_counter()
    while (due := began + len(taken) / RATE) < began + seconds:
        time.sleep(max(0.0, due - time.perf_counter()))
        sent = time.perf_counter()
        line.post(body)
        taken.append(1000 * (time.perf_counter() - sent))
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def at_once(server: Labwaiter, service_id: str, seconds: float) -> tuple[float, float]:
    """Polls a second at 64 connections, all that the worker can, and the 99th percentile of their time in ms."""
    found = load(server, CORES[-1], int(seconds), [(poll(service_id), "")], "Function")
    return found.rate, found.p99


def paint(window: Any, url: str) -> tuple[float, float]:
    """Milliseconds from the call of a page to its first paint, and those of them that its server took."""
    window.go(url)
    told = window.evaluate(
        "new Promise((done) => new PerformanceObserver((list) => {"
        " const first = list.getEntriesByName('first-contentful-paint')[0],"
        " sent = performance.getEntriesByType('navigation')[0];"
        " if (first) done([first.startTime, sent.responseStart - sent.requestStart]);"
        " }).observe({ type: 'paint', buffered: true }))"
    )
    return float(told[0]), float(told[1])


def measure(quick: bool, only: str) -> Figures:
    """Every figure: name → server → median."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)
        print(f"  {name}: {value:.4g}", file=sys.stderr)

    seconds = 10.0 if quick else 30.0
    if shutil.which("wrk") is None:
        raise SystemExit("The polls beside pages need wrk; Debian: apt install wrk")
    server = Lab(core=CORES[0])
    try:
        time.sleep(2)
        note("memory of a worker before its first page, MB", server.pss(server.web_pids()))
        if browser.PROGRAM is None:
            print("  no Chromium is here: nothing is painted", file=sys.stderr)
        elif "paint" in only or not only:
            with tempfile.TemporaryDirectory() as profile, browser.browser(Path(profile)) as chromium:
                window = chromium.window()
                window.show()
                for turn in range(3 if quick else 7):
                    for name, path in PAGES.items():
                        first, its_server = paint(window, f"http://127.0.0.1:{server.port}{path}")
                        if turn:  # the first one also starts the browser
                            note(f"first paint: {name}, ms", first)
                            note(f"its server's part: {name}, ms", its_server)
        note("CPU of a worker, 100 open pages, nothing changes", share_of_a_core(server, seconds)[0])
        run_some(server)
        taken, same = share_of_a_core(server, seconds)
        note(f"CPU of a worker, 100 open pages, {RUNNING} executions change each second", taken)
        note("its answers that were 304", same)
        for _ in range(2 if quick else 5):
            service_id = run_some(server)[0]
            alone = polls(server, service_id, seconds / 2), at_once(server, service_id, seconds / 5)
            watching = Watching(server)
            try:
                beside = polls(server, service_id, seconds / 2), at_once(server, service_id, seconds / 5)
            finally:
                watching.close()
            for (name, unit), mine, others in zip(LOADS, (*alone[0], *alone[1]), (*beside[0], *beside[1]), strict=True):
                note(f"{name}, alone{unit}", mine)
                note(f"{name}, beside 100 open pages", others / mine)
        note("memory of a worker after all that, MB", server.pss(server.web_pids()))
    finally:
        server.close()
        server.jobs.with_suffix(".toml").unlink(missing_ok=True)
    return {name: {"labwaiter": statistics.median(values)} for name, values in found.items()}


def table(found: Figures) -> str:
    """The figures as Markdown."""
    lines = ["| figure | measured | aim |", "| --- | ---: | --- |"]
    for name, by in found.items():
        aim = next((words for begin, words in AIMS.items() if name.startswith(begin) and ", alone" not in name), "")
        lines.append(f"| {name} | {by['labwaiter']:.3g} | {aim} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command("The operator's page", "; paint: the pages' alone", measure, table)
