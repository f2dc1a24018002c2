"""labwaiter init: what is made, what is left as it was, and what a name or a disk that can't be gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.init.lab_folder import host
from labwaiter.shipped import FOLDER as SHIPPED

SCRIPTS = ("build.sh", "rebuildandrun.sh", "run.sh", "stop.sh", "test.sh")
Init = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """Call labwaiter init as a shell does."""

    def call(*words: str | bytes, cwd: Path = tmp_path, **more: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "labwaiter", "init", *words]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **more)  # type: ignore[call-overload,no-any-return]

    return call


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def test_two_words_make_a_lab(init: Init, tmp_path: Path) -> None:
    done = init("My lab")
    assert (done.returncode, done.stderr) == (0, "")
    lab = tmp_path / "My lab"
    assert done.stdout.endswith("Next: cd 'My lab', ./rebuildandrun.sh, ./test.sh\n")
    assert {"env", "lab.toml", "Dockerfile", ".dockerignore", ".gitignore", "README.md", *SCRIPTS} < names(lab)
    assert {"app/grow.py", "app/services/grower.py", "tests/test_grower.py", "test_client/client.py"} < names(lab)
    assert all(os.access(lab / name, os.X_OK) for name in (*SCRIPTS, "test_client/client.py"))
    texts = [path.read_text() for path in lab.rglob("*") if path.is_file() and ".venv" not in path.parts]
    assert not [text for text in texts if "LAB_NAME" in text or "LAB_HOST" in text or str(tmp_path) in text]
    assert (lab / "README.md").read_text().startswith("# My lab\n")
    assert "http://my-lab.example/grower/" in (lab / "app" / "services" / "grower.py").read_text()
    assert (lab / ".venv").resolve() == Path(sys.prefix).resolve()
    assert os.listdir(tmp_path) == ["My lab"]


def test_it_says_as_json_what_it_made(init: Init, tmp_path: Path) -> None:
    said = json.loads(init("mylab", "--json").stdout)
    assert said["folder"] == str(tmp_path / "mylab") and said["left"] == []
    assert set(said["made"]) == names(tmp_path / "mylab")


def test_a_folder_with_files_is_refused_and_with_here_keeps_all_of_them(init: Init, tmp_path: Path) -> None:
    lab = tmp_path / "mylab"
    (lab / "app").mkdir(parents=True)
    (lab / "README.md").write_text("mine")
    (lab / "app" / "grow.py").symlink_to("/nowhere")
    refused = init("mylab")
    assert refused.returncode == 2 and refused.stderr == (
        f"Error: {lab} is not empty: with --here what a lab has and it lacks is added, and no file is touched.\n"
    )
    assert names(lab) == {"README.md", "app/grow.py"}
    done = init("--here", cwd=lab)
    assert done.returncode == 0 and "Left as they were: README.md, app/grow.py.\n" in done.stdout, done.stderr
    assert done.stdout.endswith("Next: ./rebuildandrun.sh, ./test.sh\n")
    assert (lab / "README.md").read_text() == "mine" and os.readlink(lab / "app" / "grow.py") == "/nowhere"
    assert (lab / "env").is_file()
    again = init("--here", cwd=lab)
    assert again.returncode == 0 and "nothing was added" in again.stdout


def test_an_empty_folder_is_one_to_begin_in(init: Init, tmp_path: Path) -> None:
    inside = tmp_path / "mylab"
    inside.mkdir()
    assert init(".", cwd=inside).returncode == 0
    assert (inside / "env").is_file()


@pytest.mark.parametrize(
    "name, why",
    [
        ("a:b", "take a name of printable letters, without colons"),
        ("a\nb", "take a name of printable letters, without colons"),
        (b"a\xfc", "take a name of printable letters, without colons"),
        ("/", "take a name of printable letters, without colons"),
        ("x" * 300, "File name too long"),
        ("no/such/place", "no/such, where place shall be made, is not there: make it first."),
    ],
)
def test_a_name_that_can_t_be_is_one_sentence(init: Init, tmp_path: Path, name: str | bytes, why: str) -> None:
    done = init(name)
    assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert os.listdir(tmp_path) == []


def test_without_a_name_and_where_a_file_is_it_says_what_to_do(init: Init, tmp_path: Path) -> None:
    assert "Name the folder that shall be made, or say --here for this one." in init().stderr
    (tmp_path / "file").touch()
    assert init("file").stderr == f"Error: {tmp_path / 'file'} is there already, and no folder.\n"
    done = init("file", "--here")
    assert done.returncode == 2 and "no folder" in done.stderr
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "app").touch()  # where a folder has to be
    done = init("lab", "--here")
    assert done.returncode == 2 and done.stderr == (
        f"Error: {tmp_path / 'lab'} can't be made a lab: app is there, and no folder."
        " Give that another name, and say it again.\n"
    )
    assert os.listdir(tmp_path / "lab") == ["app"]


def test_no_name_at_all_is_not_this_folder(init: Init, tmp_path: Path) -> None:
    done = init("")
    assert done.returncode == 2 and "Name the folder that shall be made" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["a folder", "a link that leads nowhere"])
def test_an_env_that_is_no_file_leaves_no_folder_that_is_half_a_lab(init: Init, tmp_path: Path, kind: str) -> None:
    env = tmp_path / "env"  # an environment of Python's, perhaps
    env.mkdir() if kind == "a folder" else env.symlink_to("/nowhere")
    done = init("--here")
    assert done.returncode == 2 and done.stderr == (
        f"Error: {tmp_path} can't be made a lab: env is there, and no file. Give that another name, and say it again.\n"
    )
    assert os.listdir(tmp_path) == ["env"]


def test_what_it_says_to_do_next_can_be_done(init: Init, tmp_path: Path) -> None:
    done = init("--", "-x")
    assert "Next: cd ./-x, " in done.stdout
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    assert "README.md tells more" not in init("mine", "--here").stdout


def test_where_nobody_may_write_nothing_is_left(init: Init, small_disk: Path) -> None:
    (small_disk / "there").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for words in (("new",), ("there",)):
        done = init(*words, cwd=small_disk)
        assert done.returncode == 2 and "can't be made a lab: Read-only file system" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert os.listdir(small_disk) == ["there"] and os.listdir(small_disk / "there") == []


@pytest.mark.parametrize("there", [True, False], ids=["a folder that has files", "a new one"])
def test_a_disk_that_is_full_midway_leaves_nothing(init: Init, small_disk: Path, there: bool) -> None:
    lab = small_disk / "mylab"
    before = []
    if there:
        lab.mkdir()
        (lab / "mine").touch()
        before = ["mine"]
    with open(small_disk / "full", "wb") as full:
        full.write(b"x" * (4 << 20) if not there else b"x" * ((4 << 20) - (5 << 12)))
        full.truncate((4 << 20) - (8 << 12))
    done = init(str(lab), "--here")
    assert done.returncode == 2 and "No space left on device" in done.stderr, done.stderr
    assert done.stderr.startswith(f"Error: {lab} can't be made a lab: ") and "Nothing was left there." in done.stderr
    assert sorted(os.listdir(small_disk)) == (["full", "mylab"] if there else ["full"])
    assert not there or os.listdir(lab) == before


def test_a_forge_has_its_workflow_and_the_wheel_that_it_installs(init: Init, tmp_path: Path) -> None:
    done = init("mylab", "--forge", "github", "--forge", "gitlab")
    assert done.returncode == 0, done.stderr
    made = names(tmp_path / "mylab")
    assert {".github/workflows/tests.yml", ".gitlab-ci.yml"} < made
    assert len([name for name in made if name.startswith("wheels/labwaiter-") and name.endswith(".whl")]) == 1
    assert "wheels" not in (tmp_path / "mylab" / ".gitignore").read_text()
    refused = init("other", "--forge", "sourceforge")
    assert refused.returncode == 2 and "'github'" in refused.stderr and not (tmp_path / "other").exists()


@pytest.mark.parametrize("script", [*SCRIPTS, "test_client/client.py"])
def test_a_clone_has_the_same_short_scripts(script: str) -> None:
    ours, shipped = ROOT / script, SHIPPED / "lab" / script
    assert ours.read_bytes() == shipped.read_bytes()
    assert os.access(ours, os.X_OK)


def test_a_clone_s_image_differs_in_nothing_but_labwaiter_itself() -> None:
    ours, shipped = ((place / "Dockerfile").read_text() for place in (ROOT, SHIPPED / "lab"))
    ours, shipped = (text[text.index("FROM ") :].replace("\\\n   ", "") for text in (ours, shipped))
    only_ours = [line for line in ours.splitlines() if line not in shipped.splitlines()]
    only_shipped = [line for line in shipped.splitlines() if line not in ours.splitlines()]
    assert [line.split()[0] for line in only_shipped] == ["#", "COPY", "RUN", "LABEL"], only_shipped
    assert [line for line in only_ours if "labwaiter" not in line and not line.startswith(("RUN pip", "COPY"))] == []


@pytest.mark.parametrize("name", ["mylab", "My Lab", "Prüfstand ä", "漢字", "-a_b.c-", "LAB42"])
def test_a_container_and_the_namespaces_have_the_same_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    call = f'root=$1 python=p; . "{SHIPPED}/scripts/engine.sh"; echo "$name $image"'
    said = subprocess.run(["bash", "-euc", call, "bash", tmp_path / name], capture_output=True, text=True, check=True)
    assert said.stdout == f"{host(name)} labwaiter-{host(name)}\n"
