"""A laboratory for tests: a jobs folder of its own with a real supervisor, and the verbs on it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import imported
from here import ROOT
from labwaiter.catalogue import catalogue
from labwaiter.model.caller import SHELL
from labwaiter.model.record import Progress, Record
from labwaiter.model.service import Service
from labwaiter.settings import Settings, load
from labwaiter.store import supervisor_client
from labwaiter.store.folder import Folder
from labwaiter.store.names import folder_name
from labwaiter.system.process import MARKER, identify, mark_of, marked, open_pidfd
from labwaiter.system.watch import until
from labwaiter.verbs import Jobs, Status

SAMPLES = Path(__file__).parent / "samples"
GUARDED = os.environ.get("LABWAITER_TOKENS") == "file"  # docs/tests.md
PATIENCE = 90.0  # s: how long a test waits for what must happen, on a machine that has much else to do, too
T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = PATIENCE, every: float = 0.005) -> T:
    """What `look` gives as soon as it's true, for what no event tells of (other processes' lives)."""
    until_ = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until_, "it did not come to pass"
        time.sleep(every)
    return found


def gone(pid: int) -> bool:
    """Whether no living process has this pid."""
    return identify(pid) is None


def _tokens(folder: Path) -> dict[str, str]:
    """Settings by which the tokens that tests call with are good by a file of them, and no others.

    They are ids without a secret, as no real one is: so all tests can run where tokens are judged. Who has them is an
    operator, since tests also start executions from the shell, which belong to no project.
    """
    file, salt = folder / "tests-tokens.json", "5a" * 16
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        entry = {"user": "ada", "project": "optics", "role": "operator", "created": 0.0, "expires": 4e9, "salt": salt}
        entry["hash"] = hashlib.sha256(salt.encode()).hexdigest()
        file.write_text(json.dumps({"tokens": [{"id": token, **entry} for token in ("t", "a token")]}))
        file.chmod(0o600)
    return {"TOKENS": "file", "TOKENS_FILE": str(file)}


class Lab:
    """One deployment without a web side: its folder, its supervisor, its verbs."""

    def __init__(self, root: Path, services: Path, **more: str) -> None:
        self.root = root
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "app"),
            "WAITER_LOG_FOLDER": str(root),
            "SERVICES": str(services),
            "FILES_FOLDER": str(root.parent / f"{root.name}.files"),
            "LABWAITER_ENV": os.devnull,
            # which isn't there: beside that file env they would be of all labs, and in /dev
            "LAB": str(root.parent / f"{root.name}.none" / "lab.toml"),
            "SCHEDULE": str(root.parent / f"{root.name}.none" / "schedule.toml"),
            **(_tokens(root.parent) if GUARDED and "TOKENS" not in more else {"TOKENS": "none"}),
            **more,
        }
        self.settings: Settings = load(self.environment)
        self.face_environment = self.environment  # of the web side: another machine's, in a lab of many
        self.store = Folder(self.settings.jobs_folder)
        self.jobs = Jobs(self.settings)
        self._offered = catalogue.of(self.settings)
        self.supervisors: list[subprocess.Popen[bytes]] = []

    @property
    def services(self) -> dict[str, Service]:
        """What it offers now."""
        return self._offered.whole().services

    def take_away(self, folder: Path) -> None:
        """Remove a folder in one step, though somebody may be writing into it."""
        aside = self.root.parent / f"{self.root.name}.taken-away"
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def supervise(self) -> subprocess.Popen[bytes]:
        """Start a supervisor; returns when it has the folder's lock, or has left."""
        self.root.mkdir(parents=True, exist_ok=True)
        imported.give(self.settings)
        with open(self.root.parent / f"{self.root.name}.supervisor.log", "ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "labwaiter.supervisor"], env=self.environment, stdout=log, stderr=log
            )
        self.supervisors.append(started)
        eventually(lambda: supervisor_client.alive(self.settings) is not None or started.poll() is not None)
        return started

    @property
    def supervisor(self) -> int:
        """The pid of the supervisor in charge."""
        return eventually(lambda: supervisor_client.alive(self.settings))

    @property
    def fork_server(self) -> int:
        """The pid of the fork server that forks."""
        return eventually(self._fork_server)

    def _fork_server(self) -> int | None:
        pid = supervisor_client.alive(self.settings)
        if not pid:
            return None
        for child in reversed(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):  # the newest
            try:
                if b"labwaiter.supervisor.fork_server" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            except OSError:
                continue
        return None

    def start(self, service: str, service_id: str, **inputs: Any) -> Status:
        """As a face does."""
        return self.jobs.start(self.services[service], service_id, inputs, SHELL)

    def status(self, service: str, service_id: str) -> Status:
        """As a face does."""
        return self.jobs.status(self.services[service], service_id, SHELL)

    def status_progress(self, service_id: str) -> Progress:
        """What it last said of its progress."""
        return self.store.progress(folder_name(service_id))

    def caught_up(self, service_id: str) -> None:
        """Until faces tell what is so: at once where they read the folder themselves."""

    def told_long_ago(self, service_id: str, seconds: float = 21) -> None:
        """As if the page of its bad end had first been shown so many seconds earlier than it was."""
        told = self.folder(service_id) / "told"
        os.utime(told, (told.stat().st_mtime - seconds,) * 2)

    def folder(self, service_id: str) -> Path:
        """The job's folder."""
        return self.store.path(folder_name(service_id))

    def record(self, service_id: str) -> Record:
        """As everybody sees it."""
        return self.jobs.record(service_id, SHELL)

    def ended(self, service_id: str) -> Record:
        """The record once the supervisor has settled the job."""
        record = self.jobs.wait(service_id, PATIENCE, SHELL)
        assert not record.active, f"{service_id} is still {record.state}"
        return record

    def when(self, service_id: str, look: Callable[[], T]) -> T:
        """What `look` gives as soon as it's true, looking at each change in the job's folder."""
        found = until(self.folder(service_id), look, PATIENCE)
        assert found, "it did not come to pass"
        return found

    def running(self, service_id: str) -> int:
        """The runner's pid, once the job runs."""
        record = self.when(service_id, lambda: (r := self.record(service_id)).runner and r)
        assert record.runner is not None
        return record.runner.pid

    def working(self, service_id: str) -> int:
        """The pid of the process in which the function is called: a child of the runner, which imports nobody's."""
        runner = self.running(service_id)
        return int(eventually(lambda: Path(f"/proc/{runner}/task/{runner}/children").read_text().split())[0])

    def file(self, service_id: str, name: str) -> str:
        """A file of the job's folder, once something stands in it."""
        path = self.folder(service_id) / name
        return eventually(lambda: path.is_file() and path.read_text())

    def left_of(self, service_id: str) -> list[int]:
        """Pids of what still lives of a job."""
        return [who.pid for who in marked(mark_of(self.settings.jobs_folder, folder_name(service_id)))]

    def close(self) -> None:
        """Stop everything that this lab had started."""
        imported.remember(self.settings)
        supervisor_client.stop(self.settings, PATIENCE)
        for started in self.supervisors:
            if started.poll() is None and supervisor_client.alive(self.settings) != started.pid:
                started.kill()
            started.wait(PATIENCE)
        marks = {f"{MARKER}={mark_of(self.settings.jobs_folder, name)}".encode() for name in self.store.names()}
        for entry in Path("/proc").glob("[0-9]*"):  # one look at each process, however many jobs there were
            with contextlib.suppress(OSError):
                if marks & set((entry / "environ").read_bytes().split(b"\0")):
                    os.kill(int(entry.name), signal.SIGKILL)


def wait_gone(pid: int) -> None:
    """Until that process has ended."""
    who = identify(pid)
    fd = open_pidfd(who) if who else None
    if fd is not None:
        try:
            assert select.select([fd], [], [], PATIENCE)[0], f"{pid} lives on"
        finally:
            os.close(fd)
