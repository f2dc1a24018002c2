"""Calls on their way to a machine and back. Signed and numbered: nobody else can ask, or again.

A call that isn't taken in time is taken back, and is not done later, so that what its caller was told stays true;
only a wish to stop stays.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from typing import Any

from ..errors import Unavailable
from .calls import A, Answer, FilePiece, MachineCall, NumberedCall, Refusal
from .fleet_store import FleetStore
from .used_calls import UsedCalls

log = logging.getLogger(__name__)
GRACE = 1.0  # s after a call's time in which it may just have been taken
UNDER_WAY = 3.0  # s that are waited for the answer to one that was taken: it is being done
CONTENT_WAIT = 2.0  # s for what comes behind an answer


def _purpose(machine: str) -> str:
    return f"errand {machine}"


def _answer_purpose(number: str) -> str:
    return f"answer {number}"


def ask(
    store: FleetStore,
    machine: str,
    call: MachineCall[A],
    wait: float,
    stays: float = 0.0,
    at_once: bool = False,
) -> A | None:
    """A machine's answer; None if it has none in `wait` seconds.

    Args:
        stays: leave the call there, for so many seconds, for when the machine is back; math.inf: for ever. Else what
            is not answered was not done.
        at_once: it waits behind nothing but calls of that kind: a STOP.

    Raises:
        ServiceError: the machine's own, where it refuses.
        Unavailable: it has taken the call and not answered it yet; or what answers is not the machine.
        redis.RedisError.
    """
    reply_box, at, number = store.reply_box(), store.now(), secrets.token_hex(16)
    until = at + (stays or wait + GRACE)
    sealed = store.seals.seal(
        _purpose(machine),
        NumberedCall(call.DO, call, number, at, None if until == math.inf else until, reply_box).text,
    )
    store.post_call(machine, sealed, at_once)
    text = store.next_part(reply_box, wait)
    if text is None and not stays and not store.take_back_call(machine, sealed):
        text = store.next_part(reply_box, UNDER_WAY)  # it has just been taken
        if text is None:
            raise Unavailable(f"The machine {machine} is at it, and has not answered yet: look before you ask again.")
    if text is None:
        return None
    fields: dict[str, Any] | None = (
        store.seals.unseal(_answer_purpose(number), text) if call.SIGNED else json.loads(text)
    )
    if fields is None:
        log.warning("an answer of %d bytes in the name of %s was not signed: it is not believed", len(text), machine)
        raise Unavailable(
            f"What came in the name of the machine {machine} was not signed by it, so nobody knows whether it was done:"
            " look there. Its release may be an older one."
        )
    if "refused" in fields:
        raise Refusal.read(fields).error
    return call.answer(fields, store.next_part(reply_box, CONTENT_WAIT) if fields.get("bytes") else None)


def send_answer(store: FleetStore, reply_box: str, answer: Answer | Refusal, signed_for: str | None = None) -> None:
    """Send a machine's answer; `signed_for`: the number of the call, where that is signed. Raises redis.RedisError."""
    text = json.dumps(answer.fields)
    parts = [(store.seals.seal(_answer_purpose(signed_for), text) if signed_for else text).encode()]
    if isinstance(answer, FilePiece) and answer.content is not None:
        parts.append(answer.content)
    store.post_answer(reply_box, parts)


def take(store: FleetStore, wait: float, used: UsedCalls, at_once: bool = False) -> NumberedCall | None:
    """The next call for this machine; None if none came in `wait` s, or it is not to be done.

    Args:
        used: notes which were taken: none is done twice.
        at_once: the next one of those.

    Raises:
        redis.RedisError; OSError: it can't be noted that it was taken, so it isn't done.
    """
    sealed = store.next_call(store.machine, wait, at_once)
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
    if not used.first(call.number, call.at, call.call is not None and call.call.only_looks):
        log.warning("a call (%.20s) was taken before, or has no number: it is refused", call.do)
        return None
    return call
