"""What this version of labwaiter will find in a lab that another one has served: told before anything is replaced.

It only looks: nothing is written, no supervisor is started or woken, and what is known of the services is not kept.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import settings as settings_module
from .authentication import authenticator
from .catalogue import catalogue
from .catalogue.importing import Description
from .desk import kept, names
from .desk.findings import Finding, error, fine, warning
from .errors import Misconfigured, ServiceError
from .lab import labfile
from .layout import FORM
from .model import direct_control, lab_session, lab_task
from .model.record import ENDED, Request, State
from .model.service import Service, lacking, service_of
from .runner.account import NotPossible, account_named
from .schedule import schedule as schedules
from .settings import Settings
from .store import supervisor_client
from .store.folder import Folder
from .system.process import lives

SHOWN = 10  # of the executions that a sentence names


@dataclass(frozen=True)
class Part:
    """One part of a lab, and what will be found in it."""

    name: str  # "settings", "services", "instruments", "schedules", "executions"
    where: str  # its file or folder, as the lab has it
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Declared:
    """What one service file declares to this version."""

    file: Path
    described: Description
    services: tuple[Service, ...]


def check(environ: dict[str, str], env_file: Path) -> list[Part]:
    """What this version will find in the lab whose settings these are.

    Raises:
        Newer: a newer one has served its jobs folder.
    """
    settings, mistakes = settings_module.found(environ, env_file)
    settings_module.judge_form(settings.layout)
    declared = _declared(settings)
    offered = {service.name: service for each in declared for service in each.services}
    base = env_file.resolve().parent

    def where(path: Path) -> str:
        return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)

    return [
        Part("settings", where(env_file.resolve()), list(_of_settings(settings, mistakes, environ, env_file))),
        Part("services", where(settings.services), list(_of_services(settings, declared))),
        Part("instruments", where(settings.lab), list(_of_instruments(settings, offered))),
        Part("schedules", where(settings.schedule), list(_of_schedules(settings, offered))),
        Part("executions", where(settings.jobs_folder), list(_of_executions(settings, declared, offered))),
    ]


# -- settings ---------------------------------------------------------------------------------


def _of_settings(settings: Settings, mistakes: list[str], environ: dict[str, str], env_file: Path) -> Iterator[Finding]:
    for mistake in mistakes:
        yield error(mistake, "Correct that: nothing starts before.")
    try:
        authenticator.judge(settings)
    except Misconfigured as problem:
        yield error(str(problem), "Nothing starts before.")
    if settings.job_user and not settings.redis_url:
        try:
            account_named(settings.job_user)
        except NotPossible as problem:
            yield error(f"JOB_USER is no account that jobs can run as: {problem}", "Nothing starts before.")
    if mistakes:
        return
    given = settings_module.given(environ, env_file)
    named = [f"{name} (by the environment)" if environ.get(name) == text else name for name, text in given.items()]
    yield fine(f"These are set, and can be: {', '.join(named)}." if named else "None is set: all have their defaults.")


# -- services ---------------------------------------------------------------------------------


def _declared(settings: Settings) -> list[Declared]:
    if not settings.services.is_dir():
        return []
    files = catalogue.files(settings.services)
    with ThreadPoolExecutor(catalogue.AT_A_TIME) as pool:
        described = [each for _, each in pool.map(catalogue.check, files)]
    return [
        Declared(file, each, tuple(service_of(data) for data in each.services))
        for file, each in zip(files, described, strict=True)
    ]


def _of_services(settings: Settings, declared: list[Declared]) -> Iterator[Finding]:
    folder = settings.services
    if not folder.is_dir():
        yield error(f"There is no services folder {folder}.", "SERVICES names it.")
        return
    if not declared:
        yield error("There is no service file in it.", "`labwaiter new NAME` writes one to start from.")
    seen: dict[str, Path] = {}
    for each in declared:
        if each.described.wrong:
            yield error(f"{_where(each)}{each.described.wrong}", f"`labwaiter check {each.file.name}` tells more.")
        for why, line, _ in each.described.absent:
            yield error(f"{each.file.name}, line {line}: {why}", "Its executions would fail.")
        for service in each.services:
            other = seen.setdefault(service.name.lower(), each.file)
            if other != each.file:
                yield error(f"{each.file.name} offers {service.name} as {other.name} does.", "Name one of them anew.")
            yield from _of_service(service, each, folder)
    known = [service.name for each in declared for service in each.services]
    if unkept := [name for name in known if not kept.file_of(name, folder).exists()]:
        yield warning(
            f"Whether these stay as their callers know them can't be told, for no WSDL was kept: {', '.join(unkept)}.",
            "Keep them by the version before: `labwaiter check --keep`; where it can't yet, from where it runs: curl"
            " ADDRESS?wsdl > NAME.wsdl in the services folder.",
        )
    yield from kept.without_service(folder, [name for each in declared for name in _names_of(each)])


def _where(each: Declared) -> str:
    own = [line for name, line, _ in each.described.places if name == each.file.name]
    return f"{each.file.name}, line {own[-1]}: " if own else ""


def _names_of(each: Declared) -> list[str]:
    return [service.name for service in each.services] or catalogue.names_in(each.file)


def _of_service(service: Service, declared: Declared, folder: Path) -> Iterator[Finding]:
    if why := lacking(service.name, declared.described.needs.get(service.name, ())):
        yield warning(f"It would not be offered: {why}", "Install it, if it is to be offered here.")
    for finding in names.of_offered(service, ()):
        if finding.level == "error":
            yield warning(f"{service.name}: {finding.what}", "It is served all the same to who can call it.")
    changes = kept.compare(service, folder)
    if changes == []:
        yield fine(f"{service.name}: its WSDL says what the kept one does.")
    for change in changes or ():
        yield Finding(change.level, f"{service.name}: {change.what}", change.mend)


# -- what lab.toml and schedule.toml say --------------------------------------------------------


def _of_instruments(settings: Settings, offered: dict[str, Service]) -> Iterator[Finding]:
    needing = [service.name for service in offered.values() if service.instruments]
    try:
        lab = labfile.load(settings.lab)
    except Misconfigured as problem:
        yield error(str(problem), f"Without it these can't be started: {', '.join(needing) or 'none of the services'}.")
        return
    if not settings.lab.exists():
        told = f"There is no {settings.lab.name}"
        if needing:
            yield warning(f"{told}, and {', '.join(needing)} would need it.", "LAB names it.")
        else:
            yield fine(f"{told}, and no service needs one.")
        return
    yield fine(f"It lists {', '.join(lab.entries) or 'no instrument'}.")


def _of_schedules(settings: Settings, offered: dict[str, Service]) -> Iterator[Finding]:
    if not settings.schedule.exists():
        yield fine("There is none.")
        return
    try:
        found = schedules.load(settings.schedule, catalogue.Catalogue(offered, {}))
    except Misconfigured as problem:
        yield error(str(problem), "Correct that: `labwaiter schedule` starts nothing before.")
        return
    yield fine(f"It has {', '.join(schedule.name for schedule in found) or 'no schedule'}.")


# -- executions -------------------------------------------------------------------------------


def _of_executions(settings: Settings, declared: list[Declared], offered: dict[str, Service]) -> Iterator[Finding]:
    folder = Folder(settings.jobs_folder)
    if why := _why_unusable(folder):
        yield error(
            why, "Nothing starts before: give it to the account that labwaiter runs as, or call this as that one."
        )
        if not os.access(folder.root, os.R_OK | os.X_OK, effective_ids=True):
            return
    if not settings.jobs_folder.is_dir() or not any(settings.jobs_folder.iterdir()):
        yield fine("There are none yet.")
        return
    form = folder.layout.form_here
    if form == FORM:
        yield fine(f"Its form is this version's ({FORM}).")
    else:
        was = str(form) if form else "that of labwaiter 0.4 or before"
        yield fine(
            f"Its form is {was}, and would become {FORM}. No record is rewritten: the first start notes that, and"
            f" begins an audit, in {folder.layout.folder.name}/."
        )
    mode = settings.jobs_folder.stat().st_mode & 0o777
    if mode != settings.jobs_mode:
        told = f"The folder's mode {mode:o} would become {settings.jobs_mode:o}, as JOBS_MODE says."
        yield warning(told, "Set JOBS_MODE, if others read there.") if mode & ~settings.jobs_mode else fine(told)
    read = _Read(folder)
    yield fine(f"Executions that have ended and can be read: {read.ended}; tombstones: {read.removed}.")
    if read.damaged:
        yield warning(f"These can't be read: {_named(read.damaged)}.", "Nobody gets an answer for them, now as then.")
    lost = {name: number for name, number in read.services.items() if name and not _is_known(name, declared)}
    for name, number in sorted(lost.items()):
        yield warning(
            f"No file offers the service {name}, so its executions could no longer be asked for ({number} of them).",
            "Have its service file there, or let go of them: `labwaiter jobs remove ID`.",
        )
    yield from _of_active(settings, folder, read, offered)


def _why_unusable(folder: Folder) -> str:
    """Why this account can keep no executions there, in a sentence; "" where it can. Nothing is written to see that."""
    for place in (folder.root, folder.layout.folder, folder.active, folder.layout.new):
        try:
            there = next(each for each in (place, *place.parents) if os.path.lexists(each))
        except PermissionError as problem:
            return f"{problem.filename} can't be looked at by this account."
        if not there.is_dir():
            return f"{there} is no folder, and the jobs folder is to be there."
        if not os.access(there, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            return f"{there} can't be written by this account" + (
                "." if there == place else ", and the jobs folder is to be made there."
            )
    return ""


def _is_known(name: str, declared: list[Declared]) -> bool:
    return any(name.lower() in map(str.lower, _names_of(each)) for each in declared)


class _Read:
    """All executions of a folder, as this version reads them."""

    def __init__(self, folder: Folder) -> None:
        self.ended = self.removed = 0
        self.damaged: list[str] = []
        self.queued: list[Request] = []
        self.running: list[Request] = []
        self.cut_off: list[Request] = []  # those that should run, and whose process is gone
        self.services: Counter[str] = Counter()  # of those whose signature stands in no record
        for name in folder.names():
            try:
                self._read(folder, name)
            except (OSError, ValueError, TypeError, KeyError):
                self.damaged.append(name)

    def _read(self, folder: Folder, name: str) -> None:
        request = folder.request(name)
        if request is None:
            self.removed += folder.tombstone(name) is not None
            return
        stored, end = folder.stored_state(name), folder.end(name)
        if not request.signature:  # releases before 0.5 noted none
            self.services[request.service] += 1
        if end is not None or (stored is not None and stored.state in ENDED):
            self.ended += 1
        elif stored is not None and stored.state is State.RUNNING:
            gone = stored.runner is not None and lives(stored.runner) is False
            (self.cut_off if gone else self.running).append(request)
        elif request.service not in (
            direct_control.NAME,
            lab_session.NAME,
            lab_task.NAME,
        ):  # every version offers these
            self.queued.append(request)


def _of_active(settings: Settings, folder: Folder, read: _Read, offered: dict[str, Service]) -> Iterator[Finding]:
    supervisor = supervisor_client.alive(settings)
    hands_over = folder.layout.form_here > 0  # releases before 0.5 begin anew with their own code
    other = "" if hands_over or not supervisor else supervisor_client.code_elsewhere(supervisor)
    if other:
        yield warning(
            f"Its supervisor runs (pid {supervisor}), and is of a labwaiter that can't hand over, in {other}.",
            "End it by that one's own `labwaiter stop` before this version is started.",
        )
    if read.cut_off:
        named = _named([request.service_id for request in read.cut_off])
        yield warning(f"These were cut off: {named}.", "The next start tells them as interrupted.")
    if read.running:
        named = _named([request.service_id for request in read.running])
        told = f"These run, as far as is known: {named}."
        if other:
            yield warning(told, "That stop ends them as aborted: wait for them before.")
        elif supervisor is None:
            yield warning(told, "Nobody watches them: the next start does.")
        else:
            yield fine(f"{told} They go on with the code that they began with, whatever is started.")
    refused = []
    for request in read.queued:
        try:
            offered[request.service].accept(request.inputs)
        except KeyError:
            refused.append(f"{request.service_id} (nobody offers {request.service})")
        except ServiceError as problem:
            refused.append(f"{request.service_id} ({problem.message.rstrip('.')})")
    if len(read.queued) > len(refused):
        yield fine(f"Waiting, and to be run by this version: {len(read.queued) - len(refused)}.")
    if refused:
        yield error(f"These wait, and could not be run: {_named(refused)}.", "Abort them, or mend their service.")


# -- words ------------------------------------------------------------------------------------


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
