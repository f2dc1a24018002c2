"""The nursery: a warm process that has imported the services and forks a runner per job.

Started by the supervisor with the number of its line as its argument. Each service file is first
imported in a child: if that dies, hangs or starts threads, this process stays sound; a service
whose import starts threads is not imported here at all, and its runners are exec'd.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import select
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import catalogue
from ..errors import Misconfigured
from ..jobs import link
from ..process import MARKER, NO_MARK, identify, tell_group
from ..runner import main as runner
from ..service import Service
from ..settings import Settings, load
from .wire import Wire

log = logging.getLogger("labwaiter.nursery")
TRIAL_SECONDS = 60.0  # a service file's import may take so long


class Nursery:
    """The imported services, the forked runners, the line to the supervisor."""

    def __init__(self, settings: Settings, wire: Wire) -> None:
        self.settings = settings
        self.wire = wire
        self.services: dict[str, Service] = {}
        self.offers: dict[str, Any] = {}  # every service's rules
        self.execs: dict[str, Path] = {}  # services whose runners are exec'd, and their files
        self.broken: dict[str, str] = {}
        self.unseeded: list[random.Random] = []  # generators of the services' modules
        self.runners: dict[int, str] = {}  # pid → job's name
        self.retired = False
        self.orphaned = False

    # -- coming up ----------------------------------------------------------------------------

    def import_services(self) -> None:
        """Import every file of the services folder, and tell the supervisor what there is."""
        before = set(sys.modules)
        stamps = stamps_of(self.settings.services)
        if self.settings.services.is_dir():
            for file in catalogue.files(self.settings.services):
                self._import(file)
        for name in set(sys.modules) - before:
            path = getattr(sys.modules[name], "__file__", None)
            if path and self.settings.services in Path(path).parents:
                stamps[path] = stamp(Path(path))
        ready = {"event": "ready", "offers": self.offers, "broken": self.broken, "files": stamps}
        try:
            self.wire.send(ready)
        except OSError:
            self._left_alone()
        runner.make_ready()
        gc.collect()
        gc.freeze()  # what is shared stays shared: no collection touches it in a runner
        gc.disable()

    def _import(self, file: Path) -> None:
        try:
            tried = _try_in_a_child(file)
            self.offers.update({n: r for n, r in tried["offers"].items() if n not in self.offers})
            if tried["threads"]:
                log.warning("%s starts threads when it is imported: its jobs are exec'd, not forked", file.name)
                self.execs.update(dict.fromkeys(tried["offers"], file))
            else:
                for one in catalogue.load_file(file):
                    self.services.setdefault(one.name, one)
                mine, its = generators(self.settings.services), tried["generators"]
                self.unseeded += [g for key, (state, g) in mine.items() if its.get(key, state) != state]
        except Misconfigured as error:
            self.broken.update({name: str(error) for name in catalogue.names_in(file)})
            log.error("%s offers no service: %s", file.name, error)

    # -- at work --------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the line until retired or orphaned, and then until the last runner has gone."""
        awake, asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(asleep, warn_on_full_buffer=False)
        while not (self.retired or self.orphaned) or self.runners:
            listen = [awake] if self.orphaned else [awake, self.wire.fileno()]
            ready = select.select(listen, [], [])[0]
            if awake in ready:
                os.read(awake, 4096)
                self._reap()
            if self.wire.fileno() in ready:
                self._obey()

    def _obey(self) -> None:
        received = self.wire.receive()
        if received is None:
            self._left_alone()
            return
        message, _ = received
        if message["do"] == "retire":
            self.retired = True
        elif message["do"] == "fork":
            self._fork(message["name"], message["service"])

    def _left_alone(self) -> None:
        """The supervisor is gone: the next one is started, unless it is for another nursery to do that."""
        self.orphaned = True
        if not self.retired:
            log.warning("the supervisor is gone; the next one is started")
            link.ensure(self.settings)

    def _fork(self, name: str, service_name: str) -> None:
        try:
            work = runner.order(self.settings, name)
        except (OSError, ValueError, TypeError, KeyError):
            log.exception("%s: its request can't be read", name)
            self.wire.send({"event": "refused", "name": name})
            return
        hold, let_go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(let_go)
            if service_name in self.execs:
                self._exec(name, service_name, hold)
            for generator in self.unseeded:
                generator.seed()  # or every fork would draw the same numbers; random's own does it itself
            runner.run(work, hold, lambda: self.services[service_name])
        os.close(hold)
        self.runners[pid] = name
        who = identify(pid)
        try:
            self.wire.send(
                {"event": "forked", "name": name, "pid": pid, "start_ticks": who.start_ticks if who else 0},
                [let_go],
            )
        except OSError:
            pass  # the release's end is closed below: the runner leaves undone
        finally:
            os.close(let_go)

    def _exec(self, name: str, service_name: str, hold: int) -> None:
        os.set_inheritable(hold, True)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "labwaiter.runner", name, str(hold), str(self.execs[service_name])],
            {**link.environment(self.settings), MARKER: NO_MARK},
        )

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            name = self.runners.pop(found.si_pid, None)
            if name is not None and (found.si_code != os.CLD_EXITED or found.si_status != 0):
                # as long as it isn't reaped nobody else can have its number, nor its group's
                tell_group(found.si_pid, signal.SIGKILL)
            _, status = os.waitpid(found.si_pid, 0)
            if name is not None and not self.orphaned:
                try:
                    self.wire.send({"event": "exited", "name": name, "status": os.waitstatus_to_exitcode(status)})
                except OSError:
                    pass


def rules_of(service: Service) -> dict[str, object]:
    """What the supervisor, who imports no services, must know of one."""
    return {
        "limit": service.limit,
        "stall": service.stall,
        "grace": service.grace,
        "at_once": service.at_once,
        "outputs": [asdict(p) for p in service.outputs],
    }


def stamp(path: Path) -> list[int]:
    """What changes when a file or a folder is changed."""
    try:
        found = path.stat()
    except OSError:
        return [0, 0]
    return [found.st_mtime_ns, found.st_size]


def stamps_of(folder: Path) -> dict[str, list[int]]:
    """The stamps of a services folder's files; a file more or less is a change, too."""
    return {str(f): stamp(f) for f in sorted(folder.glob("*.py"))}


def _try_in_a_child(file: Path) -> dict[str, Any]:
    """Import a file in a forked child, first: {"offers": {name: rules}, "threads": whether it started any}.

    Raises:
        Misconfigured: it can't be imported; the sentence says why.
    """
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(said)
            os.write(say, json.dumps(_trial(file)).encode())
        finally:
            os._exit(0)
    os.close(say)
    text = b""
    until = time.monotonic() + TRIAL_SECONDS
    while select.select([said], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(said, 65536)
        if not part:
            break
        text += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(said)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if time.monotonic() > until:
        raise Misconfigured(f"{file.name} took more than {TRIAL_SECONDS:g} s to import.")
    if not text:
        raise Misconfigured(f"{file.name} ended the process that imported it (status {status}).")
    tried: dict[str, Any] = json.loads(text)
    if "wrong" in tried:
        raise Misconfigured(tried["wrong"])
    return tried


def _trial(file: Path) -> dict[str, Any]:
    try:
        found = catalogue.load_file(file)
    except Misconfigured as error:
        if error.__cause__ is not None:
            log.error("%s can't be imported", file.name, exc_info=error.__cause__)
        return {"wrong": str(error)}
    return {
        "offers": {s.name: rules_of(s) for s in found},
        "threads": len(os.listdir("/proc/self/task")) > 1,
        "generators": {key: state for key, (state, _) in generators(file.parent).items()},
    }


def generators(folder: Path) -> dict[str, tuple[int, random.Random]]:
    """The random generators in the modules of a services folder, and a hash of each one's state.

    One whose state is another in each import was never seeded on purpose.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and folder in Path(path).parents:
            for variable, value in vars(module).items():
                if type(value) is random.Random:
                    found[f"{name}.{variable}"] = (hash(value.getstate()), value)
    return found


def main() -> None:
    """Entry: `python -m labwaiter.supervisor.nursery FD`."""
    logging.basicConfig(format="%(asctime)s nursery[%(process)d] %(levelname)s %(message)s", level=logging.INFO)
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    nursery = Nursery(load(), Wire(socket.socket(fileno=fd)))
    nursery.import_services()
    nursery.run()


if __name__ == "__main__":
    main()
