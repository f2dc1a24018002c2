"""The platform's authentication manager, asked by its WSDL (SOAP 1.1, document/literal, namespace
http://authmanager.sintef.no/): is a sessionToken good, and whose is it?
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import suds

from .. import suds_client
from ..model.caller import Identity, Role

NAME_MAX = 200  # characters of a name that the manager tells


class NoAnswer(Exception):
    """The manager doesn't say whether a token is good; the message says why, for the log. It names no token."""


class AuthManager:
    """One manager. Thread-safe."""

    def __init__(self, wsdl: str, seconds: float, operator_roles: Iterable[str] = ()) -> None:
        """
        Args:
            wsdl: its address.
            seconds: that each wait for its network may take.
            operator_roles: who has one of them there is an operator here, everybody else a user.
        """
        self.wsdl = wsdl
        self._seconds, self._operator_roles = seconds, frozenset(operator_roles)
        self._idle: list[Any] = []  # clients that nobody uses just now: none is for two threads

    def ask(self, token: str) -> Identity | None:
        """Whose a token is; None where the manager says that it isn't good.

        Raises:
            NoAnswer: it says neither: a fault, a network that is down, anything but a plain true or false.
        """
        try:
            try:
                client = self._idle.pop()
            except IndexError:
                client = suds_client.connected(self.wsdl, self._seconds)
            identity = self._answer(client.service, token)
        except NoAnswer:
            raise
        except Exception as error:  # suds has no tree of them; a fault's text may have the token in it
            code = str(getattr(getattr(error, "fault", None), "faultcode", ""))
            raise NoAnswer(f"{type(error).__name__}{f' {code[:80]!r}' if code else ''}") from None
        self._idle.append(client)  # of one that failed the WSDL is read anew
        return identity

    def _answer(self, service: Any, token: str) -> Identity | None:
        good = service.validateSessionToken(token)
        if good is False:
            return None
        if good is not True:  # a fault as an object, a text, nothing: all but True is no yes
            raise NoAnswer(f"validateSessionToken gave {type(good).__name__}, neither true nor false")
        return self._identity(service, token)

    def _identity(self, service: Any, token: str) -> Identity:
        try:
            info = service.getTokenInfo(token)
        except suds.MethodNotFound:  # older managers
            user, project = service.getUsername(token), service.getProject(token)
            roles = service.getRoles(token)
        else:
            user, project = info.user.name, info.project.name
            roles = getattr(info, "roles", None)
        names = {str(role) for role in (roles if isinstance(roles, list) else [roles] if roles else [])}
        role = Role.OPERATOR if names & self._operator_roles else Role.USER
        return Identity(_name(user, "user"), _name(project, "project"), role, self.wsdl)


def _name(value: Any, of: str) -> str:
    """A name as the manager tells it. Raises NoAnswer: without it nobody knows whose an execution would be."""
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_MAX or not value.isprintable():
        raise NoAnswer(f"it tells no name of a {of}")
    return str(value)
