"""What is built holds all that is ours: the wheel is the package, the sdist the clone."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from clone import Clone
from here import ROOT
from labwaiter import __version__

BUILD = "from setuptools import build_meta; import sys; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def built(kind: str, folder: Path, source: Path) -> Path:
    """A wheel or an sdist, by the build system's own call, as any front end makes it."""
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone: what is built stays out of this one."""
    return Clone(tmp_path_factory.mktemp("clone")).folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    for name in ("app/labwaiter/__pycache__/old.pyc", "app/labwaiter/shipped/__pycache__/old.pyc"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("")
    return zipfile.ZipFile(built("wheel", tmp_path_factory.mktemp("wheel"), clone))


def known(clone: Path, *below: str) -> set[str]:
    """The files of the clone, as git knows them."""
    files = (str(file.relative_to(clone)) for file in clone.rglob("*") if file.is_file())
    return {
        file
        for file in files
        if file.startswith(below) and not re.search(r"__pycache__|\.egg-info/|^build/|^app/build/", file)
    }


def test_the_wheel_holds_the_package_s_files_and_no_others(clone: Path, wheel: zipfile.ZipFile) -> None:
    ours = {f"app/{name}" for name in wheel.namelist() if ".dist-info/" not in name}
    assert ours == known(clone, "app/labwaiter/", "app/_labwaiter_pytestplugin.py")
    info = {name.partition(".dist-info/")[2] for name in wheel.namelist() if ".dist-info/" in name}
    assert info == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


def test_the_sdist_holds_the_clone_and_makes_the_same_wheel(
    clone: Path, wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    file = built("sdist", tmp_path, clone)
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
        archive.extractall(tmp_path, filter="data")
    hidden = {name for name in known(clone, "") if any(part.startswith(".") for part in name.split("/"))}
    assert known(clone, "") - hidden - names == set()
    made = {name for name in names if ".egg-info/" in name or name in ("PKG-INFO", "setup.cfg")}
    assert names - made - known(clone, "") == set()
    again = zipfile.ZipFile(built("wheel", tmp_path, tmp_path / file.name.removesuffix(".tar.gz")))
    assert {i.filename: i.CRC for i in again.infolist() if not i.filename.endswith("RECORD")} == {
        i.filename: i.CRC for i in wheel.infolist() if not i.filename.endswith("RECORD")
    }


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    told = email.message_from_bytes(wheel.read(f"labwaiter-{__version__}.dist-info/METADATA"))
    assert told["Name"] == "labwaiter" and told["Version"] == __version__ and told["License-Expression"] == "MIT"
    assert told["Requires-Python"] == ">=3.11" and told["Description-Content-Type"] == "text/markdown"
    assert {"Typing :: Typed", "Operating System :: POSIX :: Linux"} <= {*told.get_all("Classifier", [])}
    assert told["Keywords"] and "labwaiter/py.typed" in wheel.namelist()
    needed = [text for text in told.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert needed and not any("matplotlib" in text for text in needed)


def test_the_changelog_s_newest_release_is_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert next(heading for heading in headings if heading != "Unreleased") == __version__
