"""The ends of orders that no machine has taken: withdrawn by a caller or an operator, and removed."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from ..model.record import Record, Request, State, View, derive
from ..store import codec
from . import order
from .lab_redis import LabRedis

WITHDRAWN = "The execution was aborted before it began."
# an order and its record end together: a face that dies in between would leave a record that nobody settles
WITHDRAW = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 and ARGV[4] == '' then return 0 end
redis.call('HSET', KEYS[2], 'view', ARGV[2], 'settled', 1)
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('SREM', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('PUBLISH', KEYS[5], '1')
return 1
"""


class UntakenOrders:
    """What lies in Redis alone."""

    def __init__(self, store: LabRedis, keep_seconds: float) -> None:
        """
        Args:
            keep_seconds: how long the record of a withdrawn one is kept: no machine's retention knows of it.
        """
        self.store, self._keep = store, max(60, int(keep_seconds))
        self._withdraw = store.redis.register_script(WITHDRAW)

    def withdraw(self, name: str, request: Request, machine: str, why: str, taken: bool) -> View | None:
        """Take an order back: how it has ended; None where its machine was faster. Raises redis.RedisError.

        Args:
            taken: its machine took it from the queue and refused it.
        """
        view, order_id = withdrawn(name, request, time.time(), why), order.id_of(name)
        keys = [
            order.queue_of(self.store, machine).key,
            self.store.key("job", name),
            self.store.key("active", machine),
            order.StartOrder.key_for(order_id),
            self.store.key("ended", name),
        ]
        words = [order_id, codec.dump(view), name, "taken" if taken else "", self._keep]
        return view if self._withdraw(keys=keys, args=words) else None

    def bury(self, record: Record) -> bool:
        """Leave a tombstone of one that has ended; False where it hasn't. Raises redis.RedisError."""
        key = self.store.key("job", record.name)
        if not self.store.redis.hexists(key, "settled"):
            return False
        with self.store.redis.pipeline() as bury:
            bury.delete(key)
            bury.hset(key, "tombstone", json.dumps({"service": record.request.service, "removed": time.time()}))
            bury.zrem(self.store.key("jobs"), record.name)
            bury.execute()
        return True


def withdrawn(name: str, request: Request, ended: float, why: str = WITHDRAWN) -> View:
    """The view of an order that no machine will take any more (`ended`: Unix time, s)."""
    record = derive(name, request, None, None)
    return View(record=replace(record, state=State.ABORTED, why=why, ended=ended), now=ended)
