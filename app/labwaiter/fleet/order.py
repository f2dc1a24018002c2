"""A start as an RQ job on its machine's queue.

RQ is given texts alone: JSON, signed. What it would import by a name that lies in Redis (functions, callbacks,
webhooks) it never gets: an `Order` does one thing only, whatever its hash says.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from ..model.record import Request
from ..store import codec
from ..store.names import folder_name
from .lab_redis import LabRedis

FUNCTION = "labwaiter.fleet.order.carry_out"
TAKE_SECONDS = 60  # for handing an order to the supervisor
KEPT_SECONDS = 86400  # an order in RQ's registries, once it was taken; the uniqueness is our record's


def carry_out(sealed: str) -> None:
    """What an order's hash names. RQ's own worker would import it: it has nothing to give the order to."""
    raise RuntimeError("Orders of labwaiter are taken by `labwaiter worker`, not by RQ's own workers.")


def id_of(name: str) -> str:
    """The RQ job's id: RQ knows letters, digits, _ and - only."""
    return hashlib.sha256(name.encode()).hexdigest()


def status_of(name: str) -> tuple[str, str]:
    """The key and the field of what RQ says of an order: queued, started, finished or failed."""
    return StartOrder.key_for(id_of(name)), "status"


class StartOrder(Job):
    """An order: `perform` hands its request to `taker`, once its signature was seen to be right."""

    taker: Callable[[str, Request, dict[str, str]], str]
    store: LabRedis

    def restore(self, raw_data: Any) -> Any:
        """As RQ does, without what names code or addresses."""
        found = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self.repeats_left = self.retries_left = None
        return found

    def perform(self) -> str:
        """Take the order. Raises ValueError for what isn't one of this lab's for this machine."""
        sealed = self.args[0] if len(self.args) == 1 else ""
        said = self.store.unseal("order", sealed) if isinstance(sealed, str) else None
        if said is None or said.get("machine") != self.store.machine:
            raise ValueError("This order was not signed by this lab for this machine: it is refused.")
        request = codec.request_of(said["request"])
        name = folder_name(request.service_id)
        if id_of(name) != self.id:
            raise ValueError("This order's id is not its execution's: it is refused.")
        return type(self).taker(name, request, said["files"])


def queue_of(store: LabRedis, machine: str) -> Queue:
    """The machine's queue."""
    return Queue(machine, connection=store.redis, job_class=StartOrder, serializer=JSONSerializer)


def enqueue(
    store: LabRedis, queue: Queue, machine: str, name: str, request: Request, files: dict[str, str], pipeline: Any
) -> None:
    """Add the order to a pipeline, together with whatever else stands in it.

    Args:
        files: the files that it is given, as `FleetFiles.handed_over` says them.
    """
    said = {"machine": machine, "request": dataclasses.asdict(request), "files": files}
    order = queue.create_job(
        FUNCTION,
        args=(store.seal("order", said),),
        job_id=id_of(name),
        timeout=TAKE_SECONDS,
        result_ttl=KEPT_SECONDS,
        failure_ttl=7 * KEPT_SECONDS,
        description=f"{request.service} {name}"[:200],
    )
    queue.enqueue_job(order, pipeline=pipeline)
