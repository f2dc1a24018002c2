"""Who calls a verb: made by the face that was called, and handed down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """What a face knows of whoever called it."""

    user: str = ""  # a name that it gives itself; "" for a workflow manager
    token: str = ""  # the sessionToken
    public_url: str = (
        ""  # of this deployment with its context root, as this caller's links must say it; "": nobody knows
    )
    polls: bool = False  # it asks for the status again and again, as workflow managers do: its silence means something


SHELL = Caller(user="shell")
