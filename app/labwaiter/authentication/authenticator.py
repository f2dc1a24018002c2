"""Who a caller is, in the way that the setting TOKENS says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from ..errors import Misconfigured, TokenValidationFailed
from ..model.caller import EVERYBODY, Caller, Identity, Role
from ..model.sentences import N_
from ..settings import Settings, called_only_here
from .managed_tokens import ManagedTokens
from .token_file import REFUSED, TokenFile

ASK_SECONDS = 5.0  # that each wait for an authentication manager's network may take


class Tokens(Protocol):
    """Says who has a token."""

    def identify(self, token: str, manager: str) -> Identity:
        """As `Authenticator.of_token`."""


class Authenticator:
    """Says who a caller is. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Raises Misconfigured: as `judge`."""
        judge(settings)
        self.only_here, self._owns_alone = not settings.tokens, settings.owner == "user"
        self._tokens: Tokens | None = None
        if settings.tokens == "file":
            self._tokens = TokenFile(settings.tokens_file)
        elif settings.tokens == "manager":
            from .auth_manager import AuthManager  # and so suds, which takes 10 MB

            self._tokens = ManagedTokens(
                settings.auth_wsdl,
                settings.auth_allowed,
                settings.auth_seconds,
                settings.auth_grace,
                lambda wsdl: AuthManager(wsdl, ASK_SECONDS, settings.auth_operators),
            )

    def identify(self, caller: Caller, manager: str = "") -> Identity:
        """As `of_token`. Raises TokenValidationFailed also: it called from elsewhere, and TOKENS isn't set."""
        if self.only_here and caller.is_elsewhere:
            raise TokenValidationFailed(
                "This deployment answers calls from its own machine alone, and this one came from another or"
                " through a proxy: the administrator says by TOKENS who may call."
            )
        return self.of_token(caller.token, manager)

    def of_token(self, token: str, manager: str = "") -> Identity:
        """Who has a token.

        Args:
            manager: the authentication manager that a call names (`extraParameters`, auth=…); "": none.

        Raises:
            TokenValidationFailed: the token isn't good; TokenExpired: it was.
            Unavailable: whether it is can't be judged now; ManagerAway: its manager doesn't say.
            InvalidParameter: that manager is not believed here.
        """
        if self._tokens is None:
            return EVERYBODY
        identity = self._tokens.identify(token, manager)
        return replace(identity, owns_alone=True) if self._owns_alone else identity

    def kept(self, token: str, identity: Identity) -> dict[str, Any]:
        """What a session keeps of a good token, for `known_again`: never the token."""
        if isinstance(self._tokens, TokenFile):
            return {"token": token.partition(".")[0], "proof": self._tokens.proof(token.partition(".")[0])}
        return {"user": identity.user, "project": identity.project, "role": identity.role, "at": identity.authority}

    def known_again(self, kept: dict[str, Any]) -> Identity:
        """Who a session is of: by the file as it is now, or as the manager said when it began.

        Raises:
            TokenValidationFailed: the token was revoked, or is another one by now; TokenExpired.
            Unavailable: as `of_token`.
        """
        if isinstance(self._tokens, TokenFile):
            identity = self._tokens.of_id(str(kept.get("token")), str(kept.get("proof")))
        elif "user" in kept:
            identity = Identity(kept["user"], kept["project"], Role(kept["role"]), kept["at"])
        else:
            raise TokenValidationFailed(REFUSED)
        return replace(identity, owns_alone=True) if self._owns_alone else identity


def words(settings: Settings) -> str:
    """Who may call, in a sentence for whoever starts a deployment or looks at it."""
    if settings.tokens == "manager":
        return N_(f"The sessionTokens are those of the authentication manager {settings.auth_wsdl}.")
    if settings.tokens == "file":
        return N_(f"The sessionTokens are those of {settings.tokens_file.name} (labwaiter tokens).")
    words = N_("Every sessionToken is accepted, of callers on this machine alone")
    if settings.tokens == "none":
        words = N_("Every sessionToken is accepted (TOKENS=none): let only callers you trust reach it")
    return N_(f"{words}. TOKENS=file or manager says who may call.")


def judge(settings: Settings) -> None:
    """Whether these settings say who may call. Raises Misconfigured: they leave that open where others could."""
    if settings.tokens == "manager" and not settings.auth_wsdl:
        raise Misconfigured("TOKENS=manager needs AUTH_WSDL: the address of the authentication manager's WSDL.")
    if not settings.tokens and not called_only_here(settings):
        raise Misconfigured(
            "Other machines may call this deployment (HOST or PUBLIC_URL says so), so TOKENS must say who may:"
            " file (labwaiter tokens add makes one), manager (with AUTH_WSDL), or none for everybody who can reach it."
        )
