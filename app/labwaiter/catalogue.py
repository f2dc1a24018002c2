"""The services of one deployment: every file of the services folder, imported one by one.

A file that doesn't import takes only its own service with it: that one is `Broken`, with the
reason, and the others serve.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import InvalidParameter, Misconfigured, Unavailable
from .parameter import shown
from .service import Service

log = logging.getLogger(__name__)
IMPORT_SECONDS = 30.0  # a file that hangs, e.g. in a search for instruments, must not keep the others from serving


class _TooLong(BaseException):
    """An import's time is over. No Exception, so that no service file catches it."""


@dataclass(frozen=True)
class Broken:
    """A service that can't be offered, and why."""

    name: str
    file: Path
    reason: str  # one sentence, without a path


@dataclass(frozen=True)
class Catalogue:
    """What this deployment offers, by the services' names."""

    services: dict[str, Service]
    broken: dict[str, Broken]

    def find(self, name: str) -> Service | Broken | None:
        """The service of this name, in any spelling of upper and lower case."""
        wanted = name.lower()
        for offered in (self.services, self.broken):
            for known, one in offered.items():
                if known.lower() == wanted:
                    return one
        return None

    def get(self, name: str) -> Service:
        """As `find`.

        Raises:
            InvalidParameter: there is none of this name.
            Unavailable: it can't be offered.
        """
        found = self.find(name)
        if isinstance(found, Broken):
            raise Unavailable(f"{found.name} can't be run: {found.reason}")
        if found is None:
            known = ", ".join(self.services) or "none"
            raise InvalidParameter(f"There is no service {shown(name)}; there are: {known}.")
        return found


def files(folder: Path) -> list[Path]:
    """The service files of a folder, in the order of their names; not those that begin with _ or a dot."""
    return sorted(f for f in folder.glob("*.py") if f.name[0] not in "._")


def load(folder: Path) -> Catalogue:
    """Import every service file of `folder`. Never raises for what a file does.

    Raises:
        Misconfigured: there is no such folder.
    """
    if not folder.is_dir():
        raise Misconfigured(f"There is no services folder {folder}; SERVICES names it.")
    services: dict[str, Service] = {}
    broken: dict[str, Broken] = {}
    for file in files(folder):
        try:
            for one in load_file(file):
                if other := _taken(services, one.name):
                    raise Misconfigured(f"{other.file.name} offers a service of the name {one.name} already.")
                services[one.name] = one
        except Misconfigured as error:
            for name in names_in(file):
                broken[name] = Broken(name, file, str(error))
            log.error("%s offers no service: %s", file.name, error, exc_info=error.__cause__)
    return Catalogue(services, {n: b for n, b in broken.items() if n not in services})


def load_file(file: Path) -> list[Service]:
    """The services that one file declares, by importing it anew.

    Raises:
        Misconfigured: the file can't be imported or declares none; the message says why, and
            the cause is the file's own exception.
    """
    # two folders may hold files of one name, and a changed file is imported beside its old self
    name = f"labwaiter_service_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    beside = str(file.parent)
    if beside not in sys.path:  # service files share code through modules beside them
        sys.path.append(beside)
    try:
        with _within(IMPORT_SECONDS):
            spec.loader.exec_module(module)
    except Misconfigured:
        raise
    except _TooLong as error:
        raise Misconfigured(f"{file.name} took more than {IMPORT_SECONDS:g} s to import.") from error
    except SyntaxError as error:
        raise Misconfigured(f"{file.name} has a syntax error in line {error.lineno}: {error.msg}.") from error
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{file.name} needs the module {error.name}, which is not installed.") from error
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:200]
        raise Misconfigured(f"{file.name} does not import: {type(error).__name__}: {said}") from error
    found = [f.__labwaiter__ for f in _declared(module)]
    if not found:
        raise Misconfigured(f"{file.name} declares no service: put @service(…) above its start function.")
    return found


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End what takes longer by _TooLong; only a main thread can be interrupted so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: object) -> None:
        raise _TooLong()

    before, began = signal.signal(signal.SIGALRM, over), time.monotonic()
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # an alarm of a script that uses labwaiter: it comes when it would have come
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)), every)


def names_in(file: Path) -> list[str]:
    """The names that a file seems to declare, read without importing it; its own name if none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.findall(r"^@(?:labwaiter\.)?service\(\s*[\"']([A-Za-z][A-Za-z0-9_]*)[\"']", text, re.M)
    return found or ["".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", file.stem))]


def _declared(module: object) -> Iterator:  # type: ignore[type-arg]
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == module.__name__ and hasattr(value, "__labwaiter__"):  # type: ignore[attr-defined]
            yield value


def _taken(services: dict[str, Service], name: str) -> Service | None:
    return next((s for known, s in services.items() if known.lower() == name.lower()), None)
