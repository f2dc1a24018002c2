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

WHOLE = (ROOT / "docs" / "testing.md").read_text()
PAGE, _, BRIDGED = WHOLE.partition("## Another program's simulator")
OVEN = '\n[instruments.oven]\ndriver = "_oven:Oven"\nport = "/dev/ttyS0"\nsafe = "itself"\n'
BATH = '[instruments.bath]\ndriver = "_julabo:Julabo"\nport = "/dev/serial/by-id/usb-bath"\nsafe = "itself"\n'


def blocks(kind: str = "text", page: str = PAGE) -> list[str]:
    return [text for of, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.S | re.M) if of == kind]


def write(lab: Path, page: str) -> str:
    """Write the page's files into a lab's folder; all of its Python."""
    for block in blocks("python", page):
        found = re.match(r"# ([\w/]+\.py)\n", block)
        assert found, block
        (lab / found[1]).parent.mkdir(parents=True, exist_ok=True)
        (lab / found[1]).write_text(block)
    return "".join(blocks("python", page))


def passes(lab: Path, code: str) -> None:
    """All of these tests do, and nothing is warned of."""
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(lab / "tmp")]
    done = subprocess.run([*pytest_, "tests"], cwd=lab, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert f"{len(re.findall(r'^def test_', code, re.M))} passed" in done.stdout and "warning" not in done.stdout


@pytest.mark.slow
def test_every_test_on_the_page_passes(tmp_path: Path) -> None:
    lab = tmp_path / "mylab"
    code = write(lab, PAGE)
    (lab / "env").touch()
    (lab / "lab.toml").write_text((ROOT / "lab.toml").read_text() + OVEN)
    services = lab / "app" / "services"
    services.mkdir(parents=True)
    for service in ("sweep.py", "printer.py"):
        shutil.copy(ROOT / "app" / "services" / service, services)
    driver = next(block.text for block in of("docs/instruments.md", "python") if "class Oven" in block.text)
    (services / "_oven.py").write_text(driver)
    (lab / "tests" / "oven.wire.txt").write_text(next(block for block in blocks() if block.startswith("# oven")))
    passes(lab, code)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("lewis") is None, reason="lewis is not installed: pip install lewis")
def test_the_bath_of_the_page_works_with_another_s_simulator(tmp_path: Path) -> None:
    lab = tmp_path / "mylab"
    code = write(lab, BRIDGED)
    (lab / "env").touch()
    (lab / "lab.toml").write_text(BATH)
    passes(lab, code)


def test_where_a_driver_goes_another_way_is_told_as_the_page_shows() -> None:
    shown = next(block for block in blocks() if block.startswith("The driver went"))
    hello = (b"*IDN?\n", b"ACME,T100,1\r\n")
    dialogue = Dialogue([hello, (b"TEMP?\n", b"21.5\r\n"), (b"SET 80.0\n", None), hello, (b"SET?\n", b"80.0\r\n")])
    for sent in (b"*IDN?\n", b"TEMP?\n", b"SET 80\n"):
        dialogue.receive(sent)
    assert dialogue.in_words() + "\n" == shown


def test_every_ending_is_on_the_page_and_all_that_is_told_of_it() -> None:
    table = next(block for block in blocks() if block.startswith("ENDING"))
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
