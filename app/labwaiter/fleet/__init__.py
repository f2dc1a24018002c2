"""Many machines: faces anywhere, instruments where they are, Redis and RQ between them.

The hardware's machine holds the truth, in its jobs folder. Redis carries orders to it and shows what is in it.

    fleet_store.py  what faces and machines leave for each other, as values; the store that has them
    lab_redis.py    that store: here alone Redis is spoken to; address.py: where it is; redis_faults.py: why it refuses
    breaker.py      that store as a face has it: one that hangs isn't waited for again and again
    in_memory.py    its twin, for tests
    signing.py      what is signed, and how
    order.py        a start on its way; rq_orders.py: as an RQ job, and RQ's worker that takes it
    calls.py        what a face asks of a machine, and its answer; rpc.py: their way there and back
    route.py        which machine gets an execution

    redis_store.py  a face's side: the verbs' records; look.py: what one look says
    cache.py        a face's side: what it last knew, for when Redis is away
    batcher.py      a face's side: what many threads ask at a time, in one go
    poll_marks.py   a face's side: tells machines who was asked for
    files.py        a face's side: files of executions of other machines
    worker.py       the machine's side: takes orders, hands them to the supervisor; drains
    publisher.py    the machine's side: the jobs folder, shown in Redis; heartbeat.py: that it lives
    rpc_server.py   the machine's side: abort, message, remove, read a file; used_calls.py: each once
    machines.py     an operator's side: how the machines are, what waits for them, withdrawing orders
    doctor.py       an operator's side: whether Redis is as this lab needs it

Nothing of this is imported where REDIS_URL is empty, but by the schedule.
"""

from __future__ import annotations

import os

from ..errors import Misconfigured
from ..settings import Settings
from ..verbs import Jobs


def open_jobs(settings: Settings) -> Jobs:
    """The verbs of this deployment: over this machine alone, or over all of its lab.

    Raises:
        Misconfigured: this process serves another lab already.
    """
    if not settings.redis_url:
        return Jobs(settings)
    name_keys(settings)
    from .redis_store import RedisStore

    return Jobs(settings, RedisStore(settings))


def name_keys(settings: Settings) -> None:
    """Have RQ's keys begin with this lab's prefix: RQ asks the environment once, when it is first imported.

    Raises:
        Misconfigured: it was imported for another lab.
    """
    prefix = f"{settings.redis_prefix}:rq"
    os.environ["RQ_KEY_PREFIX"] = prefix
    from rq.defaults import RQ_KEY_PREFIX

    if prefix != RQ_KEY_PREFIX:
        raise Misconfigured("One process serves one lab: REDIS_PREFIX can't change in it.")


__all__ = ["name_keys", "open_jobs"]
