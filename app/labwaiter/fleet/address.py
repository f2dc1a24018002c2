"""Where Redis is, as REDIS_URL says: one server, or the sentinels that know which of several is the master now."""

from __future__ import annotations

import contextlib
import re
from typing import Any
from urllib.parse import unquote

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from ..errors import Misconfigured
from .redis_faults import SentinelRefuses

ESCAPES = "and in a password / # ? @ : % are written %2F %23 %3F %40 %3A %25."
WRONG_URL = f"REDIS_URL is not right: it is redis://user:password@host:6379/0, or rediss://… with TLS, {ESCAPES}"
WRONG_SENTINELS = (
    "REDIS_URL is not right: with sentinels it is redis+sentinel://user:password@host1:26379,host2:26379/NAME/0, where"
    f" NAME is the master's (sentinel monitor NAME …), or rediss+sentinel://… with TLS, {ESCAPES}"
)
SENTINEL_PORT = "26379"
SENTINEL_SECONDS = 0.5  # for an answer of one: the next one is asked then
_SENTINELS = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<user>[^:/?#]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<hosts>[^/?#@]+)/(?P<name>[^/?#]+)(?:/(?P<db>\d*))?(?:\?(?P<options>[^#]*))?"
)
_HOST = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>\d{1,5}))?")


def pool_of(url: str, **kwargs: Any) -> redis.BlockingConnectionPool:
    """Connections to the Redis that a URL names, made when they are needed.

    Args:
        kwargs: of the pool and its connections.

    Raises:
        Misconfigured: it is no such URL; the sentence has nothing of it.
    """
    sentinels = "+sentinel:" in url.partition("/")[0]
    try:
        # who finds all connections taken waits for one: an abort holds one for up to 8 s
        pool = _by_sentinels(url, kwargs) if sentinels else redis.BlockingConnectionPool.from_url(url, **kwargs)
        pool.connection_class(**pool.connection_kwargs)  # only this looks at the URL's options
    except (ValueError, TypeError, redis.RedisError):
        # what was wrong may be a piece of the password
        raise Misconfigured(WRONG_SENTINELS if sentinels else WRONG_URL) from None
    return pool


def _by_sentinels(url: str, kwargs: dict[str, Any]) -> MasterPool:
    parts = _SENTINELS.fullmatch(url)
    hosts = [_HOST.fullmatch(host.strip()) for host in parts["hosts"].split(",")] if parts else []
    if parts is None or any(host is None or int(host["port"] or 1) not in range(1, 65536) for host in hosts):
        raise ValueError
    options: dict[str, Any] = parse_url(  # type: ignore[no-untyped-call]
        f"{parts['scheme']}://host/{parts['db'] or 0}?{parts['options'] or ''}"
    )
    options.pop("host"), options.pop("connection_class", None)
    secure = {"ssl": True} if parts["scheme"] == "rediss" else {}
    for group, option in (("user", "username"), ("password", "password")):
        if parts[group]:
            options[option] = unquote(parts[group])
    to_sentinels = {name: value for name, value in options.items() if name.startswith("ssl_")} | secure
    sentinel = Sentinels(  # type: ignore[no-untyped-call]
        [(host["host"].strip("[]"), int(host["port"] or SENTINEL_PORT)) for host in hosts if host],
        sentinel_kwargs={
            "socket_timeout": SENTINEL_SECONDS,
            "socket_connect_timeout": SENTINEL_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            **to_sentinels,
        },
    )
    options |= kwargs | {"connection_class": MasterTLSConnection if secure else MasterConnection}
    return MasterPool(unquote(parts["name"]), sentinel, **options)  # type: ignore[no-untyped-call]


class Sentinels(Sentinel):
    """Those that know the master. redis-py loses why none tells: one that can't be reached is mended otherwise."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the master is. Raises redis.RedisError: why the first doesn't tell; MasterNotFoundError: none knows."""
        first_error: redis.RedisError | None = None
        answered = False
        for number, sentinel in enumerate(self.sentinels):
            try:
                masters: Any = sentinel.sentinel_masters()
            except redis.AuthenticationError as error:
                first_error = first_error or SentinelRefuses(str(error))
                continue
            except redis.RedisError as error:
                first_error = first_error or error
                continue
            answered, state = True, masters.get(service_name)
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                # it is asked first from now on
                self.sentinels[0], self.sentinels[number] = sentinel, self.sentinels[0]
                return state["ip"], state["port"]
        if first_error is None or answered:
            raise MasterNotFoundError(f"no sentinel tells of {service_name}")
        raise first_error


class MasterConnection(SentinelManagedConnection):
    """A connection to the master, that leaves one that is none any more when it is next used."""

    def connect(self) -> None:
        """Raises redis.RedisError."""
        master, socket = self.connection_pool.master_address, getattr(self, "_sock", None)
        if socket and master and master != (self.host, self.port):
            self.disconnect()  # type: ignore[no-untyped-call]
        super().connect()  # type: ignore[no-untyped-call]

    def read_response(self, disable_decoding: bool = False, **options: Any) -> Any:
        """As other connections do it: one that was waited for in vain is closed. redis-py leaves it open here, and the
        next command would get this one's answer, or wait as long. Raises redis.RedisError."""
        options.setdefault("disconnect_on_error", True)
        return super().read_response(disable_decoding, **options)


class MasterTLSConnection(MasterConnection, SentinelManagedSSLConnection):
    """A `MasterConnection` with TLS."""


class MasterPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the master; a thread waits for one as in any pool of ours."""

    def telling(self) -> int:
        """How many sentinels tell of the master now."""
        count = 0
        for sentinel in self.sentinel_manager.sentinels:
            with contextlib.suppress(redis.RedisError, OSError):
                count += self.service_name in sentinel.sentinel_masters()
        return count

    def disconnect(self, inuse_connections: bool = True) -> None:
        """redis-py drops idle ones when the master changes; a thread may have one by then: they see for themselves."""
        if inuse_connections:
            super().disconnect()
