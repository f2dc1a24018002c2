"""Calls: what a face asks of a machine, and the machine's answer. Signed and numbered: nobody else can ask, or again.

A call that isn't taken in time is taken back, and is not done later, so that what its caller was told stays true;
only a wish to stop stays.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

import redis

from .lab_redis import LabRedis
from .used import Used

log = logging.getLogger(__name__)
GRACE = 1.0  # s after a call's time in which it may just have been taken
UNDER_WAY = 3.0  # s that are waited for the answer to one that was taken: it is being done
KEPT_SECONDS = 60  # an answer that nobody fetches
BOX_MAX = 10_000  # calls that may wait for one machine


def ask(
    store: LabRedis, machine: str, call: dict[str, Any], wait: float, keep: bool = False, raw: bool = False
) -> dict[str, Any] | None:
    """The machine's answer; None if it has none in `wait` seconds.

    Args:
        keep: leave the call there for when the machine is back.
        raw: bytes come behind the answer, as its item "bytes".

    Raises:
        redis.RedisError.
    """
    box, reply = store.key("errands", machine), store.key("reply", secrets.token_hex(16))
    at = store.now()
    numbered = call | {"reply": reply, "number": secrets.token_hex(16), "at": at}
    if not keep:
        numbered["until"] = at + wait + GRACE
    sealed = store.seal(f"errand {machine}", numbered)
    store.redis.rpush(box, sealed)
    store.redis.ltrim(box, -BOX_MAX, -1)
    got = _answer(store, reply, wait)
    if got is None and not keep and not store.redis.lrem(box, 1, sealed):
        got = _answer(store, reply, UNDER_WAY)  # it has just been taken
    if got is None:
        return None
    said = dict(json.loads(got))
    if raw and said.get("bytes"):
        said["bytes"] = _answer(store, reply, 2.0)
    return said


def _answer(store: LabRedis, reply: str, wait: float) -> bytes | None:
    """One item of a reply. A blocking wait is no longer than Redis' own time-out of a connection allows."""
    while True:
        part = min(wait, 1.0)
        try:
            got = store.redis.blpop([reply], timeout=max(part, 0.01))
        except redis.TimeoutError:
            got = None
        if got is not None:
            return bytes(got[1])
        wait -= part
        if wait <= 0:
            return None


def answer(store: LabRedis, reply: str, said: dict[str, Any], content: bytes | None = None) -> None:
    """A machine's answer, and the bytes behind it. Raises redis.RedisError."""
    items: list[bytes] = [json.dumps(said | ({"bytes": True} if content is not None else {})).encode()]
    if content is not None:
        items.append(content)
    with store.redis.pipeline() as tell:
        tell.rpush(reply, *items)
        tell.expire(reply, KEPT_SECONDS)
        tell.execute()


def take(store: LabRedis, wait: float, used: Used) -> dict[str, Any] | None:
    """The next call for this machine; None if none came in `wait` s, or it is not to be done.

    Args:
        used: notes which were taken: none is done twice.

    Raises:
        redis.RedisError; OSError: it can't be noted that it was taken, so it isn't done.
    """
    got = store.redis.blpop([store.key("errands", store.machine)], timeout=wait)
    if got is None:
        return None
    call = store.unseal(f"errand {store.machine}", got[1])
    if call is None:
        log.warning("a call of %d bytes was not signed by this lab for this machine: it is refused", len(got[1]))
        return None
    until = call.get("until")
    if until is not None and store.now() > until:
        log.warning("a call (%.20s) comes after its time: it is refused", call.get("do"))
        return None
    if not used.first(call):
        log.warning("a call (%.20s) was taken before, or has no number: it is refused", call.get("do"))
        return None
    return call
