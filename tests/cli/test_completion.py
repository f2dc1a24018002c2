"""What bash, zsh and fish complete, in these shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from lab import PATIENCE

READY = "ready> "


@pytest.fixture
def prepared(shell, tmp_path: Path) -> dict[str, str]:
    """A lab with executions, instruments and machines; `labwaiter` on the PATH."""
    (shell.folder / "lab.toml").write_text(
        '[machines.north]\n[machines.south]\n[instruments.smu]\ndriver = "labwaiter.instruments.drivers:SourceMeter"\n'
        'port = "sim://smu"\nmachine = "north"\n'
    )
    for name in ("alpha", "beta"):
        assert shell("run", "Count", "seconds=0", "--id", name).exit_code == 0
    assert shell("run", "Count", "seconds=0", "--id", "odd $(touch owned) name").exit_code == 0
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "labwaiter").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m labwaiter "$@"\n')
    (bin_ / "labwaiter").chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    environ = {**shell.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb"}
    environ |= {"MACHINE": "north", "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
    for kind in ("bash", "zsh", "fish"):
        said = subprocess.run(["labwaiter", "completion", kind], env=environ, capture_output=True, text=True)
        assert said.returncode == 0 and not said.stderr
        (home / kind).write_text(said.stdout)
    return environ


def in_bash(environ: dict[str, str]) -> Callable[[str], list[str]]:
    """What bash would put on a line, or offer."""

    def ask(line: str) -> list[str]:
        script = (
            'source "$HOME/bash"; read -ra COMP_WORDS <<<"$LINE"; [[ $LINE == *" " ]] && COMP_WORDS+=("");'
            " COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _labwaiter_completion labwaiter 2>/dev/null;"
            ' printf "%s\\n" "${COMPREPLY[@]}"'
        )
        said = subprocess.run(
            ["bash", "--norc", "-c", script], env=environ | {"LINE": line}, capture_output=True, text=True, check=True
        )
        return said.stdout.split()

    return ask


def in_fish(environ: dict[str, str]) -> Callable[[str], list[str]]:
    def ask(line: str) -> list[str]:
        script = 'source "$HOME/fish"; complete -C "$LINE"'
        said = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=environ | {"LINE": line},
            capture_output=True,
            text=True,
            check=True,
        )
        return [text.split("\t")[0] for text in said.stdout.splitlines()]

    return ask


def in_zsh(environ: dict[str, str]) -> Callable[[str], list[str]]:
    """What zsh offers on a Tab, at its own line editor."""
    child = pexpect.spawn(
        "zsh", ["-f"], env=environ, encoding="utf-8", timeout=PATIENCE, dimensions=(60, 200), echo=False
    )
    file = Path(environ["HOME"], "told")
    child.sendline(
        f'PS1="{READY[:2]}""{READY[2:]}"; unsetopt beep; autoload -Uz compinit && compinit -u -D && source $HOME/zsh;'
        # what is offered is written down where it is: no screen has to be read
        ' compadd() { local -a offered; builtin compadd -O offered "$@"; print -rl -- $offered >> $HOME/told;'
        ' builtin compadd "$@" }'
    )
    child.expect_exact(READY)

    def ask(line: str) -> list[str]:
        file.write_text("")
        child.send(f"{line}\t")
        child.send("\x15print do''ne\r")
        child.expect_exact("done")
        child.expect_exact(READY)
        return file.read_text().split()

    return ask


KINDS = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tab_completes_commands_and_what_the_lab_has(prepared, kind):
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    ask = KINDS[kind](prepared)
    assert {"jobs", "instruments", "run", "top"} <= set(ask("labwaiter "))
    assert "settings" not in ask("labwaiter se")  # it is hidden
    assert set(ask("labwaiter jobs ")) >= {"list", "show", "abort", "notify"}
    assert set(ask("labwaiter jobs show ")) >= {"alpha", "beta"}
    assert ask("labwaiter jobs show al") == ["alpha"]
    assert ask("labwaiter run Co") == ["Count"]
    assert ask("labwaiter run --again be") == ["beta"]
    assert ask("labwaiter instruments check s") == ["smu"]
    assert set(ask("labwaiter clear-queue ")) >= {"north", "south"}
    assert set(ask("labwaiter jobs list --state ")) >= {"running", "active"}
    assert not Path(prepared["HOME"], "owned").exists() and not Path("owned").exists()


def test_where_no_lab_is_meant_a_tab_completes_the_commands_and_says_nothing(prepared, tmp_path):
    ask = in_bash({**prepared, "LABWAITER_ENV": "", "LABWAITER_DEPLOYMENT": str(tmp_path / "none")})
    assert "jobs" in ask("labwaiter jo") and ask("labwaiter jobs show ") == []


def test_a_tab_imports_no_web_server_no_xml_no_redis_and_no_service(prepared):
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "labwaiter"],
        env=prepared
        | {"_LABWAITER_COMPLETE": "bash_complete", "COMP_WORDS": "labwaiter jobs show al", "COMP_CWORD": "3"},
        capture_output=True,
        text=True,
    )
    assert "alpha" in found.stdout
    modules = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    heavy = {"flask", "granian", "jinja2", "lxml", "redis", "rq", "spyne", "suds", "curses", "labwaiter.runner.job"}
    assert "labwaiter.verbs.jobs" in modules
    assert modules & heavy == set()
    assert not any(name.startswith("labwaiter.service_files.") and name.endswith("count") for name in modules)
