"""Programs as data: what a service's function returns, or gives `job.run`, when a program does the work.

The runner starts them (`runner.program`); this is only what the user says. Programs have habits;
each keyword below is for one of them, and none is needed for a program that writes its percent
into `job.status_file` and its result into `job.result_file`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ..errors import Misconfigured
from .values import plain, text_of

NUMBERS = ("percent", "fraction", "i", "n")  # the groups of a progress pattern that are numbers
GROUPS = frozenset({*NUMBERS, "stage"})


@dataclass(frozen=True)
class Program:
    """What `Script` and `Command` share. Arguments are turned to text when it is made: true, 3, 2.5, a path.

    Attributes:
        progress: a pattern (`re`) that is looked for in what the program prints, line by line, with the named
            groups (?P<percent>…), or (?P<fraction>…), or (?P<i>…) and (?P<n>…) for "3 of 10";
            (?P<stage>…) are the words for the page. One group without a name is the percent. Of several fits in a
            line the last one counts. Several patterns may be given.
        stages: texts that the program prints as it goes from stage to stage, in their order. The k-th of n
            means (k-1)/n; with `progress`, too, its percent counts within the stage.
        result: the file that holds its result, if it isn't told `job.result_file`; relative to `folder`.
        success: the exit statuses that mean success; an end by the signal n is -n, and 128+n means the same.
        environment: variables that it gets besides ours, and a PATH in it is where the program is looked for.
        folder: where it works; relative to the job's data/, which is also the default. Made if it isn't there.
        tty: give it a terminal (80 columns) to print to. Many programs print line by line, or print their
            progress at all, only there.
        python: a `Script`'s interpreter, if it isn't labwaiter's own: see there.

    Raises:
        Misconfigured: what is said can't be meant; the message names it.
    """

    program: str
    arguments: tuple[str, ...]
    progress: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    result: str | None = None
    success: frozenset[int] = frozenset({0})
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = "."
    tty: bool = False
    python: str | None = None

    def __init__(
        self,
        program: str | Path,
        *arguments: Any,
        progress: str | Sequence[str] = (),
        stages: str | Sequence[str] = (),
        result: str | Path | None = None,
        success: Collection[int] = (0,),
        environment: Mapping[str, Any] | None = None,
        folder: str | Path = ".",
        tty: bool = False,
        python: str | Path | None = None,
    ) -> None:
        if not isinstance(program, (str, PurePath)) or not str(program):
            raise Misconfigured("A program is told by its name or its path, as a text; its arguments come after it.")
        name = PurePath(program).name
        fields = {
            "program": _given(program, "The path of the program"),
            "arguments": tuple(_given(a, f"The argument {n} of {name}") for n, a in enumerate(arguments, 1)),
            "progress": _texts(progress, f"progress of {name} must be a pattern, or several"),
            "stages": _texts(stages, f"stages of {name} must be a text for each stage"),
            "result": None if result is None else _given(result, f"The result of {name}"),
            "success": _statuses(success, name),
            "environment": _variables({} if environment is None else environment, name),
            "folder": _given(folder, f"The folder of {name}"),
            "tty": bool(tty),
            "python": None if python is None else _python(python, name),
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        for pattern in self.progress:
            _judge(pattern)
        if self.python is not None and not isinstance(self, Script):
            raise Misconfigured(f"python= is for a Script: {name} is a Command, whose program is its first argument.")


class Script(Program):
    """Run a Python file as `python file arguments` does: in a process of its own.

    A relative path is looked for beside the service file, then in the folder above it. The program
    gets the arguments as sys.argv[1:].

    Attributes:
        python: another interpreter, or the folder of another environment (venv): an absolute path, one beside the
            service file or in the folder above it, or a name on PATH ("python3.13").
    """


class Command(Program):
    """Run any program; no shell. It is found on PATH, or as `Script` finds its file."""


def script_file(path: str, beside: Path) -> str:
    """The path of the Python file that a `Script` names.

    Args:
        beside: the folder of the service file.

    Raises:
        Misconfigured: it is neither there nor in the folder above; the message is for the user.
    """
    return _file(path, beside, "script")


def command_file(program: str, beside: Path, search: str | None) -> str:
    """The path of the program that a `Command` names: on PATH (`search`) if it's a bare name there, else as a script's.

    Raises:
        Misconfigured: it's nowhere.
    """
    if os.sep not in program and (path := shutil.which(program, path=search)):
        return path
    if os.path.isabs(program):
        if os.path.exists(program):
            return program
        raise Misconfigured(f"The program {PurePath(program).name} is not installed on this machine.")
    try:
        return _file(program, beside, "program")
    except Misconfigured:
        if os.sep in program:
            raise
        raise Misconfigured(f"The program {program} is not installed on this machine.") from None


def _file(path: str, beside: Path, kind: str) -> str:
    for folder in (beside, beside.parent):
        place = os.path.join(folder, path)
        if os.path.isfile(place):
            return os.path.realpath(place)
    raise Misconfigured(f"The {kind} {PurePath(path).name} is not there: it is looked for beside its service file.")


def interpreter(python: str, beside: Path) -> str:
    """The path of the interpreter that `Script.python` names.

    Its links are not followed: by its own path an environment's interpreter knows where its packages are.

    Args:
        beside: the folder of the service file.

    Raises:
        Misconfigured: there is none; the message is for the user.
    """
    name = PurePath(python).name if os.path.isabs(python) else python
    if os.sep not in python and (installed := shutil.which(python)):
        return installed
    for folder in (beside, beside.parent):
        path = os.path.join(folder, python)
        if os.path.isdir(path):
            inside = os.path.join(path, "bin", "python")
            if not os.path.isfile(inside):
                raise Misconfigured(f"The folder {name} is no environment of Python: it has no bin/python.")
            path = inside
        if os.path.isfile(path):
            if not os.access(path, os.X_OK):
                raise Misconfigured(f"The Python {name} may not be executed: it lacks the permission.")
            return path
    if os.sep not in python:
        raise Misconfigured(f"The Python {name} is not installed on this machine.")
    raise Misconfigured(f"The Python {name} is not there: it is looked for beside its service file.")


def _given(value: Any, label: str) -> str:
    """A text that a process can be given."""
    try:
        text = text_of(plain(value, label))
    except TypeError as error:
        raise Misconfigured(str(error)) from None
    if "\0" in text:
        raise Misconfigured(f"{label} holds a NUL byte, which no program can be given.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise Misconfigured(f"{label} is no text that a program can be given on this machine.") from None
    return text


def _texts(value: Any, rule: str) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise Misconfigured(f"{rule}.")
    return texts


def _statuses(value: Any, name: str) -> frozenset[int]:
    try:
        statuses = frozenset(plain(status) for status in value)
    except TypeError:
        statuses = frozenset({""})
    whole = frozenset(status for status in statuses if isinstance(status, int))
    if whole != statuses:
        raise Misconfigured(f"success of {name} must be a list of exit statuses, e.g. success=(0, 2).")
    return whole


def _variables(variables: Any, name: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(variables, Mapping):
        raise Misconfigured(f'The environment of {name} must be a dict of variables, e.g. {{"OMP_NUM_THREADS": 4}}.')
    for variable in variables:
        if not isinstance(variable, str) or not variable or "=" in variable or "\0" in variable:
            raise Misconfigured(f"In the environment of {name}, {variable!r} is no name of a variable.")
    return tuple(
        (variable, _given(value, f"The variable {variable} of {name}")) for variable, value in variables.items()
    )


def _python(python: Any, name: str) -> str:
    if not isinstance(python, (str, PurePath)) or not str(python):
        raise Misconfigured(f"python= of {name} must be the path of an interpreter or of an environment's folder.")
    return _given(python, f"python= of {name}")


def _judge(pattern: str) -> None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Misconfigured(f"The progress pattern {pattern!r} is no pattern: {error}.") from error
    groups = set(compiled.groupindex)
    if not is_percent(compiled) and (not groups & GROUPS or ("i" in groups) != ("n" in groups)):
        raise Misconfigured(
            f"The progress pattern {pattern!r} needs a named group: (?P<percent>…), (?P<fraction>…),"
            " (?P<i>…) with (?P<n>…), or (?P<stage>…); or one group without a name, the percent."
        )
    if compiled.search("") and (is_percent(compiled) or groups & {*NUMBERS}):
        raise Misconfigured(
            f"The progress pattern {pattern!r} fits an empty text, so it fits everywhere before a number: use + for *."
        )


def is_percent(pattern: re.Pattern[str]) -> bool:
    """Whether a pattern's only group has no name, and so is the percent."""
    return pattern.groups == 1 and not pattern.groupindex
