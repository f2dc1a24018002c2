"""The services of one deployment: what every file of the services folder declares.

No process of ours imports a service's file to know that: `importing` has it done, once for each change of the file,
and what came of it lies in the deployment's jobs folder for all others (`.labwaiter/services/<file>.json`). A file
that doesn't import takes only its own services with it: those are `Broken`, with the reason, and the others serve.
What a service was like when it was offered last is kept, too: what was started then is still asked for.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import site
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import Any

from ..errors import InvalidParameter, Misconfigured, Unavailable
from ..layout import Layout
from ..model.parameter import shown
from ..model.service import Service, lacking, service_of
from ..service_files import ENDING as TOML
from ..settings import Settings
from ..system import flock
from . import importing
from .importing import Description, stamp

log = logging.getLogger(__name__)
IMPORT_SECONDS = 30.0  # a file that hangs, e.g. in a search for instruments
WAIT_SECONDS = 10.0  # so long a caller waits for what is being imported; the others serve meanwhile
AGAIN_SECONDS = 60.0  # a file that could not be imported may be right by then: what it lacked is there, a share mounted
AGAIN_TIMES = 20  # as long as its import took: one that hangs may not keep this machine busy
AT_A_TIME = 4  # imports
LARGEST = 16_000_000  # bytes of what is kept of one file
ENDINGS = (".py", TOML)  # of service files
FORM = 1  # of what is kept; another form is passed over
_READERS = ("service_files/__init__.py", "model/toml_service.py", "model/remote_lab.py")
_turns = threading.BoundedSemaphore(AT_A_TIME)


@dataclass(frozen=True)
class Broken:
    """A service that can't be offered, and why."""

    name: str
    file: Path
    reason: str  # one sentence, without a path
    last: Service | None = None  # as it was when it was offered last


@dataclass(frozen=True)
class Catalogue:
    """What this deployment offers, by the services' names."""

    services: dict[str, Service]
    broken: dict[str, Broken]
    gone: dict[str, Service] = field(default_factory=dict)  # no longer offered, as they were last

    def find(self, name: str) -> Service | Broken | None:
        """The service of this name, in any spelling of upper and lower case."""
        wanted = name.lower()
        for offered in (self.services, self.broken):
            for spelling, service in offered.items():
                if spelling.lower() == wanted:
                    return service
        return None

    def get(self, name: str) -> Service:
        """As `find`.

        Raises:
            InvalidParameter: there is none of this name.
            Unavailable: it can't be offered.
        """
        service = self.find(name)
        if isinstance(service, Broken):
            raise Unavailable(f"{service.name} can't be run: {service.reason}")
        if service is None:
            names = ", ".join(self.services) or "none"
            raise InvalidParameter(f"There is no service {shown(name)}; there are: {names}.")
        return service

    def known(self, name: str) -> Service | None:
        """A service as it is, or as it was when it was offered last: for what was started then."""
        service = self.find(name)
        if isinstance(service, Service):
            return service
        if service is not None:
            return service.last
        return next((gone for spelling, gone in self.gone.items() if spelling.lower() == name.lower()), None)

    def refusal(self, name: str) -> str:
        """Why nothing new of this service can be started now, in a sentence; "" where it can."""
        service = self.find(name)
        if isinstance(service, Service):
            return ""
        why = service.reason if service else "this deployment no longer offers it."
        return f"The service {service.name if service else name} is not available: {why}"


def files(folder: Path) -> list[Path]:
    """The service files of a folder, in the order of their names; not those that begin with _ or a dot."""
    # a link that leads nowhere is told as that; a pipe or a folder is no file at all
    found = (f for ending in ENDINGS for f in folder.glob(f"*{ending}"))
    return sorted(f for f in found if f.name[0] not in "._" and (f.is_file() or not f.exists()))


def of(settings: Settings, quiet: bool = False) -> WatchedCatalogue:
    """What a deployment offers; `quiet` as for `WatchedCatalogue`."""
    return WatchedCatalogue(settings.services, cache_of(settings.jobs_folder), quiet)


def cache_of(jobs_folder: Path) -> Path:
    """Where a deployment keeps what its service files declare."""
    return Layout(jobs_folder).services


def load(folder: Path, cache: Path | None = None) -> Catalogue:
    """What the service files of `folder` declare. Never raises for what a file does.

    Args:
        cache: the deployment's (`cache_of`); without one every file is imported anew.

    Raises:
        Misconfigured: there is no such folder.
    """
    return WatchedCatalogue(folder, cache).whole()


def check(file: Path, cache: Path | None = None) -> tuple[list[Service | Broken], Description]:
    """What a file offers, imported anew, and all that came of that; the deployment's `cache` knows it then, too."""
    with locked(cache, file):
        entry = _import(file, cache)
    return list(entry.offered()), entry.described


def known(cache: Path, name: str) -> Service | None:
    """A service as it was when it was last offered, by the deployment's cache alone; None where it isn't known.

    Starts nothing and waits for nothing.
    """
    wanted, versions = name.lower(), []
    for entry in _every(cache):
        for service in entry.last.values():
            if service.name.lower() == wanted:
                offered = any(declared["name"] == service.name for declared in entry.described.services)
                versions.append((offered, entry.at, service))
    return max(versions, key=lambda each: each[:2])[2] if versions else None


def names_in(file: Path) -> list[str]:
    """The names that a file seems to declare, read without importing it; its own name if none."""
    return _declared_in(file) or [
        "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", file.stem))
    ]


def _declared_in(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if file.suffix == TOML:
        table = re.search(r"^\s*\[\s*service\s*\]([^\[]*)", text, re.M)
        return re.findall(r"^\s*name\s*=\s*[\"']([A-Za-z][A-Za-z0-9_]*)[\"']", table[1] if table else "", re.M)[:1]
    return re.findall(r"^@(?:labwaiter\.)?service\(\s*[\"']([A-Za-z][A-Za-z0-9_]*)[\"']", text, re.M)


# -- one file ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServiceFile:
    """What is known of one service file."""

    file: Path
    described: Description
    stamps: dict[str, list[int]]  # of the file, and of all that its import has loaded of the user's
    around: list[Any]  # with which Python and which packages
    at: float  # Unix time, s
    took: float  # s
    last: dict[str, Service]  # every service that it ever offered, as it was then

    def offered(self) -> Iterator[Service | Broken]:
        """What it declares, as far as the programs that it needs are installed now."""
        for declared in self.described.services:
            service = self.last[declared["name"]]
            why = lacking(service.name, self.described.needs.get(service.name, ()))
            yield service if why is None else Broken(service.name, self.file, why)  # perhaps it was never offered here

    @property
    def unchanged(self) -> bool:
        """Whether an import would find the same: some calls of stat tell."""
        return self.around == around() and all(stamp(path) == seen for path, seen in self.stamps.items())

    @property
    def may_be_right_now(self) -> bool:
        """Whether it could not be imported, some time ago: the longer that took, the longer ago."""
        return bool(self.described.wrong) and not 0 <= time.time() - self.at < max(
            AGAIN_SECONDS, AGAIN_TIMES * self.took
        )


def around() -> list[Any]:
    """What every import depends on besides its file: Python, the installed packages, and how a signature is read."""
    version = sys.modules["labwaiter"].__version__  # an import of the package would be one of what lies above
    return [sys.version, sys.prefix, version, *(stamp(place) for place in _places())]


@once
def _places() -> list[str]:
    package = os.path.dirname(os.path.dirname(__file__))
    ours = {f"{package}/{name}" for name in ("model/service.py", "model/parameter.py", *_READERS)}
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    return sorted(ours | packages)


def _import(file: Path, cache: Path | None, before: ServiceFile | None = None) -> ServiceFile:
    """Have it imported, and note what came of it."""
    if cache is not None:
        before = _read(cache, file) or before
    seen, beside, began = stamp(file), around(), time.monotonic()
    described = importing.describe(file, IMPORT_SECONDS)
    now = {declared["name"]: service_of(declared) for declared in described.services}
    stamps = {**described.stamps, os.fspath(file): seen}
    if described.wrong:
        stamps |= {os.fspath(path): stamp(path) for path in _modules_beside(file)}
    took, last = time.monotonic() - began, (before.last if before else {}) | now
    entry = ServiceFile(file, described, stamps, beside, time.time(), took, last)
    for line in described.printed.splitlines():
        log.info("%s, as it was imported: %s", file.name, line)
    if cache is not None and cache.is_dir():
        _write(cache, entry)
    return entry


def _modules_beside(file: Path) -> Iterable[Path]:
    """The folder, whose stamp tells of modules that come and go, and the modules in it: one may be the mistake."""
    yield file.parent
    for pattern in ("*.py", "*/*.py"):
        yield from sorted(file.parent.glob(pattern))[:200]


# -- what is kept of it in the deployment's folder ----------------------------------------------


def _place(cache: Path, file: Path) -> Path:
    return cache / f"{file.name}.json"


def _read(cache: Path, file: Path) -> ServiceFile | None:
    """What is kept of a file; None where nothing is, or it was another file of this name."""
    entry = _entry(_place(cache, file))
    return entry if entry is not None and entry.file == file else None


def _every(cache: Path) -> Iterator[ServiceFile]:
    for place in sorted(cache.glob("*.json")):
        if (entry := _entry(place)) is not None:
            yield entry


def _entry(place: Path) -> ServiceFile | None:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        with open(place, "rb") as stream:
            content = json.loads(stream.read(LARGEST))
        if content["form"] == FORM:
            last = {name: service_of(data) for name, data in content["last"].items()}
            described = Description(**content["described"])
            if all(data["name"] in last for data in described.services):
                at, took = float(content["at"]), float(content["took"])
                return ServiceFile(
                    Path(content["file"]), described, content["stamps"], content["around"], at, took, last
                )
    return None


def _write(cache: Path, entry: ServiceFile) -> None:
    content = {
        "form": FORM,
        "file": os.fspath(entry.file),
        "described": vars(entry.described),
        "stamps": entry.stamps,
        "around": entry.around,
        "at": entry.at,
        "took": entry.took,
        "last": {name: service.as_data() for name, service in entry.last.items()},
    }
    place = _place(cache, entry.file)
    beside = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(content))
        beside.replace(place)
    except OSError as error:  # everything goes on without it, only slower
        log.warning("what %s declares can't be kept: %s", entry.file.name, error)
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def locked(cache: Path | None, file: Path) -> Iterator[None]:
    """One process at a time imports a file: the others wait, and find what came of it."""
    lock = -1
    if cache is not None:
        # a jobs folder that isn't there yet is made by whoever starts the deployment, as its own
        with contextlib.suppress(OSError):
            cache.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(cache / f".{file.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if lock >= 0:
            with contextlib.suppress(OSError):  # whoever waits for too long imports it, too
                flock.lock(lock, IMPORT_SECONDS + importing.LATE_SECONDS)
        yield
    finally:
        if lock >= 0:
            os.close(lock)


# -- all of them ------------------------------------------------------------------------------


def judge_folder(folder: Path) -> None:
    """Raises Misconfigured: there is no such services folder."""
    if not folder.is_dir():
        raise Misconfigured(f"There is no services folder {folder}: SERVICES names it, labwaiter new NAME makes it.")


class WatchedCatalogue:
    """What a deployment offers, looked at again whenever it is asked for. Thread-safe."""

    def __init__(self, folder: Path, cache: Path | None = None, quiet: bool = False) -> None:
        """
        Args:
            folder: of the service files.
            cache: as for `load`.
            quiet: what is wrong with a service is told to those who ask for it, and not in the log, too.
        """
        self._folder, self._cache, self._quiet = folder, cache, quiet
        self._turn = threading.Lock()  # of what stands below; held for moments
        self._making = threading.Lock()  # of the catalogue
        self._entries: dict[Path, ServiceFile] = {}
        self._under_way: dict[Path, threading.Event] = {}
        self._last: dict[str, Service] = {}  # every service that was ever offered, in lower case
        self._lacking: dict[str, str | None] = {}
        self._catalogue: Catalogue | None = None
        self._newer = False  # something is known that the catalogue doesn't have yet
        self._told: set[str] = set()

    def last(self) -> Catalogue:
        """As it was found last, without looking: for polls. Raises Misconfigured as `now`, the first time."""
        return self._catalogue or self.now()

    def now(self, name: str | None = None, wait: float = WAIT_SECONDS) -> Catalogue:
        """As the folder is now: some calls of stat, and where a file has changed, an import.

        Args:
            name: the service that is wanted: no other file is waited for.
            wait: seconds to wait for imports at most; what is still under way then is as it was before.

        Raises:
            Misconfigured: there is no such folder.
        """
        if name is not None and self._catalogue is not None and not self._newer:
            entry = self._of(name)
            if entry is not None and entry.unchanged and not entry.may_be_right_now and self._has_what_it_needs(entry):
                return self._catalogue
        return self._look(name, wait, patient=False)

    def whole(self) -> Catalogue:
        """As the folder is now, every file of it. Raises Misconfigured as `now`."""
        return self._look(None, IMPORT_SECONDS + importing.LATE_SECONDS * AT_A_TIME, patient=True)

    # -- looking --------------------------------------------------------------------------------

    def _look(self, name: str | None, wait: float, patient: bool) -> Catalogue:
        judge_folder(self._folder)
        listed = files(self._folder)
        if self._catalogue is None and self._cache is not None:
            for entry in _every(self._cache):
                self._keep(entry)
        wanted = self._file_of(name, listed) if name is not None else None
        waited = []
        for file in listed:
            before = self._entries.get(file)
            if before is None and self._cache is not None and (before := _read(self._cache, file)) is not None:
                self._put(before)
            if before is None or not before.unchanged or before.may_be_right_now:
                done = self._begin(file, before)
                concerned = wanted is None or wanted == file
                only_old = before is not None and before.unchanged
                if concerned and (patient or not only_old):
                    waited.append(done)
        until = time.monotonic() + wait
        for done in waited:
            done.wait(max(0.0, until - time.monotonic()))
        return self._make(listed)

    def _of(self, name: str) -> ServiceFile | None:
        """The file that offers a service of this name, or did when it could be imported."""
        wanted = name.lower()
        service = self._catalogue.find(name) if self._catalogue else None
        if service is not None:
            return self._entries.get(service.file)
        offering = (entry for entry in self._entries.values() if wanted in map(str.lower, entry.last))
        return next(offering, None)

    def _file_of(self, name: str, listed: list[Path]) -> Path | None:
        """The file that is known to offer a service of this name, else one whose text seems to; None without any."""
        entry = self._of(name)
        if entry is not None and entry.file in listed:
            return entry.file
        wanted = name.lower()
        return next((file for file in listed if wanted in map(str.lower, _declared_in(file))), None)

    def _has_what_it_needs(self, entry: ServiceFile) -> bool:
        needs = entry.described.needs
        return all(self._lacking.get(name) == lacking(name, programs) for name, programs in needs.items() if programs)

    def _begin(self, file: Path, before: ServiceFile | None) -> threading.Event:
        """Have a file imported by a thread, unless one is at it."""
        with self._turn:
            done = self._under_way.get(file)
            if done is not None:
                return done
            done = self._under_way[file] = threading.Event()
        work = threading.Thread(target=self._work, args=(file, before, done), name=f"import {file.name}", daemon=True)
        try:
            work.start()
        except (
            RuntimeError
        ) as want:  # there is no thread now: the next look tries again, and until then it is as it was
            log.warning("%s can't be imported now: %s", file.name, want)
            with self._turn:
                del self._under_way[file]
            done.set()
        return done

    def _work(self, file: Path, before: ServiceFile | None, done: threading.Event) -> None:
        try:
            with _turns, locked(self._cache, file):
                entry = _read(self._cache, file) if self._cache is not None else None  # another process was faster
                if entry is None or not entry.unchanged or entry.may_be_right_now:
                    entry = _import(file, self._cache, before)
            self._put(entry)
        except Exception:
            log.exception("%s could not be imported", file.name)
            described = Description(wrong=f"{file.name} could not be imported, and the log says why.")
            self._put(ServiceFile(file, described, {}, around(), time.time(), 0.0, before.last if before else {}))
        finally:
            with self._turn:
                del self._under_way[file]
            done.set()

    def _put(self, entry: ServiceFile) -> None:
        with self._turn:
            self._entries[entry.file] = entry
            self._newer = True
        self._keep(entry)

    def _keep(self, entry: ServiceFile) -> None:
        with self._turn:
            self._last |= {name.lower(): service for name, service in entry.last.items()}

    # -- what was found -------------------------------------------------------------------------

    def _make(self, listed: list[Path]) -> Catalogue:
        with self._making:
            with self._turn:
                self._newer = False
                self._entries = {file: self._entries[file] for file in listed if file in self._entries}
                entries, last = dict(self._entries), dict(self._last)
            self._lacking = {}
            services: dict[str, Service] = {}
            broken: dict[str, Broken] = {}
            for file in listed:
                for service in self._of_file(file, entries.get(file), last):
                    if isinstance(service, Broken):
                        broken[service.name] = service
                    elif (other := _taken(services, service.name)) is not None:
                        why = f"{other.file.name} offers a service of the name {service.name} already."
                        self._tell(f"{file.name} does not offer {service.name}: {why}")
                        broken[service.name] = Broken(service.name, file, why)
                    else:
                        services[service.name] = service
            broken = {name: service for name, service in broken.items() if name not in services}
            offered = {name.lower() for name in (*services, *broken)}
            gone = {service.name: service for name, service in last.items() if name not in offered}
            self._catalogue = Catalogue(services, broken, gone)
            return self._catalogue

    def _of_file(self, file: Path, entry: ServiceFile | None, last: dict[str, Service]) -> Iterator[Service | Broken]:
        """What a file offers, and what it can't."""
        if entry is None:
            for name in names_in(file):
                why = f"{file.name} is still being imported; try again in a moment."
                yield Broken(name, file, why, last.get(name.lower()))
        elif why := entry.described.wrong:
            trace = entry.described.traceback
            self._tell(f"{file.name} offers no service: {why}" + (f"\n{trace}" if trace else ""))
            for name in _declared_in(file) or list(entry.last) or names_in(file):
                yield Broken(name, file, why, entry.last.get(name) or last.get(name.lower()))
        else:
            for service in entry.offered():
                self._lacking[service.name] = service.reason if isinstance(service, Broken) else None
                yield service

    def _tell(self, sentence: str) -> None:
        """In the log, once."""
        if sentence not in self._told and not self._quiet:
            self._told.add(sentence)
            log.error("%s", sentence)


def _taken(services: dict[str, Service], name: str) -> Service | None:
    return next((service for spelling, service in services.items() if spelling.lower() == name.lower()), None)
