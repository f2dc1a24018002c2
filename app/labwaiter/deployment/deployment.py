"""A deployment as its administrator has it: started or replaced, stopped, had back when it is gone, asked how it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import settings as settings_module
from ..catalogue import catalogue
from ..errors import Misconfigured
from ..runner.account import NotPossible, account_named
from ..settings import NAMINGS, Settings
from ..store import supervisor_client, web_side
from ..store.files import open_ours
from ..store.folder import Folder
from ..supervisor import web_side_keeper
from ..system import flock, record_lock
from . import address, listening, web_processes
from .errors import DeploymentError

ELSEWHERE = (
    "SUPERVISOR=elsewhere: whoever starts the supervisor (a container, systemd) starts and stops this deployment."
)
REVIVE_SECONDS = 30.0  # that a web side has to come which is had back
ANSWER_SECONDS = 10.0  # that one which listens has to answer
LEAVE_SECONDS = 60.0  # that a supervisor which was stopped has to leave before a start


class WebSideFailed(DeploymentError):
    """The web side didn't come, or doesn't answer; web.log says more."""


@dataclass(frozen=True)
class Started:
    """What a start has found and done."""

    offered: catalogue.Catalogue
    replaced: bool  # whether it took the place of a web side that ran


@dataclass(frozen=True)
class Leftovers:
    """Executions that a stop could not settle: their records can't be read or written."""

    names: tuple[str, ...] = ()  # their folders
    runners: dict[str, int] = dataclasses.field(default_factory=dict)  # of those that still run: folder → pid

    def __bool__(self) -> bool:
        return bool(self.names)


@dataclass(frozen=True)
class Stopped:
    """What a stop has ended, and what goes on."""

    web_side: bool  # whether one ran
    supervisor: bool  # likewise
    settled: bool  # whether no supervisor is left that settles jobs
    worker: int | None = None  # of many machines: the pid of the worker that goes on here with its jobs; 0: not known
    leftovers: Leftovers = Leftovers()


@dataclass(frozen=True)
class Health:
    """What a deployment's web side tells of itself."""

    address: str
    version: str
    services: tuple[str, ...]


class Deployment:
    """The processes of one deployment. Its settings are those in force, with an address that is a number."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._layout = settings.layout

    def start(self, wait: float) -> Started:
        """Start or replace web side and supervisor; running jobs go on. The new web side listens before the old ends.

        Args:
            wait: s that the web side has to come.

        Raises:
            DeploymentError: it can't listen where it should.
            WebSideFailed: it didn't come (then the old one stays), or doesn't answer.
            Misconfigured: the supervisor is somebody else's to start, the jobs folder can't be written, or JOB_USER is
                nobody that jobs can run as here.
            TimeoutError: the supervisor didn't come, or the one before didn't leave.
        """
        if self.settings.supervisor_elsewhere:
            raise Misconfigured(ELSEWHERE)
        if self.settings.job_user and not self.settings.redis_url:  # else each machine's own worker judges its own
            try:
                account_named(self.settings.job_user)
            except NotPossible as error:
                raise Misconfigured(f"JOB_USER is no account that jobs can run as. {error}") from error
        catalogue.judge_folder(self.settings.services)  # before anything is made
        supervisor_client.may_be_written(self.settings)  # also for what is to be known of the services
        offered = catalogue.of(self.settings).whole()
        with self._one_at_a_time():
            old = web_processes.find(self.settings)
            if why := listening.refusal(self.settings, old):
                raise DeploymentError(why)
            self._begin_supervisor(replace=True)
            if not web_processes.replace(self.settings, old, wait):
                stays = " What ran before runs on." if old else ""
                raise WebSideFailed(f"The web side did not start.{stays}")
            if why := web_processes.why_no_answer(self.settings, ANSWER_SECONDS):
                raise WebSideFailed(f"The web side started, but {why}.")
        return Started(offered, bool(old))

    def serve(self, warn: Callable[[str], None]) -> NoReturn:
        """Become the web side's main process, with a supervisor beside it unless that is somebody else's to start.

        Args:
            warn: gets a sentence on what is fewer than usual.

        Raises:
            DeploymentError: it can't listen where it should.
            TimeoutError: the supervisor didn't come.
        """
        if why := listening.refusal(self.settings, []):
            raise DeploymentError(why)
        if not self.settings.supervisor_elsewhere:
            self._begin_supervisor(replace=False)
        if few := web_processes.few_connections():
            warn(few)
        command = web_processes.command(self.settings)
        os.chdir("/")
        os.execve(command[0], command, web_processes.environment(self.settings))

    def stop(self, wait: float) -> Stopped:
        """Stop the supervisor for good and settle every job, then end the web side: until then callers see how it goes.

        Args:
            wait: s that the jobs have to be settled; what is not by then goes on being.

        Raises:
            Misconfigured: the supervisor is somebody else's.
        """
        settings = self.settings
        if settings.supervisor_elsewhere:
            raise Misconfigured(ELSEWHERE)
        if not settings.jobs_folder.is_dir():
            return Stopped(web_side=False, supervisor=False, settled=True)
        with self._one_at_a_time(anyhow=True):
            running = web_processes.find(settings)
            supervisor = supervisor_client.alive(settings)
            worker = record_lock.holder(self._layout.worker_lock)
            with contextlib.suppress(OSError):  # a disk that takes nothing keeps nothing running
                web_side.expect_none(self._layout)
            settled = worker is not None or supervisor_client.stop(settings, wait)  # a worker's jobs are the worker's
            web_processes.end(web_processes.find(settings))
        left = leftovers(settings) if worker is None and settled else Leftovers()
        return Stopped(bool(running), supervisor is not None, settled, worker, left)

    def revive(self) -> None:
        """Start the web side again that was started here and not stopped, if it is gone.

        Raises:
            DeploymentError: it did not come.
            Misconfigured: it can't listen where it did.
        """
        with self._one_at_a_time():
            expected = web_side.expected(self._layout)
            if expected is None or not expected.gone:
                return
            for name in NAMINGS & os.environ.keys() if NAMINGS & expected.environment.keys() else ():
                del os.environ[name]
            os.environ.update(expected.environment)  # its settings, which it was started with
            settings = dataclasses.replace(
                settings_module.load(), host=expected.host, port=expected.port, web_concurrency=expected.workers
            )
            old = web_processes.find(settings)
            if why := listening.refusal(settings, old):
                raise Misconfigured(why)
            if not settings.supervisor_elsewhere and not settings.redis_url:
                supervisor_client.ensure(settings)
            if not web_processes.replace(settings, old, REVIVE_SECONDS):
                raise DeploymentError("The web side did not start again; the lines above say why.")

    def health(self, supervisor: bool = True) -> Health:
        """What the web side tells of itself; raises where it doesn't work.

        Args:
            supervisor: whether what it says of the supervisor counts, too.

        Raises:
            TimeoutError: it doesn't answer, another deployment does, or it works only in part.
        """
        settings = web_processes.as_running(self.settings)
        url = address.own_address(settings)
        answer: dict[str, Any] = {}
        try:
            with address.get(url + "health") as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError):
                answer = json.load(error)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)  # urllib's wrapping says nothing
            why = getattr(reason, "strerror", None) or reason
            raise TimeoutError(f"The web side does not answer at {url}: {why}.") from error
        if answer.get("deployment") != web_side.deployment(settings.jobs_folder):
            raise TimeoutError(f"No web side of this deployment runs: another one answers at {url}.")
        if answer.get("status") != "ok" and supervisor:
            raise TimeoutError(f"The web side answers, but: {answer.get('status')}.")
        return Health(address.address(settings), str(answer.get("version")), tuple(answer.get("services", [])))

    def _begin_supervisor(self, replace: bool) -> None:
        """Have one there, also where the last was stopped on purpose; with REDIS_URL the worker has its own."""
        if self.settings.redis_url:
            return
        clear_stopped(self.settings)
        if replace and supervisor_client.alive(self.settings) is not None:
            supervisor_client.replace(self.settings)
        supervisor_client.ensure(self.settings, even_if_stopped=True)

    @contextlib.contextmanager
    def _one_at_a_time(self, anyhow: bool = False) -> Iterator[None]:
        """Of several starts and stops of one deployment, each waits for the one before.

        Args:
            anyhow: go on where that can't be had, as on a disk that has become read-only: unless it is another user's.

        Raises:
            Misconfigured: the jobs folder can't be written.
        """
        with contextlib.ExitStack() as held:
            try:
                supervisor_client.may_be_written(self.settings)
                fd = open_ours(self._layout.start_lock, os.O_RDWR)
                held.callback(os.close, fd)
                flock.lock(fd)
            except (OSError, Misconfigured) as error:
                cause = error.__cause__ if isinstance(error, Misconfigured) else error
                if not anyhow or isinstance(cause, PermissionError):
                    raise
            yield


def revive_if_gone(settings: Settings) -> None:
    """With no supervisor there, have a process start the web side again that is gone. Raises OSError."""
    expected = web_side.expected(settings.layout)
    if expected is not None and expected.gone and supervisor_client.alive(settings) is None:
        web_side_keeper.revive(settings)


def clear_stopped(settings: Settings, wait: float = LEAVE_SECONDS) -> None:
    """Wait for a supervisor that was stopped on purpose to leave, and let the next one begin.

    Raises:
        TimeoutError: it has not left.
    """
    if supervisor_client.stopped(settings):
        until = time.monotonic() + wait
        while (pid := supervisor_client.alive(settings)) is not None:
            if time.monotonic() >= until:
                raise TimeoutError(
                    f"Nothing was started: the supervisor (pid {pid}), which was stopped, is still settling its jobs."
                    " Call stop to wait for it, then start again."
                )
            time.sleep(0.05)  # it is settling its jobs; its lock can't be awaited without taking it
    settings.layout.stopped.unlink(missing_ok=True)


def leftovers(settings: Settings) -> Leftovers:
    """The executions that are not settled after a stop."""
    folder = Folder(settings.jobs_folder)
    names = tuple(folder.active_names())
    running = supervisor_client.runners(folder) if names else {}
    return Leftovers(names, {name: runner.pid for name, runner in running.items()})
