"""The simulated lab: one process that serves lab.toml's simulated instruments on ptys, as if they were plugged in.

The supervisor has it there (`keeping`); it outlives supervisors as jobs do, and ends with its jobs folder.
`labwaiter instruments simulate` is the same in the foreground.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import Misconfigured
from ..instruments.simulators import KINDS
from ..instruments.simulators.host import Host
from ..instruments.simulators.relays import Relays
from ..instruments.simulators.sba5 import Sba5
from ..lab import labfile, simulation
from ..settings import Settings, load
from ..store.files import make_folder, open_ours, rights_in
from ..store.leases import Held, Leases
from ..system import logs, record_lock
from ..system.watch import stamp

log = logging.getLogger("labwaiter.simlab")
LOOK_EVERY = 1.0  # s between two looks at lab.toml and the jobs folder
_ENDINGS = (signal.SIGTERM, signal.SIGINT)


class AlreadyRuns(Exception):
    """Another process is this deployment's simulated lab already."""


class SimulatedLab:
    """The simulated instruments of one jobs folder."""

    def __init__(self, settings: Settings) -> None:
        """Be the only one, and serve what lab.toml lists.

        Raises:
            AlreadyRuns: there is one already.
            Misconfigured: lab.toml has a mistake.
        """
        self.settings = settings
        layout = settings.layout
        self.folder = layout.simulated
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            make_folder(self.folder, rights_in(self.folder.parent))
        self._lock = open_ours(layout.simulated_lock, os.O_RDWR)
        if not record_lock.take(self._lock, byte=0):
            os.close(self._lock)
            raise AlreadyRuns("The simulated lab of this jobs folder runs already.")
        for link in self.folder.iterdir():
            if link.is_symlink():
                link.unlink()
        record_lock.take(self._lock, byte=1)  # from here on every link is one of ours
        self.ports: dict[str, str] = {}  # of what is served, as lab.toml says them
        self._leases = Leases(settings.jobs_folder)
        self._simulators: dict[str, object] = {}
        self._read: list[int] = []  # lab.toml's stamp, when it was read
        self._seen: list[int] = []  # and when it was last looked at
        self._host = Host()
        try:
            self.follow()
        except BaseException:
            self.close()
            raise

    def follow(self) -> None:
        """Serve what lab.toml lists now. Who stays keeps its state; who is in use stays, whatever is listed."""
        self._read = self._seen = stamp(self.settings.lab)
        entries = labfile.load(self.settings.lab).on(self.settings.machine).entries
        listed = {name: entry.port for name, entry in entries.items() if entry.simulated}
        for name in [n for n, port in self.ports.items() if listed.get(n) != port]:
            lease = self._leases.of(name)
            if lease is not None and lease.how is not Held.UNSAFE:  # an unsafe one may be replaced
                self._read = []  # later
                continue
            self._host.unplug(self.folder / name)
            del self.ports[name], self._simulators[name]
            log.info("%s is no longer served", name)
        for name, port in listed.items():
            if name not in self.ports:
                self._plug(name, port)

    def _plug(self, name: str, port: str) -> None:
        simulated = simulation.read(port)
        simulator = KINDS[simulated.kind](self.folder / f"{name}.record", **simulated.options)
        if simulated.fan is not None and isinstance(simulator, Sba5):
            board, number = simulated.fan
            simulator.ventilated = lambda: self._is_on(board, number)
        self._simulators[name], self.ports[name] = simulator, port
        simulator.note("switched on")
        self._host.plug(self.folder / name, simulator)
        log.info("%s is served on %s", name, os.readlink(self.folder / name))

    def _is_on(self, board: str, number: int) -> bool:
        relays = self._simulators.get(board)
        return isinstance(relays, Relays) and relays.closed[number - 1]

    def run(self) -> None:
        """Serve until told to end, or the jobs folder is gone, or nothing is left to serve."""
        while self.ports and self._stands() and not signal.sigtimedwait(_ENDINGS, LOOK_EVERY):
            now = stamp(self.settings.lab)
            if now == self._seen != self._read:  # seen twice: nobody is writing it any more
                try:
                    self.follow()
                except Misconfigured as error:
                    self._read = now
                    log.warning("what is served stays as it is: %s", error)
            self._seen = now

    def _stands(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.settings.layout.simulated_lock), os.fstat(self._lock))
        except OSError:
            return False

    def close(self) -> None:
        """Unplug all and give up the lock, so that another can be it."""
        self._host.close()
        os.close(self._lock)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT wait for `SimulatedLab.run`, also in the threads that begin within."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(settings: Settings, begun: Callable[[dict[str, Path]], None] = lambda served: None) -> None:
    """Be the simulated lab until told to end.

    Args:
        begun: called once with the names and ports of what is served.

    Raises:
        AlreadyRuns, Misconfigured: as `SimulatedLab`.
    """
    with ended_by_signals():
        lab = SimulatedLab(settings)
        try:
            begun({name: lab.folder / name for name in lab.ports})
            lab.run()
        finally:
            lab.close()


def main() -> None:
    """Entry: `python -m labwaiter.simulated_lab.process`."""
    settings = load()
    logs.set_up("simulated lab", settings.log_format, settings.layout.supervisor_log)
    try:
        serve(settings)
    except (AlreadyRuns, Misconfigured) as error:
        log.warning("%s", error)
        return
    log.info("ended")


if __name__ == "__main__":
    main()
