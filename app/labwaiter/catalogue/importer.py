"""The processes that import a service file, one that guards and one that imports: see `importing`, which asks them.

Nothing else of ours imports this module: it is run.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import select
import signal
import site
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from typing import Any

from ..errors import InvalidParameter, Misconfigured
from ..model.values import plain
from ..service_files import import_file, import_lab, put_on_path, put_ours_last
from ..system.process import become_subreaper, children, tell_group
from . import literals
from .importing import PRINTED_MAX, RACY_NS, read, stamp


def main() -> None:
    """Entry: `python -u -P -m labwaiter.catalogue.importer FD`, where FD holds the order and takes the answer."""
    exchange = int(sys.argv[1])
    os.set_inheritable(exchange, False)
    order = read(exchange)
    os.ftruncate(exchange, 0)
    become_subreaper()
    importer = os.fork()
    if importer == 0:
        os.setsid()
        _import(order, exchange)
    ended = os.pidfd_open(importer)
    over = not select.select([ended], [], [], order["seconds"])[0]
    if over:
        os.kill(importer, signal.SIGKILL)
        select.select([ended], [], [])
    tell_group(importer, signal.SIGKILL)  # before it is reaped: nobody else can have its number yet
    _, status = os.waitpid(importer, 0)
    _end_what_is_left()
    answer = None if over else read(exchange) or None
    _write(exchange, {"over": over, "status": os.waitstatus_to_exitcode(status), "answer": answer})


def _end_what_is_left() -> None:
    """The importer's descendants have become this process's children, whatever sessions they made."""
    while left := children():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for _ in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)


def _write(fd: int, content: dict[str, Any]) -> None:
    text = json.dumps(content, default=plain).encode()
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    while text:
        text = text[os.write(fd, text) :]


def _import(order: dict[str, Any], exchange: int) -> None:
    """Import the file, write the answer, and end: nothing of the file's runs any more after that."""
    me = os.getpid()
    put_ours_last()
    file = Path(order["file"])
    if "lab" in order:
        answer = _described_lab(file, order["lab"])
    else:
        answer = _checked(file, order) if "check" in order else _described(file)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if os.getpid() == me:  # not a fork that the file has made
        try:
            _write(exchange, answer)
        except TypeError as error:
            _write(exchange, {"wrong": f"{file.name} declares what can't be written down: {error}."})
    os._exit(0)


def _described(file: Path) -> dict[str, Any]:
    before, began = set(sys.modules), time.time_ns()
    services, needs = [], {}
    try:
        declared = import_file(file)
        absent = literals.judge(file, sys.modules[next(iter(declared.values())).function.__module__])
        for declaration in declared.values():
            try:
                services.append(declaration.described().as_data())
            except Misconfigured as error:
                return _wrong(file, error, began, before, declaration.function.__code__.co_firstlineno)
            needs[declaration.name] = list(declaration.needs)
    except literals.Mistake as mistake:
        return _wrong(file, Misconfigured(str(mistake)), began, before, mistake.line)
    except Misconfigured as error:
        return _wrong(file, error, began, before)
    places = [(why, line, _line(file, line)) for why, line in absent]
    return {"services": services, "needs": needs, "stamps": _stamps(before, began), "absent": places}


def _described_lab(file: Path, services: str) -> dict[str, Any]:
    before, began = set(sys.modules), time.time_ns()
    put_on_path(services)  # its drivers may lie there
    try:
        _, lab = import_lab(file)
    except Misconfigured as error:
        return _wrong(file, error, began, before)
    return {"lab": lab.as_data(), "stamps": _stamps(before, began)}


def _wrong(file: Path, error: Misconfigured, began: int, before: set[str], line: int = 0) -> dict[str, Any]:
    cause = error.__cause__ or error
    own = _Own()
    if isinstance(cause, SyntaxError) and cause.filename and cause.lineno:
        places = [(os.path.basename(cause.filename), cause.lineno, (cause.text or "").strip())]
    elif line:
        places = [(file.name, line, _line(file, line))]
    else:
        frames = traceback.extract_tb(cause.__traceback__)
        places = [(os.path.basename(f.filename), f.lineno or 0, f.line or "") for f in frames if own.has(f.filename)]
    text = "" if cause is error else "".join(traceback.format_exception(cause))
    return {"wrong": str(error), "places": places[-10:], "traceback": text, "stamps": _stamps(before, began)}


def _line(file: Path, number: int) -> str:
    return linecache.getline(os.fspath(file), number).strip()


def _checked(file: Path, order: dict[str, Any]) -> dict[str, Any]:
    try:
        declared = import_file(file)
    except Misconfigured as error:
        return {"wrong": str(error), "traceback": "".join(traceback.format_exception(error.__cause__ or error))}
    declaration = declared.get(order["check"])
    if declaration is None or declaration.check is None:
        return {"refused": None}  # the file has changed under this start; its job says what has
    inputs = {name: Path(value) if name in order["paths"] else value for name, value in order["inputs"].items()}
    try:
        refusal = declaration.check(**inputs)
        return {"refused": str(refusal) if refusal else None}
    except InvalidParameter as error:
        return {"refused": error.message}
    except (Exception, SystemExit) as error:
        return {"failed": "".join(traceback.format_exception(error))[-PRINTED_MAX:]}


class _Own:
    """Which files are the user's: neither Python's, nor installed, nor labwaiter's."""

    def __init__(self) -> None:
        names = ("stdlib", "platstdlib", "purelib", "platlib")
        folders = {sysconfig.get_path(name) for name in names} | {site.getusersitepackages(), *site.getsitepackages()}
        folders |= {os.path.dirname(os.path.dirname(__file__))}
        self._others = tuple(os.path.join(folder, "") for folder in folders if folder)

    def has(self, file: str) -> bool:
        """Whether a file is one of the user's own modules."""
        return os.path.isabs(file) and not file.startswith(self._others)


def _stamps(before: set[str], began: int) -> dict[str, list[int]]:
    """Of every module of the user's that the import has loaded."""
    own = _Own()
    names = [name for name in sys.modules if name not in before]
    files = [getattr(sys.modules[name], "__file__", None) for name in names]
    stamps = {file: stamp(file) for file in files if isinstance(file, str) and own.has(file)}
    return {file: seen if seen[0] < began - RACY_NS else [0, 0] for file, seen in stamps.items()}


if __name__ == "__main__":
    main()
