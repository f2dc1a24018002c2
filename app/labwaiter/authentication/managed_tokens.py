"""Tokens of authentication managers: each answer is kept for a while, so that a poll every 6 s asks nobody.

While a manager is slow or down, who was let in a short time ago goes on for a grace and nobody else is let in; a call
waits for it a short time at most, and while it is known to be down, not at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidParameter, ManagerAway, TokenExpired, TokenValidationFailed
from ..model.caller import Identity
from ..system.process import boot_clock
from .token_file import EXPIRED, REFUSED

if TYPE_CHECKING:
    from .auth_manager import AuthManager

log = logging.getLogger("labwaiter.authentication")
NO_SECONDS = 10.0  # for so long a no is kept: a token that was just made is good soon
FIRST_WAIT = 5.0  # s that a call waits for an answer without which it can't go on
AGAIN_WAIT = 0.3  # s that one waits whose token was good before
AWAY_SECONDS = 5.0  # after a failure, for which nobody asks again
ASKING_MAX = 4  # at a time, of one manager
GOOD_MAX = 10_000  # tokens that are remembered
REFUSED_MAX = 1_000  # a flood of wrong ones drives out no good one
AWAY = "Whether the sessionToken is good can't be asked now: the authentication manager does not answer. Try again."


@dataclass(frozen=True)
class Judged:
    """What a manager said of a token."""

    is_good: bool
    identity: Identity | None  # whose it is, or was until it ran out; None: nobody's
    at: float  # boot clock, s


class Asking:
    """A question that is on its way."""

    def __init__(self) -> None:
        self.answered = threading.Event()


class ManagedTokens:
    """The tokens of the managers that a deployment believes. Thread-safe."""

    def __init__(
        self,
        wsdl: str,
        allowed: Iterable[str],
        seconds: float,
        grace: float,
        make: Callable[[str], AuthManager],
    ) -> None:
        """
        Args:
            wsdl: the manager that is asked where a call names none.
            allowed: further ones that a start may name.
            seconds: for which a yes is kept before it is asked again.
            grace: s after that, for which it counts while the manager gives no answer.
        """
        self._default, self._allowed = wsdl, frozenset({wsdl, *allowed})
        self._seconds, self._grace, self._make = seconds, grace, make
        self._managers: dict[str, AuthManager] = {}
        self._slots = {address: threading.BoundedSemaphore(ASKING_MAX) for address in self._allowed}
        self._away: dict[str, float] = {}  # address → until when it isn't asked, boot clock, s
        self._good: OrderedDict[bytes, Judged] = OrderedDict()
        self._refused: OrderedDict[bytes, Judged] = OrderedDict()
        self._asked: dict[bytes, Asking] = {}
        self._turn = threading.Lock()
        self._key = os.urandom(32)  # tokens aren't kept: what is looked up is a hash that nobody else can reckon

    def identify(self, token: str, manager: str = "") -> Identity:
        """Who has a token, as a manager says.

        Args:
            manager: which the call names; "": this deployment's own.

        Raises:
            TokenValidationFailed: the token isn't good; TokenExpired: it was.
            ManagerAway: nobody says whether it is.
            InvalidParameter: the call names a manager that this deployment doesn't believe.
        """
        address = manager or self._default
        if address not in self._allowed:
            raise InvalidParameter(
                "The authentication manager that extraParameters names (auth=…) is none that this deployment asks:"
                " log in where it does, or have the administrator add it to AUTH_ALLOWED."
            )
        key = hashlib.blake2b(f"{address} {token}".encode("utf-8", "surrogateescape"), key=self._key).digest()
        now, judged = boot_clock(), self._good.get(key)
        if judged is None or now - judged.at >= self._seconds:
            judged = self._judge(key, address, token, judged, now)
        if not judged.is_good:
            raise TokenExpired(EXPIRED, judged.identity) if judged.identity else TokenValidationFailed(REFUSED)
        assert judged.identity is not None
        return judged.identity

    def _judge(self, key: bytes, address: str, token: str, before: Judged | None, now: float) -> Judged:
        """What the manager says now, or what it said before. Raises ManagerAway."""
        refused = self._refused.get(key)
        if refused is not None and now - refused.at < NO_SECONDS:
            return refused
        asking = self._ask(key, address, token)
        if asking is not None:
            asking.answered.wait(FIRST_WAIT if before is None else AGAIN_WAIT)
        answer = self._good.get(key) or self._refused.get(key)
        if answer is not None and answer is not refused and answer is not before:
            return answer
        if before is not None and now - before.at < self._seconds + self._grace:
            return before
        raise ManagerAway(AWAY)

    def _ask(self, key: bytes, address: str, token: str) -> Asking | None:
        """The question about a token, asked once at a time; None while the manager is away or has enough to answer."""
        with self._turn:
            if (asking := self._asked.get(key)) is not None:
                return asking
            if boot_clock() < self._away.get(address, 0.0) or not self._slots[address].acquire(blocking=False):
                return None
            asking = self._asked[key] = Asking()
        thread = threading.Thread(target=self._find_out, args=(key, address, token, asking), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no process for it
            self._done(key, address, asking)
            return None
        return asking

    def _find_out(self, key: bytes, address: str, token: str, asking: Asking) -> None:
        from .auth_manager import NoAnswer  # suds takes 10 MB: only where a manager is asked

        try:
            manager = self._managers.get(address)
            if manager is None:
                manager = self._managers[address] = self._make(address)
            identity = manager.ask(token)
        except NoAnswer as error:
            if boot_clock() >= self._away.get(address, 0.0):
                log.error("the authentication manager %s gives no answer: %s", address, error)
            self._away[address] = boot_clock() + AWAY_SECONDS
        except Exception:
            log.exception("the authentication manager %s could not be asked", address)
            self._away[address] = boot_clock() + AWAY_SECONDS
        else:
            self._note(key, identity)
        finally:
            self._done(key, address, asking)

    def _note(self, key: bytes, identity: Identity | None) -> None:
        with self._turn:
            before = self._good.pop(key, None) or self._refused.pop(key, None)
            kept, most = (self._good, GOOD_MAX) if identity is not None else (self._refused, REFUSED_MAX)
            kept[key] = Judged(identity is not None, identity or (before.identity if before else None), boot_clock())
            if len(kept) > most:
                kept.popitem(last=False)

    def _done(self, key: bytes, address: str, asking: Asking) -> None:
        with self._turn:
            self._asked.pop(key, None)
        self._slots[address].release()
        asking.answered.set()
