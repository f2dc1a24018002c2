"""The service files of a deployment as modules: `labwaiter.service_files.waiter` is its waiter.py, or waiter.toml.

A job imports its own file under this name, and so can every Python process that it starts
(multiprocessing by spawn or forkserver, joblib, whoever reads a pickle later): the folder stands in
the environment. A name of its own kind, because waiter.py may be called as any library is.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import hashlib
import importlib.util
import os
import site
import stat
import sys
import warnings
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from ..errors import Misconfigured
from ..model.service import Declaration
from ..system.process import APP, IS_INSTALLED, paths_of_others
from ..system.shared_pages import make_code_immortal
from .stateless import state_in

if TYPE_CHECKING:
    from ..model.remote_lab import Lab, RemoteLab

_TICK = 20_000_000  # ns: file systems count the time of a change in steps of at most half of that
FOLDER = "LABWAITER_SERVICE_FILES"  # in the environment: where they are
_INSTALLED = {*site.getsitepackages(), site.getusersitepackages(), APP}
_KEPT_MAX = 200_000  # bytes of a file that is compiled before a job asks for it
ENDING = ".toml"  # of a service file without Python (model/toml_service.py)
_hashes: dict[str, str] = {}  # of the bytes that were read last: their SHA-256, in hexadecimal digits
__path__ = []


@dataclass
class _Kept:
    """A file as the process has it that jobs are forked from."""

    source: bytes
    code: CodeType
    module: ModuleType | None = None  # imported, where it is shown to hold no state
    declared: dict[str, Declaration] | None = None  # by that


_kept: dict[str, _Kept] = {}  # by the file's path
_immortal: set[str] = set()  # files whose code is: a file's first, for one that is edited all day would fill the memory


def look_around() -> None:
    """Find them where the environment says that they are: as this is imported, and in a fork that got another one."""
    __path__[:] = [os.environ[FOLDER]] if FOLDER in os.environ else []


look_around()


def import_file(file: Path) -> dict[str, Declaration]:
    """Import one service file in this process, which is a job's or is there for that alone: what it declares, by name.

    Raises:
        Misconfigured: it can't be imported or declares nothing; the message says why, and the
            cause is the file's own exception.
    """
    module, declared = _imported(file, "services")
    declared = _declared_by(module) if declared is None else declared
    if not declared:
        raise Misconfigured(f"{file.name} declares no service: put @service(…) above its start function.")
    return declared


def import_lab(file: Path) -> tuple[Lab, RemoteLab]:
    """Import a remote lab's file in this process, which is a session's or is there for that alone.

    Raises:
        Misconfigured: as `import_file`.
    """
    from ..model.remote_lab import Lab  # jobs of services have no use for it

    module, _ = _imported(file, "labs")
    labs = [value for value in vars(module).values() if isinstance(value, Lab)]
    if len(labs) != 1:
        many = "no lab: write lab = Lab(…)" if not labs else f"{len(labs)} labs: give each a file of its own"
        raise Misconfigured(f"{file.name} declares {many}.")
    return labs[0], labs[0].described(file.stem, module.__doc__ or "", file)


def _imported(file: Path, folder_name: str) -> tuple[ModuleType, dict[str, Declaration] | None]:
    """Its module, and what that declares where it was imported before this process was forked.

    Raises Misconfigured.
    """
    folder = os.fspath(file.parent)
    os.environ[FOLDER] = folder
    __path__[:] = [folder]
    put_on_path(folder)
    kept = _take(file)
    if kept is None:
        _note_hash(file)
        if file.suffix == ENDING:
            kept = _Kept(b"", _code_of_toml(file))
        else:
            _drop_old_bytecode(file)
    module = (kept and kept.module) or _module_for(file)
    name = module.__name__
    sys.modules[name] = module
    setattr(sys.modules[__name__], name.rpartition(".")[2], module)
    if kept is not None and kept.declared is not None:
        return module, kept.declared
    try:
        if kept is not None:
            exec(kept.code, vars(module))
        else:
            assert module.__spec__ is not None and module.__spec__.loader is not None
            module.__spec__.loader.exec_module(module)
    except Misconfigured:
        raise
    except SyntaxError as error:
        raise Misconfigured(f"{file.name} has a syntax error in line {error.lineno}: {error.msg}.") from error
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{file.name} needs the module {error.name}, which is not installed.") from error
    except FileNotFoundError as error:
        if error.filename != os.fspath(file):
            raise _does_not_import(file, error) from error
        raise Misconfigured(f"{file.name} is no longer in the {folder_name} folder.") from error
    except (Exception, SystemExit) as error:
        raise _does_not_import(file, error) from error
    return module, None


def _module_for(file: Path) -> ModuleType:
    """An empty module for a service's file."""
    name = f"{__name__}.{file.stem.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, os.fspath(file)))
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def _declared_by(module: ModuleType) -> dict[str, Declaration]:
    return {
        value.__labwaiter__.name: value.__labwaiter__
        for value in list(vars(module).values())
        if getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__labwaiter__")
    }


def tree_of(file: Path) -> ast.Module:
    """A service file's text as Python reads it; a TOML file's as the Python that it stands for, at its own lines.

    Raises:
        SyntaxError: it can't be meant.
        OSError, ValueError, RecursionError: it can't be read.
    """
    return _tree_in(file.read_bytes(), file)


def _tree_in(content: bytes, file: Path) -> ast.Module:
    if file.suffix != ENDING:
        return ast.parse(content)
    from ..model import toml_service  # jobs of other files have no use for it

    return toml_service.tree_of(content.decode("utf-8-sig").replace("\r\n", "\n"), os.fspath(file))


def _code_of_toml(file: Path) -> CodeType:
    """The code of the Python that a TOML file stands for. Raises Misconfigured."""
    try:
        return compile(tree_of(file), os.fspath(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise Misconfigured(f"{file.name}, line {error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file.name} is no text in UTF-8 (byte {error.start}).") from error
    except FileNotFoundError as error:
        raise Misconfigured(f"{file.name} is no longer in the services folder.") from error
    except OSError as error:
        raise Misconfigured(f"{file.name} can't be read ({error.strerror}).") from error


def keep(file: Path) -> None:
    """Have this file compiled, and imported if it is shown to hold no state, for those who are forked from this
    process and import it: they compare its bytes.

    Nothing else of it is run here. What can't be compiled, or warns, is left to each of them, so that each says so.
    """
    name = os.fspath(file)
    source = _source(name)
    if source is None:
        _kept.pop(name, None)
        _hashes.pop(name, None)
    elif name not in _kept or _kept[name].source != source:
        _kept.pop(name, None)
        _hashes[name] = hashlib.sha256(source).hexdigest()
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("error")
            text = _tree_in(source, file) if file.suffix == ENDING else source
            _kept[name] = kept = _Kept(source, compile(text, name, "exec", dont_inherit=True))
            if name not in _immortal:
                _immortal.add(name)
                make_code_immortal(kept.code)
            if state_in(_tree_in(source, file)) is None:
                _import_into(kept, file)


def _import_into(kept: _Kept, file: Path) -> None:
    """Import it, and leave no trace of that: the module is given to the jobs that import it."""
    module = _module_for(file)
    try:
        sys.modules[module.__name__] = module
        exec(kept.code, vars(module))
    finally:
        sys.modules.pop(module.__name__, None)
    if declared := _declared_by(module):
        kept.module, kept.declared = module, declared
    # into the oldest generation, which a job's collector comes to as it ends: then this module is taken apart like
    # any other. What is frozen isn't
    gc.collect()


def hash_of_source(file: Path) -> str:
    """The SHA-256 of a service's file as it was compiled or imported in this process; "" where that isn't known."""
    return _hashes.get(os.fspath(file), "")


def _note_hash(file: Path) -> None:
    """Of what is about to be imported by Python itself."""
    with contextlib.suppress(OSError, ValueError):
        _hashes[os.fspath(file)] = hashlib.sha256(file.read_bytes()).hexdigest()


def _take(file: Path) -> _Kept | None:
    """It, if the process that this one was forked from has these very bytes; this one's own from then on."""
    kept = _kept.pop(os.fspath(file), None)
    return kept if kept is not None and _source(os.fspath(file)) == kept.source else None


def _source(file: str) -> bytes | None:
    """The bytes of a file that isn't too large; None where they can't be had: a pipe in its place holds nobody up."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _KEPT_MAX:
            return None
        source = os.pread(fd, _KEPT_MAX + 1, 0)
    except OSError:
        return None
    finally:
        os.close(fd)
    return source if len(source) <= _KEPT_MAX else None


def _drop_old_bytecode(file: Path) -> None:
    """Bytecode that Python would take for this file's though it isn't: it compares whole seconds and sizes alone."""
    bytecode = Path(importlib.util.cache_from_source(os.fspath(file)))
    with contextlib.suppress(OSError):
        if bytecode.stat().st_mtime_ns <= file.stat().st_mtime_ns + _TICK:
            bytecode.unlink()


def _does_not_import(file: Path, error: BaseException) -> Misconfigured:
    text = " ".join(str(error).split())[:200]
    return Misconfigured(f"{file.name} does not import: {type(error).__name__}: {text}")


def put_ours_last() -> None:
    """Have our own folder last on the path, and out of the environment.

    It also holds names that a user's modules may have, and another Python has no use for it.
    """
    if not IS_INSTALLED:
        sys.path[:] = [*(entry for entry in sys.path if entry != APP), APP]
    if others := paths_of_others(os.environ):
        os.environ["PYTHONPATH"] = os.pathsep.join(others)
    else:
        os.environ.pop("PYTHONPATH", None)


def put_on_path(folder: str) -> None:
    """Have modules beside the service files imported: before what is installed, behind Python's own.

    `python file` has the file's folder first of all. But our own imports have taken the standard
    library's modules already, so that first place would count for some names and not for others.
    """
    if folder in sys.path:
        return
    places = [place for place, entry in enumerate(sys.path) if entry in _INSTALLED]
    sys.path.insert(places[0] if places else len(sys.path), folder)
