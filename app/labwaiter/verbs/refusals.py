"""What a face has refused, in the log: a line a call, but of polls one a minute for each reason and address."""

from __future__ import annotations

import logging
import threading
import time

from ..errors import JobAborted, JobFailed, ServiceError, TokenExpired
from ..model.caller import Caller, Identity
from ..system.logs import tell

log = logging.getLogger("labwaiter.refusals")
POLLS_EVERY = 60.0  # s
SLOT = 0.025  # s: answers that know no such execution come a whole number of these after their calls
REMEMBERED = 1000  # reasons and addresses


class Refusals:
    """Has the log told of refusals. Thread-safe."""

    def __init__(self) -> None:
        self._polls: dict[tuple[str, str], tuple[float, int]] = {}  # when the log was told, monotonic s; how many since
        self._turn = threading.Lock()

    def note(
        self,
        error: ServiceError,
        caller: Caller,
        service: str = "",
        operation: str = "",
        service_id: str | None = "",
        is_poll: bool = False,
    ) -> None:
        """A call was refused.

        Args:
            operation: "" where it can't be understood.
            is_poll: it comes again and again.
        """
        if isinstance(error, (JobFailed, JobAborted)):  # that is how an execution ended, and was told when it did
            return
        times = self._times(error, caller) if is_poll else 1
        if not times:
            return
        who = caller.identity or (error.identity if isinstance(error, TokenExpired) else Identity())
        tell(
            log,
            "refused",
            operation=operation,
            code=error.code,
            why=error.message,
            serviceID=service_id,
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


def wait_out_the_slot(began: float) -> None:
    """Have an answer that knows no such execution take as long as one that knows somebody else's.

    Args:
        began: when the call was taken up, monotonic s.
    """
    time.sleep(SLOT - (time.monotonic() - began) % SLOT)
