"""What may be said of a program, judged when it is made: before anything runs."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest

from labwaiter import Command, Script
from labwaiter.errors import Misconfigured
from labwaiter.model.program import interpreter


def test_arguments_and_variables_are_texts() -> None:
    given = ("a", "", 3, 2.5, True, Path("x/y"), numpy.int64(10), numpy.float32(21.5), Decimal("0.5"), "caf\udce9")
    command = Command("slic3r", *given, environment={"THREADS": 4, "HERE": Path("x"), "FAST": False})
    assert command.arguments == ("a", "", "3", "2.5", "true", "x/y", "10", "21.5", "0.5", "caf\udce9")
    assert command.environment == (("THREADS", "4"), ("HERE", "x"), ("FAST", "false"))
    out = subprocess.run(
        [sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", *command.arguments], stdout=-1
    )
    assert out.stdout.decode().strip() == ascii(list(command.arguments))


@pytest.mark.parametrize("value", [None, b"bytes", ["a", "b"], ("a",), {"a": 1}, numpy.array([1, 2]), object()])
@pytest.mark.parametrize("kind", [Command, Script])
def test_what_is_no_single_value_is_refused_by_name(kind: Any, value: Any) -> None:
    named = type(value).__name__
    with pytest.raises(Misconfigured, match=rf"^The argument 2 of slic3r is of the type {named}: "):
        kind("/opt/bin/slic3r", "first", value)
    with pytest.raises(Misconfigured, match=rf"^The variable THREADS of slic3r is of the type {named}: "):
        kind("/opt/bin/slic3r", environment={"THREADS": value})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"arguments": ("a\0b",)}, "The argument 1 of tool holds a NUL byte"),
        ({"arguments": ("\ud800",)}, "The argument 1 of tool is no text that a program can be given"),
        ({"environment": {"A": "x\0"}}, "The variable A of tool holds a NUL byte"),
        ({"environment": {"A=B": "x"}}, "A=B.* is no name of a variable"),
        ({"environment": {"": "x"}}, "is no name of a variable"),
        ({"environment": {3: "x"}}, "3.* is no name of a variable"),
        ({"environment": ["A=1"]}, "environment of tool must be a dict"),
        ({"success": 0}, "success of tool must be a list of exit statuses"),
        ({"success": ("0",)}, "success of tool must be a list of exit statuses"),
        ({"folder": None}, "The folder of tool is of the type NoneType"),
        ({"result": ["a"]}, "The result of tool is of the type list"),
        ({"progress": 3}, "progress of tool must be a pattern"),
        ({"stages": (3,)}, "stages of tool must be a text"),
    ],
)
def test_what_else_is_said_wrong_is_one_sentence(given: dict[str, Any], why: str) -> None:
    arguments = given.pop("arguments", ())
    with pytest.raises(Misconfigured, match=why) as refused:
        Command("tool", *arguments, **given)
    assert str(refused.value).endswith(".") and "\0" not in str(refused.value)


@pytest.mark.parametrize("program", [None, b"ls", ["ls", "-l"], 3, ""])
def test_the_program_itself_is_a_name_or_a_path(program: Any) -> None:
    with pytest.raises(Misconfigured, match="program"):
        Command(program)


def test_one_stage_is_one_stage() -> None:
    assert Command("tool", stages="meshing").stages == ("meshing",)


def test_numbers_of_a_library_are_exit_statuses() -> None:
    assert Command("tool", success=(0, numpy.int64(2))).success == {0, 2}
    assert Command("tool", success=range(3)).success == {0, 1, 2}


# -- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [r"progress (\d+)%", r"(?:at|to) (\d+)%", r"(?P<percent>\d+)", r"(?P<stage>.*)"])
def test_a_pattern_that_says_something(pattern: str) -> None:
    assert Command("tool", progress=pattern).progress == (pattern,)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\d+ %", "needs a named group"),
        (r"(\d+) of (\d+)", "needs a named group"),
        (r"(?P<done>\d+) %", "needs a named group"),
        (r"(?P<i>\d+)", "needs a named group"),
        (r"(\d+", "is no pattern"),
        (r"(\d*)", "fits an empty text"),
        (r"(?P<percent>\d*) ?", "fits an empty text"),
        (r"(?:at (?P<percent>\d+))?", "fits an empty text"),
    ],
)
def test_a_pattern_that_says_nothing_is_refused_when_the_program_is_made(pattern: str, why: str) -> None:
    for kind in (Command, Script):
        with pytest.raises(Misconfigured, match=why):
            kind("tool", progress=("(?P<percent>[0-9]+)", pattern))


# -- the interpreter of a script --------------------------------------------------------------


def test_a_script_may_have_a_terminal_and_another_python() -> None:
    script = Script("wait.py", 3, tty=True, python="envs/old")
    assert script.tty and script.python == "envs/old"
    assert Script("wait.py").python is None and Script("wait.py", python=Path("/x/venv")).python == "/x/venv"


@pytest.mark.parametrize("python", ["", "a\0b", 3.12, b"python3", ["python3"]])
def test_what_is_no_python_is_refused(python: Any) -> None:
    with pytest.raises(Misconfigured, match="python"):
        Script("wait.py", python=python)


def test_a_command_has_no_python() -> None:
    with pytest.raises(Misconfigured, match="python= is for a Script"):
        Command("tool", python="python3")


def test_the_interpreter_is_a_file_or_an_environment_beside_the_service(tmp_path: Path) -> None:
    environment = tmp_path / "envs" / "old"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    services = tmp_path / "services"
    services.mkdir()
    python = environment / "bin" / "python"
    assert interpreter(str(environment), services) == str(python)
    assert interpreter("../envs/old", services) == str(services / "../envs/old/bin/python")
    assert interpreter("envs/old", services) == str(tmp_path / "envs/old/bin/python")  # or in the folder above
    assert interpreter(str(python), services) == str(python)  # not what its link leads to: that has no environment
    assert interpreter("sh", services).endswith("/sh")  # a name alone is looked for on PATH
    out = subprocess.run(
        [interpreter("envs/old", services), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert out.stdout.strip() == str(environment)


def test_an_interpreter_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no program")
    for python, why in [
        ("nowhere/venv", "The Python nowhere/venv is not there"),
        (str(tmp_path / "gone"), "The Python gone is not there"),
        ("python-that-nobody-has", "is not installed on this machine"),
        ("./empty", "The folder ./empty is no environment of Python"),
        ("./text", "may not be executed"),
    ]:
        with pytest.raises(Misconfigured, match=why) as refused:
            interpreter(python, tmp_path)
        assert str(tmp_path) not in str(refused.value)
