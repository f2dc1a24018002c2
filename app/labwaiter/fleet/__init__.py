"""Many machines: faces anywhere, instruments where they are, Redis and RQ between them.

The hardware's machine holds the truth, in its jobs folder. Redis carries orders to it and a mirror of it.

    store.py     what lies in Redis under which key; what is signed, and how
    route.py     which machine gets an execution
    there.py     a face's side: the verbs' records, over Redis
    untaken.py   a face's side: ends of orders that no machine has taken
    look.py      a face's side: one look; ledger.py: what it last knew, for when Redis is away
    post.py      what a face asks of a machine, and its answer
    files.py     a face's side: files of executions of other machines
    order.py     a start as an RQ job
    worker.py    the machine's side: takes orders, hands them to the supervisor; drains
    mirror.py    the machine's side: the jobs folder, shown in Redis; pulse.py: that it lives
    errands.py   the machine's side: abort, message, remove, read a file
    machines.py  an operator's side: how the machines are, what lies in Redis, withdrawing orders
    checkup.py   an operator's side: whether Redis is as this lab needs it
    schedule.py  schedule.toml: executions that start at their times; scheduler.py starts them

Nothing of this is imported where REDIS_URL is empty, but for the schedule.
"""

from __future__ import annotations

import os

from ..errors import Misconfigured
from ..jobs import Jobs
from ..settings import Settings


def open_jobs(settings: Settings) -> Jobs:
    """The verbs of this deployment: over this machine alone, or over all of its lab.

    Raises:
        Misconfigured: this process serves another lab already.
    """
    if not settings.redis_url:
        return Jobs(settings)
    name_keys(settings)
    from .there import There

    return Jobs(settings, There(settings))


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
