"""Which lab is meant: the one that is named, or the nearest from the working folder upwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labwaiter import Client
from labwaiter.errors import Misconfigured
from labwaiter.layout import FORM
from labwaiter.settings import file_of, load


def made(folder: Path, env: str = "") -> Path:
    """A lab's folder."""
    (folder / "app" / "services").mkdir(parents=True)
    (folder / "env").write_text(env)
    return folder


def meant(**environ: str) -> Path:
    return load(environ).folder


def refused(**environ: str) -> str:
    with pytest.raises(Misconfigured) as error:
        load(environ)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that lies in no lab."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_the_nearest_folder_upwards_that_has_env_and_app(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = made(outside / "outer")
    inner = made(outer / "data" / "inner", "PORT=8099\n")
    for start, lab in ((outer, outer), (outer / "data", outer), (inner / "app" / "services", inner)):
        monkeypatch.chdir(start)
        assert meant() == lab
    assert load({}).port == 8099 and load({}).services == inner / "app" / "services"


def test_an_environment_of_python_s_that_is_called_env_makes_no_lab(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = made(outside / "lab")
    other = lab / "notebooks"
    (other / "env" / "bin").mkdir(parents=True)
    (other / "app").mkdir()
    monkeypatch.chdir(other)
    assert meant() == lab


def test_without_any_nothing_is_guessed(outside: Path) -> None:
    said = refused()
    assert said.startswith(f"{outside} lies in no lab: no folder from it upwards has a file env and a folder app.")
    assert "labwaiter --deployment FOLDER" in said
    with pytest.raises(Misconfigured, match="lies in no lab"):
        Client()


def test_a_folder_that_is_named_wins_over_the_working_folder(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, named = made(outside / "here"), made(outside / "named")
    monkeypatch.chdir(here)
    assert meant(LABWAITER_DEPLOYMENT=str(named)) == named
    assert meant(LABWAITER_DEPLOYMENT="../named") == named
    assert meant(LABWAITER_DEPLOYMENT="") == here
    monkeypatch.setenv("LABWAITER_DEPLOYMENT", str(named))
    assert Client().settings.folder == named


def test_what_is_named_and_is_no_lab_is_told_why(outside: Path) -> None:
    lab = made(outside / "lab")
    assert refused(LABWAITER_DEPLOYMENT=str(outside / "gone")) == f"{outside}/gone is no lab: there is no such folder."
    assert refused(LABWAITER_DEPLOYMENT=str(lab / "app")) == (
        f"{lab}/app is no lab: it has no file env; the lab is {lab}."
    )
    assert refused(LABWAITER_DEPLOYMENT=str(lab / "env")) == f"{lab}/env is no lab: it is no folder; the lab is {lab}."
    (lab / "app" / "services").rmdir()
    (lab / "app").rmdir()
    assert refused(LABWAITER_DEPLOYMENT=str(lab)) == f"{lab} is no lab: it has no folder app."


def test_a_file_env_that_is_named_is_the_file_itself(outside: Path) -> None:
    made(outside)
    elsewhere = outside / "elsewhere" / "of-tests"
    elsewhere.parent.mkdir()
    elsewhere.write_text("PORT=8098\n")
    settings = load({"LABWAITER_ENV": "elsewhere/of-tests"})
    assert settings.port == 8098 and settings.jobs_folder == elsewhere.parent / "waiter_logs"
    assert refused(LABWAITER_ENV=str(outside / "evn")).startswith(f"LABWAITER_ENV names the file {outside}/evn, which")


def test_two_that_contradict_each_other_are_refused_and_two_that_agree_are_not(outside: Path) -> None:
    one, other = made(outside / "one"), made(outside / "other")
    said = refused(LABWAITER_DEPLOYMENT=str(one), LABWAITER_ENV=str(other / "env"))
    assert said.startswith(f"Two labs are named: {one} (") and f"and {other}/env (LABWAITER_ENV)." in said
    (one / "of-tests").write_text("PORT=8097\n")
    assert load({"LABWAITER_DEPLOYMENT": str(one), "LABWAITER_ENV": str(one / "of-tests")}).port == 8097


def test_env_may_be_a_link_to_where_an_orchestrator_puts_it(outside: Path) -> None:
    lab = made(outside / "lab")
    (outside / "mounted").write_text("PORT=8096\n")
    (lab / "env").unlink()
    (lab / "env").symlink_to(outside / "mounted")
    settings = load({"LABWAITER_DEPLOYMENT": str(lab)})
    assert settings.port == 8096 and settings.jobs_folder == lab / "waiter_logs"


def test_processes_of_ours_mean_the_same_lab_wherever_they_work(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = made(outside / "lab")
    (lab / "of-tests").write_text("")
    monkeypatch.chdir(lab)
    for environ in ({}, {"LABWAITER_ENV": "env"}, {"LABWAITER_ENV": "of-tests"}, {"LABWAITER_DEPLOYMENT": "."}):
        monkeypatch.chdir(lab)
        settings = load(environ)
        monkeypatch.chdir("/")
        assert load(settings.naming).env_file == settings.env_file == file_of(settings.naming)


def test_what_a_newer_labwaiter_has_used_is_left_alone(outside: Path) -> None:
    lab = made(outside / "lab")
    layout = load({"LABWAITER_DEPLOYMENT": str(lab)}).layout
    layout.folder.mkdir(parents=True)
    for written in ("", "no number", f"{FORM}\n"):
        layout.form.write_text(written)
        assert meant(LABWAITER_DEPLOYMENT=str(lab)) == lab
    layout.form.write_text(f"{FORM + 1}\n")
    said = refused(LABWAITER_DEPLOYMENT=str(lab))
    assert said.startswith(f"A newer labwaiter than this one has used {lab}/waiter_logs: use that one")
    layout.form.unlink()
    os.mkfifo(layout.form)
    assert meant(LABWAITER_DEPLOYMENT=str(lab)) == lab
