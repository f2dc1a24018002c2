"""The operator's page: 1,000 executions and 100 instruments, a hundred open pages, and the polls beside them."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / each) for each in ("bench", "app", "tests")]

import browser  # noqa: E402
from labwaiter.model.record import End, Request, State, StoredState, move  # noqa: E402
from labwaiter.store.folder import Folder  # noqa: E402
from labwaiter.system.watch import until  # noqa: E402
from measure import Figures, command  # noqa: E402
from servers import Labwaiter, Line, poll, start  # noqa: E402

EXECUTIONS, INSTRUMENTS, OPEN = 1000, 100, 100
EVERY = 2.0  # s between two questions of an open page, as page.js asks
RUNNING = 10  # executions that say something new each second
PAGES = {
    "overview": "/",
    "executions": "/operator/executions",
    "lab": "/operator/lab",
    "an execution": "/operator/execution?id=bench-0",
}
AIMS = {
    "first paint": "aim < 1000 ms",
    "CPU of a worker": "aim < 0.1",
    "polls per second": "aim about 1",
    "time of a poll": "aim about 1",
}
ENDS = (State.COMPLETED, State.COMPLETED, State.COMPLETED, State.FAILED, State.ABORTED)


class Lab(Labwaiter):
    """labwaiter with a lab of that size."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"LAB": str(self.jobs.with_suffix(".toml")), "MAX_RUNNING": "50"}

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


def opened(server: Labwaiter) -> list[Opened]:
    """A hundred pages of the four kinds, each over a connection that it keeps, with the cookie that a browser has."""
    pages = []
    for number in range(OPEN):
        path = [*PAGES.values()][number % len(PAGES)]
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        line.request("GET", path)
        answer = line.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
        cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
        pages.append(Opened(line, f"{path}{'&' if '?' in path else '?'}live=1", cookie))
    return pages


class Watching:
    """A hundred pages that ask in turn, each every two seconds, in a thread of their own."""

    def __init__(self, server: Labwaiter) -> None:
        self.answers: dict[int, int] = {}
        self._pages, self._over = opened(server), threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        began, asked = time.monotonic(), 0
        while not self._over.is_set():
            for number, page in enumerate(self._pages):
                time.sleep(max(0.0, began + EVERY * (asked + number / OPEN) - time.monotonic()))
                if self._over.is_set():
                    break
                status = page.ask()
                self.answers[status] = self.answers.get(status, 0) + 1
            asked += 1

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()
        for page in self._pages:
            page.line.close()


def share_of_a_core(server: Labwaiter, seconds: float) -> tuple[float, float]:
    """What a hundred open pages take of one core, and which share of their answers was 304."""
    watching = Watching(server)
    try:
        time.sleep(2 * EVERY)  # until each knows what it has
        watching.answers.clear()
        before, began = server.cpu(), time.monotonic()
        time.sleep(seconds)
        taken = (server.cpu() - before) / (time.monotonic() - began)
        answers = dict(watching.answers)
    finally:
        watching.close()
    return taken, answers.get(304, 0) / max(1, sum(answers.values()))


def polls(server: Labwaiter, service_id: str, seconds: float) -> tuple[float, float]:
    """Polls a second of eight callers, and the median time of one in ms."""
    taken: list[float] = []
    stop = time.monotonic() + seconds

    def work() -> None:
        line, body = Line(server, "Function"), poll(service_id)
        while time.monotonic() < stop:
            began = time.perf_counter()
            line.post(body)
            taken.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken) / seconds, statistics.median(taken)


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
    server = Lab()
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
        line = Line(server, "Function")
        ids = [f"running-{number}" for number in range(RUNNING)]
        for service_id in ids:
            line.post(start(service_id, 3600, "startFunction"))
        for service_id in ids:
            folder = server.jobs / service_id
            until(folder, (folder / "progress.json").exists, 60)
        taken, same = share_of_a_core(server, seconds)
        note(f"CPU of a worker, 100 open pages, {RUNNING} executions change each second", taken)
        note("its answers that were 304", same)
        for _ in range(2 if quick else 5):
            alone = polls(server, ids[0], seconds / 5)
            watching = Watching(server)
            try:
                beside = polls(server, ids[0], seconds / 5)
            finally:
                watching.close()
            note("polls per second, alone", alone[0])
            note("polls per second beside 100 open pages, of those alone", beside[0] / alone[0])
            note("time of a poll, alone, ms", alone[1])
            note("time of a poll beside 100 open pages, of that alone", beside[1] / alone[1])
        note("memory of a worker after all that, MB", server.pss(server.web_pids()))
    finally:
        server.close()
        server.jobs.with_suffix(".toml").unlink(missing_ok=True)
    return {name: {"labwaiter": statistics.median(values)} for name, values in found.items()}


def table(found: Figures) -> str:
    """The figures as Markdown."""
    lines = ["| figure | measured | aim |", "| --- | ---: | --- |"]
    for name, by in found.items():
        aim = next((words for begin, words in AIMS.items() if name.startswith(begin) and "alone" not in name[-12:]), "")
        lines.append(f"| {name} | {by['labwaiter']:.3g} | {aim} |")
    return "\n".join(lines)


if __name__ == "__main__":
    command("The operator's page", "; paint: the pages' alone", measure, table)
