"""A Python file in a process of its own, as `python file arguments` runs it, but warm.

The process is forked from a runner, which has imported the standard library and us and nothing
else, and ends as an interpreter does: threads and their callbacks, atexit, flush, status. What an
interpreter reads at its start can't be changed afterwards; where that would differ, a new one is
started instead (`needs_an_interpreter`). docs/programs.md says what differs all the same, and why.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import resource
import signal
import sys
import time
import types
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from types import TracebackType
from typing import NoReturn

from .. import service_files
from .leaving import leave, status_of

# read by an interpreter, the loader or the C library when a process starts, or before main() at the latest
_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "LOCPATH", "VIRTUAL_ENV", "__PYVENV")
globals()["__builtins__"] = dict(vars(builtins))  # as in `leaving`
_warm: dict[str, str] = {}  # modules that every fork has, by name; their files
_environment: dict[str, str] = {}
_path: list[str] = []
_errors: list[str] = []  # what becomes of a letter that stdout can't say


def make_ready() -> None:
    """Note what every fork of this process begins with."""
    _warm.update({n: getattr(m, "__file__", None) or "" for n, m in sys.modules.items() if "." not in n})
    _environment.update(os.environ)
    _path[:] = sys.path
    _errors[:] = [sys.stdout.errors or "strict"]


_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


@dataclass(frozen=True)
class Limits:
    """What a process hands on to its children besides its environment and its umask."""

    resources: tuple[tuple[int, int], ...]  # soft and hard, in the order of _LIMITS
    nice: int
    cpus: frozenset[int]

    @classmethod
    def of(cls, pid: int) -> Limits | None:
        """Those of a process (0: this one); None where it is gone."""
        try:
            resources = tuple(resource.prlimit(pid, number) for number in _LIMITS)
            return cls(resources, os.getpriority(os.PRIO_PROCESS, pid), frozenset(os.sched_getaffinity(pid)))
        except OSError:
            return None

    def put_on(self) -> None:
        """Give them to this process, as far as it may."""
        limits_now = Limits.of(0)
        if limits_now is None or limits_now == self:
            return
        with contextlib.suppress(OSError, ValueError):
            os.sched_setaffinity(0, self.cpus)
            if limits_now.nice != self.nice:
                os.setpriority(os.PRIO_PROCESS, 0, self.nice)
            for number, limits in zip(_LIMITS, self.resources, strict=True):
                resource.setrlimit(number, limits)


@dataclass(frozen=True)
class ScriptSpec:
    """What a script's process gets."""

    path: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    umask: int
    asked_by: int | None  # pid: its limits, priority and CPUs are inherited, too


def needs_an_interpreter(path: str, environment: Mapping[str, str]) -> bool:
    """Whether a new interpreter is started for this script: one that forks could not become what it would be."""
    names = {n for n in {*environment, *_environment} if n.startswith(_READ_AT_START)}
    if any(environment.get(name) != _environment.get(name) for name in names):
        return True
    folder = os.path.dirname(path)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            file = _warm.get(entry.name.partition(".")[0])
            # it stands before Python's own module of that name, which is here already
            if file is not None and (entry.name.endswith(".py") or entry.is_dir()) and not file.startswith(entry.path):
                return True
    return False


def run_script(spec: ScriptSpec) -> NoReturn:
    """Be the script, and end as it does. No frames of ours above are in its way."""
    _inherit(spec)
    path = spec.path
    sys.argv = [path, *spec.arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[:] = [os.path.dirname(path), *_path]
    sys.stdout.reconfigure(errors=_errors[0])  # type: ignore[union-attr]
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = SourceFileLoader("__main__", path)
    vars(main).update(__builtins__=builtins, __package__=None)
    if sys.version_info < (3, 14):
        vars(main)["__annotations__"] = {}
    if sys.version_info < (3, 15):
        vars(main)["__cached__"] = None
    sys.modules["__main__"] = main
    with open(path, "rb") as source:
        text = source.read()
    try:
        code = compile(text, path, "exec", dont_inherit=True)
    except Exception:
        # it can't begin: a new interpreter tells its author so in its own words, which compile's aren't in all cases
        os.execv(sys.executable, [sys.executable, "-u", *sys.argv])
    status, failure = 0, None
    try:
        exec(code, vars(main))
    except SystemExit as leaving:
        status = status_of(leaving.code)
    except BaseException as error:
        failure = error
    if failure is not None:  # told where none is being handled, or it would be told as the context of another
        # our own frames tell its author nothing: theirs begin where its file does
        status = _show(failure, _without_ours(failure.__traceback__))
    del main, text, code, failure
    leave(status)


def _show(error: BaseException, trace: TracebackType | None) -> int:
    """Tell an exception as an interpreter does: the exit status for it."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except SystemExit as leaving:
        return status_of(leaving.code)
    except BaseException as worse:
        print("Error in sys.excepthook:", file=sys.stderr)
        own_trace = _without_ours(worse.__traceback__)
        sys.__excepthook__(type(worse), worse.with_traceback(own_trace), own_trace)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, trace)
    return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    own_file = __file__
    while trace is not None and trace.tb_frame.f_code.co_filename == own_file:
        trace = trace.tb_next
    return trace


def _inherit(spec: ScriptSpec) -> None:
    """Be in the environment and the folder that were asked for, and under the limits of whoever asked."""
    before = os.environ.get("TZ")
    now = os.environ.copy()
    for name in now.keys() - spec.environment.keys():
        del os.environ[name]
    for name, value in spec.environment.items():
        if now.get(name) != value:  # each that is set is copied, twice
            os.environ[name] = value
    service_files.look_around()
    if os.environ.get("TZ") != before:
        time.tzset()
    os.umask(spec.umask)
    os.chdir(spec.folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if spec.asked_by is not None and (limits := Limits.of(spec.asked_by)) is not None:
        limits.put_on()
