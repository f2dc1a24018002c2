"""The fork server: a warm process that forks a runner per job.

It holds what of the standard library most jobs need, our runner, and nobody's state. What has something done in
each fork stays out of it (threading, and so logging and subprocess: a hundred pages a fork, three forks a job), and is
imported by whoever needs it, as under `python file`.
Started by the supervisor with the number of its channel's descriptor as its argument.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from functools import partial

from .. import Job as Job  # and all else that service files import: it is here before a fork
from .. import __version__
from ..runner import main as runner
from ..runner.confinement import NotPossible
from ..runner.spec import spec_of
from ..service_files import hash_of_source, keep, put_ours_last
from ..settings import Settings, load
from ..store import supervisor_client
from ..system import cgroup, logs
from ..system.channel import Channel
from ..system.process import become_subreaper, identify, strays, tell_group
from ..system.shared_pages import keep_shared

PYTHON = sys.version.split()[0]
TRY_AGAIN = 1.0  # s between two tries to start the next supervisor while processes or memory are wanting


class ForkServer:
    """The forked runners, and the channel to the supervisor."""

    def __init__(self, settings: Settings, channel: Channel) -> None:
        self.settings = settings
        self._out = logs.Out(settings.layout.supervisor_log)
        self.channel = channel
        self.groups = cgroup.found()
        self.runners: dict[int, str] = {}  # pid → job's name
        self.retired = False
        self.orphaned = False
        self.next_is_due = False  # the next supervisor: it could not be started so far

    def run(self) -> runner.Continuation | None:
        """Serve the channel until retired or orphaned, and then until the last runner has gone.

        Returns:
            None; in a fork: what it is to do.
        """
        try:
            self.channel.send({"event": "ready"})
        except OSError:
            # the supervisor is gone. One that had nothing to do but leave has told us to retire first
            if (work := self._obey()) is not None:
                return work
        awake, asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(asleep, warn_on_full_buffer=False)
        # what a stray leaves behind becomes our child, too, one after the other
        while not (self.retired or self.orphaned) or self.runners or self.next_is_due or self._strays():
            listen = [awake] if self.orphaned else [awake, self.channel.fileno()]
            ready = select.select(listen, [], [], TRY_AGAIN if self.next_is_due else None)[0]
            if awake in ready:
                os.read(awake, 4096)
                self._reap()
            if self.channel.fileno() in ready and (work := self._obey()) is not None:
                return work
            if self.next_is_due and not ready:
                self._start_the_next()
        return None

    def _obey(self) -> runner.Continuation | None:
        received = self.channel.receive()
        if received is None:
            self._left_alone()
            return None
        message, _ = received
        if message["do"] == "retire":
            self.retired = True
        elif message["do"] == "fork":
            return self._fork(message["name"])
        return None

    def _left_alone(self) -> None:
        """The supervisor is gone: the next one is started, unless it is for another fork server to do that."""
        self.orphaned = True
        if not self.retired:
            self._log("WARNING", "the supervisor is gone; the next one is started")
            self._start_the_next()

    def _start_the_next(self) -> None:
        """Want of processes or memory is waited out: without us nobody would guard what runs until somebody polls."""
        try:
            supervisor_client.ensure(self.settings)
            self.next_is_due = False
        except (OSError, MemoryError) as want:
            if not self.next_is_due:
                self._log("ERROR", f"the next supervisor can't be started now ({want}); it is tried again", trace=True)
            self.next_is_due = os.path.isdir(self.settings.jobs_folder)

    def _fork(self, name: str) -> runner.Continuation | None:
        try:
            spec = spec_of(self.settings, name, self.groups)
        except NotPossible as why:
            if why.for_log:
                self._log("ERROR", f"{name}: {why.for_log}")
            self._tell({"event": "refused", "name": name, "why": "confinement", "sentence": str(why)})
            return None
        except (OSError, ValueError, TypeError, KeyError):
            self._log("ERROR", f"{name}: its request can't be read", trace=True)
            self._tell({"event": "refused", "name": name, "why": "record"})
            return None
        made_by = {"labwaiter": __version__, "python": PYTHON}
        if spec.file is not None:
            keep(spec.file)
            made_by |= {"file": spec.file.name, "sha256": hash_of_source(spec.file)}
        spec = replace(spec, made_by=made_by)
        hold, let_go = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # of processes or memory there is none left just now
            self._log("ERROR", f"{name} can't be forked: {error.strerror}")
            os.close(hold)
            os.close(let_go)
            self._tell({"event": "refused", "name": name, "why": "processes"})
            return None
        if pid == 0:
            os.close(let_go)
            # one that is let go of open has a warning made of all that it is, which nobody reads, and whose pages a
            # fork has copied. Its number is closed with all others
            self.channel.end.detach()
            return partial(runner.run, spec, hold)
        os.close(hold)
        self.runners[pid] = name
        identity = None
        with contextlib.suppress(OSError):  # the supervisor looks, too
            identity = identify(pid)
        message = {
            "event": "forked",
            "name": name,
            "pid": pid,
            "start_ticks": identity.start_ticks if identity else 0,
            "confined": spec.confinement.confined,
        }
        try:
            # where nobody hears it, the release's end is closed below: the runner leaves undone
            self._tell(message, [let_go])
        finally:
            os.close(let_go)
        return None

    def _log(self, level: str, text: str, trace: bool = False) -> None:
        """A line in the log, as `logging` writes the supervisor's there; with the exception that is being handled."""
        traced = traceback.format_exc() if trace else ""
        self._out.write(logs.line(self.settings.log_format, time.time(), "fork-server", level, text, traced))

    def _strays(self) -> list[int]:
        """What a runner that was killed left behind becomes our child, also where the supervisor was killed with it."""
        with contextlib.suppress(OSError):
            return strays({*self.runners})
        return []

    def _end_strays(self) -> None:
        for pid in self._strays():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it may have become another user
                os.kill(pid, signal.SIGKILL)

    def _tell(self, message: dict[str, object], descriptors: list[int] | None = None) -> None:
        try:
            self.channel.send(message, descriptors)
        except OSError:
            pass  # the supervisor is gone, which the next look at the channel shows

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            self._end_strays()
            name = self.runners.pop(ended.si_pid, None)
            if name is not None and (ended.si_code != os.CLD_EXITED or ended.si_status != 0):
                # as long as it isn't reaped nobody else can have its number, nor its group's
                tell_group(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            if name is not None and not self.orphaned:
                self._tell({"event": "exited", "name": name, "status": os.waitstatus_to_exitcode(status)})


def main() -> None:
    """Entry: `python -m labwaiter.supervisor.fork_server FD`."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # where we were started is no place to import from
    become_subreaper()
    fork_server = ForkServer(load(), Channel(socket.socket(fileno=descriptor)))
    put_ours_last()
    runner.make_ready()
    keep_shared()
    gc.disable()
    # a fork leaves its parent's loop and does its own work from here: above it are no frames but these, and it
    # ends as any interpreter does
    step: runner.Continuation | None = fork_server.run
    del fork_server
    while step is not None:
        step = step()


if __name__ == "__main__":
    main()
