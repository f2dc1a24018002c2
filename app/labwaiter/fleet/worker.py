"""`labwaiter worker`, a machine's side: takes orders, hands them on, publishes, answers calls; drains."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from typing import Any

import redis
from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.utils import now as rq_now
from rq.worker import SimpleWorker

from ..catalogue import catalogue
from ..errors import Misconfigured, ServiceError
from ..lab.lab import load as load_lab
from ..model.record import Request
from ..settings import Settings
from ..store import codec, supervisor_client
from ..store.files import open_ours, write_whole
from ..store.local_store import LocalStore
from ..system import record_lock
from ..system.stop_signals import set_by_signals
from . import order
from .files import FleetFiles, link_key
from .lab_redis import FAULTS, LabRedis
from .publisher import Publisher
from .rpc_server import RpcServer

log = logging.getLogger(__name__)
BLOCK_SECONDS = 1  # for an order: so late is a stop noticed
_RQ_MARGIN = 15  # RQ waits so much shorter than its workers' time to live


class Worker:
    """The worker of one machine."""

    def __init__(self, settings: Settings, concurrency: int | None = None) -> None:
        """
        Args:
            concurrency: how many executions this machine has at a time; more orders stay in Redis.

        Raises:
            Misconfigured: lab.toml knows no such machine, or another worker of it runs here.
        """
        whole = load_lab(settings.lab)
        if settings.machine not in whole.machines:
            known = ", ".join(whole.machines) or "none"
            raise Misconfigured(
                f"lab.toml has no machine {settings.machine}; there are: {known}. MACHINE says which this one is."
            )
        self.settings = settings
        self.store = LabRedis(settings, patience=BLOCK_SECONDS + 3.0)
        self.local = LocalStore(settings)
        self.local.folder.make()
        self._lock = open_ours(self.local.folder.layout.worker_lock, os.O_RDWR)
        if not record_lock.take(self._lock):
            os.close(self._lock)
            raise Misconfigured(f"A worker of {settings.machine} runs already.")
        # a runner knows no secret of the lab: the links that it tells are made with this
        write_whole(self.local.folder.layout.links_key, link_key(self.store), durable=True, mode=0o600)
        self.concurrency = concurrency or settings.max_running + settings.max_queued
        machine = whole.machines[settings.machine]
        offered = catalogue.of(settings)
        offered.now()

        def offers() -> list[str]:
            found = offered.now(wait=0.0).services  # what is being imported is told at the next beat
            return [name for name in found if machine.services is None or name in machine.services]

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
        order.StartOrder.taker, order.StartOrder.store = staticmethod(self.take), self.store
        while not self.stopping.is_set():
            try:
                self.take_up_again()
                taker = Taker(self)
                taker.work(burst=burst, logging_level="WARNING")
                if burst and not taker.disturbed:
                    return
            except FAULTS:
                pass  # the publisher says so already
            self.stopping.wait(1.0)

    def take_up_again(self) -> None:
        """Orders that are given to nobody are orders again, as when a worker died; what was taken is found taken."""
        queue = order.queue_of(self.store, self.store.machine)
        while self.store.redis.lmove(queue.intermediate_queue_key, queue.key, "RIGHT", "LEFT"):
            pass

    def take(self, name: str, request: Request, files: dict[str, str]) -> str:
        """Record an order in the jobs folder and wake the supervisor: once, however often it is delivered."""
        key = self.store.key("job", name)
        view = self.store.redis.hget(key, "view")
        if self.local.request(name) is None and not self.local.buried(name):
            if view is not None and not _is_active(view):
                return "it was withdrawn"
            try:
                self.files.take_over(name, files)  # without them another file of that name might be used
                self.local.claim(name, request)
            except ServiceError as error:
                log.exception("%s could not be taken", name)
                self.publisher.refuse(name, request, error.message)
                return "refused"
            if request.polls:
                self.local.polled(name)  # its start was the first poll
        # only now: who wants it stopped marks it first, then asks this machine, which may not have known it yet
        if self.store.redis.hexists(key, "abort"):
            record = self.local.record(name)
            if record.active:
                self.local.abort(record, 0.0)
        self.publisher.ask(name)
        return "taken"

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
            return supervisor_client.stop(self.settings, 120.0)
        return True


class Taker(SimpleWorker):
    """RQ's worker, with what lies in Redis unable to name code to it, and signals left to ours."""

    job_class = order.StartOrder
    death_penalty_class = TimerDeathPenalty

    def __init__(self, worker: Worker) -> None:
        store = worker.store
        super().__init__(
            [order.queue_of(store, store.machine)],
            name=f"{store.machine}-{os.getpid()}-{os.urandom(3).hex()}",
            connection=store.redis,
            serializer=JSONSerializer,
            worker_ttl=BLOCK_SECONDS + _RQ_MARGIN,
            default_result_ttl=order.KEPT_SECONDS,
            log_job_description=False,
        )
        self._worker = worker
        self._beat = -math.inf  # when RQ was told last that this one lives (monotonic s)
        self.disturbed = True

    def _install_signal_handlers(self) -> None:
        """Ours stay."""

    def subscribe(self) -> None:
        """RQ's commands (stop-job, shutdown) come unsigned: nobody listens to them."""

    def unsubscribe(self) -> None:
        """As little."""

    def check_for_suspension(self, burst: bool) -> None:
        """As `rq suspend` asks, within a second; RQ would ask before each order."""
        if time.monotonic() - self._beat >= BLOCK_SECONDS:
            super().check_for_suspension(burst)
            self._beat = time.monotonic()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """In one round trip."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        with self.connection.pipeline(transaction=False) as told:
            super().heartbeat(timeout, told)
            told.execute()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Take an order and say so in one transaction: RQ's own way has eight, for what takes milliseconds.

        What fails is done once more in RQ's way, with all that `rq info` shows of a failure: an order may be
        delivered twice.
        """
        job.started_at = rq_now()
        try:
            job._result = job.perform()
        except Exception:
            super().execute_job(job, queue)
            return
        job.ended_at = rq_now()
        with self.connection.pipeline() as done:
            done.lrem(queue.intermediate_queue_key, 1, job.id)
            job.worker_name = self.name
            job._handle_success(order.KEPT_SECONDS, done, self.name)
            job.cleanup(order.KEPT_SECONDS, done, remove_from_queue=False)
            self.increment_successful_job_count(done)
            done.execute()

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """The next order, once there is room for it; None to end."""
        burst = timeout is None
        while not self._worker.stopping.is_set():
            if time.monotonic() - self._beat >= BLOCK_SECONDS:
                self.heartbeat()
                self._worker.take_up_again()  # a connection may break before it tells which order it was given
                self._beat = time.monotonic()
            if not self._worker.room:
                self._worker.stopping.wait(0.1)  # as in Worker._drain
                continue
            try:
                found = self.queue_class.dequeue_any(
                    self._ordered_queues,
                    None if burst else BLOCK_SECONDS,
                    connection=self.connection,
                    job_class=self.job_class,
                    serializer=self.serializer,
                    death_penalty_class=self.death_penalty_class,
                )
            except DequeueTimeout:
                continue
            except Exception as error:
                self._pass_over(error)
                continue
            if found is not None:
                found[0].redis_server_version = self.get_redis_server_version()  # type: ignore[no-untyped-call]
                return found
            if burst:
                self.disturbed = False
                return None
        return None

    def _pass_over(self, error: Exception) -> None:
        """Leave out what is no order, so that those behind it are taken. Raises the error if it is Redis that fails."""
        name = getattr(error, "job_id", None)
        if name is None or (isinstance(error, FAULTS) and not str(error).startswith("WRONGTYPE")):
            raise error
        log.error("what the queue has as %.80r is no order, and was left out: %s", name, type(error).__name__)
        self.connection.lrem(self.queues[0].intermediate_queue_key, 1, name)
        with contextlib.suppress(redis.ResponseError):
            self.connection.hset(
                order.StartOrder.key_for(name), "status", "failed"
            )  # its face tells that it is refused


def _is_active(view: bytes) -> bool:
    """Of a view in Redis; one that can't be read ended nothing."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return codec.view(view).record.active
    return True
