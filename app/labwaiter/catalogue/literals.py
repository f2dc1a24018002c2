"""What a service file's text says of the programs that it will run: mistakes that need not wait until one is to run."""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from ..errors import Misconfigured
from ..model.program import Command, Program, Script, command_file, interpreter, script_file
from ..model.record import NO_PLOTS
from ..model.service import Declaration
from ..service_files import tree_of

_UNKNOWN = object()


class Mistake(Exception):
    """Something that can't be meant, and the line where it stands."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def judge(file: Path, module: ModuleType) -> list[tuple[str, int]]:
    """Look at each `Script(…)` and `Command(…)` in a file, as far as its arguments are written out there.

    Returns:
        What they name and isn't there now, where a sessionToken isn't given or would be seen, and where a plot can't be
        drawn: a sentence and its line each.

    Raises:
        Mistake: one could not be made at all.
    """
    absent = [*_tokens(file, module), *_plots(file)]
    for kind, call in _calls(file, module):
        places, keywords = _written_out(call)
        try:
            kind(*("program" if place is _UNKNOWN else place for place in places or [_UNKNOWN]), **keywords)
        except (Misconfigured, TypeError) as error:
            why = str(error) if isinstance(error, Misconfigured) else f"{file.name}: {error}."
            raise Mistake(why, call.lineno) from None
        if places and isinstance(places[0], str):
            absent += [(why, call.lineno) for why in _absent(kind, places[0], keywords, call, file.parent)]
    return absent


def _tokens(file: Path, module: ModuleType) -> list[tuple[str, int]]:
    """Where a job's sessionToken is used and nobody asks for it, or is put into an argument list."""
    found = (vars(value).get("__labwaiter__") for value in vars(module).values() if isinstance(value, FunctionType))
    if not any(isinstance(entry, Declaration) and entry.rules["session_token"] for entry in found):
        why = "A job is given its caller's sessionToken where its service asks for it: @service(…, session_token=True)."
        names = ("session_token", "session_token_file")
        return [(why, node.lineno) for node in _nodes(file) if _is_of_job(node, *names)]
    why = "The sessionToken is put into no argument list: give the program job.session_token_file."
    return [
        (why, call.lineno)
        for _, call in _calls(file, module)
        if any(_is_of_job(node, "session_token") for argument in call.args for node in ast.walk(argument))
    ]


def _plots(file: Path) -> list[tuple[str, int]]:
    """Where a job draws, and what draws is not installed."""
    lines = [node.lineno for node in _nodes(file) if _is_of_job(node, "plot")]
    if not lines or find_spec("matplotlib") is not None:
        return []
    return [(NO_PLOTS, lines[0])]


def _is_of_job(node: ast.AST, *names: str) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "job"
    )


def _nodes(file: Path) -> Iterator[ast.AST]:
    """All of a file's syntax tree."""
    try:
        yield from ast.walk(tree_of(file))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return  # it has changed since it was imported, and is looked at again for that


def _calls(file: Path, module: ModuleType) -> Iterator[tuple[type[Program], ast.Call]]:
    for node in _nodes(file):
        if isinstance(node, ast.Call):
            kind = _named(node.func, module)
            if kind is Script or kind is Command:
                yield kind, node


def _named(node: ast.expr, module: ModuleType) -> object:
    """What a name of the module's, or of a module in it, stands for."""
    if isinstance(node, ast.Name):
        return vars(module).get(node.id)
    if isinstance(node, ast.Attribute):
        whole = _named(node.value, module)
        return vars(whole).get(node.attr) if isinstance(whole, ModuleType) else None
    return None


def _written_out(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call by place, up to a `*list`, and by name; only values that the text itself tells."""
    places = []
    for node in call.args:
        if isinstance(node, ast.Starred):
            break
        places.append(_value(node))
    named = {keyword.arg: _value(keyword.value) for keyword in call.keywords if keyword.arg is not None}
    return places, {name: value for name, value in named.items() if value is not _UNKNOWN}


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN


def _absent(kind: type[Program], name: str, keywords: dict[str, Any], call: ast.Call, beside: Path) -> Iterator[str]:
    try:
        if kind is Script:
            script_file(name, beside)
        elif (path := _path(keywords, call)) is not None or os.sep in name:
            command_file(name, beside, path)
    except Misconfigured as error:
        folder, wanted = os.path.split(name)
        like = difflib.get_close_matches(wanted, _files(beside / folder, beside.parent / folder), 1)
        yield f"{str(error)[:-1]}; is {os.path.join(folder, like[0])} meant?" if like else str(error)
    if python := keywords.get("python"):
        try:
            interpreter(os.fspath(python), beside)
        except Misconfigured as error:
            yield str(error)


def _path(keywords: dict[str, Any], call: ast.Call) -> str | None:
    """The PATH that a Command will have; None where the text doesn't tell."""
    if any(
        keyword.arg is None or (keyword.arg == "environment" and keyword.arg not in keywords)
        for keyword in call.keywords
    ):
        return None
    return str((keywords.get("environment") or {}).get("PATH", os.environ.get("PATH", os.defpath)))


def _files(*folders: Path) -> list[str]:
    names: list[str] = []
    for folder in folders:
        with contextlib.suppress(OSError):
            names += os.listdir(folder)
    return names
