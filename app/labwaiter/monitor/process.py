"""The monitor's process: `python -m labwaiter.monitor.process`, a child of the supervisor, ended by its end.

One loop and no thread, so that it may fork: what may hang, a driver on its line, is in a process of its own for each
instrument (`reader.py`). Whoever wants an instrument has nothing to do with this process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import Misconfigured
from ..lab.lab import InstrumentEntry, Lab, Limit
from ..lab.labfile import WatchedLab
from ..model import direct_control
from ..model.sentences import N_
from ..settings import Settings, load
from ..store.events import Event, Events, Kind, event_of
from ..store.files import read_bounded
from ..store.folder import Folder
from ..store.history import HistoryWriter
from ..store.leases import Held, Leases
from ..system import logs
from ..system.backoff import Backoff
from ..system.process import ended_children
from . import reader

log = logging.getLogger("labwaiter.monitor")
TICK = 0.5  # s
THIN_EVERY = 60.0  # s
ROUND_SECONDS = 60.0  # that opening it, or a round, may take at most, besides what it takes to boot
LONGEST_PAUSE = 60.0  # s between two tries of one that can't be read
IN_HAND_FRESH = 30.0  # s: older ones are no readings of now
LARGEST = 1_000_000  # bytes


@dataclass
class Monitored:
    """An instrument that is monitored."""

    entry: InstrumentEntry
    names: tuple[str, ...]  # of its device, its own first
    pid: int | None = None  # of the process that reads it
    hear: int = -1  # the pipe's end
    rest: bytes = b""  # of a line that has not come whole
    began: float | None = None  # monotonic s, at which it began to open it, or a round
    in_hand: float = 0.0  # Unix time (s) of the last reading that was taken over from whoever has it in hand
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, LONGEST_PAUSE))


class Monitor:
    """Who is read when, and what becomes of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lab_file = WatchedLab(settings.lab)
        self._lab: Lab | None = None
        self._leases = Leases(settings.jobs_folder)
        self._folder = Folder(settings.jobs_folder)
        self._history = HistoryWriter(settings.layout)
        self._events = Events(settings.layout)
        self._beyond, untold = self._history.beyond()
        for event in map(event_of, untold):
            if event is not None:
                self._events.try_to_add(event)
        self._monitored: dict[str, Monitored] = {}
        self._selector = selectors.DefaultSelector()
        self._unknown: set[tuple[str, str]] = set()  # limits of what isn't read, of which the log was told
        self._over = False

    def run(self) -> None:
        """Until the supervisor is gone, or it is told to end."""
        awake, asleep = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(asleep, warn_on_full_buffer=False)
        self._ours = [awake, asleep, 0]
        self._selector.register(awake, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        next_tick = next_thin = 0.0
        while not self._over:
            for key, _ in self._selector.select(max(0.0, next_tick - time.monotonic())):
                if key.data is not None:
                    self._hear(key.data)
                elif key.fd == 0 and not os.read(0, 100):
                    self._over = True
                elif key.fd == awake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(awake, 4096)
            self._bury()
            if (now := time.monotonic()) >= next_tick:
                next_tick = now + TICK
                self._tick(now)
                self._history.commit()
            if now >= next_thin:
                next_thin = now + THIN_EVERY
                self._history.thin(time.time(), self._settings.history_seconds)
        self._end()

    def _on_signal(self, number: int, _: object) -> None:
        self._over = self._over or number == signal.SIGTERM

    def _end(self) -> None:
        """Have all yield: whoever doesn't is ended by the supervisor."""
        for one in self._monitored.values():
            self._signal(one, signal.SIGTERM)
        self._history.close()

    # -- who is read --------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        lab = self._lab_file.now()
        if lab is not None and lab is not self._lab:
            self._lab = lab
            self._follow(lab.on(self._settings.machine))
        for one in self._monitored.values():
            try:
                self._look(one, now)
            except OSError as error:  # no processes, no descriptors, no disk: to be waited out
                pause = one.backoff.failed(now)
                log.warning("%s can't be read now (%s); it is tried again in %g s", one.entry.name, error, pause)

    def _follow(self, lab: Lab) -> None:
        """Monitor what lab.toml lists now; who is listed otherwise is opened anew."""
        for name, one in list(self._monitored.items()):
            entry = lab.entries.get(name)
            names = _names(lab, name)
            if entry == one.entry and names == one.names:
                continue
            if one.pid is not None:
                self._signal(one, signal.SIGTERM)
                self._lab = None  # it is looked at again once that has ended
            else:
                del self._monitored[name]
        for name, entry in lab.entries.items():
            if entry.monitor_every_s is not None and name not in self._monitored:
                self._monitored[name] = Monitored(entry, _names(lab, name))

    def _look(self, one: Monitored, now: float) -> None:
        if one.pid is not None:
            limit = ROUND_SECONDS + (one.entry.settle or 0.0)
            if one.began is not None and now - one.began > limit:
                log.warning("%s: a round of readings did not end within %g s; it is ended", one.entry.name, limit)
                self._history.failed(one.entry.name, time.time(), f"It did not answer within {limit:g} s.")
                one.began = None
                self._signal(one, signal.SIGKILL)
            return
        if self._leases.is_idle(one.names) and not self._leases.readers.claimed(one.names):
            if one.backoff.is_due(now):
                close = [*self._ours, *(other.hear for other in self._monitored.values() if other.hear >= 0)]
                one.pid, one.hear = reader.fork(one.entry, one.names, self._settings, close)
                one.rest, one.began = b"", now
                self._selector.register(one.hear, selectors.EVENT_READ, one)
        else:
            self._from_hands(one)

    def _from_hands(self, one: Monitored) -> None:
        """What whoever has it in hand reads belongs to its history, too."""
        lease = self._leases.of(one.entry.name)
        if lease is None or lease.how is not Held.BY_JOB:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            request = self._folder.request(lease.job)
            if request is None or request.service != direct_control.NAME:
                return
            file = self._folder.path(lease.job) / "data" / direct_control.READINGS
            said = json.loads(read_bounded(file, LARGEST) or b"{}")
            at = float(said["at"])
            if at - one.in_hand >= (one.entry.monitor_every_s or 1.0) and abs(time.time() - at) < IN_HAND_FRESH:
                one.in_hand = at
                self._keep(one.entry, at, said["readings"])

    @staticmethod
    def _signal(one: Monitored, number: int) -> None:
        if one.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, number)  # our child, not yet reaped: the number is its own

    # -- what is read -------------------------------------------------------------------------

    def _hear(self, one: Monitored) -> bool:
        """Take in what it has said; False where that is all for now."""
        try:
            text = os.read(one.hear, 65536)
        except BlockingIOError:
            return False
        if not text:
            self._hang_up(one)
            return False
        *lines, one.rest = (one.rest + text).split(b"\n")
        for line in lines:
            self._take(one, json.loads(line))
        return True

    def _hang_up(self, one: Monitored) -> None:
        if one.hear >= 0:
            self._selector.unregister(one.hear)
            os.close(one.hear)
            one.hear = -1

    def _take(self, one: Monitored, said: dict[str, Any]) -> None:
        if "began" in said:
            one.began = time.monotonic()
        elif "why" in said:
            pause = one.backoff.failed(time.monotonic())
            log.info("%s is read again in %g s: %s", one.entry.name, pause, said["why"])
            self._history.failed(one.entry.name, time.time(), str(said["why"]))
        else:
            one.began = None
            one.backoff.succeeded()
            self._keep(one.entry, said["at"], said["readings"])

    def _keep(self, entry: InstrumentEntry, at: float, readings: dict[str, dict[str, Any]]) -> None:
        self._history.add(entry.name, at, readings)
        for name, limit in entry.limits.items():
            if name not in readings and (entry.name, name) not in self._unknown:
                self._unknown.add((entry.name, name))
                known = ", ".join(readings) or "none"
                log.warning("%s has no reading %s, whose limits lab.toml has; there are: %s", entry.name, name, known)
            self._judge(entry, name, limit, readings.get(name, {}), at)
        for instrument, name in [key for key in self._beyond if key[0] == entry.name and key[1] not in entry.limits]:
            del self._beyond[instrument, name]
            self._history.note_beyond(instrument, name, "")

    def _judge(self, entry: InstrumentEntry, name: str, limit: Limit, read: dict[str, Any], at: float) -> None:
        """A limit that is passed is an event, once: not again before the reading has come back, which is one, too."""
        value = read.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        before = self._beyond.get((entry.name, name), "")
        side = limit.beyond(value, before)
        if side == before:
            return
        bound = limit.high if (side or before) == "high" else limit.low
        unit = str(read.get("unit") or "")
        now, edge = (f"{number:g} {unit}".strip() for number in (value, bound or 0.0))
        if side == "high":
            text = N_(f"{entry.name}: {name} is {now}, over its limit of {edge}.")
        elif side:
            text = N_(f"{entry.name}: {name} is {now}, under its limit of {edge}.")
        else:
            text = N_(f"{entry.name}: {name} is {now}, back within its limit of {edge}.")
        about = {"reading": name, "value": value, "unit": unit, "limit": bound, "side": side or before}
        event = Event(Kind.LIMIT if side else Kind.BACK, text, entry.name, about=about, at=round(at, 3))
        if side:
            self._beyond[entry.name, name] = side
        else:
            del self._beyond[entry.name, name]
        # one passing is one event, also where this process is ended here: the next one finds it, with its id
        self._history.note_beyond(entry.name, name, side, event.as_data())
        self._history.commit()
        self._events.try_to_add(event)
        self._history.note_beyond(entry.name, name, side)
        self._history.commit()

    def _bury(self) -> None:
        for pid, status in ended_children():
            for one in self._monitored.values():
                if one.pid != pid:
                    continue
                while one.hear >= 0 and self._hear(one):
                    pass  # what it said last
                self._hang_up(one)
                one.pid = one.began = None
                if status:
                    pause = one.backoff.failed(time.monotonic())
                    log.warning(
                        "%s: what read it ended with %d; it is tried again in %g s", one.entry.name, status, pause
                    )


def _names(lab: Lab, name: str) -> tuple[str, ...]:
    return (name, *sorted(lab.twins(name) - {name}))


def main() -> None:
    """Entry."""
    try:
        settings = load()
    except Misconfigured as error:
        logs.set_up("monitor", logs.TEXT)
        log.warning("nothing is monitored: %s", error)
        return
    logs.set_up("monitor", settings.log_format, settings.layout.supervisor_log)
    Monitor(settings).run()


if __name__ == "__main__":
    main()
