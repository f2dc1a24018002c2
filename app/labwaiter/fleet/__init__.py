"""Many machines: faces anywhere, instruments where they are, Redis and RQ between them.

The hardware's machine holds the truth, in its jobs folder. Redis carries orders to it and shows what is in it.

    address.py         where Redis is: one server, or what sentinels say
    lab_redis.py       what lies in Redis under which key; what is signed, and how
    trouble.py         why Redis doesn't do what it is asked
    route.py           which machine gets an execution
    redis_store.py     a face's side: the verbs' records, over Redis
    untaken_orders.py  a face's side: ends of orders that no machine has taken
    look.py            a face's side: one look; cache.py: what it last knew, for when Redis is away
    rpc.py             what a face asks of a machine, and its answer
    files.py           a face's side: files of executions of other machines
    order.py           a start as an RQ job
    worker.py          the machine's side: takes orders, hands them to the supervisor; drains
    publisher.py       the machine's side: the jobs folder, shown in Redis; heartbeat.py: that it lives
    rpc_server.py      the machine's side: abort, message, remove, read a file
    machines.py        an operator's side: how the machines are, what lies in Redis, withdrawing orders
    doctor.py          an operator's side: whether Redis is as this lab needs it

Nothing of this is imported where REDIS_URL is empty.
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
