"""What lies in Redis, under which key, and how it is signed.

    <prefix>:job:<name>       hash: request, machine; the mirror's fields (see `mirror`); the faces' marks abort, told
    <prefix>:jobs             sorted set: names by the time of their start
    <prefix>:active:<machine> set: names of its executions that haven't ended
    <prefix>:machine:<name>   hash: what its worker tells of itself, and when it was last seen
    <prefix>:errands:<name>   list: what a face asks of a machine, signed
    <prefix>:polled:<name>    set: executions of it that were polled since it last looked
    <prefix>:reply:<id>       list: the answer to one errand
    <prefix>:faces            sorted set: the faces by when they were last seen
    <prefix>:rq:…             RQ's own: `RQ_KEY_PREFIX=<prefix>:rq RQ_REDIS_URL=… rq info`

Times in Redis are Redis' own clock (TIME), so that machines' clocks may differ.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import Misconfigured, Unavailable
from ..settings import Settings

PATIENCE = 3.0  # s for an answer of Redis: a caller waits 10
SILENT = 10.0  # s after which a machine that isn't heard of can't be reached
CONNECTIONS = 64  # of one process
WRONG_URL = (
    "REDIS_URL is not right: it is redis://user:password@host:6379/0, or rediss://… with TLS, and in a password"
    " / # ? @ : % are written %2F %23 %3F %40 %3A %25."
)
SEALED_MAX = 32_000_000  # characters: a request has 2 MB at most, and JSON in JSON is several times as long
FAULTS = (redis.RedisError, OSError)


class Store:
    """The Redis of one lab. Connects when first used; thread-safe."""

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        """
        Args:
            patience: seconds for an answer of Redis.

        Raises:
            Misconfigured: REDIS_URL is no URL of a Redis.
        """
        self.prefix, self.machine = settings.redis_prefix, settings.machine
        self._secret = settings.redis_secret.encode()
        # who finds all connections taken waits for one: an abort holds one for up to 8 s
        try:
            pool = redis.BlockingConnectionPool.from_url(
                settings.redis_url,
                max_connections=CONNECTIONS,
                timeout=patience,
                socket_timeout=patience,
                socket_connect_timeout=min(patience, 2.0),
                health_check_interval=30,
                # a connection that was closed while idle; who waited for an answer in vain waits no second time
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
                client_name=f"labwaiter-{self.machine}",
            )
            pool.connection_class(**pool.connection_kwargs)  # only this looks at the URL's options
        except (ValueError, TypeError, redis.RedisError):
            raise Misconfigured(WRONG_URL) from None  # what was wrong may be a piece of the password
        self.redis: Any = redis.Redis(connection_pool=pool)

    def key(self, *parts: str) -> str:
        """A key of this lab."""
        return ":".join((self.prefix, *parts))

    def now(self) -> float:
        """Redis' clock, Unix time in s."""
        seconds, micros = self.redis.time()
        return float(seconds + micros / 1e6)

    # -- signing ------------------------------------------------------------------------------

    def sign(self, purpose: str, text: str) -> str:
        """The signature of a text (HMAC-SHA-256, RFC 2104): for this lab and this purpose alone."""
        said = f"{self.prefix}\0{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Of REDIS_SECRET, to see whether all machines have the same."""
        return self.sign("fingerprint", "")[:12]

    def seal(self, purpose: str, value: dict[str, Any]) -> str:
        """A value as signed JSON."""
        text = json.dumps(value, separators=(",", ":"))
        return json.dumps([text, self.sign(purpose, text)])

    def unseal(self, purpose: str, sealed: str | bytes) -> dict[str, Any] | None:
        """The value, if this lab has signed it for this purpose; None if not."""
        try:
            if len(sealed) > SEALED_MAX:
                return None
            text, signature = json.loads(sealed)
            if not hmac.compare_digest(self.sign(purpose, text).encode(), str(signature).encode()):
                return None
            return dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None


def away(error: BaseException) -> Unavailable:
    """The sentence for a caller whom Redis keeps from being served."""
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in str(error):
        why = "the Redis between the machines of this lab is full"
    elif isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        why = "the Redis between the machines of this lab refuses this machine"
    else:
        why = "the Redis between the machines of this lab can't be reached"
    return Unavailable(f"This can't be done now: {why}; try again later, or tell the administrator.")
