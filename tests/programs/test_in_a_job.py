"""Values and results as a job's user meets them."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import SAMPLES, Lab
from labwaiter.model.record import State


@pytest.fixture
def results(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(SAMPLES / "results.py", folder)
    lab = make_lab(services_folder=folder)
    lab.supervise()
    return lab


def why(lab: Lab, service: str, **inputs: object) -> str:
    lab.start(service, "one", **inputs)
    record = lab.ended("one")
    assert record.state is State.FAILED
    return record.why


def test_values_of_other_libraries_are_recorded_shown_and_given_out(results: Lab) -> None:
    results.start("Foreign", "one")
    record = results.ended("one")
    assert record.outputs == {"mean": 1.5, "count": 10, "fine": True}, record.why
    shown = results.store.progress("one")
    assert shown.fraction == 0.5
    assert shown.values == {
        "kelvin": 23.5,
        "count": 2,
        "share": 0.25,
        "price": 2.5,
        "at": "2026-11-24T00:00:00",
        "where": "a\udcff",
        "name": "\udcff",
        "fine": True,
        "none": None,
    }
    with open(results.folder("one") / "data" / "record.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head[1:4] == ["kelvin / K", "count", r"share / \udcb0"] and len(rows) == 6
    assert rows[1][5:] == ["2026-11-24T00:00:00", r"a\udcff", r"\udcff", "1", ""]


@pytest.mark.parametrize("kind", ["bytes", "list", "dict"])
def test_what_can_t_be_recorded_fails_by_its_name(results: Lab, kind: str) -> None:
    assert f"The recorded value temperature is of the type {kind}" in why(results, "RecordsWrong", kind=kind)


@pytest.mark.parametrize("how", ["utf-16", "mark"])
def test_a_result_that_says_its_encoding_is_decoded(results: Lab, how: str) -> None:
    results.start("Says", "one", how=how)
    assert results.ended("one").outputs == {"result": "Größe"}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("latin", "is not UTF-8 text: its byte 3 is 0xF6."),
        ("old", "true ended without a result: out.txt is of an earlier step."),
        ("null", "The argument 1 of echo is of the type NoneType"),
    ],
)
def test_a_result_that_is_none_is_told(results: Lab, how: str, reason: str) -> None:
    assert reason in why(results, "Says", how=how)


def test_a_path_is_relative_to_where_the_program_worked(results: Lab) -> None:
    results.start("Meshes", "one")
    assert results.ended("one").outputs == {"mesh": "one/case/mesh.vtk"}


@pytest.mark.parametrize("in_between", ["true", "false"])
@pytest.mark.parametrize("by_script", ["true", "false"])
def test_a_failed_program_s_own_words_are_told(results: Lab, in_between: str, by_script: str) -> None:
    reason = why(results, "Fails", in_between=in_between, by_script=by_script)
    assert reason.endswith(" ended with the exit status 2: error: no such file: x.stl.")
    assert reason.startswith("fails.py " if by_script == "true" else "python")


@pytest.mark.parametrize("status", [143, -15])
def test_a_signal_can_mean_success(results: Lab, status: int) -> None:
    results.start("Ended", "one", status=status)
    record = results.ended("one")
    assert record.outputs == {"result": "fine"}, record.why


@pytest.mark.parametrize("tty", ["true", "false"])
def test_a_script_that_counts_on_in_one_line_is_heard(results: Lab, tty: str) -> None:
    results.start("Counts", "one", tty=tty)
    results.when("one", lambda: results.store.progress("one").fraction == 0.2)
    (results.folder("one") / "data" / "go").touch()
    assert results.ended("one").state is State.COMPLETED
    assert results.store.progress("one").fraction == 1.0
    assert ("True" in results.file("one", "log.txt")) is (tty == "true")


def test_programs_share_the_bar_by_their_parts(results: Lab) -> None:
    data = results.folder("one") / "data"

    def stands_at(fraction: float) -> None:
        results.when("one", lambda: results.store.progress("one").fraction == fraction)

    results.start("Shares", "one")
    stands_at(0.2)
    (data / "first-50").touch()
    stands_at(0.4)
    (data / "first-100").touch()
    stands_at(0.8)  # the step's 0.5, the silent program's 0.1, nothing of the failed one, half of the second's
    assert results.store.progress("one").stage == "looking at what came"
    (data / "second-50").touch()
    stands_at(1.0)
    (data / "second-100").touch()
    assert results.ended("one").state is State.COMPLETED


def test_programs_that_run_at_the_same_time_share_the_bar(results: Lab) -> None:
    data = results.folder("one") / "data"
    results.start("Shares", "one", at_once="true")
    results.when("one", lambda: results.store.progress("one").fraction == 0.5)  # half of either
    (data / "second-50").touch()
    results.when("one", lambda: results.store.progress("one").fraction == 0.875)
    for name in ("first-50", "first-100", "second-100"):
        (data / name).touch()
    assert results.ended("one").state is State.COMPLETED
    assert results.store.progress("one").fraction == 1.0


@pytest.mark.parametrize("part", [0.0, -0.5, 40.0, "NaN"])
def test_a_part_of_the_bar_that_is_none_is_told(results: Lab, part: object) -> None:
    assert "above 0 and at most 1" in why(results, "SharesWrong", part=part)


def test_a_script_runs_in_the_environment_that_its_service_names(results: Lab, tmp_path: Path) -> None:
    environment = tmp_path / "envs" / "old"  # in the folder above the service file
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    for number, python in enumerate(("envs/old", "../envs/old/bin/python", str(environment))):
        results.start("Elsewhere", f"{number}", python=python)
        record = results.ended(f"{number}")
        assert record.outputs is not None, record.why
        assert Path(record.outputs["result"]).resolve() == environment
    assert why(results, "Elsewhere", python="envs/gone") == (
        "The Python envs/gone is not there: it is looked for beside its service file."
    )
