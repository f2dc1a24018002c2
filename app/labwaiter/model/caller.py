"""Who calls a verb: made by the face that was called, and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody is in this laboratory; `verbs/permission.py` says what each may do."""

    GUEST = "guest"
    USER = "user"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class Identity:
    """Who somebody is, by the word of whoever judges tokens here."""

    user: str = ""  # "": nobody has asked for a name
    project: str = ""  # "": of none
    role: Role = Role.USER
    authority: str = ""  # the address of the authentication manager whose word it is; "": this deployment's own
    owns_alone: bool = False  # executions are its user's alone, not its whole project's
    sees_all: bool = False  # a guest who may look at everybody's, where GUESTS says so


PAGES_KEY = "the page's key"  # a face, as the audit has it: somebody before an execution's page


@dataclass(frozen=True)
class Caller:
    """What a face knows of whoever called it."""

    identity: Identity | None = None  # None: nobody has said who it is, so it may do nothing
    token: str = ""  # the sessionToken
    address: str = ""  # the IP address that called over HTTP, a proxy's where one is between; "": none did
    # this deployment's, with its context root, as this caller's links must say it; "": nobody knows
    public_url: str = ""
    polls: bool = False  # it asks for the status again and again, as workflow managers do: its silence means something
    is_elsewhere: bool = False  # it called from another machine, or through a proxy
    face: str = ""  # soap, json, page, shell, python, schedule or `PAGES_KEY`
    steers: str = ""  # the serviceID of the execution whose page's key it has: it may steer that, and do nothing else
    machine: str = ""  # whose face it called, of many machines, where that is another one

    @property
    def user(self) -> str:
        """Its name; "" where it has none."""
        return self.identity.user if self.identity is not None else ""

    @property
    def who(self) -> str:
        """Its name, or that it has none: as those who wait for an instrument are told whose it is."""
        return self.user or "somebody"

    @property
    def in_words(self) -> str:
        """Who it is, for those who may see what it did: “ada (optics), by soap”."""
        return by(self.user, self.identity.project if self.identity is not None else "", self.face)


def by(user: str, project: str, face: str) -> str:
    """Who did something, by which face, in words; "" where neither is known."""
    who = f"{user} ({project})" if user and project else user
    return ", ".join(word for word in (who, f"by {face}" if face and face != user else "") if word)


def administrator(user: str, public_url: str = "", face: str = "shell") -> Caller:
    """Somebody on this machine: who may read and write the jobs folder is one by the file system's own word."""
    return Caller(Identity(user, role=Role.ADMINISTRATOR), public_url=public_url, face=face)


SHELL = administrator("shell")
EVERYBODY = Identity(role=Role.OPERATOR)  # where every token is good, and everybody may touch every execution
PASSER_BY = Identity("guest", role=Role.GUEST, sees_all=True)  # who comes without a token, where GUESTS=on
