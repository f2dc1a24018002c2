"""Sending events on: `python -m labwaiter.monitor.delivery url` or `command`, a child of the supervisor for each way.

``.labwaiter/events/<way>/``: a file for each event that is still to be sent, which survives whatever dies.

    ID.json      it waits for its next try
    ID.sending   it is being sent; found by the next process, nobody knows whether it was taken, so it isn't sent again
    place.json   up to where events.jsonl has been looked through, and which were sent last

What answers that it has an event never gets it a second time. What fails is tried again, with pauses. An address that
doesn't answer in time has failed, too: all tries of one event have the same Idempotency-Key.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .. import __version__, proxy
from ..errors import Misconfigured
from ..settings import SECRETS, Settings, load
from ..store.events import Event, Events, event_of, make
from ..store.files import open_ours, read_record, sync_folder, write_whole
from ..system import flock, logs
from ..system.backoff import Backoff
from ..system.watch import Watch

log = logging.getLogger("labwaiter.events")
URL_SECONDS, COMMAND_SECONDS = 10.0, 60.0  # that one try may take
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0  # s between two tries
GIVEN_UP_AFTER = 7 * 86400.0  # s
SENT_KEPT = 2000  # ids of those that were sent
OUTBOX_MAX = 10_000  # events
LOOK_EVERY = 2.0  # s, for what inotify doesn't tell of
LARGEST = 1_000_000  # bytes


class Failed(Exception):
    """It was not taken; the message says why, without any secret."""


class Refused(Failed):
    """This event was not taken; others may be."""


class _OutOfTime(Exception):
    pass


@dataclass
class Waiting:
    """An event that is to be sent."""

    event: Event
    tries: int = 0
    due: float = 0.0  # Unix time, s
    why: str = ""  # why it failed last


class Outbox:
    """The events that are to be sent on one way. What is in it lies on the disk."""

    def __init__(self, events: Events, way: str) -> None:
        """Raises OSError."""
        self.folder = events.folder / way
        self._events, self._place_file = events, self.folder / "place.json"
        make(events.folder)
        make(self.folder)
        # one that a supervisor before ours had begun ends with what it is at
        flock.lock(open_ours(self.folder / "lock", os.O_RDWR))
        self._place: tuple[int, int] | None = None
        self._sent: list[str] = []
        self.waiting: dict[str, Waiting] = {}
        self._load()

    def _load(self) -> None:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = json.loads(read_record(self._place_file, LARGEST) or b"")
            self._place = int(said["place"][0]), int(said["place"][1])
            self._sent = [str(id) for id in said["sent"]]
        for name in sorted(os.listdir(self.folder)):
            id, _, ending = name.rpartition(".")
            if name.startswith(".") or name == self._place_file.name:
                continue
            if ending == "sending" and (self.folder / f"{id}.json").exists():
                os.unlink(self.folder / name)  # it failed
            elif ending == "sending":
                log.warning(
                    "the event %s was being sent as that was ended: it may have been taken, and stays unsent", id
                )
                self._sent.append(id)
                self._note_place()
                os.unlink(self.folder / name)
            elif ending == "json":
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    said = json.loads(read_record(self.folder / name, LARGEST) or b"")
                    event = event_of(json.dumps(said["event"]).encode())
                    if event is not None:
                        tries, due = int(said["tries"]), min(float(said["due"]), time.time() + LONGEST_PAUSE)
                        self.waiting[id] = Waiting(event, tries, due, str(said["why"]))

    def _note_place(self) -> None:
        self._sent = self._sent[-SENT_KEPT:]
        write_whole(
            self._place_file, json.dumps({"place": self._place or (0, 0), "sent": self._sent}).encode(), durable=True
        )

    def collect(self) -> None:
        """Take in what has happened since. The first time of all: what happens from now on. Raises OSError."""
        found, place = self._events.since(self._place)
        if place == self._place:
            return
        for event in found:
            if event.id in self.waiting or event.id in self._sent:
                continue
            if len(self.waiting) >= OUTBOX_MAX:
                oldest = min(self.waiting.values(), key=lambda one: one.event.at)
                log.error("the event %s is not sent any more: too many wait", oldest.event.id)
                self._forget(oldest)
            self._write(Waiting(event))
        self._place = place
        self._note_place()

    def due(self, now: float) -> Iterator[Waiting]:
        """Those that may be tried now (Unix time, s), the oldest first."""
        for one in sorted(self.waiting.values(), key=lambda one: one.event.at):
            if one.due <= now or one.due > now + LONGEST_PAUSE:  # or a clock was set back
                yield one

    def _path(self, one: Waiting, ending: str = "json") -> Path:
        return self.folder / f"{one.event.id}.{ending}"

    def _write(self, one: Waiting) -> None:
        said = asdict(one) | {"event": one.event.as_data()}
        write_whole(self._path(one), json.dumps(said).encode(), durable=True)
        self.waiting[one.event.id] = one

    def _forget(self, one: Waiting) -> None:
        self.waiting.pop(one.event.id, None)
        for ending in ("json", "sending"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(one, ending))

    def begin(self, one: Waiting) -> None:
        """It is being sent from now on, whatever becomes of this process. Raises OSError: it may not be then."""
        os.rename(self._path(one), self._path(one, "sending"))
        sync_folder(self.folder)

    def taken(self, one: Waiting) -> None:
        """It is there: never again."""
        self._sent.append(one.event.id)
        with contextlib.suppress(OSError):
            self._note_place()
        self._forget(one)

    def failed(self, one: Waiting, why: str) -> None:
        """It was not taken."""
        one.tries, one.why = one.tries + 1, why
        if time.time() - one.event.at > GIVEN_UP_AFTER:
            log.error("the event %s is not sent any more, after %d tries: %s", one.event.id, one.tries, why)
            self.taken(one)
            return
        one.due = time.time() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(one.tries - 1, 20))
        with contextlib.suppress(OSError):
            self._write(one)
        # a disk that refuses that leaves it as it was; by its other name nobody would try it again
        with contextlib.suppress(FileNotFoundError):
            if self._path(one).exists():
                os.unlink(self._path(one, "sending"))
            else:
                os.rename(self._path(one, "sending"), self._path(one))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """What is sent goes where the setting says, and nowhere else."""
        return None


def post(url: str, event: Event) -> None:
    """Send it to an address. Raises Failed."""
    request = urllib.request.Request(
        url,
        json.dumps(event.told()).encode(),
        {
            "Content-Type": "application/json",
            "Idempotency-Key": event.id,
            "User-Agent": f"labwaiter/{__version__}",
        },
    )
    try:
        opener = urllib.request.build_opener(proxy.Proxies(), _NoRedirects())
        with opener.open(request, timeout=URL_SECONDS) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:  # its message may name the address, which may be a secret
        error.close()
        kind = Refused if 400 <= error.code < 500 and error.code not in (401, 403, 404, 408, 425, 429) else Failed
        raise kind(f"it answers {error.code}") from None
    except _OutOfTime:
        raise
    except Exception as error:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or type(reason).__name__
        raise Failed(f"it can't be reached ({words})") from None


def call(program: Path, event: Event, folder: Path) -> None:
    """Hand it to a program: JSON on its standard input, no shell. Raises Failed."""
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    try:
        process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"it can't be started ({error.strerror})") from None
    try:
        _, said = process.communicate(json.dumps(event.told()).encode() + b"\n")
    finally:  # also where its time is over
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        words = " ".join(said.decode("utf-8", "replace").split())[-300:]
        raise Failed(f"it ended with {process.returncode}" + (f": {words}" if words else ""))


class Delivery:
    """Sends what is in the outbox, one event after the other."""

    def __init__(self, settings: Settings, way: str) -> None:
        self._settings, self._way = settings, way
        self._events = Events(settings.layout)
        self._outbox = Outbox(self._events, way)
        self._pause = Backoff(FIRST_PAUSE, LONGEST_PAUSE)  # while nothing is taken at all; monotonic s
        self._over = False
        signal.signal(signal.SIGTERM, self._end)  # what is being sent is heard out, as far as there is time

    def run(self) -> None:
        """Until the supervisor is gone, or SIGTERM."""
        with Watch(self._events.folder) as watch:
            while True:
                try:
                    self._outbox.collect()
                    self._send_all()
                except OSError as error:  # a full disk: nothing is sent that can't be noted
                    log.warning("events can't be sent now (%s); it is tried again", error)
                if self._over or (select.select([0], [], [], 0)[0] and not os.read(0, 100)):
                    return
                watch.wait(LOOK_EVERY)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._over = True

    def _send_all(self) -> None:
        for one in list(self._outbox.due(time.time())):
            if self._over:
                return
            if not self._pause.is_due(time.monotonic()):
                return
            self._outbox.begin(one)
            try:
                self._send(one.event)
            except Failed as error:
                self._outbox.failed(one, str(error))
                if not isinstance(error, Refused):
                    self._pause.failed(time.monotonic())
                pause = max(0.0, one.due - time.time())
                log.warning(
                    "the event %s was not taken by the %s: %s; it is tried again in %.0f s",
                    one.event.id, self._target, error, pause,
                )  # fmt: skip
            else:
                self._pause.succeeded()
                self._outbox.taken(one)
                log.info("the event %s was taken by the %s", one.event.id, self._target)

    @property
    def _target(self) -> str:
        return "address of EVENTS_URL" if self._way == "url" else "program of EVENTS_COMMAND"

    def _send(self, event: Event) -> None:
        """Raises Failed."""
        seconds = URL_SECONDS if self._way == "url" else COMMAND_SECONDS
        signal.setitimer(signal.ITIMER_REAL, seconds + 1.0 if self._way == "url" else seconds)
        try:
            if self._way == "url":
                post(self._settings.events_url, event)
            elif self._settings.events_command is not None:
                call(self._settings.events_command, event, self._settings.folder)
        except _OutOfTime:
            raise Failed(f"it did not end within {seconds:g} s") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


def main() -> None:
    """Entry."""
    way = sys.argv[1]
    try:
        settings = load()
    except Misconfigured as error:
        logs.set_up("delivery", logs.TEXT)
        log.warning("no event is sent: %s", error)
        return
    logs.set_up("delivery", settings.log_format, settings.layout.supervisor_log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _out_of_time)
    Delivery(settings, way).run()


if __name__ == "__main__":
    main()
