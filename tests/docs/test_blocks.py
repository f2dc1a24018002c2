"""Every command and every block of code in README.md and docs/ is tried, or says why not."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import blocks
import click
import pytest
from blocks import ALL, PAGES, TRIED, Block

from here import ROOT
from labwaiter.catalogue import catalogue
from labwaiter.cli.commands import main
from labwaiter.lab import labfile
from labwaiter.schedule import schedule

OTHER = ("text", "conf", "ini")  # what something prints, or a drawing; other programs' files
TOLD = [page for page in PAGES if any(blocks.runs(block) for block in blocks.of(str(page.relative_to(ROOT))))]
LABWAITER = re.compile(r"(?:^|\$ |bin/|&& |sudo |exec \w+ )labwaiter +((?!import )[a-z-][^#|&;)]*)")


def test_every_block_says_its_kind() -> None:
    assert [f"{block}: {block.kind}" for block in ALL if block.kind not in (*TRIED, *OTHER)] == []


def test_what_is_not_run_says_why() -> None:
    for block in ALL:
        assert not (block.note and block.kind not in TRIED), f"{block}: {block.kind} is not run anyway"
        if block.note == "run by":
            test = ROOT / block.said
            assert test.is_file(), f"{block}: {block.said} is not there"
        if block.note == "not run":
            assert len(block.said) > 8, block


@pytest.mark.parametrize("block", [block for block in ALL if block.kind in TRIED], ids=str)
def test_each_can_be_read(block: Block, tmp_path: Path) -> None:
    if block.kind == "python":
        ast.parse(block.text)
    elif block.kind == "toml":
        tomllib.loads(block.text)
    elif "$ " not in block.text:
        done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_no_command_hides_in_what_is_only_shown() -> None:
    for block in ALL:
        if block.kind == "text":
            assert not re.search(r"^(\$ |\./\w+\.sh|\.venv/|labwaiter [a-z]+|docker |pip )", block.text, re.M), block


@pytest.mark.parametrize("block", [b for b in ALL if b.kind == "toml" and b.note != "not run"], ids=str)
def test_each_toml_is_right_for_what_reads_it(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(block.text)
    tables = set(tomllib.loads(block.text))
    if tables <= {"instruments", "machines"}:
        assert labfile.load(file).entries
    elif "service" in tables:
        (found,), _ = catalogue.check(file)
        assert not isinstance(found, catalogue.Broken) or "is not installed" in found.reason, found
    elif "step" in tables:
        assert block.note == "run as", f"{block}: a workflow is run, with its services"
    elif "schedules" in tables:
        assert schedule.load(file, catalogue.load(ROOT / "app" / "services"))
    else:
        pytest.fail(f"{block}: nothing reads a file with {', '.join(sorted(tables))}")


def wrong_with(words: list[str]) -> str:
    """What isn't so of a command line of labwaiter's, or ""."""
    command: click.Command = main
    known = {option for parameter in main.params for option in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("-"):
            if word.partition("=")[0].strip(",.") not in known:
                return f"{command.name} has no {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word.strip(",."))
            if found is None:
                return f"{command.name} has no command {word}" if re.fullmatch(r"[a-z-]+", word) else ""
            command = found
            known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return ""


def test_every_command_of_labwaiter_that_is_named_is_one() -> None:
    named = [(str(block), line) for block in ALL if block.kind == "shell" for line in block.text.splitlines()]
    for page in PAGES:
        named += [(page.name, span) for span in re.findall(r"`([^`\n]+)`", blocks.prose(page))]
    lines = [(where, said) for where, text in named for said in LABWAITER.findall(text)]
    assert len(lines) > 100
    judged = [(f"{where}: labwaiter {said}", wrong_with(said.split())) for where, said in lines]
    wrong = [f"{line}: {why}" for line, why in judged if why]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", TOLD, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    """Its blocks in their order, in a lab of its own, whose deployment runs."""
    story = blocks.Story(str(page.relative_to(ROOT)), tmp_path / "lab")
    try:
        for _ in story.run():
            pass
    finally:
        story.end()
