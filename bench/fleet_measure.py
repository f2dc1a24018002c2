"""The measurements of bench/run --fleet: this machine alone against the same over Redis, and what workers ask of Redis.

All on this machine: a redis-server of the bench's own, workers with a supervisor and a jobs folder each, one face. A
network between them would add its round trips. Of 100 workers all that Redis sees is real (connections, commands): the
threads of 100 workers run in one process, without supervisors.
"""

from __future__ import annotations

import base64
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "app")]

import pinned  # noqa: E402
from fleet import MACHINES, Crowd, Fleet, FleetBefore, wait_for  # noqa: E402
from labwaiter import Client  # noqa: E402
from labwaiter.settings import load  # noqa: E402
from measure import Figures, command, in_threads, polls, start_call, starts_per_second  # noqa: E402
from servers import Labwaiter, Line, children, cpu_of, envelope, poll, start  # noqa: E402


def until_running(server: Labwaiter, count: int) -> float:
    """Milliseconds from sending a start to the first poll whose page says that it runs."""
    line, taken = Line(server, "Function"), []
    for number in range(count):
        service_id = f"runs-{time.time_ns()}-{number}"
        began = time.perf_counter()
        line.post(start(service_id, 600, "startFunction"))
        while b"running</title>" not in page(line.post(poll(service_id))):
            time.sleep(0.001)
        taken.append(1000 * (time.perf_counter() - began))
        line.post(envelope("abortService", serviceID=service_id, sessionToken="t"))
    return statistics.median(taken)


# as if their machine had published each anew
CHANGE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
for _, key in ipairs(KEYS) do
  local view = string.gsub(redis.call('HGET', key, 'view'), '"fraction":[%d.e-]+', '"fraction":' .. (now * 10) % 1, 1)
  redis.call('HSET', key, 'view', view, 'at', string.format('%.6f', now))
end
"""
EXECUTIONS = "executions per second, from the first start to the last COMPLETED at a face"
POLLS, CHANGED = "polls at 64 connections", f"polls of {pinned.RUNNING} at 64 connections, each changed"
BOUNDS = ((f"{POLLS}: rate", 6, 12), (EXECUTIONS, 3, 5))  # of 0.4.0's: what must hold, and what is aimed at


def page(answer: bytes) -> bytes:
    return base64.b64decode(answer.partition(b"status_base64>")[2].partition(b"</")[0])


def listing(server: Labwaiter) -> float:
    """Milliseconds that labwaiter.Client takes for the list of all executions, for a hundred of them."""
    client, taken = Client(load(os.environ | server.asking())), []
    for _ in range(3):
        began = time.perf_counter()
        found = client.executions()
        taken.append(1000 * (time.perf_counter() - began) * 100 / len(found))
    return statistics.median(taken)


def orders(server: Fleet, count: int) -> Iterator[tuple[str, float]]:
    """Orders that wait for a worker: what a face gives away in a second, and what one worker takes."""
    blocker, line, stamp = server.processes[2], Line(server, "Function"), time.time_ns()
    before, folders = server.redis.spent(), len(list(server.jobs.iterdir()))
    blocker.send_signal(19)  # SIGSTOP: it takes none until all have been ordered
    time.sleep(1.2)  # for its last BLMOVE
    began = time.perf_counter()
    for number in range(count):
        line.post(start(f"order-{stamp}-{number}", 0, "startFunction"))
    yield "orders per second, given by a face over one connection", count / (time.perf_counter() - began)
    began = time.perf_counter()
    blocker.send_signal(18)
    wait_for(lambda: len(list(server.jobs.iterdir())) - folders >= count, 120)
    yield "orders per second, taken by one worker", count / (time.perf_counter() - began)
    ended = f"bench:active:{MACHINES[0]}"
    wait_for(lambda: not server.redis.client.scard(ended), 120)
    after = server.redis.spent()
    yield "Redis: CPU per execution, µs", 1e6 * (after["cpu"] - before["cpu"]) / count
    yield "Redis: commands per execution", (after["commands"] - before["commands"]) / count
    yield "Redis: memory per ended execution, the first day, kB", (after["memory"] - before["memory"]) / count / 1000
    kept = server.redis.client.memory_usage(f"bench:job:order-{stamp}-0")  # RQ forgets what it knew after a day
    yield "Redis: memory per ended execution, afterwards, kB", kept / 1000


def polled(server: Fleet, seconds: float) -> Iterator[tuple[str, float]]:
    """Redis' part of a poll."""
    before = server.redis.spent()
    rate, _ = polls(server, seconds)
    after = server.redis.spent()
    yield "Redis: CPU per poll, µs", 1e6 * (after["cpu"] - before["cpu"]) / (rate * seconds)
    yield "Redis: commands per poll", (after["commands"] - before["commands"]) / (rate * seconds)


def executions(server: Fleet, count: int) -> Iterator[tuple[str, float]]:
    """Waiters that wait for nothing, over four connections, each asked for until it is COMPLETED at the face."""
    stamp = time.time_ns()
    ids = [f"whole-{stamp}-{number}" for number in range(count)]
    before, commands, began = costs(server), server.redis.spent()["commands"], time.perf_counter()

    def work(part: list[str]) -> None:
        line = Line(server)
        for service_id in part:
            line.post(start(service_id, 0))
        for service_id in part:
            while b"COMPLETED<" not in line.post(poll(service_id)):
                time.sleep(0.05)

    in_threads(4, [lambda part=part: work(part) for part in (ids[number::4] for number in range(4))])
    yield EXECUTIONS, count / (time.perf_counter() - began)
    time.sleep(0.5)  # what is reaped is counted
    after = costs(server)
    for who, cost in after.items():
        yield f"CPU per execution, ms: {who}", 1000 * (cost - before[who]) / count
    yield "commands per execution, until its face knows", (server.redis.spent()["commands"] - commands) / count


def costs(server: Fleet) -> dict[str, float]:
    """CPU seconds that each part of a lab has taken so far, with the processes that it has reaped."""
    supervisor, _, worker = server.processes
    return {
        "face": server.cpu(),
        "worker": cpu_of([worker.pid], reaped=True),
        "supervisor and jobs": cpu_of([supervisor.pid, *children(supervisor.pid)], reaped=True),
        "Redis": cpu_of([server.redis.process.pid]),
    }


def pinned_polls(server: Fleet, seconds: int) -> Iterator[tuple[str, float]]:
    """Polls by wrk at 64 connections: of one running job; of a thousand, of which Redis tells something new each."""
    service_id = pinned.run_one(server)
    load = pinned.load(server, 1, seconds, [(poll(service_id), "")])
    for name, value in zip(pinned.Load._fields, load, strict=True):
        yield f"{POLLS}: {name}", value
    ids = [f"copy-{number:04}" for number in range(pinned.RUNNING)]
    told = server.redis.client.hgetall(f"bench:job:{service_id}")
    for name in ids:
        own = {key: text.replace(service_id.encode(), name.encode()) for key, text in told.items()}
        server.redis.client.hset(f"bench:job:{name}", mapping=own)
    change, keys = server.redis.client.register_script(CHANGE), [f"bench:job:{name}" for name in ids]
    over = threading.Event()

    def keep_changing() -> None:
        while not over.wait(0.3):
            change(keys=keys)

    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        load = pinned.load(server, 1, seconds, [(poll(name), "") for name in ids], service="Waiter")
    finally:
        over.set()
        thread.join()
    for name, value in zip(pinned.Load._fields, load, strict=True):
        yield f"{CHANGED}: {name}", value


def recorded(server: Fleet, seconds: float) -> Iterator[tuple[str, float]]:
    """What one running job more asks of Redis: one that tells its progress each second, one that records and plots."""
    still = server.redis.per_second(seconds)
    for word, service, sign in (("progress", "Function", "progress.json"), ("records", "Recording", "data/plot.png")):
        service_id = f"costs-{time.time_ns()}"
        line = Line(server, service)
        line.post(start(service_id, 600, f"start{service}"))
        wait_for((server.jobs / service_id / sign).exists)
        time.sleep(6)  # the second plot is there, too
        busy = server.redis.per_second(max(seconds, 10))
        for name, unit, scale in (("commands", "commands", 1), ("bytes", "kB", 1000), ("cpu", "CPU, ms", 0.001)):
            yield f"Redis, a second: {unit}, a job that {word}", (busy[name] - still[name]) / scale
        mirrored = server.redis.client.memory_usage(f"bench:job:{service_id}")
        yield f"Redis: mirror of a job that {word}, kB", mirrored / 1000
        line.post(envelope("abortService", serviceID=service_id, sessionToken="t"))


def crowds(seconds: float) -> Iterator[tuple[str, float]]:
    """What idle workers cost Redis; 10 both for real and as threads, so that the one vouches for the other."""
    for count, real in ((1, True), (10, True), (10, False), (100, False)):
        crowd = Crowd(count, real)
        try:
            cost = crowd.cost(seconds)
        finally:
            crowd.close()
        who = f"{count} idle worker{'s' if count > 1 else ''}{'' if real else ' as threads'}"
        yield f"Redis, a second: commands, {who}", cost["commands"]
        yield f"Redis, a second: kB, {who}", cost["bytes"] / 1000
        yield f"Redis, a second: CPU, ms, {who}", 1000 * cost["cpu"]
        yield f"Redis: connections, {who}", cost["clients"]
        yield f"Redis: memory, kB, {who}", cost["memory"] / 1000


def measure(quick: bool, only: str) -> Figures:
    """Every figure of this machine alone and over Redis: name → server → median."""
    found: dict[str, dict[str, list[float]]] = {}

    def note(name: str, who: str, value: float) -> None:
        found.setdefault(name, {}).setdefault(who, []).append(value)
        print(f"  {who:10} {name}: {value:.4g}", file=sys.stderr)

    def wanted(name: str) -> bool:
        return only in name

    for _ in range(1 if quick else 3):
        for kind in (Labwaiter, Fleet):
            server = kind()
            who = "alone" if kind is Labwaiter else server.name
            try:
                if wanted("start call"):
                    note("start call, ms", who, start_call(server, 20 if quick else 60))
                if wanted("first status"):
                    note("start → running at a face, ms", who, until_running(server, 10 if quick else 30))
                if wanted("starts per second"):
                    note("starts per second", who, starts_per_second(server, 200 if quick else 600))
                    note("list of executions, ms for 100", who, listing(server))
                if wanted("polls"):
                    rate, cpu = polls(server, 2 if quick else 5)
                    note("polls per second, 1 web worker", who, rate)
                    note("CPU per poll, µs", who, cpu)
                if isinstance(server, Fleet):
                    if wanted("orders"):
                        for name, value in orders(server, 200 if quick else 400):
                            note(name, who, value)
                    if wanted("polls"):
                        for name, value in polled(server, 2 if quick else 5):
                            note(name, who, value)
                    if wanted("recording"):
                        for name, value in recorded(server, 5 if quick else 20):
                            note(name, who, value)
            finally:
                server.close()
        for kind in (Fleet, FleetBefore) if FleetBefore.is_there() else (Fleet,):
            if wanted("executions per second"):
                with closing(kind()) as fleet:
                    for name, value in executions(fleet, 150 if quick else 400):
                        note(name, kind.name, value)
            if wanted("pinned polls"):
                with closing(kind(core=0)) as fleet:
                    for name, value in pinned_polls(fleet, 3 if quick else 6):
                        note(name, kind.name, value)
    if wanted("workers"):
        for name, value in crowds(5 if quick else 20):
            note(name, "over Redis", value)
    return {name: {who: statistics.median(values) for who, values in by.items()} for name, by in found.items()}


def table(found: Figures) -> str:
    """The figures as Markdown; a ratio above 1 means that over Redis is that much better."""
    lines = ["| figure | alone | over Redis | ratio |", "| --- | ---: | ---: | ---: |"]
    rest = ["| figure | |", "| --- | ---: |"]
    against = ["| figure | 0.4.0 | now | ratio | |", "| --- | ---: | ---: | ---: | --- |"]
    bounds = {name: f"must be ≥ {must}, aim {aim}" for name, must, aim in BOUNDS}
    for name, by in found.items():
        if before := by.get(FleetBefore.name):
            now = by[Fleet.name]
            ratio = now / before if name == EXECUTIONS or name.endswith("rate") else before / now
            against.append(f"| {name} | {before:.4g} | {now:.4g} | {ratio:.2f}× | {bounds.get(name, '')} |")
        elif alone := by.get("alone"):
            ratio = by["over Redis"] / alone if "per second" in name else alone / by["over Redis"]
            lines.append(f"| {name} | {alone:.4g} | {by['over Redis']:.4g} | {ratio:.2f}× |")
        else:
            rest.append(f"| {name} | {by['over Redis']:.4g} |")
    return "\n".join([*lines, "", *rest, "", *against])


if __name__ == "__main__":
    words = ": start call, first status, starts, polls, orders, recording, executions, pinned polls or workers"
    command("one machine alone against the same over Redis", words, measure, table)
