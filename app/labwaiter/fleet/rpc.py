"""Calls on their way to a machine and back. Signed and numbered: nobody else can ask, or again.

A call that isn't taken in time is taken back, and is not done later, so that what its caller was told stays true;
only a wish to stop stays.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

from .calls import A, Answer, FilePiece, MachineCall, NumberedCall, Refusal
from .fleet_store import FleetStore
from .used_calls import UsedCalls

log = logging.getLogger(__name__)
GRACE = 1.0  # s after a call's time in which it may just have been taken
UNDER_WAY = 3.0  # s that are waited for the answer to one that was taken: it is being done
CONTENT_WAIT = 2.0  # s for what comes behind an answer


def _purpose(machine: str) -> str:
    return f"errand {machine}"


def ask(store: FleetStore, machine: str, call: MachineCall[A], wait: float, keep: bool = False) -> A | None:
    """A machine's answer; None if it has none in `wait` seconds.

    Args:
        keep: leave the call there for when the machine is back.

    Raises:
        ServiceError: the machine's own, where it refuses.
        redis.RedisError.
    """
    reply_box, at = store.reply_box(), store.now()
    until = None if keep else at + wait + GRACE
    sealed = store.seals.seal(
        _purpose(machine), NumberedCall(call.DO, call, secrets.token_hex(16), at, until, reply_box).text
    )
    store.post_call(machine, sealed)
    text = store.next_part(reply_box, wait)
    if text is None and not keep and not store.take_back_call(machine, sealed):
        text = store.next_part(reply_box, UNDER_WAY)  # it has just been taken
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    if "refused" in fields:
        raise Refusal.read(fields).error
    return call.answer(fields, store.next_part(reply_box, CONTENT_WAIT) if fields.get("bytes") else None)


def send_answer(store: FleetStore, reply_box: str, answer: Answer | Refusal) -> None:
    """Send a machine's answer. Raises redis.RedisError."""
    parts = [json.dumps(answer.fields).encode()]
    if isinstance(answer, FilePiece) and answer.content is not None:
        parts.append(answer.content)
    store.post_answer(reply_box, parts)


def take(store: FleetStore, wait: float, used: UsedCalls) -> NumberedCall | None:
    """The next call for this machine; None if none came in `wait` s, or it is not to be done.

    Args:
        used: notes which were taken: none is done twice.

    Raises:
        redis.RedisError; OSError: it can't be noted that it was taken, so it isn't done.
    """
    sealed = store.next_call(store.machine, wait)
    if sealed is None:
        return None
    fields = store.seals.unseal(_purpose(store.machine), sealed)
    if fields is None:
        log.warning("a call of %d bytes was not signed by this lab for this machine: it is refused", len(sealed))
        return None
    call = NumberedCall.read(fields)
    if call.until is not None and store.now() > call.until:
        log.warning("a call (%.20s) comes after its time: it is refused", call.do)
        return None
    if not used.first(call.number, call.at, call.do):
        log.warning("a call (%.20s) was taken before, or has no number: it is refused", call.do)
        return None
    return call
