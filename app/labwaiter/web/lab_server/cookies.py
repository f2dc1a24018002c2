"""What a student's browser keeps: which session is its own, and what came of its last act; signed, for one lab alone.

Each lab's cookies have a name and a path of their own, so that several labs behind one address don't disturb each
other. They are sent with a visit that comes from the calling system (SameSite=Lax); in a frame of another site's page,
which WEBLAB_FRAMES must allow, only as None, over https, and kept apart for each such site (CHIPS).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from ... import public
from ...model.sentences import N_
from ...settings import Settings
from ...store.artifacts import Artifacts
from ..wording import in_cookie

SAID_SECONDS = 60.0  # that what came of an act waits for the page that tells it
SAID_MAX = 1500  # characters of it
LONGEST = 14 * 86400.0  # s that a browser keeps a session; how long it is good its record says
CHANGED = N_(
    "The page that this was sent from is of another session, so nothing was done: reload it, and send it again."
)
OF_ANOTHER_SITE = N_("This was sent by a page of another site, so nothing was done.")


class Cookies:
    """The cookies of a deployment's labs."""

    def __init__(self, settings: Settings, artifacts: Artifacts) -> None:
        self._settings, self._artifacts = settings, artifacts
        # a browser has one jar for all ports of a host
        self._ours = hashlib.sha256(str(settings.jobs_folder).encode()).hexdigest()[:8]

    def begin(self, request: Request, answer: Response, lab: str, at: str, session_id: str) -> None:
        """Have the browser keep whose session it has.

        Args:
            at: the lab's path, as the browser sees it.
        """
        content = {"id": session_id, "n": secrets.token_urlsafe(16), "until": time.time() + LONGEST}
        self._set(request, answer, self._name(lab, "session"), at, self._signer(lab, "session").dumps(content))

    def session(self, request: Request, lab: str) -> tuple[str, str]:
        """The browser's session in a lab, and what no other cookie of it holds; ("", "") where it has none."""
        kept = self._read(request, lab, "session")
        return str(kept.get("id", "")), str(kept.get("n", ""))

    def end(self, request: Request, answer: Response, lab: str, at: str) -> None:
        """Have the browser forget it."""
        self._set(request, answer, self._name(lab, "session"), at, "", 0)

    def say(
        self, request: Request, answer: Response, lab: str, at: str, words: str, good: bool, lang: str = ""
    ) -> None:
        """Have the next page say what came of an act, as much of it as a cookie takes.

        Args:
            lang: the words' language, where it is another one than the reader's.
        """
        until, signer = time.time() + SAID_SECONDS, self._signer(lab, "said")
        text = in_cookie(
            words, SAID_MAX, lambda text: str(signer.dumps({"w": text, "good": good, "l": lang, "until": until}))
        )
        self._set(request, answer, self._name(lab, "said"), at, text, int(SAID_SECONDS))

    def said(self, request: Request, lab: str) -> tuple[str, bool, str] | None:
        """What the page is to say, whether it is good, and its language where that isn't the page's."""
        content = self._read(request, lab, "said")
        return (str(content["w"]), bool(content["good"]), str(content.get("l", ""))) if content else None

    def forget_said(self, request: Request, answer: Response, lab: str, at: str) -> None:
        """It was said."""
        self._set(request, answer, self._name(lab, "said"), at, "", 0)

    # -- forms --------------------------------------------------------------------------------

    def form_key(self, lab: str, nonce: str) -> str:
        """What each form of a session's page carries, and no other site can know."""
        key = self._artifacts.secret_for("lab forms")
        return hmac.new(key, f"{lab} {nonce}".encode(), hashlib.sha256).hexdigest()[:40]

    def judge_form(self, request: Request, lab: str, nonce: str) -> str:
        """Why a form can't be taken, in a sentence; "" where it can."""
        return self.judge_key(request, lab, nonce, request.form.get("form_key", ""))

    def judge_key(self, request: Request, lab: str, nonce: str, key: str) -> str:
        """Likewise, of a request that carries the key in another way."""
        if self.is_of_another_site(request):
            return OF_ANOTHER_SITE
        if not nonce or not hmac.compare_digest(self.form_key(lab, nonce).encode(), key.encode("utf-8", "replace")):
            return CHANGED
        return ""

    def is_of_another_site(self, request: Request) -> bool:
        """Whether another site's page makes the browser ask this."""
        fetched = request.headers.get("Sec-Fetch-Site", "same-origin")
        return public.is_of_another_site(request.environ, self._settings) or fetched not in ("same-origin", "none")

    # -- the cookies themselves ---------------------------------------------------------------

    def _name(self, lab: str, what: str) -> str:
        return f"labwaiter_{what}_{lab}_{self._ours}"

    def _set(
        self, request: Request, answer: Response, name: str, at: str, value: str, seconds: int | None = None
    ) -> None:
        secure = public.root(request.environ, self._settings).startswith("https:")
        framed = bool(self._settings.weblab_frames) and secure
        answer.set_cookie(
            name,
            value,
            max_age=seconds,
            path=at,
            secure=secure,
            httponly=True,
            samesite="None" if framed else "Lax",
            partitioned=framed,
        )

    def _read(self, request: Request, lab: str, what: str) -> dict[str, Any]:
        try:
            content = self._signer(lab, what).loads(request.cookies.get(self._name(lab, what), ""))
            return content if isinstance(content, dict) and content["until"] > time.time() else {}
        except (BadSignature, KeyError, TypeError):
            return {}

    def _signer(self, lab: str, what: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._artifacts.secret_for("lab sessions"), f"{what} of {lab}")
