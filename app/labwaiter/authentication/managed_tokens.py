"""Tokens of authentication managers: each answer is kept for a while, so that a poll every 6 s asks nobody.

While a manager is slow or down, who was let in a short time ago goes on for a grace and nobody else is let in; a call
waits for it a short time at most, and while it is known to be down, not at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
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
WAITING_MAX = 200  # calls of a worker that wait for that
KNOWN_MAX = 10_000  # tokens of which it is remembered whose they are
REFUSED_MAX = 1_000  # a flood of wrong ones drives out none of these
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
            wsdl: the manager that is asked first.
            allowed: further ones: a start may name one, and they are asked of what the first one doesn't know.
            seconds: for which a yes is kept before it is asked again.
            grace: s after that, for which it counts while the manager gives no answer.
        """
        self._believed = tuple(dict.fromkeys((wsdl, *allowed)))
        self._seconds, self._grace, self._make = seconds, grace, make
        self._managers: dict[str, AuthManager] = {}
        self._slots = {address: threading.BoundedSemaphore(ASKING_MAX) for address in self._believed}
        self._waiting = threading.BoundedSemaphore(WAITING_MAX)  # for one of these
        self._away: dict[str, float] = {}  # address → until when it isn't asked, boot clock, s
        self._known: OrderedDict[bytes, Judged] = OrderedDict()  # whose they are, or were
        self._refused: OrderedDict[bytes, Judged] = OrderedDict()  # nobody's
        self._asked: dict[bytes, Asking] = {}
        self._turn = threading.Lock()
        self._key = os.urandom(32)  # tokens aren't kept: what is looked up is a hash that nobody else can reckon

    def identify(self, token: str, manager: str = "") -> Identity:
        """Who has a token, as a manager says.

        Args:
            manager: which the call names; "": whichever of those that this deployment believes knows it. What the
                call is about has no say in that: by the answer nobody is to learn what there is.

        Raises:
            TokenValidationFailed: the token isn't good; TokenExpired: it was.
            ManagerAway: nobody says whether it is.
            InvalidParameter: the call names a manager that this deployment doesn't believe.
        """
        if manager and manager not in self._believed:
            raise InvalidParameter(
                "The authentication manager that extraParameters names (auth=…) is none that this deployment asks:"
                " log in where it does, or have the administrator add it to AUTH_ALLOWED."
            )
        now, asked = boot_clock(), []
        for address in (manager,) if manager else self._believed:
            key = hashlib.blake2b(f"{address} {token}".encode("utf-8", "surrogateescape"), key=self._key).digest()
            judged = self._known.get(key)
            if judged is not None and judged.is_good and now - judged.at < self._seconds:
                assert judged.identity is not None
                return judged.identity
            asked.append((judged is None, address, key, judged))
        refusal: TokenValidationFailed | None = None
        away: ManagerAway | None = None
        for _, address, key, before in sorted(asked, key=lambda one: one[0]):  # first who let it in before
            try:
                judged = self._judge(key, address, token, before, now)
            except ManagerAway as error:
                away = error
                continue
            if judged.is_good:
                assert judged.identity is not None
                return judged.identity
            if judged.identity is not None:
                refusal = TokenExpired(EXPIRED, judged.identity)
        if away is not None and refusal is None:
            raise away
        raise refusal or TokenValidationFailed(REFUSED)

    def _judge(self, key: bytes, address: str, token: str, before: Judged | None, now: float) -> Judged:
        """What the manager says now, or what it said before. Raises ManagerAway."""
        refused = self._refused.get(key) if before is None or before.is_good else before
        if refused is not None and now - refused.at < NO_SECONDS:
            return refused
        was_good = before is not None and before.is_good
        until = time.monotonic() + (AGAIN_WAIT if was_good else FIRST_WAIT)
        asking = self._ask(key, address, token, until)
        if asking is not None:
            asking.answered.wait(max(0.0, until - time.monotonic()))
        answer = self._known.get(key) or self._refused.get(key)
        if answer is not None and answer is not refused and answer is not before:
            return answer
        if before is not None and was_good and now - before.at < self._seconds + self._grace:
            return before
        raise ManagerAway(AWAY)

    def _ask(self, key: bytes, address: str, token: str, until: float) -> Asking | None:
        """The question about a token, asked once at a time; None while the manager is away or has enough to answer.

        Args:
            until: monotonic s: so long it is waited for a manager that has others to answer.
        """
        with self._turn:
            if (asking := self._asked.get(key)) is not None:
                return asking
            if self._is_away(address):
                return None
            asking = self._asked[key] = Asking()
        if not self._has_slot(address, until):
            self._over(key, asking)
            return None
        thread = threading.Thread(target=self._find_out, args=(key, address, token, asking), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no process for it
            self._done(key, address, asking)
            return None
        return asking

    def _has_slot(self, address: str, until: float) -> bool:
        """Whether the manager can be asked now. After a start all tokens come at once: they wait for each other."""
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            if not self._slots[address].acquire(timeout=max(0.0, until - time.monotonic())):
                return False
        finally:
            self._waiting.release()
        if self._is_away(address):  # since then
            self._slots[address].release()
            return False
        return True

    def _is_away(self, address: str) -> bool:
        return boot_clock() < self._away.get(address, 0.0)

    def _find_out(self, key: bytes, address: str, token: str, asking: Asking) -> None:
        from .auth_manager import NoAnswer  # suds takes 10 MB: only where a manager is asked

        try:
            manager = self._managers.get(address)
            if manager is None:
                manager = self._managers[address] = self._make(address)
            identity = manager.ask(token)
        except NoAnswer as error:
            if not self._is_away(address):
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
            before = self._known.pop(key, None) or self._refused.pop(key, None)
            whose = identity or (before.identity if before else None)
            kept, most = (self._known, KNOWN_MAX) if whose is not None else (self._refused, REFUSED_MAX)
            kept[key] = Judged(identity is not None, whose, boot_clock())
            if len(kept) > most:
                kept.popitem(last=False)

    def _done(self, key: bytes, address: str, asking: Asking) -> None:
        self._slots[address].release()
        self._over(key, asking)

    def _over(self, key: bytes, asking: Asking) -> None:
        with self._turn:
            self._asked.pop(key, None)
        asking.answered.set()
