"""Whether a call is the calling system's: HTTP Basic, by the one name and password that the settings have."""

from __future__ import annotations

import hmac
import logging

from flask import Request

from ...settings import Settings
from ..operator_page.session import Attempts, TooManyAttempts, address_of

log = logging.getLogger("labwaiter.web")
NOT_SET = (
    "This lab server lets no remote-laboratory system in: WEBLAB_USERNAME and WEBLAB_PASSWORD are not set"
    " (docs/labs.md)."
)
WRONG = "The name or the password is wrong: send those that this lab server has in WEBLAB_USERNAME and WEBLAB_PASSWORD."
LONG = 16  # characters of a password that nobody guesses, however often they may try
SHORT = (
    "WEBLAB_PASSWORD has fewer than %d characters: with a longer one, guesses of others shut out nobody (docs/labs.md)"
)
TOO_MANY = "Too many passwords were wrong: wait a minute, then try again."
AGAIN_SECONDS = 60


class NotLetIn(Exception):
    """A call that is not let in; its text is a sentence, `code` HTTP's."""

    def __init__(self, words: str, code: int = 401) -> None:
        super().__init__(words)
        self.code = code


class Login:
    """The calling system's login. Thread-safe.

    After some wrong passwords of an address, it has to wait for a minute. The right one is let in meanwhile if it is
    long: nobody guesses that, at whatever pace. A short one might be guessed, so its bearer has to wait, too.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._attempts = Attempts()
        if settings.weblab_username and 0 < len(settings.weblab_password) < LONG:
            log.warning(SHORT, LONG)

    def judge(self, request: Request) -> None:
        """Raises NotLetIn: it is not the calling system, too many were tried, or nobody may come at all."""
        name, password = self._settings.weblab_username, self._settings.weblab_password
        if not name or not password:
            raise NotLetIn(NOT_SET)
        given = request.authorization
        if given is None or given.type != "basic":
            raise NotLetIn(WRONG)  # who sends none has guessed nothing
        # both are compared whatever the other says, so that the time tells of neither
        good = _same(given.username or "", name) & _same(given.password or "", password)
        if good and len(password) >= LONG:
            return  # strangers behind the calling system's address shut it out by no guesses of theirs
        address = address_of(request, self._settings)
        try:
            self._attempts.judge(address)
        except TooManyAttempts:
            raise NotLetIn(TOO_MANY, 429) from None
        if not good:
            self._attempts.failed(address)
            raise NotLetIn(WRONG)


def _same(given: str, ours: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), ours.encode("utf-8", "surrogatepass"))
