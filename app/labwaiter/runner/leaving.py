"""Leaving as an interpreter does, without taking apart what was warm before: the steps of Py_FinalizeEx that show.

Taking apart every module of the standard library, as a real ending does, takes ten times as long as
the fork that gave them to us, and nobody sees it. What can be seen is kept, in its order: threads
and their callbacks, atexit, the modules that came after the fork, the streams, C's own exit(3).
Source: CPython, Python/pylifecycle.c (Py_FinalizeEx), Python/import.c (finalize_modules).
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

# a daemon thread may still be in these. An interpreter that ends lets none of them run any more; here one might
_LEFT_WHOLE = ("threading", "logging", "subprocess")
globals()["__builtins__"] = dict(vars(builtins))  # a script may have replaced some of those that all others share
_warm: set[str] = set()
_exit_of_c = ctypes.PyDLL(None).exit  # keeps the interpreter's lock: daemon threads stand still while C leaves


def make_ready() -> None:
    """Note which modules every fork begins with."""
    sys.modules[__name__] = sys.modules.pop(__name__)  # it becomes the last: what a fork imports comes behind it
    _warm.update(sys.modules)


def leave(status: int) -> NoReturn:
    """End this process as the end of a Python file would.

    Args:
        status: its exit status; negative: by this signal.
    """
    if (threading := sys.modules.get("threading")) is not None:  # as wait_for_thread_shutdown has it
        _quietly(lambda: threading._shutdown())
        del threading
    _quietly(atexit._run_exitfuncs)
    flushed = _flush()
    if gc.isenabled():
        # it also puts what holds another before that one: a stream before its file, so that it is written
        _quietly(gc.collect)
    _take_apart()
    if not (flushed and _flush()) and status == 0:
        status = 120  # as Py_RunMain has it
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    _exit_of_c(status)
    os._exit(status)


def status_of(code: object) -> int:
    """The exit status of SystemExit(code), which is told where it is a text."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(2**63) <= code < 2**63 else 0xFF  # as C's long has it
    _quietly(lambda: print(code, file=sys.stderr))
    return 1


def _quietly(work: Callable[[], object]) -> None:
    """What fails on the way out is told, and stops nothing."""
    try:
        work()
    except BaseException:
        try:
            traceback.print_exc()
        except BaseException:
            pass


def _flush() -> bool:
    well = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException as error:
            if name == "stdout":
                well = False
                where = "while flushing sys.stdout:" if sys.version_info >= (3, 14) else "on flushing sys.stdout:"
                where = where if sys.version_info >= (3, 13) else f"in: {stream!r}"
                lines = [f"Exception ignored {where}\n", *traceback.format_exception_only(error)]
                _quietly(lambda lines=lines: print("".join(lines), end="", file=sys.stderr))  # type: ignore[misc]
    return well


def _take_apart() -> None:
    """Let go of all that came after the fork, so that what is open in it is closed, and so written."""
    for name in ("last_exc", "last_type", "last_value", "last_traceback", "ps1", "ps2"):
        vars(sys).pop(name, None)
    gone: list[tuple[str, ModuleType]] = []
    for name in _those_after_the_fork():
        if isinstance(module := sys.modules[name], ModuleType):
            gone.append((name, module))
    # none of them is held any more but by what another one holds
    alive = [weakref.ref(module) for _, module in gone]
    for name, _ in gone:
        sys.modules.pop(name, None)
        parent, _, last = name.rpartition(".")
        if parent in _warm and (above := sys.modules.get(parent)) is not None:
            vars(above).pop(last, None)
    del gone
    module = above = None  # type: ignore[assignment]
    _quietly(gc.collect)
    for reference in reversed(alive):
        if (left := reference()) is not None:
            _clear(left)
            del left
    _quietly(gc.collect)


def _those_after_the_fork() -> list[str]:
    """The names of the modules that a fork imported, in their order; `__main__` first, as in sys.modules."""
    names = ["__main__"] if "__main__" in sys.modules else []
    after = []
    # from the end: those from before the fork are hundreds, and whoever touches one has its page copied
    for name in reversed(sys.modules):
        if name == __name__:
            break
        if name not in _warm and name not in _LEFT_WHOLE:
            after.append(name)
    return names + after[::-1]


def _clear(module: ModuleType) -> None:
    """As _PyModule_Clear: the names with one underscore first, then all but the builtins."""
    names = vars(module)
    for name in [n for n in names if n[:1] == "_" and n[1:2] != "_"]:
        names[name] = None
    for name in [n for n in names if n[:1] != "_" or n[1:2] == "_"]:
        if name != "__builtins__":
            names[name] = None
