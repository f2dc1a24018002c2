"""What lies in Redis, under which key, and how it is signed.

    <prefix>:job:<name>       hash: request, machine; what `publisher` tells; the faces' marks abort, told
    <prefix>:jobs             sorted set: names by the time of their start
    <prefix>:active:<machine> set: names of its executions that haven't ended
    <prefix>:machine:<name>   hash: what its worker tells of itself, and when it was last seen
    <prefix>:errands:<name>   list: what a face asks of a machine, signed
    <prefix>:polled:<name>    set: executions of it that were polled since it last looked
    <prefix>:reply:<id>       list: the answer to one of these calls
    <prefix>:faces            sorted set: the faces by when they were last seen
    <prefix>:kept             number: written to see that a replica follows
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

from ..settings import Settings
from .address import MasterPool, pool_of

PATIENCE = 3.0  # s for an answer of Redis: a caller waits 10
SILENT = 10.0  # s after which a machine that isn't heard of can't be reached
CONNECTIONS = 64  # of one process
KEEP_MS = 500  # for a replica to have an order
SEALED_MAX = 32_000_000  # characters: a request has 2 MB at most, and JSON in JSON is several times as long
FAULTS = (redis.RedisError, OSError)


class LabRedis:
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
        self._pool = pool_of(
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
        self.redis: Any = redis.Redis(connection_pool=self._pool)

    def key(self, *parts: str) -> str:
        """A key of this lab."""
        return ":".join((self.prefix, *parts))

    def now(self) -> float:
        """Redis' clock, Unix time in s."""
        seconds, micros = self.redis.time()
        return float(seconds + micros / 1e6)

    # -- several servers, of which one is the master ------------------------------------------

    @property
    def fails_over(self) -> bool:
        """Whether sentinels say which Redis is the master."""
        return isinstance(self._pool, MasterPool)

    def master(self) -> tuple[str, int] | None:
        """Where the master is now, asked anew: what is connected elsewhere leaves there. None without sentinels.

        Raises:
            redis.RedisError: no sentinel knows of one.
        """
        if not isinstance(self._pool, MasterPool):
            return None
        host, port = self._pool.get_master_address()  # type: ignore[no-untyped-call]
        return str(host), int(port)

    def sentinels(self) -> tuple[int, int]:
        """How many sentinels tell of a master now, and how many there are."""
        if not isinstance(self._pool, MasterPool):
            return 0, 0
        return self._pool.telling(), len(self._pool.sentinel_manager.sentinels)

    def kept(self, key: str) -> bool:
        """Whether what was written under a key is there, and a replica has it: a failover loses none of it then.

        Raises:
            redis.RedisError.
        """
        if not self.fails_over:
            return True
        with self.redis.pipeline(transaction=False) as asked:
            asked.exists(key)
            # WAIT tells of what its own connection has written: this comes after the key in the same stream
            asked.incr(self.key("kept"))
            asked.wait(1, KEEP_MS)
            there, _, replicas = asked.execute()
        if there and replicas:
            return True
        self.master()  # it may have become another one
        return False

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
