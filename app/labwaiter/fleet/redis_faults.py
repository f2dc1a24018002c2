"""Why Redis doesn't do what it is asked: each reason by its own name, for a caller and for who can mend it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

import redis
from redis.sentinel import MasterNotFoundError

from ..errors import Unavailable

FAULTS = (redis.RedisError, OSError)  # what any call of Redis may raise


@dataclass(frozen=True)
class RedisFault:
    """One reason."""

    what: str  # its name
    why: str  # for a caller: what the Redis of this lab does or can't
    mend: str  # for its administrator: a sentence, with what to do


FULL = RedisFault("memory", "is full", "This Redis is full: raise maxmemory; starts are refused until then.")
UNSAVED = RedisFault(
    "saving",
    "can't save its data",
    "Redis can't save its data, so it takes nothing (MISCONF): see whether its disk is full or read-only; its log says"
    " more.",
)
REPLICA = RedisFault(
    "replica",
    "has become a read-only replica",
    "This Redis is a read-only replica (READONLY): name its master in REDIS_URL, or where it fails over by itself, the"
    " sentinels (redis+sentinel://…).",
)
CUT_REPLICA = RedisFault(
    "replica",
    "is a replica that has lost its master",
    "This Redis is a replica that has lost its master (MASTERDOWN): start the master, or name it in REDIS_URL.",
)
ALONE = RedisFault(
    "replicas",
    "has no replica that follows it",
    "Fewer replicas follow this Redis than its min-replicas-to-write asks for (NOREPLICAS): start them.",
)
LOADING = RedisFault(
    "loading",
    "is still loading its data",
    "Redis is still loading its data from disk (LOADING): it answers once it has; wait.",
)
NO_CLIENT_LEFT = RedisFault(
    "clients",
    "has no client left for this machine",
    "Redis has as many clients as it may: raise maxclients, or see by CLIENT LIST who holds them.",
)
ALL_IN_USE = RedisFault(
    "connections",
    "is asked by too many at this machine",
    "All of this process's connections to Redis are in use: it has too many calls that wait; try again in a moment.",
)
REFUSED = RedisFault("user", "refuses this machine", "Redis refuses this user or its password: look at REDIS_URL.")
SENTINEL_REFUSED = RedisFault(
    "sentinels",
    "has a sentinel that refuses this machine",
    "A sentinel that REDIS_URL names wants a password, or is none but a Redis: sentinels are asked without one (no"
    " requirepass in sentinel.conf), and the user and password of REDIS_URL are Redis' own.",
)
NO_RIGHT = RedisFault(
    "rights",
    "refuses this machine",
    "Redis refuses this user a command or a key: give it the rights that docs/machines.md lists.",
)
UNTRUSTED = RedisFault(
    "certificate",
    "can't be reached",
    "Redis' certificate is not trusted here: name its CA, REDIS_URL=rediss://…?ssl_ca_certs=FILE.",
)
NO_MASTER = RedisFault(
    "master",
    "has no master now",
    "No sentinel that REDIS_URL names tells of a master of that name: is it the one of their `sentinel monitor`, and"
    " does that master live?",
)
NO_ADDRESS = RedisFault(
    "name",
    "can't be reached",
    "Redis can't be reached: the name in REDIS_URL has no address here: look at its spelling and at /etc/hosts.",
)
SILENT = RedisFault(
    "answer",
    "can't be reached",
    "Redis can't be reached: it does not answer in time. Does it hang, or is the way to it cut?",
)


class SentinelRefuses(redis.AuthenticationError):
    """What was asked for the master wants a password."""


class Hangs(redis.TimeoutError):
    """Redis isn't asked, since it has just been asked in vain."""


_CODES = {
    "OOM": FULL,
    "MISCONF": UNSAVED,
    "READONLY": REPLICA,
    "MASTERDOWN": CUT_REPLICA,
    "NOREPLICAS": ALONE,
    "LOADING": LOADING,
    "NOPERM": NO_RIGHT,
    "NOAUTH": REFUSED,
    "WRONGPASS": REFUSED,
}
_KINDS = (  # redis-py leaves out the code of those that it knows
    (SentinelRefuses, SENTINEL_REFUSED),
    (redis.exceptions.OutOfMemoryError, FULL),
    (redis.ReadOnlyError, REPLICA),
    (redis.exceptions.MasterDownError, CUT_REPLICA),
    (redis.BusyLoadingError, LOADING),
    (redis.exceptions.NoPermissionError, NO_RIGHT),
    (redis.AuthenticationError, REFUSED),
    (redis.exceptions.AuthenticationWrongNumberOfArgsError, REFUSED),
    (MasterNotFoundError, NO_MASTER),
)
_WORDS = (
    ("max number of clients", NO_CLIENT_LEFT),
    ("previous master is now a slave", REPLICA),
    ("No connection available", ALL_IN_USE),
    ("certificate", UNTRUSTED),
)


def of(error: BaseException) -> RedisFault:
    """The reason behind what redis-py raised."""
    for kind, fault in _KINDS:
        if isinstance(error, kind):
            return fault
    text = str(error).rpartition("of pipeline caused error: ")[2]  # what stands before may be anybody's words
    if isinstance(error, redis.ResponseError):
        code = re.match(r"(?:ERR Error (?:running|compiling) script.*? -)?([A-Z]+)\b", text, re.S)
        if code and code[1] in _CODES:
            return _CODES[code[1]]
        mend = f"Redis refuses what it is asked: {text[:200]}"
        if text.startswith("unknown command"):
            mend = (
                "What answers where REDIS_URL says doesn't know all of Redis' commands: is it a sentinel (then write"
                " redis+sentinel://…), or no Redis?"
            )
        return RedisFault("answer", "refuses this", mend)
    for words, fault in _WORDS:
        if words.lower() in text.lower():
            return fault
    if isinstance(error.__context__, socket.gaierror):
        return NO_ADDRESS
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return SILENT
    mend = (
        f"Redis can't be reached ({type(error).__name__}): does it run, and is REDIS_URL right (redis:// without TLS,"
        " rediss:// with it)?"
    )
    return RedisFault("answer", "can't be reached", mend)


def hangs(error: BaseException) -> bool:
    """Whether Redis took a call, and did not answer it in time."""
    return isinstance(error, redis.TimeoutError)


def refusal(attempt: Callable[[], object]) -> Exception | None:
    """None where Redis does it, else why it refuses."""
    try:
        attempt()
        return None
    except redis.ResponseError as error:
        return error


def away(error: BaseException) -> Unavailable:
    """The sentence for a caller whom Redis keeps from being served."""
    why = f"the Redis between the machines of this lab {of(error).why}"
    return Unavailable(f"This can't be done now: {why}; try again later, or tell the administrator.")
