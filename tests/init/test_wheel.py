"""labwaiter wheel: what is installed, as a wheel again."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from labwaiter import __version__
from labwaiter.init import wheel


def test_it_is_a_whole_wheel_and_the_same_each_time(tmp_path: Path) -> None:
    first = wheel.pack(tmp_path / "wheels")
    assert first.name == f"labwaiter-{__version__}-py3-none-any.whl"
    content, before = first.read_bytes(), first.stat()
    assert wheel.pack(tmp_path / "wheels") == first and first.stat().st_mtime_ns == before.st_mtime_ns
    assert wheel.pack(tmp_path / "others").read_bytes() == content
    with zipfile.ZipFile(first) as archive:
        held = set(archive.namelist())
    info = f"labwaiter-{__version__}.dist-info"
    assert {f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD", f"{info}/entry_points.txt"} <= held
    assert {"labwaiter/__init__.py", "labwaiter/shipped/lab/env", "labwaiter/shipped/scripts/engine.sh"} <= held
    assert not [name for name in held if "pyc" in name or "direct_url" in name or "__editable__" in name]


def test_pip_takes_it_and_what_it_installs_is_packed_the_same(tmp_path: Path) -> None:
    first, there = wheel.pack(tmp_path), tmp_path / "there"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--target", there, first], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    command = [sys.executable, "-P", "-m", "labwaiter", "wheel", "again"]
    environment = os.environ | {"PYTHONPATH": str(there)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == f"Wrote again/{first.name}.\n", done.stderr
    assert (tmp_path / "again" / first.name).read_bytes() == first.read_bytes()
    lost = there / "labwaiter" / "shipped" / "lab" / "env"
    lost.unlink()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == (
        f"Error: labwaiter's installation is not whole: {lost} can't be read (No such file or directory). Install it"
        " again.\n"
    )


def test_another_version_s_wheel_is_replaced_and_other_wheels_stay(tmp_path: Path) -> None:
    for name in ("labwaiter-0.1.0-py3-none-any.whl", "driver-1.0-py3-none-any.whl"):
        (tmp_path / name).touch()
    made = wheel.pack(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {made.name, "driver-1.0-py3-none-any.whl"}
