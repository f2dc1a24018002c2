"""What a job records: a file that outlives it, and a plot that stays small."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callers import Web
from lab import PATIENCE, SAMPLES, Lab, eventually
from labwaiter.instruments import Reading
from labwaiter.model.caller import SHELL
from labwaiter.model.record import State
from labwaiter.page import render
from labwaiter.runner import recorder
from labwaiter.runner.plot import POINTS_MAX, Curve, picture
from labwaiter.runner.recorder import STALE, Recorder, Table, current


def rows(file: Path) -> list[list[str]]:
    with open(file, newline="") as text:
        return list(csv.reader(text))


@pytest.fixture
def recording(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(SAMPLES / "recording.py", folder)
    lab = make_lab(services_folder=folder)
    lab.supervise()
    return lab


# -- the file ---------------------------------------------------------------------------------


def test_after_a_kill_9_the_file_is_readable_to_its_last_full_line(recording: Lab) -> None:
    recording.start("Records", "one")
    file = recording.folder("one") / "data" / "record.csv"
    eventually(lambda: file.exists() and file.stat().st_size > 20_000)
    os.kill(recording.running("one"), signal.SIGKILL)
    assert recording.ended("one").state is State.FAILED
    head, *body = rows(file)
    assert head == ["time / s", "height / mm", "width / mm", "note", "old"] and file.read_bytes().endswith(b"\n")
    assert all(len(row) == 5 and float(row[2]) == pytest.approx(2 * float(row[1])) for row in body)
    assert body[-1][3:] == ["a, “b” c", ""]
    assert recording.status_progress("one").values["old"] == "—"  # a reading of a minute ago says nothing of now


def test_a_quantity_that_comes_later_gets_a_column_and_the_rows_before_it_an_empty_cell(tmp_path: Path) -> None:
    table = Table(tmp_path / "record.csv")
    table.add({"time": 0.0, "a": 1.5}, {"time": "s"})
    table.add({"time": 1.0, "b": True, "a": math.nan}, {"time": "s", "b": "V"})
    table.add({"time": 2.0, "c": "two\nlines, and a comma", "d": None}, {})
    assert rows(tmp_path / "record.csv") == [
        ["time / s", "a", "b / V", "c", "d"],
        ["0.0", "1.5", "", "", ""],
        ["1.0", "", "1", "", ""],
        ["2.0", "", "", "two lines, and a comma", ""],
    ]
    assert [one.name for one in tmp_path.iterdir()] == ["record.csv"]


def test_a_job_that_invents_names_without_end_keeps_its_first_columns(tmp_path: Path) -> None:
    table = Table(tmp_path / "record.csv")
    for number in range(300):
        table.add({f"n{number}": number}, {})
    head, *body = rows(tmp_path / "record.csv")
    assert len(head) == recorder.COLUMNS_MAX and len(body) == 300


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root alone")
def test_a_full_disk_costs_rows_but_never_half_a_row(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        table = Table(small / "record.csv")
        written = 0
        for number in range(400):
            try:
                table.add({"number": number, "text": "x" * 3001}, {})
                written += 1
            except OSError:
                continue
        assert 100 < written < 400
        body = rows(small / "record.csv")[1:]
        assert len(body) == written and all(len(row[1]) == 3001 for row in body)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_stale_reading_is_nothing_in_the_file_and_a_gap_in_the_plot(tmp_path: Path) -> None:
    fresh, stale = Reading(20.5, "°C"), Reading(20.5, "°C", time.monotonic() - STALE - 1)
    assert current(fresh) == 20.5 and math.isnan(current(stale)) and current("text") == "text"
    one = Recorder(tmp_path)
    one.plot(("hotend",), "time")
    one.close()
    for value in (fresh, stale, fresh):
        one.record({"hotend": current(value)}, {"hotend": "°C"})
    one.close()
    assert [row[1] for row in rows(tmp_path / "record.csv")] == ["hotend / °C", "20.5", "", "20.5"]
    assert [math.isnan(y) for _, y in one._curves["hotend"].points] == [False, True, False]


# -- the plot ---------------------------------------------------------------------------------


def test_a_curve_stays_bounded_and_keeps_its_extremes_and_its_gaps() -> None:
    curve = Curve()
    for n in range(864_000 // 8):
        y = 100.0 if n == 50_000 else math.nan if 70_000 <= n < 70_100 else math.sin(n / 1000)
        curve.add(n, y)
    points = curve.points
    assert POINTS_MAX / 3 < len(points) <= POINTS_MAX + 3
    assert (50_000, 100.0) in points and any(math.isnan(y) and 70_000 <= x < 70_100 for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert min(y for _, y in points) == pytest.approx(-1, abs=1e-4)


def axes(curves: dict[str, list[tuple[float, float]]], units: dict[str, str], against: str = "time") -> list[str]:
    """The words on the axes of a picture."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    real = Figure.subplots

    def noting(self: Any, *args: Any, **more: Any) -> Any:
        found.append(real(self, *args, **more))
        return found[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Figure, "subplots", noting)
        assert picture(curves, units, against).startswith(b"\x89PNG")
    return [label for panel in found[0][:, 0] for label in (panel.get_ylabel(), panel.get_xlabel()) if label]


@pytest.mark.parametrize(("seconds", "word"), [(60, "time / s"), (600, "time / min"), (86_400, "time / h")])
def test_long_runs_are_told_in_minutes_and_hours(seconds: float, word: str) -> None:
    assert axes({"a": [(0.0, 1.0), (seconds, 2.0)]}, {"time": "s", "a": "V"}) == ["a / V", word]


def test_each_unit_has_a_panel_of_its_own() -> None:
    line = [(0.0, 1.0), (1.0, 2.0)]
    units = {"hotend": "°C", "bed": "°C", "fan": "", "x": "V"}
    assert axes({"hotend": line, "bed": line, "fan": line}, units, "x") == ["hotend, bed / °C", "fan", "x / V"]


def test_odd_values_harm_nothing(tmp_path: Path) -> None:
    one = Recorder(tmp_path)
    one.plot(("a", "b"), "time")
    for value in (True, math.inf, math.nan, 10**400, "text", None, 1e300, -1e300):
        one.record({"a": value}, {})
    one.close()
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_matplotlib_is_in_the_job_s_process_alone(recording: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(recording)
    recording.start("Records", "one", step=0.1)
    plot = recording.folder("one") / "data" / "plot.png"
    eventually(plot.exists)

    def loaded(pid: int) -> bool:
        return "matplotlib" in Path(f"/proc/{pid}/maps").read_text()

    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    status = recording.status("Records", "one")
    assert status.view.picture is not None
    assert loaded(recording.working("one"))
    for pid in (
        recording.running("one"),
        recording.supervisor,
        recording.fork_server,
        web.process.pid,
        *map(int, children),
    ):
        assert not loaded(pid)
    fonts = list((recording.settings.jobs_folder / ".labwaiter" / "matplotlib").glob("fontlist*"))
    assert fonts, "every job would look for all fonts anew"
    recording.jobs.abort(recording.services["Records"], "one", SHELL, wait=20)
    assert plot.stat().st_size < 200_000


def test_the_file_and_the_plot_can_be_fetched_by_their_links(recording: Lab, make_web: Callable[..., Web]) -> None:
    web = make_web(recording)
    recording.start("Records", "one", step=0.05)
    eventually((recording.folder("one") / "data" / "plot.png").exists)
    recording.jobs.abort(recording.services["Records"], "one", SHELL, wait=20)
    status = recording.status("Records", "one")
    at = f"{web.url}{recording.jobs.artifacts.link('one')}"
    page = render(status.view, recording.services["Records"], at)
    links = re.findall(r'<a href="([^"]+)"[^>]*>((?:record|plot)\.\w+)</a>', page)
    found = {name: address for address, name in links}
    assert set(found) == {"record.csv", "plot.png"}
    with urllib.request.urlopen(found["record.csv"], timeout=PATIENCE) as answer:
        assert list(csv.reader(io.TextIOWrapper(answer, "utf-8")))[0][1] == "height / mm"
    with urllib.request.urlopen(found["plot.png"], timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"] == "image/png"


def test_a_plot_that_can_t_be_drawn_ends_the_job_with_its_reason(
    make_lab: Callable[..., Lab], tmp_path: Path, services: Path
) -> None:
    (services / "spoils.py").write_text(
        "from labwaiter import Job, Outputs, service\n"
        "class Result(Outputs):\n    result: str\n"
        '@service("Spoils", namespace="http://samples.example/")\n'
        "def startSpoils(job: Job) -> Result:\n"
        "    import matplotlib.figure\n"
        "    matplotlib.figure.Figure.subplots = None\n"  # as somebody's own code may leave it
        "    job.plot('a')\n"
        "    for _ in job.every(0.05):\n        job.record(a=1.0)\n"
    )
    lab = make_lab()
    lab.supervise()
    lab.start("Spoils", "one")
    record = lab.ended("one")
    assert record.state is State.FAILED and record.why.startswith("The plot can't be drawn: TypeError")
    assert "Traceback" in lab.file("one", "log.txt")
    assert lab.left_of("one") == []
