"""Programs in other habits than the tutorial's: what their users see of them."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import SAMPLES, Lab
from labwaiter.errors import InvalidParameter
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Progress, State


@pytest.fixture
def habits(make_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Lab]:
    """A lab of programs with habits."""
    folder = tmp_path / "habits"
    folder.mkdir()
    shutil.copy(SAMPLES / "habits.py", folder)
    shutil.copy(SAMPLES / "printing.py", folder / "_printing.py")
    lab = make_lab(services_folder=folder, FILES_FOLDER=str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    lab.supervise()
    yield lab


def progress_of(lab: Lab, service: str, look: Callable[[Progress], bool]) -> Progress:
    """What the page shows, once it fits."""

    def fits() -> Progress | None:
        shown = lab.status(service, "one").view.progress
        return shown if look(shown) else None

    found = lab.when("one", fits)
    assert found is not None
    return found


def let_go(lab: Lab, service: str, folder: str = ".") -> None:
    (lab.folder("one") / "data" / folder / "go").touch()
    record = lab.ended("one")
    assert record.state is State.COMPLETED, record.why


@pytest.mark.parametrize(
    ("service", "fraction", "stage"),
    [("Frames", 3 / 12, "rendering"), ("Percent", 0.405, ""), ("Stages", (1 + 0.5) / 4, "solving")],
)
def test_progress_is_read_from_what_a_program_prints(habits: Lab, service: str, fraction: float, stage: str) -> None:
    habits.start(service, "one")
    shown = progress_of(habits, service, lambda p: p.fraction is not None and p.fraction >= fraction - 1e-9)
    assert shown.fraction == pytest.approx(fraction) and shown.stage == stage
    let_go(habits, service)


def test_a_script_s_printed_progress_is_read_too_in_its_own_folder_and_environment(habits: Lab) -> None:
    habits.start("InProcess", "one")
    assert progress_of(habits, "InProcess", lambda p: p.fraction is not None).fraction == 0.25
    let_go(habits, "InProcess", "kitchen")
    assert habits.status("InProcess", "one").outputs == {"result": "salt"}


def test_several_outputs_come_from_a_json_file_of_the_program_s_own_name(habits: Lab) -> None:
    habits.start("Json", "one")
    assert habits.ended("one").outputs == {"mean": 2.5, "count": 4}


@pytest.mark.parametrize(("status", "state"), [(0, State.COMPLETED), (2, State.COMPLETED), (1, State.FAILED)])
def test_an_exit_status_means_what_the_service_says(habits: Lab, status: int, state: State) -> None:
    habits.start("Warns", "one", status=status)
    assert habits.ended("one").state is state


def test_a_program_gets_the_environment_and_the_folder_that_its_service_says(habits: Lab) -> None:
    habits.start("Place", "one")
    assert habits.ended("one").outputs == {"result": "pepper kitchen"}


def test_a_program_that_holds_its_words_back_is_given_a_terminal(habits: Lab) -> None:
    habits.start("Terminal", "one")
    assert progress_of(habits, "Terminal", lambda p: p.fraction is not None).fraction == 0.07
    let_go(habits, "Terminal")
    assert habits.file("one", "log.txt") == "a terminal 80\n7 %\n"


def test_a_program_in_a_terminal_is_aborted_like_any_other(habits: Lab) -> None:
    habits.start("Terminal", "one")
    progress_of(habits, "Terminal", lambda p: p.fraction is not None)
    assert habits.jobs.abort(habits.services["Terminal"], "one", SHELL) is True
    assert habits.record("one").state is State.ABORTED and habits.left_of("one") == []


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"program": sys.executable, "status": 4}, " ended with the exit status 4."),
        ({"program": "a-program-that-nobody-has"}, "is not installed on this machine"),
    ],
)
def test_a_program_that_fails_in_between_fails_the_work(habits: Lab, inputs: dict[str, object], why: str) -> None:
    habits.start("RunsWrong", "one", **inputs)
    record = habits.ended("one")
    assert record.state is State.FAILED and why in record.why


def test_a_pattern_that_can_tell_no_progress_is_refused_in_words(habits: Lab) -> None:
    habits.start("BadPattern", "one")
    assert "needs a named group: (?P<percent>…)" in habits.ended("one").why


def test_what_one_execution_made_is_handed_to_the_next_by_name(habits: Lab, tmp_path: Path) -> None:
    (tmp_path / "files" / "hook.stl").write_text("solid")
    habits.start("Mould", "a b", pattern="hook.stl")
    assert habits.ended("a b").outputs == {"part": "a%20b/part.stl"}
    for number, name in enumerate(("a%20b/part.stl", "a b/part.stl")):
        habits.start("Mould", f"next{number}", pattern=name)
        assert habits.ended(f"next{number}").outputs == {"part": f"next{number}/part.stl"}


@pytest.mark.parametrize("wanted", ["nothing.stl", "../log.txt", "/etc/hostname", ".line.txt"])
def test_an_output_must_name_a_file_that_the_work_made(habits: Lab, tmp_path: Path, wanted: str) -> None:
    (tmp_path / "files" / "hook.stl").write_text("solid")
    habits.start("Mould", "one", pattern="hook.stl", wanted=wanted)
    record = habits.ended("one")
    assert record.state is State.FAILED
    why = "The file that the output part names is not in the folder data/ of the job, or hidden there by a dot."
    assert record.why == why


@pytest.mark.parametrize(
    "name",
    [
        "no.stl",
        "../secret.stl",
        "link.stl",
        ".hidden.stl",
        "one/../../secret.stl",
        "no-job/part.stl",
        "x\0.stl",
        "/x.stl",
        "//x.stl",
    ],
)
def test_an_input_can_t_name_what_is_not_there_to_be_named(habits: Lab, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.stl").write_text("secret")
    (tmp_path / "files" / ".hidden.stl").write_text("hidden")
    os.symlink(tmp_path / "secret.stl", tmp_path / "files" / "link.stl")
    with pytest.raises(InvalidParameter, match="The input pattern names no file"):
        habits.start("Mould", "one", pattern=name)
    assert not habits.folder("one").exists()


def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_taken(habits: Lab) -> None:
    with pytest.raises(InvalidParameter, match=r"must be the name of a \.stl file, not “hook.obj”"):
        habits.start("Mould", "one", pattern="hook.obj")


def test_the_same_start_again_is_no_error_though_its_file_has_gone(habits: Lab, tmp_path: Path) -> None:
    (tmp_path / "files" / "hook.stl").write_text("solid")
    habits.start("Mould", "one", pattern="hook.stl")
    habits.ended("one")
    (tmp_path / "files" / "hook.stl").unlink()
    assert habits.start("Mould", "one", pattern="hook.stl").completed


def test_what_a_program_printed_is_there_to_go_on_with(habits: Lab) -> None:
    habits.start("Printed", "one", lines=30_000)
    assert habits.ended("one").outputs == {"result": "29999 of 100000"}
