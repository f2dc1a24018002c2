"""The measurements of bench/run. Each is taken of both servers in turn, several times; medians count."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "app")]

import pinned  # noqa: E402
from labwaiter.system.watch import until  # noqa: E402
from recording import a_day, rates  # noqa: E402
from servers import Labwaiter, Line, Reference, Server, envelope, poll, start  # noqa: E402

AIMS = {
    "first status on disk": "aim ≤ 5 ms",
    "starts per second": "aim ≥ 400",
    "memory per job, function": "aim ≤ 1 MB",
    "memory per job, Script": "aim ≤ 1 MB",
    "cold start to the first WSDL": "aim ≤ 0.8 s",
}


Figures = dict[str, dict[str, float]]  # name → server → median


def start_call(server: Server, count: int) -> float:
    """Milliseconds that one start takes, as its caller sees it."""
    line, taken = Line(server), []
    for number in range(count):
        began = time.perf_counter()
        line.post(start(f"call-{time.time_ns()}-{number}", 0))
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.02)
    return statistics.median(taken)


def first_status(server: Server, count: int) -> float:
    """Milliseconds from sending a start to the program's first status on the disk."""
    line, taken = Line(server), []
    for number in range(count):
        file = server.status_file(f"first-{time.time_ns()}-{number}")
        at: list[float] = []
        watcher = threading.Thread(target=_note_first, args=(file, at))
        watcher.start()
        began = time.perf_counter()
        line.post(start(file.parent.name, 0))
        watcher.join()
        taken.append(1000 * (at[0] - began))
        time.sleep(0.05)
    return statistics.median(taken)


def _note_first(file: Path, at: list[float]) -> None:
    while not file.exists():
        time.sleep(0.0001)  # inotify would need the folder first, and takes longer than what is measured
    at.append(time.perf_counter())


def starts_per_second(server: Server, count: int) -> float:
    """Jobs a second, from the first start sent to the last job's result on the disk."""
    stamp = time.time_ns()
    ids = [f"many-{stamp}-{number}" for number in range(count)]
    began = time.perf_counter()
    in_threads(4, [lambda part=part: _post_all(server, part) for part in (ids[i::4] for i in range(4))])
    missing = set(ids)
    while missing:
        missing = {one for one in missing if not (server.jobs / one / "result.txt").exists()}
        time.sleep(0.005 if missing else 0)
    return count / (time.perf_counter() - began)


def _post_all(server: Server, ids: list[str]) -> None:
    line = Line(server)
    for one in ids:
        line.post(start(one, 0))


def in_threads(count: int, works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works[:count]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory_per_job(server: Server, count: int, service: str, operation: str) -> float:
    """MB that each of `count` running jobs adds, the wrapped program included."""
    before = server.pss()
    line, stamp = Line(server, service), time.time_ns()
    ids = [f"mem-{stamp}-{number}" for number in range(count)]
    for one in ids:
        line.post(start(one, 120, operation))
    for one in ids:
        folder = server.jobs / one
        until(folder, lambda folder=folder: any((folder / f).exists() for f in ("status.txt", "progress.json")), 60)
    time.sleep(1.5)  # let each take its first turn
    each = (server.pss() - before) / count
    if isinstance(server, Labwaiter):
        for one in ids:
            line.post(envelope("abortService", serviceID=one, sessionToken="t"))
    return each


def polls(server: Server, seconds: float, service: str = "Waiter", sign: str = "status.txt") -> tuple[float, float]:
    """Polls a second over eight connections, and microseconds of CPU for each; begun when the job has made a file."""
    service_id = f"poll-{time.time_ns()}"
    Line(server, service).post(start(service_id, 600, f"start{service}"))
    folder = server.jobs / service_id
    until(folder, (folder / sign).exists, 20)
    time.sleep(0.3)
    counts, cpu, stop = [0] * 8, server.cpu(), time.perf_counter() + seconds

    def work(number: int) -> None:
        line, body = Line(server, service), poll(service_id)
        while time.perf_counter() < stop:
            line.post(body)
            counts[number] += 1

    in_threads(8, [lambda n=n: work(n) for n in range(8)])
    total = sum(counts)
    if isinstance(server, Labwaiter):
        Line(server, service).post(envelope("abortService", serviceID=service_id, sessionToken="t"))
    return total / seconds, 1e6 * (server.cpu() - cpu) / total


def measure(quick: bool, only: str) -> Figures:
    """Every figure of every server: name → server → median. Those of `pinned` are printed here, in a table."""
    rounds = (2 if quick else 3) if only != "pinned" else 0
    found: dict[str, dict[str, list[float]]] = {}

    def note(name: str, server: Server, value: float) -> None:
        found.setdefault(name, {}).setdefault(server.name, []).append(value)
        print(f"  {server.name:10} {name}: {value:.4g}", file=sys.stderr)

    def wanted(name: str) -> bool:
        return only in name

    for _ in range(rounds):
        for kind in (Labwaiter,) if only == "recording" else (Reference, Labwaiter):  # the tutorial's records nothing
            server: Server = kind()
            try:
                note("cold start to the first WSDL, s", server, server.cold_start)
                time.sleep(1)
                note("idle memory, MB", server, server.pss())
                if wanted("start call"):
                    note("start call, ms", server, start_call(server, 20 if quick else 60))
                if wanted("first status"):
                    note("first status on disk, ms", server, first_status(server, 15 if quick else 40))
                if wanted("starts per second"):
                    note("starts per second", server, starts_per_second(server, 200 if quick else 600))
                if wanted("polls"):
                    rate, cpu = polls(server, 2 if quick else 5)
                    note("polls per second, 1 worker", server, rate)
                    note("CPU per poll, µs", server, cpu)
                if wanted("memory"):
                    kinds = (("Script", "Waiter"), ("function", "Function"), ("Command", "Child"))
                    for word, service in kinds if kind is Labwaiter else kinds[:1]:
                        each = memory_per_job(server, 100, service, f"start{service}")
                        note(f"memory per job, {word}, MB", server, each)
                if wanted("recording") and kind is Labwaiter:
                    for name, value in rates(server, quick):
                        note(f"recording: {name}", server, value)
            finally:
                server.close()
    if wanted("recording"):
        for name, value in a_day(quick).items():
            note(f"recording for a day: {name}", server, value)
    if wanted("pinned polls"):
        pinned_polls = pinned.measure(quick)
        print(pinned.table(pinned_polls), end="\n\n")
        found |= pinned_polls
    return {name: {who: statistics.median(values) for who, values in by.items()} for name, by in found.items()}


def table(found: Figures) -> str:
    """The figures as Markdown; a ratio above 1 means that labwaiter is that much better."""
    lines = ["| figure | reference | labwaiter | ratio | aim |", "| --- | ---: | ---: | ---: | --- |"]
    base = found.get("memory per job, Script, MB", {}).get("reference")
    for name, by in found.items():
        if name.startswith((pinned.ONE, pinned.MANY, pinned.AMONG)):
            continue
        reference, ours = by.get("reference"), by["labwaiter"]
        if reference is None and name.startswith("memory per job"):
            reference = base  # the tutorial has but one kind of job
        more_is_better = "per second" in name
        ratio = "" if not reference else f"{ours / reference if more_is_better else reference / ours:.1f}×"
        aim = next((words for start, words in AIMS.items() if name.startswith(start)), "")
        lines.append(f"| {name} | {'' if reference is None else f'{reference:.4g}'} | {ours:.4g} | {ratio} | {aim} |")
    return "\n".join(lines)


def command(
    description: str, words: str, measured: Callable[[bool, str], Figures], shown: Callable[[Figures], str]
) -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repeats: about two minutes")
    parser.add_argument("--only", default="", help=f"only the figures whose name holds this word{words}")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    chosen = parser.parse_args()
    found = measured(chosen.quick, chosen.only)
    print(f"Python {platform.python_version()}, Linux {platform.release()}\n\n{shown(found)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    command("labwaiter against the tutorial's own design", "", measure, table)
