"""`labwaiter worker`, a machine's side: takes orders, hands them on, publishes, answers calls; drains."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time

from ..catalogue import catalogue
from ..errors import Misconfigured, ServiceError, Unavailable
from ..lab.labfile import load as load_lab
from ..model.record import Request
from ..settings import Settings
from ..store import codec, supervisor_client
from ..store.audit import Audit
from ..store.files import open_ours, write_whole
from ..store.local_store import LocalStore
from ..system import record_lock
from ..system.stop_signals import set_by_signals
from .files import FleetFiles, link_key
from .lab_redis import LabRedis
from .order import OpenedOrder, open_order
from .publisher import Publisher
from .redis_faults import FAULTS
from .rpc_server import RpcServer
from .rq_orders import BLOCK_SECONDS, Taker

log = logging.getLogger(__name__)
STOP_SECONDS = 120.0  # for everything to be stopped and made safe


class Worker:
    """The worker of one machine."""

    def __init__(self, settings: Settings, concurrency: int | None = None) -> None:
        """
        Args:
            concurrency: how many executions this machine has at a time; more orders stay in Redis.

        Raises:
            Misconfigured: lab.toml knows no such machine, or another worker of it runs here.
        """
        lab = load_lab(settings.lab)
        if settings.machine not in lab.machines:
            known = ", ".join(lab.machines) or "none"
            raise Misconfigured(
                f"lab.toml has no machine {settings.machine}; there are: {known}. MACHINE says which this one is."
            )
        self.settings = settings
        self.store = LabRedis(settings, patience=BLOCK_SECONDS + 3.0)
        self.local = LocalStore(settings)
        self.local.folder.make()
        self._audit = Audit(self.local.folder.layout)
        self._lock = open_ours(self.local.folder.layout.worker_lock, os.O_RDWR)
        if not record_lock.take(self._lock):
            os.close(self._lock)
            raise Misconfigured(f"A worker of {settings.machine} runs already.")
        # a runner knows no secret of the lab: the links that it tells are made with this
        write_whole(self.local.folder.layout.links_key, link_key(self.store.seals), durable=True, mode=0o600)
        self.concurrency = concurrency or settings.max_running + settings.max_queued
        machine = lab.machines[settings.machine]
        services_kept = catalogue.of(settings)
        services_kept.now()

        def offers() -> list[str]:
            services = services_kept.now(wait=0.0).services  # what is being imported is told at the next beat
            return [name for name in services if machine.services is None or name in machine.services]

        self.publisher = Publisher(settings, self.store, self.local, offers)
        self.rpc_server = RpcServer(self.store, self.local, self.publisher)
        self.files = FleetFiles(settings, self.store, lambda name: None)
        self.stopping = threading.Event()
        self.at_once = threading.Event()

    def run(self, burst: bool = False, drain_seconds: float | None = None) -> bool:
        """Work until told to stop (SIGTERM, SIGINT), or with `burst` until no order is left and all have ended.

        Told once it takes no new order, and leaves when what runs has ended, or after `drain_seconds`: then, and
        told twice, everything is stopped and made safe.

        Returns:
            Whether it left with everything ended.

        Raises:
            Misconfigured: another machine works under this name.
        """
        set_by_signals(self.stopping, self.at_once)
        if why := self.publisher.heartbeat.refusal():
            raise Misconfigured(why)
        supervisor_client.ensure(self.settings, even_if_stopped=True)
        self.publisher.start()
        self.rpc_server.start()
        try:
            self._take_orders(burst)
            return self._drain(drain_seconds)
        finally:
            self.rpc_server.close()
            self.publisher.close()

    # -- orders -------------------------------------------------------------------------------

    def _take_orders(self, burst: bool) -> None:
        while not self.stopping.is_set():
            try:
                self.put_back_orders()
                taker = Taker(self.store.connection, self.store.machine, self)
                taker.work(burst=burst, logging_level="WARNING")
                if burst and not taker.disturbed:
                    return
            except FAULTS:
                pass  # the publisher says so already
            self.stopping.wait(1.0)

    def put_back_orders(self) -> None:
        """Orders that are given to nobody are orders again, as when a worker died; what was taken is found taken."""
        self.store.put_back_orders(self.store.machine)

    def pass_over_order(self, id_: str) -> None:
        """Leave out what is no order."""
        self.store.pass_over_order(self.store.machine, id_)

    def take_order(self, id_: str, sealed: object) -> str:
        """Take an order: what became of it. Raises ValueError: it is none of this lab's for this machine."""
        return self.take(open_order(self.store.seals, self.store.machine, id_, sealed))

    def take(self, order: OpenedOrder) -> str:
        """Record an order in the jobs folder and wake the supervisor: once, however often it is delivered."""
        name, request = order.name, order.request
        view = self.store.snapshot(name, brief=True).view
        if self.local.request(name) is None and not self.local.buried(name):
            if view is not None and not _is_active(view):
                return "it was withdrawn"
            try:
                self.local.judge_room()
                self.files.take_over(name, order.files)  # without them another file of that name might be used
                self._remember(request)
                self.local.claim(name, request)
            except ServiceError as error:
                log.exception("%s could not be taken", name)
                self.publisher.refuse(name, request, error.message)
                return "refused"
            if request.polls:
                self.local.folder.polled(name)  # its start was the first poll
        # only now: who wants it stopped marks it first, then asks this machine, which may not have known it yet
        if self.store.abort_wished(name):
            record = self.local.record(name)
            if record.active:
                self.local.abort(record, 0.0)
        self.publisher.ask(name)
        return "taken"

    def _remember(self, request: Request) -> None:
        """In this machine's audit file. Raises Unavailable: it can't be, so nothing is started."""
        try:
            self._audit.add(
                "start",
                serviceID=request.service_id,
                service=request.service,
                user=request.user,
                project=request.project,
                face="order",
                by=request.face,
            )
        except OSError as error:
            raise Unavailable("The execution was not started: the audit file can't be written.") from error

    @property
    def room(self) -> bool:
        """Whether one more may be taken."""
        return len(self.local.folder.active_names()) < self.concurrency

    # -- leaving ------------------------------------------------------------------------------

    def _drain(self, seconds: float | None) -> bool:
        """Wait for what runs; then, or where that takes too long, stop the supervisor."""
        self.publisher.heartbeat.drains = True
        until = None if seconds is None else time.monotonic() + seconds
        while self.local.folder.active_names() and not self.at_once.is_set():
            if until is not None and time.monotonic() >= until:
                break
            self.at_once.wait(0.2)  # an end is told by a file that vanishes, which nobody can be woken by for all
        left = bool(self.local.folder.active_names())
        if left:
            log.warning("what still runs is stopped and made safe")
            return supervisor_client.stop(self.settings, STOP_SECONDS)
        return True


def _is_active(view: bytes) -> bool:
    """Of a view in Redis; one that can't be read ended nothing."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return codec.view(view).record.active
    return True
