"""Who looks at the page: people's logins, by the same tokens as SOAP's.

A cookie holds a signed session: whose it is, until when, and a random number that no other session has; the token is
kept nowhere. By the file of tokens a session ends with its token, at once; a manager is not asked again, so a session
by its word is shorter.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from ... import public
from ...authentication.authenticator import Authenticator
from ...errors import ServiceError, TokenValidationFailed
from ...model.caller import EVERYBODY, PASSER_BY, Caller, Identity
from ...model.sentences import N_
from ...settings import Settings
from ...store.artifacts import Artifacts
from ..wording import in_cookie

SESSION_SECONDS = 12 * 3600.0
MANAGED_SECONDS = 4 * 3600.0  # where the manager can't be asked again
SAID_SECONDS = 60.0  # that what came of an act waits for the page that tells it
SAID_MAX = 1500  # characters of it
NAME_MAX = 60
ATTEMPTS, ATTEMPTS_SECONDS = 10, 60.0  # failed logins of one address
ADDRESSES_MAX = 10_000
NOBODY = "operator"  # what who gives no name is called, where no token is asked for


@dataclass(frozen=True)
class Visitor:
    """Who makes a request, and by which session."""

    identity: Identity | None = None  # None: is to log in
    nonce: str = ""  # of the session; "": there is none
    logged_in: bool = False  # by a token
    kept: dict[str, Any] = field(default_factory=dict)  # the session's content
    why: str = ""  # why a session that was there is none any more
    cookie: str = ""  # the session as it was sent


class Sessions:
    """The sessions of a deployment. Thread-safe."""

    def __init__(self, settings: Settings, artifacts: Artifacts, authenticator: Authenticator) -> None:
        self._settings, self._artifacts, self._authenticator = settings, artifacts, authenticator
        ours = hashlib.sha256(str(settings.jobs_folder).encode()).hexdigest()[:8]
        # a browser has one jar for all ports of a host
        self._cookie, self._said = f"labwaiter_{ours}", f"labwaiter_said_{ours}"
        self._attempts = Attempts()

    # -- whose a request is -------------------------------------------------------------------

    def visitor(self, request: Request) -> Visitor:
        """Whose a request is. Raises Unavailable: that can't be judged now."""
        return self.visitor_by(request.cookies.get(self._cookie, ""))

    def visitor_by(self, cookie: str) -> Visitor:
        """Whose a request is, by the session that it has sent. Raises Unavailable: that can't be judged now."""
        kept = self._content_of(cookie, "session")
        nonce = str(kept.get("n", ""))
        if not self._settings.judges_tokens:
            identity = replace(EVERYBODY, user=str(kept.get("name") or NOBODY))
            return Visitor(identity, nonce, kept=kept, cookie=cookie)
        why = ""
        if kept.get("who"):
            try:
                return Visitor(self._authenticator.known_again(kept["who"]), nonce, True, kept, cookie=cookie)
            except TokenValidationFailed as error:
                why = error.message
        return Visitor(PASSER_BY if self._settings.guests else None, nonce, kept=kept, why=why, cookie=cookie)

    def caller(self, request: Request) -> Caller:
        """Who calls the verbs, but for whose the request is."""
        return Caller(
            None,
            address=address_of(request, self._settings),
            public_url=public.root(request.environ, self._settings),
            is_elsewhere=public.is_from_elsewhere(request.environ),
            face="page",
        )

    def judge_place(self, caller: Caller) -> None:
        """Raises TokenValidationFailed: it came from elsewhere, and nobody has said who may."""
        self._authenticator.identify(caller)

    def log_in(self, request: Request, token: str) -> tuple[Identity, dict[str, Any]]:
        """Who has a token, and the session that begins by it.

        Raises:
            ServiceError: it isn't good, that can't be judged now, or too many were tried.
        """
        address = address_of(request, self._settings)
        self._attempts.judge(address)
        try:
            identity = self._authenticator.of_token(token.strip())
        except TokenValidationFailed:
            self._attempts.failed(address)
            raise
        seconds = MANAGED_SECONDS if self._settings.tokens == "manager" else SESSION_SECONDS
        return identity, self.new(seconds, who=self._authenticator.kept(token.strip(), identity))

    @staticmethod
    def new(seconds: float = SESSION_SECONDS, **content: Any) -> dict[str, Any]:
        """A session's content."""
        return {"n": secrets.token_urlsafe(16), "until": time.time() + seconds, **content}

    # -- cookies ------------------------------------------------------------------------------

    def begin(self, request: Request, answer: Response, content: dict[str, Any]) -> None:
        """Have the browser keep a session."""
        self.set_cookie(request, answer, self._cookie, self._signed("session", content))

    def end(self, request: Request, answer: Response) -> None:
        """Have the browser forget it."""
        self.set_cookie(request, answer, self._cookie, "", 0)

    def say(self, request: Request, answer: Response, words: str, good: bool, lang: str = "", of: str = "") -> None:
        """Have the next page say what came of an act, as much of it as a cookie takes.

        Args:
            lang: the words' language, where it is another one than the reader's.
            of: the id of the card of which they are so, as long as that stands as it does.
        """
        until = time.time() + SAID_SECONDS
        content = {"good": good, "l": lang, "of": of, "until": until}
        signed = in_cookie(words, SAID_MAX, lambda text: self._signed("said", {"w": text, **content}))
        self.set_cookie(request, answer, self._said, signed, int(SAID_SECONDS))

    def said(self, request: Request) -> tuple[str, bool, str, str] | None:
        """What the page is to say, whether it is good, its language where that isn't the page's, and of which card."""
        content = self._content_of(request.cookies.get(self._said, ""), "said")
        if not content:
            return None
        return str(content["w"]), bool(content["good"]), str(content.get("l", "")), str(content.get("of", ""))

    def forget_said(self, request: Request, answer: Response) -> None:
        """It was said."""
        if self._said in request.cookies:
            self.set_cookie(request, answer, self._said, "", 0)

    def set_cookie(self, request: Request, answer: Response, name: str, value: str, seconds: int | None = None) -> None:
        """Have the browser keep something for these pages; `seconds`: for how long, or until it is closed."""
        here = public.root(request.environ, self._settings)
        answer.set_cookie(
            name,
            value,
            max_age=seconds,
            path=("/" + here.split("/", 3)[3] if here.count("/") > 2 else self._settings.context_root) or "/",
            secure=here.startswith("https:"),
            httponly=True,
            samesite="Lax",
        )

    def _signed(self, purpose: str, content: dict[str, Any]) -> str:
        text: str = self._signer(purpose).dumps(content)
        return text

    def _content_of(self, text: str, purpose: str) -> dict[str, Any]:
        """A cookie's content; {} where there is none, or it is none of ours, or too old."""
        content = _content(self._artifacts.secret_for("sessions"), purpose, text) if text else {}
        return content if content and content["until"] > time.time() else {}

    def _signer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._artifacts.secret_for("sessions"), purpose)

    # -- forms --------------------------------------------------------------------------------

    def form_key(self, visitor: Visitor) -> str:
        """What each form of a session carries, and no other site can know."""
        key = self._artifacts.secret_for("forms")
        return hmac.new(key, visitor.nonce.encode(), hashlib.sha256).hexdigest()[:40]

    def judge_form(self, request: Request, visitor: Visitor, logs_in: bool) -> str:
        """Why a form can't be taken, in a sentence; "" where it can.

        Args:
            logs_in: it begins a session, so there may be none yet that it could belong to.
        """
        fetched = request.headers.get("Sec-Fetch-Site", "same-origin")
        if public.is_of_another_site(request.environ, self._settings) or fetched not in ("same-origin", "none"):
            return N_("This was sent by a page of another site, so nothing was done.")
        if logs_in and not visitor.nonce:
            return ""
        if not visitor.nonce or not hmac.compare_digest(self.form_key(visitor), request.form.get("form_key", "")):
            return N_(
                "The page that this was sent from is older than your login, so nothing was done: go back, reload it,"
                " and send it again."
            )
        return ""


@lru_cache(256)  # an open page asks each second or two
def _content(secret: bytes, purpose: str, text: str) -> dict[str, Any]:
    """What was signed by this secret for this purpose; {} where nothing was. Not to be changed: others have it, too."""
    try:
        content = URLSafeSerializer(secret, purpose).loads(text)
    except BadSignature:
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("until"), (int, float)) else {}


class Attempts:
    """Failed logins: so many of one address within a minute, in each web worker. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def judge(self, address: str) -> None:
        """Raises TooManyAttempts."""
        with self._turn:
            times = self._failed.get(address)
            while times and times[0] < time.monotonic() - ATTEMPTS_SECONDS:
                times.popleft()
            if times and len(times) >= ATTEMPTS:
                raise TooManyAttempts("Too many tokens were wrong: wait a minute, then try again.")

    def failed(self, address: str) -> None:
        """One more of that address."""
        with self._turn:
            self._failed.setdefault(address, deque(maxlen=ATTEMPTS)).append(time.monotonic())
            self._failed.move_to_end(address)
            while len(self._failed) > ADDRESSES_MAX:
                self._failed.popitem(last=False)


class TooManyAttempts(ServiceError):
    """Too many logins failed."""


def address_of(request: Request, settings: Settings) -> str:
    """The address that a request came from: what a trusted proxy says last, or the caller's own."""
    address: str = request.environ.get("REMOTE_ADDR", "")
    if public.is_trusted(address, settings):
        forwarded: str = request.environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        return forwarded[:60] if forwarded.isprintable() and forwarded else address
    return address
