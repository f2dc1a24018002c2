"""What recording costs: samples a second, the web's polls meanwhile, and the page of a run of a day."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "app")]

from labwaiter.system.watch import until  # noqa: E402
from servers import Labwaiter, Line, envelope  # noqa: E402

DAY = 864_000  # samples: ten a second


def recorded(server: Labwaiter, seconds: int, step: float) -> dict[str, float]:
    """The outputs of a job that records for so long: a sample each `step` s, or (0) as many as it can."""
    service_id = f"record-{time.time_ns()}"
    body = envelope("startRecording", serviceID=service_id, sessionToken="t", secondsToWait=seconds, step=step)
    Line(server, "Recording").post(body)
    folder = server.jobs / service_id
    until(folder, (folder / "end.json").exists, seconds + 60)
    outputs: dict[str, float] = json.loads((folder / "end.json").read_text())["outputs"]
    return outputs


def rates(server: Labwaiter, quick: bool) -> Iterator[tuple[str, float]]:
    """Name and value of each figure that a running deployment gives."""
    from measure import polls

    seconds = 6 if quick else 10
    yield "samples per second, CSV and plot", recorded(server, seconds, 0)["samples"] / seconds
    yield "latest of 10 samples a second, ms", 1000 * recorded(server, seconds, 0.1)["latest"]
    still = polls(server, 2 if quick else 4)[0]
    busy = polls(server, 2 if quick else 4, "Recording", "data/plot.png")[0]
    yield "polls of a job that records, of one that doesn't", busy / still


def day(folder: Path, samples: int) -> dict[str, float]:
    """Record so many samples as a job does, and make its page; in a process of its own, whose memory is told."""
    from labwaiter.catalogue import catalogue
    from labwaiter.model.record import Picture, Progress, Record, Request, State, View
    from labwaiter.page import render
    from labwaiter.runner import recorder

    made = recorder.Recorder(folder)
    made.plot(("one", "two"), "time")
    clock = [0.0]
    recorder.time.monotonic, real = lambda: clock[0], time.monotonic  # type: ignore[assignment]
    made._began, made._thread = 0.0, threading.current_thread()  # drawn by us, once
    began = time.perf_counter()
    for number in range(samples):
        clock[0] = number / 10
        made.record({"one": math.sin(number / 5000), "two": 20.0 + number % 977 / 100}, {"one": "V", "two": "°C"})
    each = (time.perf_counter() - began) / samples
    recorder.time.monotonic = real
    made.draw()  # the first picture has matplotlib's import in it
    taken = []
    for _ in range(3):
        made._changed = True
        began = time.perf_counter()
        made.draw()
        taken.append(time.perf_counter() - began)
    plot = (folder / recorder.PLOT).read_bytes()
    service = catalogue.load(Path(__file__).parent / "services").services["Recording"]
    view = View(
        Record("one", Request("one", "Recording", {}), State.RUNNING, started=0.0),
        now=86400.0,
        progress=Progress(
            0.5, "recording", {"one": 0.5}, {"one": "V"}, Picture(recorder.PLOT, "one, two against time")
        ),
        picture=plot,
    )
    render(view, service)
    began = time.perf_counter()
    for _ in range(20):
        page = render(view, service)
    return {
        "record, µs": 1e6 * each,
        "plot, ms": 1000 * sorted(taken)[1],
        "page, kB": len(page.encode()) / 1000,
        "page, ms": 1000 * (time.perf_counter() - began) / 20,
        "CSV, MB": (folder / recorder.FILE).stat().st_size / 1e6,
        "memory of the process, MB": _peak(),
    }


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def a_day(quick: bool) -> dict[str, float]:
    """`day` in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-day-") as folder:
        command = [sys.executable, __file__, folder, str(DAY // 10 if quick else DAY)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    print(json.dumps(day(Path(sys.argv[1]), int(sys.argv[2]))))
