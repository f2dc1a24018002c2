"""docs/testing.md: its tests run in a lab's folder as they stand there, and what it shows is what comes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import of

from here import ROOT
from labwaiter.testing import ENDINGS, Dialogue, Ending, Execution, Lab

PAGE = (ROOT / "docs" / "testing.md").read_text()
OVEN = '\n[instruments.oven]\ndriver = "_oven:Oven"\nport = "/dev/ttyS0"\nsafe = "itself"\n'


def blocks(kind: str) -> list[str]:
    return [block.text for block in of("docs/testing.md", kind)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lab's folder with the tests of the page, and the driver of docs/instruments.md."""
    lab = tmp_path / "mylab"
    for part in ("app/services", "tests"):
        (lab / part).mkdir(parents=True)
    (lab / "env").touch()
    (lab / "lab.toml").write_text((ROOT / "lab.toml").read_text() + OVEN)
    for service in ("sweep.py", "printer.py"):
        shutil.copy(ROOT / "app" / "services" / service, lab / "app" / "services")
    (driver, *_) = of("docs/instruments.md", "python")
    (lab / "app" / "services" / "_oven.py").write_text(driver.text)
    for block in blocks("python"):
        (lab / re.match(r"# (tests/\w+\.py)\n", block)[1]).write_text(block)  # type: ignore[index]
    (lab / "tests" / "oven.wire.txt").write_text(next(block for block in blocks("text") if block.startswith("# oven")))
    return lab


@pytest.mark.slow
def test_every_test_on_the_page_passes(folder: Path) -> None:
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "tmp")]
    done = subprocess.run([*pytest_, "tests"], cwd=folder, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    count = len(re.findall(r"^def test_", "".join(blocks("python")), re.M))
    assert f"{count} passed" in done.stdout and "warning" not in done.stdout


def test_where_a_driver_goes_another_way_is_told_as_the_page_shows() -> None:
    shown = next(block for block in blocks("text") if block.startswith("The driver went"))
    hello = (b"*IDN?\n", b"ACME,T100,1\r\n")
    dialogue = Dialogue([hello, (b"TEMP?\n", b"21.5\r\n"), (b"SET 80.0\n", None), hello, (b"SET?\n", b"80.0\r\n")])
    for sent in (b"*IDN?\n", b"TEMP?\n", b"SET 80\n"):
        dialogue.receive(sent)
    assert dialogue.in_words() + "\n" == shown


def test_every_ending_is_on_the_page_and_all_that_is_told_of_it() -> None:
    table = next(block for block in blocks("text") if block.startswith("ENDING"))
    assert [line.split("  ")[0] for line in table.splitlines()[1:]] == list(ENDINGS)
    rows = PAGE.partition("| ending |")[2].partition("What is pulled")[0]
    assert re.findall(r"^\| `([\w ]+)` \|", rows, re.M) == list(ENDINGS)
    told = PAGE.partition("gives the same as data")[2].partition("\n")[0]
    assert {*re.findall(r"`(\w+)`", told)} == {*Ending.__dataclass_fields__}


def test_what_the_page_names_is_there() -> None:
    tables = PAGE.partition("## A service")[2].partition("Each wait has")[0]
    first, second = tables.split("has besides")
    for name in re.findall(r"`lab\.(\w+)", first):
        assert hasattr(Lab, name) or name in ("files", "environment"), name
    for row in re.findall(r"^\| (`.*?`) \| ", second, re.M):
        for name in re.findall(r"`(\w+)", row):
            assert hasattr(Execution, name), name
