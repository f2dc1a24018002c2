"""A deployment for one test: a lab's own folder, with a jobs folder, a port and instruments of the test's own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self

from .. import settings as settings_module
from ..client import Client
from ..deployment import web_processes
from ..deployment.address import own_address
from ..errors import Misconfigured, Unavailable
from ..instruments.simulators import Simulator
from ..layout import Layout
from ..model.service import Service
from ..settings import FOLDER_NAMED, NAMINGS, TABLE, file_of, load
from ..store import supervisor_client
from ..store.files import open_log
from ..store.leases import Held, Lease, Leases
from ..system.process import MARKER, mark_of
from ..verbs.instruments import Instruments
from . import afterwards
from .bench import Bench
from .by_soap import BySoap
from .endings import ENDINGS, Ending, Endings, end
from .execution import PATIENCE, Execution, NotThatWay, T, eventually
from .ports import free_port

STOP_SECONDS = 60.0  # in which all that a test has left running is stopped and settled
RECORDED = 6  # entries of an instrument's own record, in a failed test's words
# of a lab's own settings these are none of a test's: who may call, what lies elsewhere, other machines
_LEFT_OUT = {"PUBLIC_URL", "TOKENS_FILE", "AUTH_WSDL", "AUTH_ALLOWED", "AUTH_OPERATORS", "JOB_USER", "MACHINE"}
_kept: dict[Path, Layout] = {}  # a services folder → where the last lab of this process has what it found


class Lab(Client):
    """A deployment, from `with` to its end: a `labwaiter.Client` of it, and what only a test wants.

    Its processes are real ones, and so is the disk; its instruments are simulators on ptys of this process, whose
    attributes and records a test can reach.
    """

    def __init__(self, folder: Path, root: Path, **settings: str) -> None:
        """
        Args:
            folder: the lab's: its file env, its services and its lab.toml are what is tried.
            root: a folder for all that the deployment writes; it must not be there yet.
            settings: other than in the lab's env, by their names: MAX_RUNNING="1".

        Raises:
            Misconfigured: folder is no lab's, or a setting or its lab.toml is wrong.
        """
        names = NAMINGS | {setting.name for setting in TABLE}
        self.environment = {name: value for name, value in os.environ.items() if name not in names}
        env = file_of({FOLDER_NAMED: str(folder)})
        theirs = load(self.environment, env)
        root.mkdir(parents=True)
        self.root = root
        self._bench = Bench(theirs.lab, root)
        given = settings_module.given(self.environment, env)
        kept = {name: text for name, text in given.items() if name not in _LEFT_OUT and not name.startswith("REDIS_")}
        ours = {
            "WAITER_LOG_FOLDER": "jobs",
            "FILES_FOLDER": "files",
            "LAB": self._bench.toml.name,
            "SCHEDULE": "schedule.toml",
            "SERVICES": str(theirs.services),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "TOKENS": "none",
            "WEB_CONCURRENCY": "1",
            "SUPERVISOR": "here",
        }
        lines = [f"{name}={text}\n" for name, text in {**kept, **ours, **settings}.items()]
        (root / "env").write_text("".join(lines), encoding="utf-8")
        (root / "app").symlink_to(folder / "app")
        self.environment[FOLDER_NAMED] = str(root)  # for programs that a test starts
        try:
            super().__init__(load(self.environment))
        except BaseException:
            self._bench.close()
            shutil.rmtree(root)
            raise
        self.jobs, self.caller = self._jobs, self._caller
        self.files: Path = self.settings.files_folder
        self.files.mkdir()
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._web: subprocess.Popen[bytes] | None = None
        self._by_soap: BySoap | None = None
        self._leases = Leases(self.settings.jobs_folder)

    @classmethod
    def around(cls, place: Path, root: Path, **settings: str) -> Self:
        """That of the lab that `place` is, or lies in. Raises Misconfigured: it lies in none."""
        folder = settings_module.find_folder(place)
        if folder is None:
            raise Misconfigured(
                f"{place} lies in no lab: no folder from it upwards has a file env and a folder app. Tests of services"
                " lie in the lab's folder, beside its app."
            )
        return cls(folder, root, **settings)

    # -- executions ---------------------------------------------------------------------------

    def start(self, service: str, service_id: str | None = None, /, **inputs: Any) -> Execution:
        """Start an execution, as labwaiter.Client's. An input that is a file of this machine, as a Path, is put into
        the files folder first."""
        self.supervise()
        execution = super().start(service, service_id, **self.with_files(inputs))
        assert isinstance(execution, Execution)
        return execution

    def start_as(self, service: str, inputs: dict[str, Any], **rules: Any) -> Execution:
        """Start an execution as if @service(…) said something else there: limit=2."""
        self.supervise()
        offered = dataclasses.replace(self.service(service), **rules)
        service_id = f"{offered.name}-{secrets.token_hex(4)}"
        self.jobs.start(offered, service_id, self.with_files(inputs), self.caller)
        return self.get(service_id)

    def run(self, service: str, service_id: str | None = None, /, **inputs: Any) -> Execution:
        """Start an execution and wait for its end, however it ends. Raises what `start` and `Execution.join` do."""
        __tracebackhide__ = True
        return self.start(service, service_id, **inputs).join()

    def get(self, service_id: str) -> Execution:
        """One execution. Raises UnknownServiceID."""
        return Execution(self, self.jobs.record(service_id, self.caller))

    def service(self, name: str) -> Service:
        """One service, as its file declares it. Raises InvalidParameter, Unavailable: there is none, it is broken."""
        return self._service(name)

    def with_files(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """These inputs, with the files that are given as a Path in the files folder, and their names instead."""
        given = dict(inputs)
        for name, value in inputs.items():
            if isinstance(value, PurePath) and os.path.isfile(value):
                shutil.copy(value, self.files)
                given[name] = value.name
        return given

    @property
    def by_soap(self) -> BySoap:
        """The same start and run, called over SOAP as a workflow manager calls. The web side begins with it."""
        if self._by_soap is None:
            self._by_soap = BySoap(self)
        return self._by_soap

    def address(self, service: str = "") -> str:
        """The address of a service, or of the deployment. The web side begins with it, and the supervisor."""
        self._serve()
        return own_address(self.settings, service)

    @property
    def root_address(self) -> str:
        """What links on pages begin with; nobody need be listening there."""
        return own_address(self.settings).rstrip("/")

    # -- endings ------------------------------------------------------------------------------

    def ending(self, how: str, service: str, at: str = "", /, **inputs: Any) -> Ending:
        """Start an execution and have it end in one of the ways of ENDINGS.

        Args:
            at: a part of the stage in which it is struck; "": as soon as one of its instruments may not be left alone,
                by its own record; without such a one, once it has told some progress.
        """
        return end(self, how, service, at, inputs)

    def endings(self, service: str, at: str = "", /, **inputs: Any) -> Endings:
        """Have a service end in each of the ways of ENDINGS, one after the other: see `ending`."""
        return Endings(self.ending(how, service, at, **inputs) for how in ENDINGS)

    # -- instruments --------------------------------------------------------------------------

    @property
    def simulators(self) -> dict[str, Simulator]:
        """The simulators by the names of lab.toml. `happened` of one is its own record, `moods` are its faults."""
        return self._bench.simulators

    def plug(self, name: str, simulator: Simulator | None = None) -> Simulator:
        """Plug a simulator in as the instrument of that name, or again what was unplugged. Returns it.

        Raises:
            UnknownInstrument: lab.toml has none of that name.
            LookupError: none was given, and nothing was unplugged.
        """
        return self._bench.plug(name, simulator)

    def unplug(self, name: str) -> None:
        """Pull an instrument's line out: whoever has it open sees that it is lost. It stays switched on."""
        self._bench.unplug(name)

    def configure(self, name: str, **keys: Any) -> None:
        """Change what this deployment's lab.toml says of an instrument: lab.configure("oven", reconnect=30).

        Raises:
            UnknownInstrument: lab.toml has none of that name. Misconfigured: it may not say that.
        """
        self._bench.configure(name, **keys)

    def assert_safe(self, *names: str) -> None:
        """These instruments (all, where none is named) could be left alone by their own records, and labwaiter has
        read them back safe. Raises NotThatWay, with the end of the record."""
        __tracebackhide__ = True
        wrong = []
        for name in names or self.simulators:
            self._bench.known(name)
            simulator, lease = self.simulators.get(name), self.settled(name)
            if simulator is not None and not simulator.is_safe():
                wrong.append(f"{name} may not be left alone, by its own record: {self._last_of(name)}.")
            if lease is not None:
                wrong.append(f"{name} was not read back safe: it is {lease.how}. {lease.why}".strip())
        if wrong:
            raise NotThatWay("\n".join(wrong))

    def settled(self, name: str) -> Lease | None:
        """The lease of an instrument once nobody is at making it safe; None: it is free. Raises NotThatWay."""

        def is_settled() -> bool:
            lease = self._leases.of(name)
            if lease is not None and lease.how is Held.BY_JOB:
                return self.jobs.records.record(lease.job).active
            return lease is None or lease.how is not Held.MAKING_SAFE

        eventually(is_settled)
        return self._leases.of(name)

    def make_safe(self, *names: str) -> None:
        """As `labwaiter instruments safe`: make unsafe instruments safe, and free them."""
        Instruments(self.settings).make_safe(names, self.caller)

    def _last_of(self, name: str) -> str:
        happened = list(self.simulators[name].happened)[-RECORDED:]
        return (
            ", ".join(f"{time.strftime('%H:%M:%S', time.localtime(at))} {what}" for at, what in happened) or "nothing"
        )

    @staticmethod
    def until(look: Callable[[], T], timeout: float = PATIENCE) -> T:
        """What a function gives as soon as it is true. Raises NotThatWay: it never was, in so many seconds."""
        return eventually(look, timeout)

    # -- its processes ------------------------------------------------------------------------

    def supervise(self) -> None:
        """Have its supervisor there; that begins by itself with the first execution. Raises Unavailable."""
        if supervisor_client.alive(self.settings) is not None:
            return
        supervisor_client.may_be_written(self.settings)
        self._tell_what_is_known()
        afterwards.expect(self.root)
        with open_log(self.settings.layout.supervisor_log) as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "labwaiter.supervisor"],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests: they end it
            )
        self._supervisors.append(started)
        eventually(lambda: supervisor_client.alive(self.settings) is not None or started.poll() is not None)
        if supervisor_client.alive(self.settings) is None:
            raise Unavailable(f"The supervisor did not start: {_end_of(self.settings.layout.supervisor_log)}")

    def _serve(self) -> None:
        if self._web is not None:
            return
        self.supervise()
        with open_log(self.settings.layout.web_log) as log:
            self._web = subprocess.Popen(
                [sys.executable, "-m", "labwaiter", "serve"],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self._web is not None
        if self._web.poll() is not None:
            raise Unavailable(f"The web side did not start: {_end_of(self.settings.layout.web_log)}")
        return web_processes.why_no_answer(self.settings, 0.0) is None

    def _tell_what_is_known(self) -> None:
        """What the service files declare, and which fonts there are, is found once for all labs of this process: that
        is most of what one costs."""
        before, here = _kept.get(self.settings.services), self.settings.layout
        if before is not None:
            for source, place in ((before.services, here.services), (before.matplotlib, here.matplotlib)):
                if source.is_dir() and not place.exists():
                    shutil.copytree(source, place)
        _kept[self.settings.services] = here

    def running_in_words(self) -> str:
        """A sentence on the executions that have not ended; "" where all have."""
        if not self.settings.jobs_folder.is_dir():
            return ""
        left = [execution.service_id for execution in self.executions(running=True)]
        if not left:
            return ""
        they = "it was" if len(left) == 1 else "they were"
        return (
            f"The test left {', '.join(left)} running: {they} stopped as it ended. Have the test end what it starts:"
            " join, abort or kill."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs, make safe, settle every job, end all processes, unplug all."""
        settings = self.settings
        try:
            if settings.jobs_folder.is_dir():
                supervisor_client.stop(settings, STOP_SECONDS)
                web_processes.end(web_processes.find(settings))
                self._kill_what_is_left()
            for process in (*self._supervisors, *[self._web] * (self._web is not None)):
                assert process is not None
                if process.poll() is None:
                    process.kill()
                process.wait()
        finally:
            self._bench.close()
            afterwards.is_over(self.root)

    def _kill_what_is_left(self) -> None:
        jobs = self.settings.jobs_folder
        names = [entry.name for entry in jobs.iterdir() if not entry.name.startswith(".")]
        marks = {f"{MARKER}={mark_of(jobs, name)}".encode() for name in names}
        for entry in Path("/proc").glob("[0-9]*"):  # one look at each process, however many jobs there were
            with contextlib.suppress(OSError):
                if marks & set((entry / "environ").read_bytes().split(b"\0")):
                    os.kill(int(entry.name), signal.SIGKILL)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-500:]
