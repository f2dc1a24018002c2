"""That this machine lives, told to Redis every two seconds; and what faces tell it: whom they were asked for."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from .. import __version__
from ..errors import ServiceError
from ..model.direct_control import NAME as DIRECT_CONTROL
from ..model.lab_session import NAME as LAB_SESSION
from ..settings import Settings
from ..store import web_side
from ..store.files import read_record, write_whole
from ..store.local_store import LocalStore
from ..system.process import boot_id
from .fleet_store import LEFT, SILENT_SECONDS, TAKES_ORDERS, Beat, FleetStore
from .redis_faults import FAULTS

log = logging.getLogger(__name__)
BEAT_EVERY = 2.0  # s
WARN_EVERY = 60.0  # s


class Heartbeat:
    """That of one machine's worker."""

    def __init__(
        self, settings: Settings, store: FleetStore, local: LocalStore, offers: Callable[[], Iterable[str]]
    ) -> None:
        """
        Args:
            offers: the services that this machine offers now.
        """
        self.settings, self.store, self.local = settings, store, local
        self._offers = offers
        self.drains = False
        self.offset = 0.0  # s: Redis' clock minus ours
        self._run_id = os.urandom(8).hex()
        self._machine_id = machine_id(local.folder.layout.machine_id)
        self._beat_at = 0.0  # monotonic s
        self._master: tuple[str, int] | None = None
        self._has_beaten = False
        self._warned = -math.inf  # monotonic s

    def due(self) -> bool:
        """Whether it is time for a beat."""
        return time.monotonic() - self._beat_at >= BEAT_EVERY

    def beat(self, left: bool = False) -> bool:
        """Say that this machine lives, and what it offers: whether Redis still has what this process told before.

        Raises what Redis raises.
        """
        active = self.local.folder.active_names()
        queued = self.local.folder.queue().get("queued")
        master = self.store.master()
        now = self.store.now()
        self.offset = now - time.time()
        before = self.store.beat(
            Beat(
                self.store.machine,
                now,
                LEFT if left else "drains" if self.drains else TAKES_ORDERS,
                run=self._run_id,
                id=self._machine_id,
                host=socket.gethostname(),
                version=__version__,
                offers=tuple(sorted(self._offers())),
                active=len(active),
                waiting=len(queued) if isinstance(queued, list) else 0,
                clock=-self.offset,
                lab=lab_digest(self.settings.lab),
                secret=self.store.seals.fingerprint,
            )
        )
        self._beat_at = time.monotonic()
        is_ours = before is not None and before.run == self._run_id
        if before is not None and before.id not in ("", self._machine_id) and not is_ours and self._has_beaten:
            if time.monotonic() - self._warned > WARN_EVERY:
                self._warned = time.monotonic()
                log.error("another worker calls itself %s, too: give one of them another MACHINE", self.store.machine)
            return True
        self._has_beaten = True
        same, self._master = master == self._master, master  # another master may lack what the last one was told
        return same and is_ours

    def refusal(self) -> str:
        """Why this worker may not begin: another one lives under its name; "" if none does, or Redis is away."""
        try:
            beat, now = self.store.last_beat(self.store.machine)
        except FAULTS:
            return ""
        if beat is None or beat.id in ("", self._machine_id) or beat.state == LEFT or now - beat.seen > SILENT_SECONDS:
            return ""
        return (
            f"Another worker calls itself {self.store.machine}: it was seen {max(0.0, now - beat.seen):.0f} s ago, on"
            f" {beat.host or 'another host'}. Give this one another MACHINE and a table of that name in lab.toml; or,"
            " if it is the same machine with a new jobs folder, begin it again in a moment."
        )

    def hear(self, published: Collection[str]) -> None:
        """Hand on that executions were asked for, and that there are faces to ask: what `silence_watch` needs.

        Args:
            published: those that this machine tells of.
        """
        news = self.store.news(self.store.machine)
        for name in news.polled & set(published):
            if not self._is_in_hand(name):  # who has an instrument in hand, or is in a lab, asks by a signed call
                self.local.folder.polled(name)
        if news.face_age is not None and news.face_age < web_side.FRESH:  # silence counts while there is a face to ask
            with contextlib.suppress(OSError):
                self.local.signed()

    def _is_in_hand(self, name: str) -> bool:
        """Whether it is by this execution that somebody has an instrument in hand; one that can't be read may be."""
        try:
            request = self.local.request(name)
        except ServiceError:
            return True
        return request is not None and request.service in (DIRECT_CONTROL, LAB_SESSION)


def machine_id(file: Path) -> str:
    """What tells two machines of one name apart: kept in the jobs folder; where that was copied, by their kernels."""
    number = read_record(file, 1000)
    if not number:
        number = os.urandom(16).hex().encode()
        write_whole(file, number, durable=True)
    return hashlib.sha256(number + boot_id().encode()).hexdigest()[:32]


def lab_digest(lab: Path) -> str:
    """Of lab.toml, to see whether all machines have the same."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(lab.read_bytes()).hexdigest()[:12]
    return ""
