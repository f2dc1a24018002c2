"""What was refused at this face, in the log: a line a call, but of polls one a minute for each reason and address."""

from __future__ import annotations

import logging
import threading
import time

from ..errors import JobAborted, JobFailed, ServiceError, TokenExpired
from ..model.caller import Caller, Identity
from ..model.contract import SERVICE_ID, STATUS
from ..system.logs import tell
from .door import Call

log = logging.getLogger("labwaiter.soap")
POLLS_EVERY = 60.0  # s
REMEMBERED = 1000  # reasons and addresses


class Refusals:
    """Has the log told of refusals. Thread-safe."""

    def __init__(self) -> None:
        self._polls: dict[tuple[str, str], tuple[float, int]] = {}  # when the log was told, monotonic s; how many since
        self._turn = threading.Lock()

    def note(self, error: ServiceError, caller: Caller, service: str, call: Call | None = None) -> None:
        """A call was refused.

        Args:
            call: None where it can't be understood.
        """
        if isinstance(error, (JobFailed, JobAborted)):  # that is how an execution ended, and was told when it did
            return
        times = self._times(error, caller) if call is not None and call.operation == STATUS else 1
        if not times:
            return
        who = caller.identity or (error.identity if isinstance(error, TokenExpired) else Identity())
        tell(
            log,
            "refused",
            operation=call.operation if call is not None else "",
            code=error.code,
            why=error.message,
            serviceID=call.texts.get(SERVICE_ID.name) if call is not None else "",
            service=service,
            user=who.user,
            project=who.project,
            face=caller.face,
            address=caller.address,
            times=times if times > 1 else None,
        )

    def _times(self, error: ServiceError, caller: Caller) -> int:
        """How many refused polls a line is to tell of now; 0: it waits."""
        key, now = (error.code, caller.address), time.monotonic()
        with self._turn:
            told, waiting = self._polls.pop(key, (-POLLS_EVERY, 0))
            is_due = now - told >= POLLS_EVERY
            self._polls[key] = (now, 0) if is_due else (told, waiting + 1)
            if len(self._polls) > REMEMBERED:
                del self._polls[next(iter(self._polls))]
            return waiting + 1 if is_due else 0
