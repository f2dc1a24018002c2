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
    rpc_server.py   the machine's side: abort, message, remove, read a file, operate; used_calls.py: each once
    operations.py   what is done to instruments by such calls; as_json.py: its values on the way
    instruments_told.py  how a machine's instruments stand, as it tells that
    instruments.py  a face's side: the verbs over the instruments of all machines
    session_operations.py  what is done to sessions of remote labs by such calls
    sessions.py     a face's side: the verbs over remote labs and sessions, wherever their instruments are
    monitoring.py   a face's side: likewise over what monitored instruments said
    machines.py     an operator's side: how the machines are, what waits for them, withdrawing orders
    doctor.py       an operator's side: whether Redis is as this lab needs it

Nothing of this is imported where REDIS_URL is empty, but by the schedule.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import Misconfigured
from ..settings import Settings
from ..verbs import Jobs
from ..verbs.control import DirectControl
from ..verbs.instruments import Instruments
from ..verbs.monitoring import Monitoring
from ..verbs.sessions import Sessions

if TYPE_CHECKING:
    from .fleet_store import FleetStore


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


def open_instruments(settings: Settings, jobs: Jobs | None = None) -> Instruments:
    """The verbs over the instruments: of this machine alone, or of all of its lab.

    Args:
        jobs: of the same process, if it has them: one Redis is enough.

    Raises:
        Misconfigured: as `open_jobs`.
    """
    if not settings.redis_url:
        return Instruments(settings)
    from .instruments import FleetInstruments

    return FleetInstruments(settings, _store(settings, jobs))


def open_direct_control(settings: Settings, jobs: Jobs | None = None) -> DirectControl:
    """Likewise, over who has one in hand."""
    if not settings.redis_url:
        return DirectControl(settings)
    from .instruments import FleetControl

    return FleetControl(settings, _store(settings, jobs))


def open_sessions(settings: Settings, jobs: Jobs | None = None) -> Sessions:
    """Likewise, over remote labs and their sessions."""
    if not settings.redis_url:
        return Sessions(settings)
    from .sessions import FleetSessions

    return FleetSessions(settings, _store(settings, jobs))


def open_monitoring(settings: Settings, jobs: Jobs | None = None) -> Monitoring:
    """Likewise, over what monitored instruments said; events are of this machine alone."""
    if not settings.redis_url:
        return Monitoring(settings)
    from .monitoring import FleetMonitoring

    return FleetMonitoring(settings, _store(settings, jobs))


def _store(settings: Settings, jobs: Jobs | None) -> FleetStore:
    from .redis_store import RedisStore

    records = (jobs or open_jobs(settings)).records
    assert isinstance(records, RedisStore)
    return records.store


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


__all__ = [
    "name_keys",
    "open_direct_control",
    "open_instruments",
    "open_jobs",
    "open_monitoring",
    "open_sessions",
]
