"""Whether a service file holds no state: then what its import makes is the same in every process, and may stay warm.

It is judged by its text alone, and only what is known to be harmless passes: imports of what this process has
anyway, functions, classes and constants. Whatever else stands at its top, it is imported by each job itself. What
stands in a function is never looked at: nothing calls one before a job does.
"""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import JobFailed
from ..model.parameter import Driver, Length, Range, Suffix, Unit, hours, minutes
from ..model.service import Outputs, service

_OWN = object()  # a function or data of the file's own, made of what is harmless
_TYPES = (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple, type)
# called with what is harmless they make values of it, and do nothing else
_MAKERS = (Driver, Length, Range, Suffix, Unit, hours, minutes, frozenset, tuple, Path, str)
# the base's own word on its subclasses (`__init_subclass__`, metaclasses) is run by the import: these are known
_BASES = (Outputs, object, JobFailed)
_METHODS = (staticmethod, classmethod, property)
_NAMES = (
    "__all__",
    "__author__",
    "__version__",
    "__doc__",
)  # of those with two underscores, whom Python asks for nothing
# their names mean something else once a fork is a job's, or (warnings) while a file is tried
_NAMES_CHANGE = ("sys", "threading", "warnings")
_PATHS = ("parent", "parents", "name", "stem", "suffix")
_PATHS_OF = ("joinpath", "with_name", "with_stem", "with_suffix")
_COUNTING = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)  # no power: a short one can take hours


class _MayHoldState(Exception):
    """What is not known to be harmless, and its line."""


@dataclass(frozen=True)
class _Made:
    """A value that an expression makes, where its kind decides what may be done with it."""

    kind: type  # float: any number; Path; str; type: a class of the file's own


_CLASS = _Made(type)


def state_in(tree: ast.Module) -> str | None:
    """Why a service file may hold state, for developers; None where it is shown to hold none."""
    names: dict[str, Any] = {"__file__": _Made(str), "__name__": _Made(str)}
    try:
        for statement in tree.body:
            _judge(statement, names)
    except _MayHoldState as why:
        return str(why)
    return None


def _refuse(node: ast.AST, what: str = "") -> _MayHoldState:
    return _MayHoldState(f"line {getattr(node, 'lineno', 0)}: {what or type(node).__name__}")


def _judge(statement: ast.stmt, names: dict[str, Any], in_class: bool = False) -> None:
    """One statement at the top of a file or of a class; what it names is added to the names."""
    match statement:
        case ast.Pass() | ast.Expr(ast.Constant()):
            pass
        case ast.Import() if not in_class:
            for alias in statement.names:
                module, top = _module(statement, alias.name), alias.name.partition(".")[0]
                _bind(statement, names, alias.asname or top, module if alias.asname else sys.modules[top])
        case ast.ImportFrom(level=0) if not in_class:
            if statement.module == "__future__":
                return
            module = _module(statement, str(statement.module))
            for alias in statement.names:
                _bind(statement, names, alias.asname or alias.name, _attribute(statement, module, alias.name))
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            _judge_function(statement, names, in_class)
        case ast.ClassDef() if not in_class:
            _judge_class(statement, names)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            _bind(statement, names, name, _value(value, names))
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=given):
            _value(annotation, names)
            made = _OWN if given is None else _value(given, names)
            if given is not None or in_class:
                _bind(statement, names, name, made)
        case _:
            raise _refuse(statement)


def _judge_function(function: ast.FunctionDef | ast.AsyncFunctionDef, names: dict[str, Any], in_class: bool) -> None:
    for decorator in function.decorator_list:
        if in_class:
            allowed = isinstance(decorator, ast.Name) and _value(decorator, names) in _METHODS
        else:
            allowed = isinstance(decorator, ast.Call) and _value(decorator.func, names) is service
        if not allowed:
            raise _refuse(decorator, "a decorator")
        if isinstance(decorator, ast.Call):
            _arguments(decorator, names)
    _judge_signature(function.args, names)
    if function.returns is not None:
        _value(function.returns, names)
    if getattr(function, "type_params", False):
        raise _refuse(function, "type parameters")
    if in_class:
        names[function.name] = _OWN
    else:
        _bind(function, names, function.name, _OWN)


def _judge_signature(arguments: ast.arguments, names: dict[str, Any]) -> None:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [argument.annotation for argument in every if argument is not None]
    for expression in (*annotations, *arguments.defaults, *arguments.kw_defaults):
        if expression is not None:
            _value(expression, names)


def _judge_class(definition: ast.ClassDef, names: dict[str, Any]) -> None:
    for base in definition.bases:
        made = _value(base, names)
        plain_error = isinstance(made, type) and issubclass(made, Exception) and made.__module__ == "builtins"
        if not plain_error and not any(made is allowed for allowed in _BASES):
            raise _refuse(base, "a base class")
    is_generic = bool(getattr(definition, "type_params", False))
    if definition.keywords or definition.decorator_list or is_generic:
        raise _refuse(definition, "a class with keywords, decorators or type parameters")
    inside = dict(names)
    for statement in definition.body:
        _judge(statement, inside, in_class=True)
    _bind(definition, names, definition.name, _CLASS)


def _bind(node: ast.AST, names: dict[str, Any], name: str, made: Any) -> None:
    """From here on the name means this: what is at the top is run line by line, as it is judged."""
    if name.startswith("__") and name.endswith("__") and name not in _NAMES:
        raise _refuse(node, name)
    names[name] = made


def _module(node: ast.AST, name: str) -> ModuleType:
    """A module that this process has, so that nothing is imported by importing it: Python's own, or what is ours."""
    module = sys.modules.get(name)
    top = name.partition(".")[0]
    if module is None or not (top in sys.stdlib_module_names or name == "labwaiter") or top in ("__main__", "builtins"):
        raise _refuse(node, f"the module {name}")
    return module


def _attribute(node: ast.AST, module: ModuleType, name: str) -> Any:
    inside = module.__name__.startswith("labwaiter") and (name.startswith("_") or module.__name__ != "labwaiter")
    if inside or module.__name__ in _NAMES_CHANGE or name not in vars(module):
        raise _refuse(node, f"{module.__name__}.{name}")
    return vars(module)[name]


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """What an expression makes, as far as it matters: a thing that is known, `_Made`, or `_OWN`."""
    match node:
        case ast.Constant(value=value):
            return _Made(float if type(value) in (int, float) else type(value))
        case ast.Name(id=name):
            return _named(node, name, names)
        case ast.Attribute(value=value, attr=name):
            whole = _value(value, names)
            if isinstance(whole, ModuleType):
                return _attribute(node, whole, name)
            if whole == _Made(Path) and name in _PATHS:
                return _Made(Path if name == "parent" else str) if name != "parents" else _Made(list)
            raise _refuse(node)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            for part in parts:
                _value(part, names)
            return _OWN
        case ast.Dict(keys=keys, values=values):
            if None in keys:
                raise _refuse(node, "**")
            for part in (*filter(None, keys), *values):
                _value(part, names)
            return _OWN
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            if _value(operand, names) == _Made(float):
                return _Made(float)
            raise _refuse(node)
        case ast.BinOp(left=left, op=operator, right=right):
            return _counted(node, _value(left, names), operator, _value(right, names))
        case ast.Subscript(value=value, slice=key):
            return _part(node, _value(value, names), _value(key, names))
        case ast.Lambda(args=arguments):
            _judge_signature(arguments, names)
            return _OWN
        case ast.Call():
            return _called(node, names)
    raise _refuse(node)


def _named(node: ast.expr, name: str, names: dict[str, Any]) -> Any:
    if name in names:
        return names[name]
    known = vars(builtins).get(name)
    if isinstance(known, type) and (known in (*_TYPES, *_METHODS) or issubclass(known, BaseException)):
        return known
    raise _refuse(node, name)


def _counted(node: ast.expr, left: Any, operator: ast.operator, right: Any) -> Any:
    number, path = _Made(float), _Made(Path)
    if left == right == number and isinstance(operator, _COUNTING):
        return number
    if left == path and right in (path, _Made(str)) and isinstance(operator, ast.Div):
        return path
    if isinstance(operator, ast.BitOr) and all(_is_a_type(one) for one in (left, right)):
        return _OWN  # int | None
    raise _refuse(node)


def _is_a_type(made: Any) -> bool:
    return made is _OWN or isinstance(made, type) or made in (_CLASS, _Made(type(None)))


def _part(node: ast.expr, whole: Any, key: Any) -> Any:
    """`list[int]`, `Annotated[float, Unit("V")]`, `DIFFUSIVITY["steel"]`, `path.parents[1]`."""
    if whole == _Made(list) and key == _Made(float):
        return _Made(Path)
    known = isinstance(whole, type) and whole in _TYPES
    if known or whole is _OWN or getattr(whole, "__module__", None) in ("typing", "collections.abc"):
        return _OWN
    raise _refuse(node)


def _called(call: ast.Call, names: dict[str, Any]) -> Any:
    if isinstance(call.func, ast.Attribute) and call.func.attr in _PATHS_OF:
        if _value(call.func.value, names) != _Made(Path):
            raise _refuse(call)
        _arguments(call, names, plain=True)
        return _Made(Path)
    maker = _value(call.func, names)
    if not any(maker is allowed for allowed in _MAKERS):
        raise _refuse(call)
    _arguments(call, names, plain=maker in (Path, str, hours, minutes))
    return _Made(maker) if maker in (Path, str) else _Made(float) if maker in (hours, minutes) else _OWN


def _arguments(call: ast.Call, names: dict[str, Any], plain: bool = False) -> None:
    """
    Args:
        plain: they are texts, numbers and paths only.
    """
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        made = _value(argument, names)
        if plain and not (isinstance(made, _Made) and made.kind in (str, float, Path)):
            raise _refuse(argument)
    if any(keyword.arg is None for keyword in call.keywords):
        raise _refuse(call, "**")
