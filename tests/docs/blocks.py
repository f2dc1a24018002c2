"""The code blocks of README.md and docs/: what each is, and how it is tried.

A block says its kind behind its fence: `shell`, `python` and `toml` are tried, in the order of their page, in a lab
that the page has for itself (`Story`); `text` is what something prints, or a drawing, and other kinds are other
programs' files. A comment before a block says what else holds of it:

    <!-- run as: app/services/grower.py -->   it is that file of the lab; a service is checked
    <!-- run by: tests/x/test_y.py -->        that test does what it shows, since it takes more than a lab
    <!-- not run: why -->

A `shell` block runs as it stands, and must succeed. In one with lines that begin with `$ `, these are the commands, and
the others what they print; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from here import ROOT
from labwaiter.testing.ports import free_port

TRIED = ("shell", "python", "toml")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^( *)(`{3,})(.*)$")
_NOTE = re.compile(r"^ *<!-- (run as|run by|not run): (.*?) -->$", re.S)


@dataclass(frozen=True)
class Block:
    """One, with the number of its first line and what a comment before it says."""

    page: str
    line: int
    kind: str
    text: str
    note: str = ""
    said: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def of(page: str, kind: str = "", word: str = "") -> list[Block]:
    """Those of a page, by its name from ROOT; of one kind, and with that word in them."""
    lines = (ROOT / page).read_text().splitlines()
    found, at = [], 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if not fence:
            at += 1
            continue
        end = next(n for n in range(at + 1, len(lines)) if lines[n].strip() == fence[2])
        text = textwrap.dedent("\n".join(lines[at + 1 : end]) + "\n")
        note = _NOTE.match(_comment_before(lines, at))
        found.append(Block(page, at + 1, fence[3].strip(), text, *(note.groups() if note else ())))
        at = end + 1
    return [block for block in found if block.kind.startswith(kind) and word in block.text]


def _comment_before(lines: list[str], at: int) -> str:
    """The comment that ends on the last line before this one that isn't blank, or ""."""
    end = at - 1
    while end >= 0 and not lines[end].strip():
        end -= 1
    begin = end
    while begin >= 0 and "<!--" not in lines[begin] and lines[begin].strip():
        begin -= 1
    return "\n".join(lines[begin : end + 1]) if end >= 0 and lines[end].endswith("-->") else ""


def prose(page: Path) -> str:
    """A document but for its blocks of code."""
    return re.sub(r"^ *(`{3,}).*?^ *\1 *$", "", page.read_text(), flags=re.M | re.S)


ALL = [block for page in PAGES for block in of(str(page.relative_to(ROOT)))]


def runs(block: Block) -> bool:
    """Whether the page's story has it."""
    return block.kind in ("shell", "python") and block.note in ("", "run as") or block.note == "run as"


class Story:
    """A place in which the blocks of a page are tried one after the other, each in the folder in which the last ended.

    It is a lab as this clone is one; or, for a page that begins by making a lab, an empty folder.
    """

    def __init__(self, page: str, folder: Path) -> None:
        self.folder = self.at = folder
        self.blocks = [block for block in of(page) if runs(block)]
        self._makes_its_own = "labwaiter init " in self.blocks[0].text
        self.port = free_port()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        kept["PATH"] = f"{Path(sys.prefix, 'bin')}:{kept['PATH']}"
        self.environment = {**kept, "ENGINE": "none", "BROWSER": "true", "PORT": str(self.port)}
        folder.mkdir(parents=True)
        if not self._makes_its_own:
            self._copy_this_one()

    def _copy_this_one(self) -> None:
        listed = ["git", "ls-files", "-co", "--exclude-standard", "app/services", "app/labs", "app/*.py", "test_client"]
        listed += ["examples", "*.sh", "deploy", "env", "lab.toml"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            if "/labwaiter/" not in name:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)
        for workflow in (self.folder / "examples").glob("*.toml"):
            workflow.write_text(self._here(workflow.read_text()))
        (self.folder / "waiter_files").mkdir()
        shutil.copy(ROOT / "examples" / "bracket.stl", self.folder / "waiter_files")
        (self.folder / ".venv").symlink_to(Path(sys.prefix))
        (self.folder / "app" / "grow.py").write_text(GROW)

    def run(self) -> Iterator[Block]:
        """Do what the blocks show, one after the other."""
        for block in self.blocks:
            if not self._makes_its_own and self.labwaiter("health").returncode:
                self.labwaiter("start")
            self._tell(block)
            yield block

    def end(self) -> None:
        """Stop what runs in it."""
        self.labwaiter("stop")

    def _here(self, text: str) -> str:
        """A text with the port of this lab in the place of the usual one."""
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")

    def labwaiter(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the lab."""
        return self._run(["labwaiter", *words])

    def _tell(self, block: Block) -> None:
        """Do what a block shows."""
        text = self._here(block.text)
        for program in re.findall(r'needs=\["(\w+)"\]', text):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed: apt-get install {program}")
        if block.note == "run as":
            file = self.at / block.said
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            folders = (self.at / "app" / "services", self.at / "app" / "labs")
            if file.parent in folders and not file.name.startswith("_"):
                _well(self.labwaiter("check", block.said), block)
            elif "[[step]]" in text:
                _well(self.labwaiter("workflow", block.said), block)
        elif block.kind == "python":
            _well(self._run(["python", "-c", text]), block)
        elif re.search(r"^\$ ", text, re.M):
            for shown in re.split(r"^(?=\$ )", text, flags=re.M)[1:]:
                command, _, printed = shown[2:].partition("\n")
                done = self._shell(command, block)
                pattern = re.escape(printed.strip()).replace("…", ".*?")
                assert re.fullmatch(pattern, done.stdout.strip(), re.S), f"{block}: $ {command}\n{done.stdout}"
        else:
            self._shell(text, block)

    def _shell(self, text: str, block: Block) -> subprocess.CompletedProcess[str]:
        """Commands, beginning in the folder in which the last ones ended."""
        note = self.folder / ".story"
        done = self._run(["bash", "-euo", "pipefail", "-c", f"trap 'pwd >{note}' EXIT\n{text}"])
        _well(done, block)
        self.at = Path(note.read_text().strip())
        return done

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.at,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _well(done: subprocess.CompletedProcess[str], block: Block) -> None:
    assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{done.stdout}"


# README's program that knows nothing of labwaiter
GROW = """\
import sys
import time

height, status, result = sys.argv[1:]
for done in range(0, 101, 10):
    with open(status, "w") as file:
        file.write(str(done))
    time.sleep(0.05)
with open(result, "w") as file:
    file.write(f"{height} mm")
"""
