"""Orders as RQ jobs, and RQ's worker that takes them. All that leans on RQ stands here and in `schedule/scheduler.py`.

RQ is given texts alone: JSON, signed. What it would import by a name that lies in Redis (functions, callbacks,
webhooks) it never gets: a `StartOrder` does one thing only, whatever its hash says.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from rq import Queue
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.utils import now as rq_now
from rq.worker import SimpleWorker

from .order import FUNCTION, Order, order_id
from .redis_faults import FAULTS

log = logging.getLogger(__name__)
# What RQ promises nobody, and this relies on. requirements.txt pins the version: before another one is pinned, each is
# read anew in its source (tests/core/test_rq_orders.py fails until LEANS_ON_RQ is that version).
LEANS_ON_RQ = "3.0.0"
OVERRIDDEN: dict[type, tuple[str, ...]] = {
    Job: ("restore", "perform"),
    SimpleWorker: (
        "_install_signal_handlers",
        "subscribe",
        "unsubscribe",
        "check_for_suspension",
        "heartbeat",
        "execute_job",
        "dequeue_job_and_maintain_ttl",
    ),
}
CALLED: dict[type, tuple[str, ...]] = {
    Job: ("_handle_success", "cleanup", "key_for"),
    Queue: ("enqueue_job", "dequeue_any", "intermediate_queue_key"),
    SimpleWorker: ("get_redis_server_version", "increment_successful_job_count"),
}  # and of a Job its attributes _result and _…_callback_name, of a worker _ordered_queues

TAKE_SECONDS = 60  # for handing an order to the supervisor
KEPT_SECONDS = 86400  # an order in RQ's registries, once it was taken; the uniqueness is our record's
BLOCK_SECONDS = 1  # for an order: so late is a stop noticed
_RQ_MARGIN = 15  # RQ waits so much shorter than its workers' time to live


class StartOrder(Job):
    """An order: `perform` hands its id and its sealed text to `taker`."""

    taker: Callable[[str, object], str]

    def restore(self, raw_data: Any) -> Any:
        """As RQ does, without what names code or addresses."""
        restored = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self.repeats_left = self.retries_left = None
        return restored

    def perform(self) -> str:
        """Take the order. Raises ValueError for what isn't one of this lab's for this machine."""
        return type(self).taker(self.id, self.args[0] if len(self.args) == 1 else "")


def queue_of(connection: Any, machine: str) -> Queue:
    """The queue of a machine's orders."""
    return Queue(machine, connection=connection, job_class=StartOrder, serializer=JSONSerializer)


def order_key(name: str) -> str:
    """The hash of an execution's order; its field "status" is queued, started, finished or failed."""
    return str(StartOrder.key_for(order_id(name)))


def enqueue(queue: Queue, order: Order, pipeline: Any) -> None:
    """Add an order to a pipeline, together with whatever else stands in it."""
    job = queue.create_job(
        FUNCTION,
        args=(order.sealed,),
        job_id=order_id(order.name),
        timeout=TAKE_SECONDS,
        result_ttl=KEPT_SECONDS,
        failure_ttl=7 * KEPT_SECONDS,
        description=f"{order.service} {order.name}"[:200],
    )
    queue.enqueue_job(job, pipeline=pipeline)


class TakesOrders(Protocol):
    """Whom a `Taker` takes orders for."""

    stopping: threading.Event

    @property
    def room(self) -> bool:
        """Whether one more may be taken."""

    def take_order(self, id_: str, sealed: object) -> str:
        """Take an order. Raises ValueError: it is refused."""

    def put_back_orders(self) -> None:
        """Orders that were given to nobody are in the queue again."""

    def pass_over_order(self, id_: str) -> None:
        """Leave out what is no order."""


class Taker(SimpleWorker):
    """RQ's worker, with what lies in Redis unable to name code to it, and signals left to ours."""

    job_class = StartOrder
    death_penalty_class = TimerDeathPenalty

    def __init__(self, connection: Any, machine: str, worker: TakesOrders) -> None:
        super().__init__(
            [queue_of(connection, machine)],
            name=f"{machine}-{os.getpid()}-{os.urandom(3).hex()}",
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=BLOCK_SECONDS + _RQ_MARGIN,
            default_result_ttl=KEPT_SECONDS,
            log_job_description=False,
        )
        StartOrder.taker = staticmethod(worker.take_order)
        self._worker = worker
        self._beat = -math.inf  # when RQ was told last that this one lives (monotonic s)
        self._put_back = -math.inf  # when orders that were given to nobody were last looked for (monotonic s)
        self._suspension_seen = -math.inf  # when `rq suspend` was last looked for (monotonic s)
        self.disturbed = True

    def _install_signal_handlers(self) -> None:
        """Ours stay."""

    def subscribe(self) -> None:
        """RQ's commands (stop-job, shutdown) come unsigned: nobody listens to them."""

    def unsubscribe(self) -> None:
        """There is nothing to end."""

    def check_for_suspension(self, burst: bool) -> None:
        """As `rq suspend` asks, within a second; RQ would ask before each order."""
        if time.monotonic() - self._suspension_seen >= BLOCK_SECONDS:
            super().check_for_suspension(burst)
            self._suspension_seen = time.monotonic()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """In one round trip, once a second; RQ would after each order."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif time.monotonic() - self._beat >= BLOCK_SECONDS:
            with self.connection.pipeline(transaction=False) as batch:
                super().heartbeat(timeout, batch)
                batch.execute()
            self._beat = time.monotonic()

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
        with self.connection.pipeline() as transaction:
            transaction.lrem(queue.intermediate_queue_key, 1, job.id)  # RQ's own has no pipeline
            job.worker_name = self.name
            job._handle_success(KEPT_SECONDS, transaction, self.name)
            job.cleanup(KEPT_SECONDS, transaction, remove_from_queue=False)
            self.increment_successful_job_count(transaction)
            transaction.execute()

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """The next order, once there is room for it; None to end."""
        burst = timeout is None
        while not self._worker.stopping.is_set():
            if time.monotonic() - self._put_back >= BLOCK_SECONDS:
                self.heartbeat()
                self._worker.put_back_orders()  # a connection may break before it tells which order it was given
                self._put_back = time.monotonic()
            if not self._worker.room:
                self._worker.stopping.wait(0.1)  # as in Worker._drain
                continue
            try:
                dequeued = self.queue_class.dequeue_any(
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
            if dequeued is not None:
                dequeued[0].redis_server_version = self.get_redis_server_version()  # type: ignore[no-untyped-call]
                return dequeued
            if burst:
                self.disturbed = False
                return None
        return None

    def _pass_over(self, error: Exception) -> None:
        """Leave out what is no order, so that those behind it are taken. Raises the error if it is Redis that fails."""
        id_ = getattr(error, "job_id", None)
        if id_ is None or (isinstance(error, FAULTS) and not str(error).startswith("WRONGTYPE")):
            raise error
        log.error("what the queue has as %.80r is no order, and was left out: %s", id_, type(error).__name__)
        self._worker.pass_over_order(id_)
