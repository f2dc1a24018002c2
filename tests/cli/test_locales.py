"""The commands in locales whose letters aren't Unicode's: made by the C library's own localedef."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from here import ROOT

SERVICE = '''
from typing import Annotated
from labwaiter import Job, Outputs, Range, service

class Measured(Outputs):
    resistance: Annotated[float, Range(0, None, "Ω")]

@service("Measure", namespace="http://samples.example/")
def startMeasure(job: Job, current: Annotated[float, Range(0, 1, "µA")] = 0.5) -> Measured:
    """Measure a resistance in Ω – with a “probe”."""
    return Measured(resistance=1.0)
'''


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody whose locale is de_DE.ISO-8859-1."""
    folder, name = tmp_path_factory.mktemp("locales"), "de_DE.ISO-8859-1"
    if shutil.which("localedef") is None:
        pytest.skip("no localedef")
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", folder / name], capture_output=True)
    if made.returncode:
        pytest.skip("the C library's sources of locales are not installed")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    return kept | {"LOCPATH": str(folder), "LC_ALL": name, "PYTHONPATH": str(ROOT / "app")}


def labwaiter(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "labwaiter", *words], env=environment, capture_output=True)


@pytest.mark.parametrize(
    "words",
    [("check", "{}"), ("instruments", "list"), ("services",), ("run", "Nope"), ("jobs", "show", "Ω"), ("--help",)],
)
def test_a_locale_without_the_letter_costs_the_letter_and_nothing_else(
    german: dict[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "probe.py"
    file.write_text(SERVICE, encoding="utf-8")
    environment = german | {"WAITER_LOG_FOLDER": str(tmp_path / "jobs"), "FILES_FOLDER": str(tmp_path / "files")}
    latin = labwaiter(environment, *(word.format(file) for word in words))
    unicode = labwaiter(environment | {"LC_ALL": "C.UTF-8"}, *(word.format(file) for word in words))
    assert latin.returncode == unicode.returncode
    assert b"Traceback" not in latin.stdout + latin.stderr
    for ours, theirs in ((latin.stdout, unicode.stdout), (latin.stderr, unicode.stderr)):
        expected = theirs.decode().encode("latin-1", "replace")
        assert re.sub(rb"\?+", b"?", ours) == re.sub(rb"\?+", b"?", expected)


NAMES = r"""
import json, os, sys
from pathlib import Path
from labwaiter.store.artifacts import Artifacts, name_of
from labwaiter.settings import load

settings = load({}, Path(os.fsdecode(sys.argv[1].encode())) / "env")
data = settings.jobs_folder / "one" / "data"
told = sorted(name_of(settings.jobs_folder, "one", os.fsdecode(name)) for name in os.listdir(os.fsencode(data)))
artifacts = Artifacts(settings)
print(json.dumps([
    os.fsencode(settings.jobs_folder).hex(),
    told,
    [os.fsencode(artifacts.find(name)).hex() for name in [*told, "\u00fc.stl"]],
    artifacts.listing("one"),
]))
"""


def test_the_same_settings_and_names_are_the_same_files_in_every_locale(german: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes("WAITER_LOG_FOLDER=aufträge\nFILES_FOLDER=größen\n".encode())
    data, files = tmp_path / "aufträge" / "one" / "data", tmp_path / "größen"
    data.mkdir(parents=True)
    files.mkdir()
    (files / "ü.stl").touch()
    for name in ("müll.txt".encode(), b"m\xfcll.txt", b"plain.txt"):
        (data / os.fsdecode(name)).touch()
    found = []
    for locale in ({}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}):
        done = subprocess.run(
            [sys.executable, "-c", NAMES, str(tmp_path)], env=german | locale, capture_output=True, check=True
        )
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] == found[2]
    assert bytes.fromhex(found[0][0]) == os.fsencode(tmp_path / "aufträge")
    assert found[0][1] == ["one/m%FCll.txt", "one/müll.txt", "one/plain.txt"]
