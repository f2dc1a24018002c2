"""Errands: what a face asks of a machine, and the machine's answer. Signed, so that nobody else can ask.

An errand that isn't taken in time is taken back, so that what its caller was told stays true; only a wish to stop
stays.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

import redis

from .store import Store

log = logging.getLogger(__name__)
KEPT_SECONDS = 60  # an answer that nobody fetches
BOX_MAX = 10_000  # errands that may wait for one machine


def ask(
    store: Store, machine: str, errand: dict[str, Any], wait: float, keep: bool = False, raw: bool = False
) -> dict[str, Any] | None:
    """The machine's answer; None if it has none in `wait` seconds.

    Args:
        keep: leave the errand there for when the machine is back.
        raw: bytes come behind the answer, as its item "bytes".

    Raises:
        redis.RedisError.
    """
    box, reply = store.key("errands", machine), store.key("reply", secrets.token_hex(16))
    sealed = store.seal(f"errand {machine}", errand | {"reply": reply})
    store.redis.rpush(box, sealed)
    store.redis.ltrim(box, -BOX_MAX, -1)
    got = _answer(store, reply, wait)
    if got is None and not keep and not store.redis.lrem(box, 1, sealed):
        got = _answer(store, reply, 1.0)  # it has just been taken
    if got is None:
        return None
    said = dict(json.loads(got))
    if raw and said.get("bytes"):
        said["bytes"] = _answer(store, reply, 2.0)
    return said


def _answer(store: Store, reply: str, wait: float) -> bytes | None:
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


def answer(store: Store, reply: str, said: dict[str, Any], content: bytes | None = None) -> None:
    """A machine's answer, and the bytes behind it. Raises redis.RedisError."""
    items: list[bytes] = [json.dumps(said | ({"bytes": True} if content is not None else {})).encode()]
    if content is not None:
        items.append(content)
    with store.redis.pipeline() as tell:
        tell.rpush(reply, *items)
        tell.expire(reply, KEPT_SECONDS)
        tell.execute()


def take(store: Store, wait: float) -> dict[str, Any] | None:
    """The next errand for this machine; None if none came in `wait` s, or it was not signed by this lab."""
    got = store.redis.blpop([store.key("errands", store.machine)], timeout=wait)
    if got is None:
        return None
    errand = store.unseal(f"errand {store.machine}", got[1])
    if errand is None:
        log.warning("an errand of %d bytes was not signed by this lab for this machine: it is refused", len(got[1]))
    return errand
