"""What one service, job or program does to its process reaches no other."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator

import pytest
from ways import HERE

from lab import Lab
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Record, State


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A deployment of services that get in each other's way, if they can."""
    root = tmp_path_factory.mktemp("apart")
    shutil.copytree(HERE / "samples" / "apart", root / "services")
    lab = Lab(root / "jobs", root / "services")
    lab.supervise()
    yield lab
    lab.close()


def result(lab: Lab, service: str, service_id: str, **inputs: object) -> str:
    """What an execution gave, once it has completed."""
    lab.start(service, service_id, **inputs)
    record = ended(lab, service_id)
    assert record.state is State.COMPLETED and record.outputs is not None, record.why
    return str(record.outputs["result"])


def ended(lab: Lab, service_id: str) -> Record:
    record = lab.jobs.wait(service_id, 60, SHELL)
    assert not record.active, f"{service_id} is still {record.state}"
    return record


# -- modules --------------------------------------------------------------------------------------


def test_two_services_have_each_a_model_of_their_own(apart: Lab) -> None:
    assert result(apart, "Alpha", "a") == "alpha's"
    assert result(apart, "Beta", "b") == "beta's"


def test_scripts_have_each_their_own_config_and_begin_anew(apart: Lab) -> None:
    assert result(apart, "TwoConfigs", "configs") == "one! 1 two! 1 one! 1"


# -- the process ----------------------------------------------------------------------------------


def test_what_one_service_changes_no_other_finds_changed(apart: Lab) -> None:
    before = json.loads(result(apart, "Looking", "before"))
    assert before["function"]["decimal"].count("3") == 28 and before["function"]["SPICE"] is None
    assert before["function"]["folder"] == before["script"]["folder"] == "<job>/data"
    assert before["script"] == before["function"]
    for number in range(3):
        assert result(apart, "Changing", f"changes {number}") == "the function"
    assert json.loads(result(apart, "Looking", "after")) == before


def test_a_program_s_environment_is_its_own(apart: Lab) -> None:
    assert result(apart, "Environments", "environments") == "salt none pepper none none"


def test_what_a_function_sets_of_its_process_its_programs_have(apart: Lab) -> None:
    assert result(apart, "Handed", "handed") == "salt 0o77 salt 0o77"


# -- what is opened -------------------------------------------------------------------------------


def test_what_is_opened_at_the_top_of_a_service_s_file_works(apart: Lab) -> None:
    names = []
    for number in range(4):
        name = f"opening {number}"
        by_program = number % 2 == 1
        assert result(apart, "Opening", name, by_program=by_program) == "opened.txt opened.log heard"
        assert (apart.folder(name) / "log.txt").read_text() == "into the log\n"
        names.append(name)
    folder = apart.settings.services
    assert (folder / "opened.txt").read_text().splitlines() == names
    assert (folder / "opened.log").read_text().splitlines() == names
    with sqlite3.connect(folder / "opened.db") as database:
        assert [row for (row,) in database.execute("select job from readings")] == names
    database.close()


# -- several programs -----------------------------------------------------------------------------


@pytest.mark.parametrize("script", [False, True])
def test_programs_at_the_same_time_have_each_their_folder_and_their_text(apart: Lab, script: bool) -> None:
    name = f"cases {script}"
    assert result(apart, "Cases", name, count=24, script=script) == "[] wrong, the folder is the same"
    data = apart.folder(name) / "data"
    assert {f.name for f in data.iterdir()} == {"case.py", "of the function.txt", *(f"case{n}" for n in range(24))}
    for number in range(24):
        assert [(f.name, f.read_text()) for f in (data / f"case{number}").iterdir()] == [("case.txt", str(number))]


def test_job_run_in_a_forked_process_is_refused_in_a_sentence(apart: Lab) -> None:
    said = result(apart, "RunsInAProcess", "in a process")
    assert "process" in said and said.endswith(".") and "Error" not in said


def test_job_run_in_threads(apart: Lab) -> None:
    assert result(apart, "RunsInAThread", "in threads") == "ran; false ended with the exit status 1."


# -- processes that import the service's file --------------------------------------------------------


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Pool", "left open", "executor", "executor left open"])
def test_functions_and_classes_of_a_service_s_file_reach_other_processes(apart: Lab, context: str, kind: str) -> None:
    assert result(apart, "Pools", f"{context} {kind}", context=context, kind=kind) == "[1, 4, 9]"


def test_a_sigterm_ends_a_fork_however_early_it_comes(apart: Lab) -> None:
    assert result(apart, "Terminates", "terminates") == "{15: 100}"


@pytest.mark.parametrize("library", ["loky", "joblib"])
def test_they_reach_other_libraries_processes_too(apart: Lab, library: str) -> None:
    pytest.importorskip(library)
    assert result(apart, library.title(), library) == "[1, 4]"


def test_a_pickle_of_a_service_s_class_names_a_module_that_others_can_import(apart: Lab) -> None:
    assert result(apart, "Pickles", "pickles") == "21.5 21.5"
