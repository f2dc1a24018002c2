"""Who calls, and what no request of this face passes without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import public
from ..authentication.authenticator import Authenticator
from ..errors import NotPermitted, TokenValidationFailed
from ..model.caller import Caller
from ..settings import Settings

FACE = "json"
SEND_IT = "Send the sessionToken with each request, in its header: Authorization: Bearer <sessionToken>."


class Gate:
    """Judges requests before anything is read of what they ask for."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self._settings, self._authenticator = settings, authenticator

    def admit(self, environ: dict[str, Any]) -> None:
        """Raises NotPermitted: a page of another site has a browser call, or a stranger's name stands for this machine.

        Nobody is told by CORS that it may: a browser asks before it calls from elsewhere, and hears nothing.
        """
        if public.is_of_another_site(environ, self._settings):
            raise NotPermitted("A page of another site may not call this one: the header Origin says that one does.")
        if self._authenticator.only_here and not public.names_this_machine(environ, self._settings):
            raise NotPermitted(
                "This deployment answers calls from its own machine alone, by that one's own names: call it by"
                " localhost or 127.0.0.1."
            )

    def caller(self, environ: dict[str, Any], root: str) -> Caller:
        """Who calls. Raises TokenValidationFailed, and as `Authenticator.identify`.

        Args:
            root: the address of this deployment, as links must say it.
        """
        caller = Caller(
            token=self._token(environ),
            address=environ.get("REMOTE_ADDR", ""),
            public_url=root,
            is_elsewhere=public.is_from_elsewhere(environ),
            face=FACE,
        )
        return replace(caller, identity=self._authenticator.identify(caller))

    def _token(self, environ: dict[str, Any]) -> str:
        said: str = environ.get("HTTP_AUTHORIZATION", "")
        scheme, _, token = said.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            if self._settings.judges_tokens:
                raise TokenValidationFailed(SEND_IT)
            return ""
        try:
            return token.strip().encode("latin-1").decode()  # SOAP's is UTF-8, too
        except UnicodeError:
            return token.strip()
