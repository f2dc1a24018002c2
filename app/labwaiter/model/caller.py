"""Who calls a verb: made by the face that was called, and handed down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """What a face knows of whoever called it."""

    user: str = ""  # a name that it gives itself; "" for a workflow manager
    token: str = ""  # the sessionToken
    project: str = ""  # whose work it is, as the token says; "": tokens are not asked for that yet
    address: str = ""  # the IP address that called over HTTP, a proxy's where one is between; "": none did
    # this deployment's, with its context root, as this caller's links must say it; "": nobody knows
    public_url: str = ""
    polls: bool = False  # it asks for the status again and again, as workflow managers do: its silence means something


SHELL = Caller(user="shell")
